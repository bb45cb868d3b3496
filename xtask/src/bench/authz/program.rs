//! A process under measurement.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::world::World;
use crate::bench::{program, server};
use crate::child::Running;
use crate::clients::free_port;
use crate::http::ask;

/// How long one may take to start.
const START: Duration = Duration::from_secs(60);

/// Clock ticks of a second in `/proc`.
const TICKS: f64 = 100.0;

pub(super) struct Program {
    running: Running,
    /// Where it takes what is measured.
    pub(super) checks: String,
}

impl Program {
    /// The authorizer on that world. What it writes into its log goes nowhere.
    pub(super) fn authz(world: &World, more: &[&str]) -> Result<Self> {
        let checks = format!("127.0.0.1:{}", free_port()?);
        let health = format!("127.0.0.1:{}", free_port()?);
        let mut command = program();
        command
            .args(["authz", "-f"])
            .arg(&world.files)
            .arg("--data")
            .arg(&world.data)
            .args(["--listen", &checks, "--health", &health])
            .args(more)
            .env_remove("RUST_LOG");
        let ready = || {
            let answer = ask(&health, "GET", "/readyz", &[], "");
            answer.is_ok_and(|answer| answer.status == 200)
        };
        Self::start(&mut command, checks, ready).context("sidegate authz")
    }

    /// Any program, when it is ready.
    pub(super) fn start(
        command: &mut Command,
        checks: String,
        ready: impl FnMut() -> bool,
    ) -> Result<Self> {
        let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let mut program = Self::of(running, checks);
        program.running.until(START, ready)?;
        Ok(program)
    }

    /// One that runs.
    pub(super) fn of(running: Running, checks: String) -> Self {
        Self { running, checks }
    }

    /// Seconds of processors that it has used.
    pub(super) fn cpu(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.running.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // Behind the name, which may have spaces: utime and stime are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(") ").context("no name")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("too few")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    pub(super) fn resident_kib(&self) -> Result<u64> {
        server::resident_kib(self.running.id())
    }
}

/// The first line of a file.
pub(super) fn first_line(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().next();
    Ok(line
        .with_context(|| format!("{} is empty", file.display()))?
        .to_owned())
}
