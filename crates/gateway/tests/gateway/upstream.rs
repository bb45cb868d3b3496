//! An upstream that writes down what it gets, and misbehaves on request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::client::{PATIENCE, find, values};

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("a request line")
    }

    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }
}

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Seen>>>,
    count: watch::Sender<usize>,
    /// Requests to `/slow` wait for a permit of this.
    pub(crate) gate: Arc<Semaphore>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let upstream = Self {
            address: listener.local_addr().expect("address"),
            log: Arc::default(),
            count: watch::Sender::new(0),
            gate: Arc::new(Semaphore::new(0)),
        };
        let this = upstream.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let this = this.clone();
                tokio::spawn(async move { this.serve(stream).await });
            }
        });
        upstream
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().expect("log").clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    pub(crate) fn forget(&self) {
        self.log.lock().expect("log").clear();
    }

    /// Waits until so many requests have come in since the start.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut counts = self.count.subscribe();
        let enough = counts.wait_for(|seen| *seen >= count);
        tokio::time::timeout(PATIENCE, enough)
            .await
            .expect("requests in time")
            .expect("upstream");
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut read = Vec::new();
        let mut last = false;
        loop {
            let end = loop {
                if let Some(at) = find(&read, b"\r\n\r\n") {
                    break at + 4;
                }
                if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                    return None;
                }
            };
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            read.drain(..end);
            if last {
                return None;
            }
            let seen = Seen {
                head,
                body: Vec::new(),
            };
            let target = seen.target().to_owned();
            let index = {
                let mut log = self.log.lock().expect("log");
                log.push(seen.clone());
                log.len() - 1
            };
            self.count.send_modify(|count| *count += 1);
            if target.starts_with("/early") {
                stream
                    .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!")
                    .await
                    .ok()?;
                continue;
            }
            let body = body(&mut stream, &mut read, &seen).await?;
            if let Some(entry) = self.log.lock().expect("log").get_mut(index) {
                entry.body = body;
            }
            let method = seen.head.split(' ').next().unwrap_or_default();
            let answer = match target.split('?').next().unwrap_or_default() {
                "/slow" | "/limited/slow" | "/slow/" => {
                    self.gate.acquire().await.ok()?.forget();
                    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow"
                }
                "/last" => {
                    last = true;
                    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast"
                }
                "/half" => {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nabc")
                        .await
                        .ok()?;
                    return None;
                }
                "/limited/half" => {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nabc")
                        .await
                        .ok()?;
                    self.gate.acquire().await.ok()?.forget();
                    return None;
                }
                "/cl-te" => {
                    "HTTP/1.1 200 OK\r\ncontent-length: 40\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                }
                "/hop" => {
                    "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-private\r\nkeep-alive: timeout=5\r\nx-private: 1\r\nx-public: 1\r\ncontent-length: 0\r\n\r\n"
                }
                "/interim" => {
                    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                }
                "/garbage" => "NONSENSE\r\n\r\n",
                "/switch" => {
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
                }
                "/huge-head" => {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
                        "a".repeat(100_000)
                    );
                    stream.write_all(head.as_bytes()).await.ok()?;
                    continue;
                }
                "/big" => {
                    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
                    stream.write_all(head).await.ok()?;
                    let part = vec![b'a'; 100_000];
                    for _ in 0..1000 {
                        stream.write_all(&part).await.ok()?;
                    }
                    continue;
                }
                "/ws" => {
                    let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\nhello";
                    stream.write_all(switch).await.ok()?;
                    stream.write_all(&read).await.ok()?;
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok()?;
                    return None;
                }
                "/check/deny" => {
                    "HTTP/1.1 302 Found\r\nlocation: http://login.example/\r\ncontent-length: 5\r\n\r\nlogin"
                }
                "/check/allow" => "HTTP/1.1 200 OK\r\nx-user: ada\r\ncontent-length: 0\r\n\r\n",
                "/check/error" => {
                    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ndown"
                }
                "/check/huge" => {
                    let text = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}",
                        "a".repeat(100_000)
                    );
                    let _ = stream.write_all(text.as_bytes()).await;
                    continue;
                }
                _ if method == "HEAD" => "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nx-upstream: 1\r\ncontent-length: 4\r\n\r\necho",
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

/// Reads a body strictly: what is not framed as it should be ends the connection.
async fn body(stream: &mut TcpStream, read: &mut Vec<u8>, seen: &Seen) -> Option<Vec<u8>> {
    let lengths = seen.header("content-length");
    let codings = seen.header("transfer-encoding");
    assert!(
        lengths.len() + codings.len() <= 1,
        "two framings: {}",
        seen.head
    );
    if let Some(length) = lengths.first() {
        let length: usize = length.parse().expect("a length");
        while read.len() < length {
            if !matches!(stream.read_buf(read).await, Ok(1..)) {
                return None;
            }
        }
        return Some(read.drain(..length).collect());
    }
    if codings.is_empty() {
        return Some(Vec::new());
    }
    assert_eq!(codings, ["chunked"]);
    let mut body = Vec::new();
    loop {
        while find(read, b"\r\n").is_none() {
            if !matches!(stream.read_buf(read).await, Ok(1..)) {
                return None;
            }
        }
        let line = find(read, b"\r\n").expect("a line");
        let size = std::str::from_utf8(&read[..line])
            .ok()
            .and_then(|l| usize::from_str_radix(l, 16).ok())
            .expect("a size");
        while read.len() < line + 2 + size + 2 {
            if !matches!(stream.read_buf(read).await, Ok(1..)) {
                return None;
            }
        }
        body.extend_from_slice(&read[line + 2..line + 2 + size]);
        read.drain(..line + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}
