//! `cargo xtask bench`: one question, put to us and to KServe's Python server
//! on the same machine in one run.

pub(crate) mod authz;
mod change;
mod growth;
pub(crate) mod load;
pub(crate) mod models;
pub(crate) mod provider;
mod report;
mod server;
pub(crate) mod solvers;
pub(crate) mod verify;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{cache, shell};
use load::{Load, Request};
use server::Server;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Enough for figures to write down.
    Full,
    /// Enough to see that it works; nothing is written.
    Quick,
}

/// Starts per server; the median counts.
const STARTS: usize = 5;
pub(crate) const CONNECTIONS: usize = 16;
const HOST: &str = "sklearn-iris.kserve-test.svc.cluster.local";
const PATH: &str = "/v1/models/sklearn-iris:predict";
const BODY: &[u8] = br#"{"instances":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}"#;
const ANSWER: &[u8] = br#"{"predictions":[1,1]}"#;

/// What was measured of one server.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) start: Duration,
    pub(crate) idle_kib: u64,
    pub(crate) loaded_kib: u64,
    pub(crate) load: Load,
}

/// Measures, prints the table and, in full length, writes it down.
pub(crate) fn run(length: Length) -> Result<()> {
    let peers = shell::root().join("xtask/peers");
    let python = cache::python("peer-kserve", &peers.join("requirements.txt"))?;
    shell::run(shell::cargo().args(["build", "--release", "--package", "sidegate"]))?;
    let scratch = Scratch::new()?;
    let script = peers.join("sklearn_server.py");
    let model = scratch.path().join("model.joblib");
    shell::run(
        Command::new(&python)
            .arg(&script)
            .arg("--train")
            .arg("--model_file")
            .arg(&model),
    )?;

    let request = Request {
        host: HOST,
        path: PATH,
        headers: load::JSON,
        body: BODY,
        ending: ANSWER,
    };
    let ours = measure(
        "Sidegate, cluster-local listener, policy on",
        length,
        &request,
        |port| sidegate(&scratch, port),
    )?;
    let theirs = measure(
        "KServe's Python server (one process)",
        length,
        &request,
        |port| {
            let mut command = Command::new(&python);
            command
                .arg(&script)
                .arg("--model_file")
                .arg(&model)
                .args(["--model_name", "sklearn-iris", "--enable_grpc", "false"])
                .args(["--http_port", &port.to_string()]);
            Ok(command)
        },
    )?;
    let change = change::measure(&scratch, length)?;
    let table = report::table(
        &[ours, theirs],
        &change,
        &report::Machine::this(&python, "kserve scikit-learn"),
    );
    println!("{table}");
    match length {
        Length::Full => report::write(&shell::root().join("docs/benchmarks.md"), &table),
        Length::Quick => Ok(()),
    }
}

/// The command that serves the example with its cluster-local listener on that
/// port.
fn sidegate(scratch: &Scratch, port: u16) -> Result<Command> {
    let mut command = program();
    command.args([
        "up",
        "--example",
        "seed",
        "--external",
        "127.0.0.1:0",
        "--local",
    ]);
    command
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data")
        .arg(scratch.path().join("data"));
    Ok(command)
}

/// The released program.
fn program() -> Command {
    Command::new(shell::target().join("release/sidegate"))
}

fn measure(
    name: &'static str,
    length: Length,
    request: &Request<'_>,
    command: impl Fn(u16) -> Result<Command>,
) -> Result<Figures> {
    eprintln!("measuring: {name}");
    let (server, start) = started(&command, request)?;
    let idle_kib = server.resident_kib()?;
    let seconds = if length == Length::Full { 10 } else { 2 };
    load::run(server.port, request, CONNECTIONS, Duration::from_secs(2))?;
    let load = load::run(
        server.port,
        request,
        CONNECTIONS,
        Duration::from_secs(seconds),
    )?;
    let loaded_kib = server.resident_kib()?;
    Ok(Figures {
        name,
        start,
        idle_kib,
        loaded_kib,
        load,
    })
}

/// A server that was started several times, and the median time to its first answer.
fn started(
    command: &impl Fn(u16) -> Result<Command>,
    request: &Request<'_>,
) -> Result<(Server, Duration)> {
    let mut starts = Vec::new();
    for _ in 1..STARTS {
        starts.push(Server::start(command, request)?.first_answer);
    }
    let server = Server::start(command, request)?;
    starts.push(server.first_answer);
    starts.sort_unstable();
    let start = starts.get(starts.len() / 2).copied();
    Ok((server, start.context("no start was measured")?))
}

/// A folder for one run, removed at its end.
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let folder = cache::folder("bench")?.join(std::process::id().to_string());
        if folder.exists() {
            bail!(
                "{} is there already: expected a new folder",
                folder.display()
            );
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in the cache's folder anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
