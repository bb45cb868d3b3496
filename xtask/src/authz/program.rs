//! `sidegate authz` as a process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// The program under test.
pub(super) fn sidegate() -> std::path::PathBuf {
    crate::shell::target().join("debug/sidegate")
}

/// A running authorizer. Dropping it kills it.
pub(crate) struct Authz {
    child: Child,
    pub(crate) checks: SocketAddr,
    pub(crate) health: SocketAddr,
}

impl Drop for Authz {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Authz {
    /// Starts it on a folder of manifests, or fails with what it says.
    pub(crate) fn on(files: &Path, data: &Path, checks: u16, more: &[&str]) -> Result<Self> {
        Self::of(&sidegate(), files, data, checks, more)
    }

    /// The same of another build.
    pub(crate) fn of(
        program: &Path,
        files: &Path,
        data: &Path,
        checks: u16,
        more: &[&str],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["authz", "-f"]).arg(files).args(more);
        Self::start(command, data, checks)
    }

    /// Starts it, or fails with what it says.
    pub(crate) fn start(mut command: Command, data: &Path, checks: u16) -> Result<Self> {
        let mut child = command
            .arg("--data")
            .arg(data)
            .arg(format!("--listen=127.0.0.1:{checks}"))
            .arg("--health=127.0.0.1:0")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run sidegate")?;
        let lines = child.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(lines).lines();
        let (mut at, mut healthy, mut told) = (None, None, String::new());
        while healthy.is_none() {
            let Some(line) = lines.next().transpose()? else {
                bail!("the program ended early: {told}");
            };
            let after = |what: &str| line.strip_prefix(what)?.parse().ok();
            at = at.or_else(|| after("checks on "));
            healthy = after("health on ");
            told.push_str(&line);
        }
        let (Some(checks), Some(health)) = (at, healthy) else {
            bail!("it does not say where it listens: {told}");
        };
        let path = data.with_extension("log");
        std::thread::spawn(move || {
            // Behind what one of before wrote.
            let mut log = std::fs::File::options();
            let mut file = log.create(true).append(true).open(&path).ok();
            for line in lines.map_while(Result::ok) {
                use std::io::Write as _;
                let _ = file.as_mut().map(|file| writeln!(file, "{line}"));
            }
        });
        Ok(Self {
            child,
            checks,
            health,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) -> Result<()> {
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        let ended = self.child.wait()?;
        if !asked.success() || !ended.success() {
            bail!("it ends with {ended}");
        }
        Ok(())
    }
}
