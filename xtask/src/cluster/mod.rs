//! Kubernetes' API server, built from its sources, and what it says: written down, compared, and asked by `sidegate authz`.

mod api;
mod callers;
mod control;
mod live;
mod random;
mod roles;
mod tokens;
mod webhook;
mod wire;

use anyhow::{Context as _, Result};

use self::control::{Cluster, Settings};

/// The key of ServiceAccount tokens.
const KEY: &str = "first";

const SETTINGS: Settings<'_> = Settings {
    keys: &[KEY],
    flags: &[],
};

/// Asks everything anew and writes it down.
pub(crate) fn record() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), SETTINGS)?;
    let answers = wire::record(&mut cluster, folder.path(), KEY).context("answers")?;
    println!("{answers} answers of the API server");
    drop(cluster);
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), SETTINGS)?;
    let questions = roles::record(&cluster).context("roles")?;
    println!("{questions} questions about who may see a model");
    Ok(())
}

/// Asks everything anew: it is answered as it was. Then `sidegate authz` asks.
pub(crate) fn check() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), SETTINGS)?;
    let answers = wire::compare(&mut cluster, folder.path(), KEY).context("answers")?;
    println!("{answers} answers of the API server, none differs");
    drop(cluster);
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), SETTINGS)?;
    let questions = roles::compare(&cluster).context("roles")?;
    println!("{questions} questions about who may see a model, all answered alike");
    drop(cluster);
    live::run()
}
