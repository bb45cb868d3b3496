//! A server that stands behind the gateway and remembers what reached it.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Message, Protocol};

const DEADLINE: Duration = Duration::from_secs(20);

/// A recording upstream. It answers 200 with a JSON echo of the request
/// (`upstream`, `method`, `target`, `headers`, `body`), or what
/// [`Upstream::answer`] set; it agrees to every `Upgrade` and then echoes bytes.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    seen: Mutex<Vec<Message>>,
    more: Condvar,
    answer: Mutex<Option<Vec<u8>>>,
    stopped: AtomicBool,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start(name: &str) -> Result<Self, Error> {
        let listener =
            TcpListener::bind("127.0.0.1:0").map_err(Error::io("binding an upstream"))?;
        let address = listener
            .local_addr()
            .map_err(Error::io("binding an upstream"))?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            seen: Mutex::default(),
            more: Condvar::new(),
            answer: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                if let Ok(connection) = connection {
                    std::thread::spawn(move || shared.serve(connection));
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on answers with exactly these bytes.
    pub fn answer(&self, wire: impl Into<Vec<u8>>) {
        *self
            .shared
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(wire.into());
    }

    /// Every request so far, in the order of their ends.
    pub fn requests(&self) -> Vec<Message> {
        self.shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until there were so many requests.
    ///
    /// # Errors
    /// There are fewer after 20 seconds.
    pub fn wait_for(&self, count: usize) -> Result<Vec<Message>, Error> {
        let seen = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (seen, waited) = self
            .shared
            .more
            .wait_timeout_while(seen, DEADLINE, |seen| seen.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Error::Deadline {
                what: format!("request {count} to upstream {}", self.shared.name),
                seconds: DEADLINE.as_secs(),
                seen: format!("{seen:?}"),
            });
        }
        Ok(seen.clone())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread; if that fails it is gone already.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// Answers requests until the connection ends, in order or not.
    fn serve(&self, connection: TcpStream) {
        let Ok(writer) = connection.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(connection);
        let mut writer = writer;
        while let Ok(Some(request)) = Message::read(&mut reader, Protocol::Request) {
            let upgrade = request.header("upgrade").map(str::to_owned);
            let close = request
                .header("connection")
                .is_some_and(|c| c.eq_ignore_ascii_case("close"));
            let answer = self.answer_to(&request);
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request);
            self.more.notify_all();
            if let Some(protocol) = upgrade {
                let _ = echo(&mut reader, &mut writer, &protocol);
                return;
            }
            if writer.write_all(&answer).is_err() || close {
                return;
            }
        }
    }

    fn answer_to(&self, request: &Message) -> Vec<u8> {
        if let Some(wire) = &*self.answer.lock().unwrap_or_else(PoisonError::into_inner) {
            return wire.clone();
        }
        let body = serde_json::json!({
            "upstream": self.name,
            "method": request.method(),
            "target": request.target(),
            "headers": request.headers,
            "body": request.text(),
        })
        .to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-upstream: {}\r\n\r\n",
            body.len(),
            self.name
        );
        let body = if request.method() == "HEAD" {
            String::new()
        } else {
            body
        };
        [head, body].concat().into_bytes()
    }
}

fn echo(reader: &mut impl Read, writer: &mut impl Write, protocol: &str) -> std::io::Result<()> {
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
    )?;
    let mut buffer = [0; 4096];
    loop {
        let read = reader.read(&mut buffer)?;
        match buffer.get(..read) {
            Some(bytes @ [_, ..]) => writer.write_all(bytes)?,
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Socket, curl};

    #[test]
    fn requests_are_echoed_and_remembered() {
        let upstream = Upstream::start("notebook").unwrap();
        let url = format!("http://{}/a%2fb?c", upstream.address());
        let answer = curl([url.as_str(), "-d", "x=1", "-H", "X-One: 1"]).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("X-Upstream"), Some("notebook"));
        let echo: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (&echo["method"], &echo["target"], &echo["body"]),
            (&"POST".into(), &"/a%2fb?c".into(), &"x=1".into())
        );
        let seen = upstream.wait_for(1).unwrap();
        assert_eq!(seen[0].header("x-one"), Some("1"));
        upstream.answer("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n");
        let answer = curl([url]).unwrap();
        assert_eq!(
            (answer.status, answer.header("location")),
            (302, Some("/x"))
        );
    }

    #[test]
    fn connections_are_kept_and_upgraded() {
        let upstream = Upstream::start("ws").unwrap();
        let mut socket = Socket::connect(&format!("http://{}/", upstream.address())).unwrap();
        socket.send("HEAD /1 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(
            socket.response_to_head().unwrap().unwrap().status(),
            Some(200)
        );
        socket
            .send("GET /2 HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n")
            .unwrap();
        assert_eq!(socket.response().unwrap().unwrap().status(), Some(101));
        socket.send("hello").unwrap();
        assert_eq!(socket.bytes(5).unwrap(), b"hello");
        assert!(socket.finish().unwrap().rest().unwrap().is_empty());
        assert_eq!(upstream.requests().len(), 2);
    }

    #[test]
    fn no_server_is_an_error_of_curl() {
        let upstream = Upstream::start("gone").unwrap();
        let address = upstream.address();
        drop(upstream);
        let error = curl([format!("http://{address}/")]).unwrap_err();
        assert!(
            matches!(error, Error::Curl { .. } | Error::Message { .. }),
            "{error}"
        );
    }
}
