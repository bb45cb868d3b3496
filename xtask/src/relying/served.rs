//! `sidegate provider` as a process beside a relying party.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{folder, sidegate};
use crate::child::Running;
use crate::clients::free_port;

/// The password of the user in the configurations.
const PASSWORD: &str = "12341234";

/// A running provider.
pub(crate) struct Provider {
    _running: Running,
    /// `http://127.0.0.1:PORT/dex`.
    pub(crate) issuer: String,
    _data: tempfile::TempDir,
}

impl Provider {
    /// Starts it with `dex.yaml` of the relying parties, for a page of that origin.
    pub(super) fn start(origin: &str) -> Result<Self> {
        Self::start_with(origin, "")
    }

    /// With more keys at the end of its configuration.
    pub(super) fn start_with(origin: &str, more: &str) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let issuer = format!("http://{address}/dex");
        let config = std::fs::read_to_string(folder().join("dex.yaml"))?
            .replace("ISSUER", &issuer)
            .replace("ORIGIN", origin)
            .replace("HASH", &hash()?)
            + more;
        Self::serve(&config, &[], &address, issuer)
    }

    /// Starts it with that configuration on that address.
    pub(crate) fn serve(
        config: &str,
        environment: &[(&str, &str)],
        address: &str,
        issuer: String,
    ) -> Result<Self> {
        let program = Command::new(sidegate());
        Self::serve_by(program, config, environment, address, issuer)
    }

    /// The same with another program.
    pub(crate) fn serve_by(
        mut command: Command,
        config: &str,
        environment: &[(&str, &str)],
        address: &str,
        issuer: String,
    ) -> Result<Self> {
        let data = tempfile::tempdir().context("making a folder")?;
        let file = data.path().join("dex.yaml");
        std::fs::write(&file, config)?;
        command
            .args(["provider", "--listen", address, "--config"])
            .arg(&file)
            .arg("--data")
            .arg(data.path().join("data"))
            .envs(environment.iter().copied());
        let at = format!(" on {address}");
        let (running, ()) =
            Running::until_it_says(&mut command, |line| line.contains(&at).then_some(()))?;
        Ok(Self {
            _running: running,
            issuer,
            _data: data,
        })
    }
}

/// A hash of the password, made by the program.
pub(crate) fn hash() -> Result<String> {
    let mut child = Command::new(sidegate())
        .args(["hash-password", "--cost=10"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run sidegate")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(PASSWORD.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("no password was hashed");
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The example `seed` with a change in the configuration of its provider, in a file of that folder.
pub(super) fn seed_with(folder: &Path, before: &str, more: &str) -> Result<std::path::PathBuf> {
    let seed = std::fs::read_to_string(crate::shell::root().join("examples/seed/cluster.yaml"))?;
    if !seed.contains(before) {
        bail!("the example has no `{before}`");
    }
    let file = folder.join("cluster.yaml");
    std::fs::write(&file, seed.replace(before, &format!("{before}{more}")))?;
    Ok(file)
}
