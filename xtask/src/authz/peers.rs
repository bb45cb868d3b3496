//! Everything behind the gateways: the authorizer, the provider and the gateways themselves are relayed to, any other
//! upstream answers with what arrived, sends events, or says back what is said on a WebSocket.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::oracle::{header, read_head};

/// Where every upstream sends events, the second when it is told to.
pub(super) const EVENTS: &str = "/stream/events";
/// Where it says back what is said.
pub(super) const ECHO: &str = "/stream/echo";

/// What arrived at an upstream.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    /// Host and port of the Service.
    pub(super) at: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
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
            Some(to) => drop(relay(stream, to)),
            None => self.answer(&at, stream),
        }
    }

    fn answer(&self, at: &str, mut stream: TcpStream) {
        let mut rest = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut rest) {
            let mut lines = head.split("\r\n");
            let target = lines.next().and_then(|line| line.split(' ').nth(1));
            let target = target.unwrap_or_default().to_owned();
            let headers: Vec<(String, String)> = lines.filter_map(header).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
            let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
            if !skip(&mut stream, &mut rest, length.unwrap_or(0), chunked) {
                return;
            }
            match &*target {
                EVENTS if self.events(&mut stream).is_ok() => continue,
                EVENTS => return,
                ECHO => {
                    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                    let begun = stream.write_all(agreed.as_bytes()).is_ok();
                    let said = stream.try_clone().ok().filter(|_| begun);
                    drop(said.map(|mut said| std::io::copy(&mut stream, &mut said)));
                    return;
                }
                _ => {}
            }
            let described: Value = headers.iter().map(|(n, v)| json!([n, v])).collect();
            let body = json!({"at": at, "target": target, "headers": described}).to_string();
            self.lock().arrived.push(Arrived {
                at: at.to_owned(),
                target,
                headers,
            });
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
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

fn skip(stream: &mut TcpStream, rest: &mut Vec<u8>, length: usize, chunked: bool) -> bool {
    let whole = |rest: &[u8]| match chunked {
        true => rest
            .windows(5)
            .position(|end| end == b"0\r\n\r\n")
            .map(|at| at + 5),
        false => (rest.len() >= length).then_some(length),
    };
    loop {
        if let Some(end) = whole(rest) {
            rest.drain(..end);
            return true;
        }
        let mut buffer = [0; 8192];
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => rest.extend(buffer.iter().take(count)),
            _ => return false,
        }
    }
}

/// Bytes in both directions until one end is through.
fn relay(near: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let far = TcpStream::connect(to)?;
    far.set_nodelay(true)?;
    let (mut from, mut into) = (near.try_clone()?, far.try_clone()?);
    let there = std::thread::spawn(move || {
        let copied = std::io::copy(&mut from, &mut into);
        drop(into.shutdown(std::net::Shutdown::Write));
        copied
    });
    let (mut from, mut into) = (far, near);
    drop(std::io::copy(&mut from, &mut into));
    drop(into.shutdown(std::net::Shutdown::Both));
    drop(from.shutdown(std::net::Shutdown::Both));
    drop(there.join());
    Ok(())
}
