//! The peers of the gateway: every upstream and every authorizer in one server.
//!
//! Envoy reaches number n at the address that the translator gave it, so a
//! connection tells by its local address which of them it was meant for.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::grpc;
use super::world::{Arrived, Reply, Sent, is_transport_header, joined};

/// A request head longer than this is cut off.
const MAX_HEAD: usize = 256 * 1024;

/// A request that comes back to the gateway more often goes in circles, which
/// is answered as Sidegate does.
const MAX_ROUNDS: usize = 5;

/// Services that lead back to the gateway, with the address of its listener.
pub(crate) type WaysBack = HashMap<String, SocketAddr>;

/// The server and what it saw.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Envoy's names, by number.
    names: Vec<String>,
    reply: Reply,
    /// Where the client is.
    client: Option<Ipv4Addr>,
    checks: Vec<Arrived>,
    upstream: Option<Arrived>,
    back: WaysBack,
    rounds: usize,
    /// What upstreams show to those who speak TLS to them.
    tls: Option<Arc<ServerConfig>>,
}

/// What becomes of a request that arrived.
enum Next {
    Answer(String),
    /// It goes on to the gateway itself, from the client's address: the
    /// decision does not know the pod's own either.
    Again(SocketAddr, Ipv4Addr),
}

impl Peers {
    pub(crate) fn start() -> Result<Self> {
        // All of 127.0.0.0/8 has to reach it; others are turned away below.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
            .context("opening a port for the upstreams")?;
        let peers = Self {
            port: listener.local_addr()?.port(),
            state: Arc::default(),
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

    pub(crate) fn name(&self, names: Vec<String>) {
        self.lock().names = names;
    }

    /// How upstreams answer handshakes from now on.
    pub(crate) fn speak(&self, tls: Arc<ServerConfig>) {
        self.lock().tls = Some(tls);
    }

    /// Services that are the gateway that is asked from now on.
    pub(crate) fn lead_back(&self, back: WaysBack) {
        self.lock().back = back;
    }

    /// Forgets what was seen, and answers checks as this request says from now on.
    pub(crate) fn expect(&self, sent: &Sent) {
        let mut state = self.lock();
        state.reply = sent.checker.clone();
        state.client = Some(sent.source);
        state.rounds = 0;
        state.checks.clear();
        state.upstream = None;
    }

    pub(crate) fn seen(&self) -> (Vec<Arrived>, Option<Arrived>) {
        let mut state = self.lock();
        (std::mem::take(&mut state.checks), state.upstream.take())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) {
        let Ok(SocketAddr::V4(local)) = stream.local_addr() else {
            return;
        };
        if !local.ip().is_loopback() {
            return;
        }
        let [_, _, high, low] = local.ip().octets();
        let number = usize::from(high) * 250 + usize::from(low).saturating_sub(1);
        let _ = stream.set_nodelay(true);
        let name = self.lock().names.get(number).cloned().unwrap_or_default();
        if name.starts_with("grpc|") {
            let peers = self.clone();
            grpc::serve(stream, move |mut arrived| {
                arrived.at = Arrived::service_of(&name);
                let mut state = peers.lock();
                state.checks.push(arrived);
                state.reply.clone()
            });
            return;
        }
        let mut first = [0];
        let handshake = stream.peek(&mut first).is_ok() && first == [HANDSHAKE];
        let tls = self.lock().tls.clone().filter(|_| handshake);
        match tls.map(ServerConnection::new) {
            None => self.answer(number, &mut stream),
            Some(Ok(tls)) => self.answer(number, &mut StreamOwned::new(tls, stream)),
            Some(Err(_)) => {}
        }
    }

    fn answer(&self, number: usize, stream: &mut (impl Read + Write)) {
        let mut rest = Vec::new();
        while let Some(head) = read_head(stream, &mut rest) {
            let Some((arrived, length)) = parse(&head) else {
                return;
            };
            if !skip(stream, &mut rest, length) {
                return;
            }
            let answer = match self.record(number, arrived) {
                Next::Answer(answer) => answer,
                Next::Again(gateway, client) => match relay(client, gateway, &head) {
                    Some(answer) => answer,
                    None => return,
                },
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn record(&self, number: usize, mut arrived: Arrived) -> Next {
        let mut state = self.lock();
        let name = state.names.get(number).cloned().unwrap_or_default();
        arrived.at = Arrived::service_of(&name);
        if !name.starts_with("check|") {
            if let Some(gateway) = state.back.get(&arrived.at).copied() {
                state.rounds += 1;
                return if state.rounds > MAX_ROUNDS {
                    Next::Answer("HTTP/1.1 508 Loop\r\ncontent-length: 0\r\n\r\n".into())
                } else {
                    let client = state.client.unwrap_or(Ipv4Addr::LOCALHOST);
                    Next::Again(gateway, client)
                };
            }
            state.upstream = Some(arrived);
            return Next::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into());
        }
        state.checks.push(arrived);
        let mut answer = format!("HTTP/1.1 {} Answer\r\n", state.reply.status);
        for (name, value) in &state.reply.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if state.reply.status != 204 {
            answer.push_str("content-length: 0\r\n");
        }
        Next::Answer(answer + "\r\n")
    }
}

/// Sends a head on as it came; the head of the answer. No request has a body.
fn relay(client: Ipv4Addr, gateway: SocketAddr, head: &str) -> Option<String> {
    let mut stream = super::envoy::connect(client, gateway)?;
    stream.set_read_timeout(Some(super::envoy::ANSWER)).ok()?;
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .ok()?;
    let answer = read_head(&mut stream, &mut Vec::new())?;
    let mut lines = answer.split("\r\n");
    let mut passed = format!("{}\r\n", lines.next()?);
    let framing =
        |name: &str| matches!(name, "content-length" | "transfer-encoding" | "connection");
    for (name, value) in lines.filter_map(header).filter(|(name, _)| !framing(name)) {
        passed.push_str(&format!("{name}: {value}\r\n"));
    }
    Some(passed + "content-length: 0\r\n\r\n")
}

/// What a TLS handshake begins with, and no head.
const HANDSHAKE: u8 = 0x16;

/// A head up to its empty line; what follows stays in `rest`.
pub(crate) fn read_head(stream: &mut impl Read, rest: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(rest.get(..end)?).into_owned();
            rest.drain(..end + 4);
            return Some(head);
        }
        // A TLS handshake that nobody ended on the way waits for an answer.
        let handshake = rest.first() == Some(&HANDSHAKE);
        if handshake || rest.len() > MAX_HEAD || !more(stream, rest) {
            return None;
        }
    }
}

fn more(stream: &mut impl Read, rest: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8192];
    match stream.read(&mut buffer) {
        Ok(count) if count > 0 => {
            rest.extend(buffer.iter().take(count));
            true
        }
        _ => false,
    }
}

enum Length {
    Known(usize),
    Chunked,
}

fn parse(head: &str) -> Option<(Arrived, Length)> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.splitn(3, ' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut host = String::new();
    let mut length = Length::Known(0);
    let mut headers = Vec::new();
    for (name, value) in lines.filter_map(header) {
        match name.as_str() {
            "host" => host = value,
            "content-length" => length = Length::Known(value.parse().ok()?),
            "transfer-encoding" => length = Length::Chunked,
            name if is_transport_header(name) => {}
            _ => headers.push((name, value)),
        }
    }
    let headers = joined(headers);
    let arrived = Arrived {
        at: String::new(),
        method,
        target,
        host,
        headers,
    };
    Some((arrived, length))
}

/// A header line as lower-case name and trimmed value.
pub(crate) fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn skip(stream: &mut impl Read, rest: &mut Vec<u8>, length: Length) -> bool {
    match length {
        Length::Known(length) => {
            while rest.len() < length {
                if !more(stream, rest) {
                    return false;
                }
            }
            rest.drain(..length);
        }
        Length::Chunked => loop {
            if let Some(end) = rest.windows(5).position(|window| window == b"0\r\n\r\n") {
                rest.drain(..end + 5);
                break;
            }
            if !more(stream, rest) {
                return false;
            }
        },
    }
    true
}
