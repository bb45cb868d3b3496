//! `sidegate runtime`, and others that speak V2, as processes beside a test.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Whether a model is ready.
    pub(crate) fn has(&self, name: &str) -> bool {
        let status = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*"])
            .args(["--output", "/dev/null"])
            .arg(format!("http://{}/v2/models/{name}/ready", self.http))
            .status();
        status.is_ok_and(|status| status.success())
    }
}

/// Starts `sidegate runtime` on ports that the system picks, and waits until it answers.
///
/// # Errors
/// It ended early; what it said is in the error.
pub(crate) fn serve(program: &Path, models: &Path, flags: &[&str]) -> Result<Server> {
    let mut child = Command::new(program)
        .args([
            "runtime",
            "--host=127.0.0.1",
            "--http_port=0",
            "--grpc_port=0",
            "--metrics_port=0",
            "--model_dir",
        ])
        .arg(models)
        .args(flags)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let lines = child.stderr.take().context("no standard error")?;
    let mut server = Server {
        child,
        http: String::new(),
        grpc: String::new(),
    };
    let mut lines = BufReader::new(lines).lines();
    let mut told = String::new();
    while server.grpc.is_empty() {
        let Some(line) = lines.next().transpose()? else {
            bail!("the program ended early: {told}");
        };
        let after = |what: &str| {
            line.rsplit_once(what)
                .map(|(_, rest)| rest.trim().to_owned())
        };
        if let Some(address) = after("HTTP on ") {
            server.http = address;
        } else if let Some(address) = after("gRPC on ") {
            server.grpc = address;
        }
        told.push_str(&line);
    }
    // What it tells later is read, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(server)
}
