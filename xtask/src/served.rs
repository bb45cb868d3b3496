//! `sidegate runtime`, and others that speak V2, as processes beside a test.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::child::Running;

/// A running server.
pub(crate) struct Server {
    _running: Running,
    pub(crate) http: String,
    pub(crate) grpc: String,
}

impl Server {
    /// Of a process that answers at these addresses.
    pub(crate) fn of(running: Running, http: String, grpc: String) -> Self {
        Self {
            _running: running,
            http,
            grpc,
        }
    }

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
    let mut command = Command::new(program);
    command
        .args([
            "runtime",
            "--host=127.0.0.1",
            "--http_port=0",
            "--grpc_port=0",
            "--metrics_port=0",
            "--model_dir",
        ])
        .arg(models)
        .args(flags);
    let mut http = String::new();
    let (running, grpc) = Running::until_it_says(&mut command, |line| {
        let after = |what: &str| {
            line.rsplit_once(what)
                .map(|(_, rest)| rest.trim().to_owned())
        };
        if let Some(address) = after("HTTP on ") {
            http = address;
            return None;
        }
        after("gRPC on ")
    })?;
    Ok(Server::of(running, http, grpc))
}
