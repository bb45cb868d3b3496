//! Answers that come bit by bit, and connections that become others: Envoy asks before they begin and never again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testkit::Socket;

use super::peers::{ECHO, EVENTS};
use super::rows::{DASHBOARD, Gate, MODEL, Rows};

const TIMEOUT: Duration = Duration::from_secs(20);

impl Rows {
    /// Streams of events of a model and WebSockets of a notebook, with the session that they need.
    pub(super) fn streams(&mut self) -> Result<()> {
        let session = self.session()?;
        let cookie = format!("Cookie: {session}\r\n");
        for (what, gate, host, more) in [
            ("a model's events", Gate::Local, MODEL, ""),
            ("the platform's events", Gate::External, DASHBOARD, &*cookie),
        ] {
            let wrong = self.events(gate, host, more);
            self.count(wrong.err().map(|error| format!("{what}: {error:#}")));
        }
        for (what, host, more) in [
            ("a notebook's socket", DASHBOARD, &*cookie),
            ("another team's socket", "shop.example.com", ""),
        ] {
            let wrong = self.socket(host, more);
            self.count(wrong.err().map(|error| format!("{what}: {error:#}")));
        }
        let wrong = self.socket(DASHBOARD, "");
        self.count(
            wrong
                .is_ok()
                .then(|| "a socket without a session".to_owned()),
        );
        Ok(())
    }

    /// The first event arrives while the second is not sent yet.
    fn events(&self, gate: Gate, host: &str, more: &str) -> Result<()> {
        let to = match gate {
            Gate::External | Gate::Verifier => self.mesh.external,
            Gate::Local => self.mesh.local,
        };
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(
            stream,
            "GET {EVENTS} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{more}\r\n"
        )?;
        let mut seen = Vec::new();
        until(&mut stream, &mut seen, "data: 1")?;
        if String::from_utf8_lossy(&seen).contains("data: 2") {
            bail!("the second event came with the first");
        }
        self.mesh.peers.next_event();
        until(&mut stream, &mut seen, "data: 2")
    }

    /// What is said on a WebSocket is said back.
    fn socket(&self, host: &str, more: &str) -> Result<()> {
        let mut socket = Socket::connect(&self.mesh.external.to_string())?;
        socket.send(format!(
            "GET {ECHO} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        ))?;
        let answer = socket.response()?.context("no answer")?;
        if answer.status() != Some(101) {
            bail!("{} {}", answer.start, answer.text());
        }
        let said = b"\x81\x85\x00\x00\x00\x00hello";
        socket.send(said)?;
        if socket.bytes(said.len())? != said {
            bail!("something else is said back");
        }
        Ok(())
    }
}

fn until(stream: &mut TcpStream, seen: &mut Vec<u8>, text: &str) -> Result<()> {
    while !String::from_utf8_lossy(seen).contains(text) {
        let mut buffer = [0; 4096];
        let count = stream
            .read(&mut buffer)
            .with_context(|| format!("waiting for `{text}`"))?;
        if count == 0 {
            bail!("it ends before `{text}`: {}", String::from_utf8_lossy(seen));
        }
        seen.extend(buffer.iter().take(count));
    }
    Ok(())
}
