//! From a changed file to another answer.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{Connection, JSON, Request};
use super::server::Server;
use super::{BODY, Length, PATH, Scratch, program};
use crate::shell;

const EXAMPLE: &str = "examples/seed";
const MODEL_URI: &str = "gs://kfserving-examples/models/sklearn/1.0/model";
const MODEL: &str = "examples/models/sklearn-iris";
const DEADLINE: Duration = Duration::from_secs(10);

/// Median time from the write of a file to the first answer that follows it:
/// a policy that denies the model to everyone comes and goes.
pub(super) fn measure(scratch: &Scratch, length: Length) -> Result<Duration> {
    eprintln!("measuring: configuration change to effect");
    let cluster = scratch.path().join("cluster");
    copy(&shell::root().join(EXAMPLE), &cluster)?;
    let allowed = Request {
        host: super::HOST,
        path: PATH,
        headers: JSON,
        body: BODY,
        ending: super::ANSWER,
    };
    let server = Server::start(
        &|port| {
            let mut command: Command = program();
            command
                .arg("up")
                .arg(&cluster)
                .args(["--external", "127.0.0.1:0", "--local"]);
            command
                .arg(format!("127.0.0.1:{port}"))
                .arg("--data")
                .arg(scratch.path().join("data-change"))
                .arg("--mirror")
                .arg(format!(
                    "{MODEL_URI}={}",
                    shell::root().join(MODEL).display()
                ));
            Ok(command)
        },
        &allowed,
    )?;
    let policy = cluster.join("zz-bench.yaml");
    let mut times = Vec::new();
    for round in 0..if length == Length::Full { 20 } else { 4 } {
        let text = if round % 2 == 0 { DENY } else { NOTHING };
        // Written elsewhere and moved, as editors and kubelet do.
        let draft = scratch.path().join("draft.yaml");
        std::fs::write(&draft, text)?;
        let begin = Instant::now();
        std::fs::rename(&draft, &policy)?;
        times.push(until(server.port, &allowed, round % 2 != 0, begin)?);
    }
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .context("no change was measured")
}

/// Denies the model on every path, whoever asks.
const DENY: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: zz-bench, namespace: istio-system}
spec:
  action: DENY
  rules:
  - to:
    - operation: {hosts: [\"sklearn-iris.kserve-test.svc.cluster.local\"]}
";

const NOTHING: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: zz-bench, namespace: default}
";

fn until(port: u16, request: &Request<'_>, allowed: bool, begin: Instant) -> Result<Duration> {
    let wire = request.wire();
    let mut connection = Connection::open(port)?;
    while begin.elapsed() < DEADLINE {
        let answer = connection.ask(&wire)?;
        if request.is_right(&answer) == allowed {
            return Ok(begin.elapsed());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    bail!(
        "a changed file had no effect within {} seconds",
        DEADLINE.as_secs()
    )
}

/// The files of a folder, without its folders: those are other examples.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
