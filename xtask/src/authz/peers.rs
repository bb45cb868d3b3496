//! Everything behind the gateways: the authorizer, the provider and the gateways themselves are relayed to, any other
//! upstream answers with what arrived, sends events, or says back what is said on a WebSocket.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::pipelines;
use crate::oracle::{header, read_head};

/// Where every upstream sends events, the second when it is told to.
pub(super) const EVENTS: &str = "/stream/events";
/// Where it says back what is said, below any path.
pub(super) const ECHO: &str = "/stream/echo";

/// What arrived at an upstream.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Host and port of the Service.
    pub(super) at: String,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    /// Without the framing of chunks.
    pub(super) body: Vec<u8>,
}

impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            method,
            target,
            headers,
            body,
        } = self;
        let bytes = body.len();
        write!(
            f,
            "{method} {target} with {bytes} bytes at {at}, {headers:?}"
        )
    }
}

impl Arrived {
    /// The values of a header, joined.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let all = self.headers.iter().filter(|(known, _)| known == name);
        let values: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

#[derive(Clone)]
pub(super) struct Peers {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    /// Names of Envoy's clusters, by number.
    names: Vec<String>,
    /// Services that are elsewhere, by `host:port`.
    elsewhere: HashMap<String, SocketAddr>,
    arrived: Vec<Arrived>,
    /// What of those that are elsewhere is written down, and what arrived there.
    watched: Option<String>,
    elsewhere_arrived: Vec<Arrived>,
    /// How many second events may be sent.
    events: usize,
}

impl Peers {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
            .context("opening a port for the upstreams")?;
        let peers = Self {
            port: listener.local_addr()?.port(),
            state: Arc::default(),
            changed: Arc::default(),
        };
        let server = peers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Ok(peers)
    }

    pub(super) fn name(&self, names: Vec<String>) {
        self.lock().names = names;
    }

    pub(super) fn lead(&self, service: impl Into<String>, to: SocketAddr) {
        self.lock().elsewhere.insert(service.into(), to);
    }

    /// From now on what arrives at a Service that is elsewhere is known, too.
    pub(super) fn watch(&self, service: &str) {
        self.lock().watched = Some(service.to_owned());
    }

    /// What arrived there since this was last asked.
    pub(super) fn arrived_elsewhere(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.lock().elsewhere_arrived)
    }

    /// What arrived since this was last asked.
    pub(super) fn arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.lock().arrived)
    }

    /// Lets a second event be sent.
    pub(super) fn next_event(&self) {
        self.lock().events += 1;
        self.changed.notify_all();
    }

    fn events(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}{}", chunk("data: 1\n\n")).as_bytes())?;
        let waiting = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| {
                let waits = state.events == 0;
                state.events = state.events.saturating_sub(1);
                waits
            });
        drop(waiting);
        stream.write_all(format!("{}0\r\n\r\n", chunk("data: 2\n\n")).as_bytes())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(SocketAddr::V4(local)) = stream.local_addr() else {
            return;
        };
        if !local.ip().is_loopback() {
            return;
        }
        let [_, _, high, low] = local.ip().octets();
        let number = usize::from(high) * 250 + usize::from(low).saturating_sub(1);
        let name = self.lock().names.get(number).cloned().unwrap_or_default();
        let at = service_of(&name);
        let elsewhere = self.lock().elsewhere.get(&at).copied();
        let _ = stream.set_nodelay(true);
        match elsewhere {
            Some(to) => {
                let watched = self.lock().watched.as_ref() == Some(&at);
                let mut heads = Heads::default();
                drop(relay(stream, to, |bytes| {
                    if watched {
                        let read = heads.read(&at, bytes);
                        self.lock().elsewhere_arrived.extend(read);
                    }
                }));
            }
            None => self.answer(&at, stream),
        }
    }

    fn answer(&self, at: &str, mut stream: TcpStream) {
        let mut rest = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut rest) {
            let mut lines = head.split("\r\n");
            let mut first = lines.next().unwrap_or_default().split(' ');
            let method = first.next().unwrap_or_default().to_owned();
            let target = first.next().unwrap_or_default().to_owned();
            let headers: Vec<(String, String)> = lines.filter_map(header).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
            let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
            let content = content(&mut stream, &mut rest, length.unwrap_or(0), chunked);
            let Some(content) = content else {
                return;
            };
            match &*target {
                EVENTS if self.events(&mut stream).is_ok() => continue,
                EVENTS => return,
                echo if echo.ends_with(ECHO) => {
                    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                    let begun = stream.write_all(agreed.as_bytes()).is_ok();
                    let said = stream.try_clone().ok().filter(|_| begun);
                    drop(said.map(|mut said| std::io::copy(&mut stream, &mut said)));
                    return;
                }
                _ => {}
            }
            let described: Value = headers.iter().map(|(n, v)| json!([n, v])).collect();
            let known = headers
                .iter()
                .any(|(name, _)| name == "authorization" || name == "kubeflow-userid");
            let (status, body) = match pipelines::answer(&method, &target, known) {
                Some((status, body)) => (status, body),
                None => (
                    200,
                    json!({"at": at, "target": target, "headers": described}),
                ),
            };
            let body = body.to_string();
            self.lock().arrived.push(Arrived {
                at: at.to_owned(),
                method,
                target,
                headers,
                body: content,
            });
            let answer = format!(
                "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// `host:port` of Envoy's cluster `…|outbound|80|subset|host`.
fn service_of(cluster: &str) -> String {
    match cluster.split('|').collect::<Vec<_>>().as_slice() {
        [.., "outbound", port, _, host] => format!("{host}:{port}"),
        _ => cluster.to_owned(),
    }
}

/// The body of a message.
fn content(
    stream: &mut TcpStream,
    rest: &mut Vec<u8>,
    length: usize,
    chunked: bool,
) -> Option<Vec<u8>> {
    if !chunked {
        return taken(stream, rest, length);
    }
    let mut whole = Vec::new();
    loop {
        let line = loop {
            if let Some(end) = rest.windows(2).position(|end| end == b"\r\n") {
                break taken(stream, rest, end + 2)?;
            }
            more(stream, rest)?;
        };
        let line = String::from_utf8(line).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        // With the end of the line behind a chunk, or behind the last one's trailers, of which there are none.
        let mut chunk = taken(stream, rest, size + 2)?;
        chunk.truncate(size);
        if chunk.is_empty() {
            return Some(whole);
        }
        whole.extend(chunk);
    }
}

/// So many bytes, once they are there.
fn taken(stream: &mut TcpStream, rest: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while rest.len() < count {
        more(stream, rest)?;
    }
    Some(rest.drain(..count).collect())
}

fn more(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 8192];
    let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
    rest.extend(buffer.get(..count)?);
    Some(())
}

/// Requests of one connection, as they go by.
#[derive(Default)]
struct Heads {
    rest: Vec<u8>,
    /// What is still to come of a body.
    body: usize,
}

impl Heads {
    fn read(&mut self, at: &str, bytes: &[u8]) -> Vec<Arrived> {
        self.rest.extend(bytes);
        let mut read = Vec::new();
        loop {
            let gone = self.body.min(self.rest.len());
            self.rest.drain(..gone);
            self.body -= gone;
            let end = self.rest.windows(4).position(|end| end == b"\r\n\r\n");
            let Some(end) = end.filter(|_| self.body == 0) else {
                return read;
            };
            let head: Vec<u8> = self.rest.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            let mut lines = head.trim_end().split("\r\n");
            let mut first = lines.next().unwrap_or_default().split(' ');
            let method = first.next().unwrap_or_default().to_owned();
            let target = first.next().unwrap_or_default().to_owned();
            let headers: Vec<(String, String)> = lines.filter_map(header).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            self.body = length
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(0);
            read.push(Arrived {
                at: at.to_owned(),
                method,
                target,
                headers,
                body: Vec::new(),
            });
        }
    }
}

/// Bytes in both directions until one end is through; those that go there are shown.
fn relay(near: TcpStream, to: SocketAddr, mut shown: impl FnMut(&[u8])) -> std::io::Result<()> {
    let far = TcpStream::connect(to)?;
    far.set_nodelay(true)?;
    let (mut back, mut into) = (far.try_clone()?, near.try_clone()?);
    let back = std::thread::spawn(move || {
        drop(std::io::copy(&mut back, &mut into));
        drop(into.shutdown(std::net::Shutdown::Both));
        drop(back.shutdown(std::net::Shutdown::Both));
    });
    let (mut from, mut into) = (near, far);
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer)
        && let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty())
    {
        // Known before it is answered.
        shown(bytes);
        if into.write_all(bytes).is_err() {
            break;
        }
    }
    drop(into.shutdown(std::net::Shutdown::Write));
    drop(back.join());
    Ok(())
}
