//! The model server beside those of KServe and MLServer: starts, memory, load.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::trained;
use crate::bench::load::{self, Load, Request};
use crate::bench::server::Server;
use crate::bench::{CONNECTIONS, Length, program, started};
use crate::clients::{Peer, free_port};

/// A server with the iris model.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) name: &'static str,
    pub(super) first_answer: Duration,
    pub(super) resident_kib: u64,
}

/// The same requests to two servers.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) title: &'static str,
    pub(super) peer: &'static str,
    pub(super) ours: Load,
    pub(super) theirs: Load,
    /// How many times the requests are wanted.
    pub(super) times: Option<f64>,
    /// Below which time half of the answers are wanted.
    pub(super) p50: Option<Duration>,
}

/// What was measured of servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) starts: Vec<Start>,
    pub(super) pairs: Vec<Pair>,
}

/// A kind of request, and what is wanted of it.
struct Kind {
    /// In `served.py`.
    name: &'static str,
    title: &'static str,
    peer: Peer,
    times: Option<f64>,
    p50: Option<Duration>,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "v1",
        title: "two rows of iris, SVC, V1",
        peer: Peer::Kserve,
        times: Some(25.0),
        p50: Some(Duration::from_micros(600)),
    },
    Kind {
        name: "forest",
        title: "one row, random forest of 100 trees, V1",
        peer: Peer::Kserve,
        times: Some(50.0),
        p50: None,
    },
    Kind {
        name: "binary",
        title: "1,000 × 100 numbers of single precision, logistic regression, V2 binary",
        peer: Peer::Kserve,
        times: Some(10.0),
        p50: None,
    },
    Kind {
        name: "v2",
        title: "two rows of iris, SVC, V2",
        peer: Peer::Mlserver,
        times: None,
        p50: None,
    },
];

pub(super) fn measure(length: Length) -> Result<Servers> {
    let script = ["served.py", "../requirements.txt"];
    let folder = trained(&Peer::Kserve.python()?, &script, "bench-served")?;
    let text = std::fs::read_to_string(folder.join("requests.json"))?;
    let requests: Value = serde_json::from_str(&text)?;
    let asked = |name: &str| Asked::read(&folder, &requests, name);
    let (one, all) = (folder.join("one"), folder.join("all"));
    let mut starts = Vec::new();
    let v1 = asked("v1")?;
    let v2 = asked("v2")?;
    for (name, peer, request) in [
        ("Sidegate", None, &v1),
        ("KServe", Some(Peer::Kserve), &v1),
        ("MLServer", Some(Peer::Mlserver), &v2),
    ] {
        eprintln!("measuring: starts of {name}");
        let (server, first_answer) = match peer {
            None => started(
                &|port| Ok(sidegate(&one, port, Peer::Kserve)),
                &request.request(),
            )?,
            Some(peer) => started(&|port| command(peer, &one, port), &request.request())?,
        };
        starts.push(Start {
            name,
            first_answer,
            resident_kib: server.resident_kib()?,
        });
    }
    let mut pairs = Vec::new();
    for kind in KINDS {
        eprintln!("measuring: {}", kind.title);
        let peer = kind.peer;
        let asked = asked(kind.name)?;
        let request = asked.request();
        let ours = Server::start(&|port| Ok(sidegate(&all, port, peer)), &request)?;
        let theirs = Server::start(&|port| command(peer, &all, port), &request)?;
        pairs.push(Pair {
            title: kind.title,
            peer: match peer {
                Peer::Kserve => "KServe",
                Peer::Mlserver => "MLServer",
            },
            ours: loaded(&ours, &request, length)?,
            theirs: loaded(&theirs, &request, length)?,
            times: kind.times,
            p50: kind.p50,
        });
    }
    Ok(Servers { starts, pairs })
}

fn loaded(server: &Server, request: &Request<'_>, length: Length) -> Result<Load> {
    let seconds = if length == Length::Full { 6 } else { 2 };
    load::run(server.port, request, CONNECTIONS, Duration::from_secs(1))?;
    let time = Duration::from_secs(seconds);
    load::run(server.port, request, CONNECTIONS, time)
}

fn sidegate(models: &Path, port: u16, peer: Peer) -> Command {
    let mut command = program();
    command
        .args([
            "runtime",
            "--host=127.0.0.1",
            "--grpc_port=0",
            "--metrics_port=0",
        ])
        .arg(format!("--http_port={port}"))
        .arg("--model_dir")
        .arg(models)
        .args(["--compat", peer.word()]);
    command
}

fn command(peer: Peer, models: &Path, port: u16) -> Result<Command> {
    peer.command(models, [port, free_port()?, free_port()?])
}

/// A request that `served.py` wrote.
struct Asked {
    path: String,
    headers: String,
    body: Vec<u8>,
    ending: Vec<u8>,
}

impl Asked {
    fn read(folder: &Path, requests: &Value, name: &str) -> Result<Self> {
        let request = requests.get(name);
        let request = request.with_context(|| format!("there is no request {name}"))?;
        let path = request.get("path").and_then(Value::as_str);
        let headers = request.get("headers").and_then(Value::as_object);
        let (path, headers) = path.zip(headers).context("a request without a head")?;
        let line = |(name, value): (&String, &Value)| {
            format!("{name}: {}\r\n", value.as_str().unwrap_or_default())
        };
        let file = |ending: &str| -> PathBuf { folder.join(format!("{name}.{ending}")) };
        Ok(Self {
            path: path.to_owned(),
            headers: headers.iter().map(line).collect(),
            body: std::fs::read(file("body"))?,
            ending: std::fs::read(file("ending"))?,
        })
    }

    fn request(&self) -> Request<'_> {
        Request {
            host: "localhost",
            path: &self.path,
            headers: &self.headers,
            body: &self.body,
            ending: &self.ending,
        }
    }
}
