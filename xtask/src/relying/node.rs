//! Relying parties of npm.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::Start;

use super::served::{Provider, seed_with};
use super::{folder, script, sidegate};
use crate::clients::free_port;
use crate::{cache, shell};

pub(super) fn openid_client() -> Result<()> {
    let provider = Provider::start("http://127.0.0.1:9")?;
    run("openid_client.mjs", &[&provider.issuer]).map(|_| ())
}

/// With `sidegate up`, as tokens of a cluster are known only there.
pub(super) fn exchange() -> Result<()> {
    let work = tempfile::tempdir().context("making a folder")?;
    let client = "      name: 'Dex Login Application'\n";
    let more = "      tokenExchange:\n      - subject: system:serviceaccount:kserve-test:default\n        user: user@example.com\n";
    let cluster = seed_with(work.path(), client, more)?;
    let program = Start::new(sidegate()).arg(cluster).start()?;
    let token = shell::output(
        Command::new(sidegate())
            .args(["token", "create", "default", "-n", "kserve-test"])
            .env("SIDEGATE_DATA", program.data()),
    );
    if token.is_empty() {
        bail!("no token was made");
    }
    run("exchange.mjs", &[program.external(), &token]).map(|_| ())
}

/// A page of another origin, with Debian's Chromium.
pub(super) fn page() -> Result<()> {
    let chromium = cache::chromium()?;
    let origin = format!("http://127.0.0.1:{}", free_port()?);
    let provider = Provider::start(&origin)?;
    run("page.mjs", &[&provider.issuer, &origin, &chromium]).map(|_| ())
}

/// Runs a script of the folder beside the installed packages; its last line.
pub(super) fn run(name: &str, args: &[&str]) -> Result<String> {
    let modules = cache::node_modules("relying-parties", &folder())?;
    let work = tempfile::tempdir().context("making a folder")?;
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if let (Some("mjs"), Some(file)) = (extension(&path), path.file_name()) {
            std::fs::copy(&path, work.path().join(file))?;
        }
    }
    // Packages are looked for beside the script that names them.
    std::os::unix::fs::symlink(modules, work.path().join("node_modules"))?;
    script(Command::new("node").arg(work.path().join(name)).args(args))
}

fn extension(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}
