//! The data folder: one running program per folder, found there by the others.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// The data folder, held by this process until it ends.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// What a running program leaves for `exec` and `token` to find.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Process id.
    pub(crate) pid: u32,
    /// Base URL of the external listener.
    pub(crate) external: String,
    /// Base URL of the local listener.
    pub(crate) local: String,
    /// Pods of the configuration, `namespace/name`, with their ServiceAccount.
    pub(crate) pods: Vec<(String, String)>,
    /// ServiceAccounts of the configuration, `namespace/name`.
    pub(crate) service_accounts: Vec<String>,
}

/// Where data lies unless `--data` says otherwise.
pub(crate) fn default_path() -> anyhow::Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("sidegate"))
        .context("no home folder is known; say where data may lie with `--data DIR`")
}

impl Folder {
    /// Creates the folder if needed and takes its lock.
    pub(crate) fn take(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = path.map_or_else(default_path, Ok)?;
        if let Some(folder) = Self::try_take(&path)? {
            return Ok(folder);
        }
        let by = read_running(&path)
            .map(|running| format!(" (process {})", running.pid))
            .unwrap_or_default();
        bail!(
            "data folder `{}` is in use by another sidegate{by}; stop it, or choose another folder with `--data DIR`",
            path.display()
        )
    }

    /// As [`Self::take`]; `None` when another program has it.
    pub(crate) fn try_take(path: &Path) -> anyhow::Result<Option<Self>> {
        let path = path.to_owned();
        create_private(&path)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("data folder `{}` cannot be written", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path, _lock: lock })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error)
                .with_context(|| format!("data folder `{}` cannot be locked", path.display())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells `exec` and `token` where this program answers.
    pub(crate) fn announce(&self, running: &Running) -> anyhow::Result<()> {
        write_atomically(
            &self.path.join("running.json"),
            &serde_json::to_vec_pretty(running)?,
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The lock says whether the announcement holds; removing it is tidiness.
        drop(fs::remove_file(self.path.join("running.json")));
    }
}

/// The program that runs on a data folder.
pub(crate) fn find_running(path: Option<PathBuf>) -> anyhow::Result<(PathBuf, Running)> {
    let path = path.map_or_else(default_path, Ok)?;
    let none = || {
        format!(
            "no sidegate runs on data folder `{}`; start one with `sidegate up`, or name its folder with `--data DIR`",
            path.display()
        )
    };
    let lock = OpenOptions::new()
        .write(true)
        .open(path.join("lock"))
        .with_context(none)?;
    if lock.try_lock().is_ok() {
        bail!(none());
    }
    let running = read_running(&path).with_context(none)?;
    Ok((path, running))
}

fn read_running(path: &Path) -> anyhow::Result<Running> {
    Ok(serde_json::from_slice(&fs::read(
        path.join("running.json"),
    )?)?)
}

/// Creates a folder that only its owner can read.
pub(crate) fn create_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("data folder `{}` cannot be made", path.display()))
}

/// Replaces a file whole or not at all, whatever happens in between.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let attempt = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().with_context(|| format!("`{}` cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_per_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = || Some(dir.path().to_owned());
        assert!(find_running(path()).is_err());
        let folder = Folder::take(path()).unwrap();
        let running = Running {
            pid: 7,
            external: "e".into(),
            local: "l".into(),
            pods: vec![],
            service_accounts: vec![],
        };
        folder.announce(&running).unwrap();
        assert_eq!(find_running(path()).unwrap().1.pid, 7);
        let refusal = Folder::take(path()).unwrap_err().to_string();
        assert!(
            refusal.contains("in use by another sidegate (process 7)"),
            "{refusal}"
        );
        drop(folder);
        assert!(find_running(path()).is_err());
        Folder::take(path()).unwrap();
    }
}
