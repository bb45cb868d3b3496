//! A server under measurement.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{Connection, Request};
use crate::child::Running;
use crate::clients::free_port;

const DEADLINE: Duration = Duration::from_secs(60);

/// A running server.
pub(super) struct Server {
    running: Running,
    pub(super) port: u16,
    /// From the start of the process to the end of the first right answer.
    pub(super) first_answer: Duration,
}

impl Server {
    /// Starts the command on a free port and asks until the answer is right.
    pub(super) fn start(
        command: &impl Fn(u16) -> Result<Command>,
        request: &Request<'_>,
    ) -> Result<Self> {
        let port = free_port()?;
        let mut command = command(port)?;
        let begin = Instant::now();
        let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let mut server = Self {
            running,
            port,
            first_answer: Duration::ZERO,
        };
        let wire = request.wire();
        loop {
            let answer = Connection::open(port).and_then(|mut c| c.ask(&wire));
            match answer {
                Ok(answer) if request.is_right(&answer) => break,
                Ok(answer) if begin.elapsed() > DEADLINE => bail!(
                    "{command:?} answers {} to {}, expected {}",
                    String::from_utf8_lossy(&answer),
                    request.path,
                    request.expected()
                ),
                Err(error) if begin.elapsed() > DEADLINE => {
                    return Err(error).with_context(|| format!("{command:?} does not answer"));
                }
                _ => {}
            }
            if !server.running.is_alive() {
                bail!("{command:?} ended");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.first_answer = begin.elapsed();
        Ok(server)
    }

    /// Resident memory now, in KiB.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        resident_kib(self.running.id())
    }
}

/// Resident memory of a process now, in KiB.
pub(super) fn resident_kib(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let resident = status.lines().find_map(|line| {
        let size = line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?;
        size.trim().parse().ok()
    });
    resident.with_context(|| format!("{path} has no VmRSS"))
}
