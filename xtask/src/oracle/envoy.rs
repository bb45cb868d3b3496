//! One Envoy that serves the gateways of a batch, and requests sent to it raw.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

use super::peers::{Peers, header, read_head};
use super::tls::Clients;
use super::world::{Observed, Sent, is_transport_header, joined};
use crate::child::{Running, last_words};

const START: Duration = Duration::from_secs(60);
/// Time for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// A running Envoy.
pub(crate) struct Envoy {
    running: Running,
    log: PathBuf,
}

impl Envoy {
    /// Starts it on the files of the folder and waits until it listens.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (config, log, admin) = (
            folder.join("envoy.json"),
            folder.join("envoy.log"),
            folder.join("admin"),
        );
        let _ = std::fs::remove_file(&admin);
        let from = |file: &str| json!({"path_config_source": {"path": folder.join(file)}, "resource_api_version": "V3"});
        let bootstrap = json!({
            "node": {"id": "gateway-under-test", "cluster": "oracle"},
            "admin": {"address": {"pipe": {"path": admin}}},
            "dynamic_resources": {"lds_config": from("lds.pb"), "cds_config": from("cds.pb")},
            "stats_config": {"stats_matcher": {"reject_all": true}},
            // As in Istio's bootstrap (pkg/bootstrap/config.go).
            "layered_runtime": {"layers": [{"name": "istio", "static_layer": {
                "envoy.reloadable_features.http_reject_path_with_fragment": false,
                "re2.max_program_size.error_level": 32768,
            }}]},
        });
        std::fs::write(&config, bootstrap.to_string())?;
        let mut command = Command::new(program);
        command
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "warning", "--log-path"])
            .arg(&log)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Running::start(&mut command)?;
        running
            .until(START, || ready(&admin))
            .with_context(|| format!("Envoy: {}", last_words(&log, 3)))?;
        Ok(Self { running, log })
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.running.is_alive()
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log, 3)
    }

    /// A listener that finds its address taken.
    pub(crate) fn cannot_bind(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.log).ok()?;
        let line = text.lines().find(|line| line.contains("already in use"))?;
        Some(line.chars().take(300).collect())
    }

    /// What it wrote about one listener.
    pub(crate) fn complaint(&self, cluster: usize) -> Option<String> {
        let text = std::fs::read_to_string(&self.log).ok()?;
        let name = format!("{cluster}|");
        let line = text
            .lines()
            .find(|line| line.split([' ', '\'', '"']).any(|w| w.starts_with(&name)))?;
        let said = line.split_once("lds: ").map_or(line, |(_, said)| said);
        Some(said.chars().take(400).collect())
    }
}

fn ready(admin: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(admin) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(ANSWER));
    let asked =
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    asked.is_ok() && stream.read_to_string(&mut text).is_ok() && text.contains("LIVE")
}

/// Sends one request to the gateway at that address.
pub(crate) fn send(peers: &Peers, clients: &Clients, gateway: Ipv4Addr, sent: &Sent) -> Observed {
    peers.expect(sent);
    let head = exchange(clients, gateway, &sent.complete());
    let (checks, upstream) = peers.seen();
    let mut observed = Observed {
        status: None,
        grpc: None,
        location: None,
        headers: Vec::new(),
        checks,
        upstream,
    };
    let Some(head) = head else {
        return observed;
    };
    let mut lines = head.split("\r\n");
    observed.status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    for (name, value) in lines.filter_map(header) {
        if name == "grpc-status" {
            observed.grpc = value.parse().ok();
        } else if name == "location" {
            observed.location = Some(value);
        } else if name.starts_with("x-") && !is_transport_header(&name) {
            observed.headers.push((name, value));
        }
    }
    observed.headers.sort();
    observed.headers = joined(observed.headers);
    observed
}

/// A connection from an address of ours.
pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket
        .bind(&SockAddr::from(SocketAddr::from((from, 0))))
        .ok()?;
    socket.connect(&SockAddr::from(to)).ok()?;
    Some(TcpStream::from(socket))
}

fn exchange(clients: &Clients, gateway: Ipv4Addr, sent: &Sent) -> Option<String> {
    let mut stream = connect(sent.source, SocketAddr::from((gateway, sent.port)))?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    match &sent.tls {
        None => talk(&mut stream, sent),
        Some(tls) => talk(&mut clients.connect(stream, tls).ok()?, sent),
    }
}

fn talk(stream: &mut (impl Read + Write), sent: &Sent) -> Option<String> {
    stream.write_all(wire(sent).as_bytes()).ok()?;
    stream.flush().ok()?;
    read_head(stream, &mut Vec::new())
}

/// The request as bytes.
fn wire(sent: &Sent) -> String {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n",
        sent.method, sent.target, sent.authority
    );
    for (name, value) in &sent.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}
