//! Reload on change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Editors write a file in several steps; one reload is enough for them.
const QUIET: Duration = Duration::from_millis(25);

/// Calls `changed` after every change of files and folders, for ever.
pub(crate) async fn until_cancelled(
    paths: &[PathBuf],
    mut changed: impl FnMut(),
) -> anyhow::Result<()> {
    let (sender, mut events) = mpsc::channel::<()>(1);
    let about: Vec<PathBuf> = paths.to_vec();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| {
            !matches!(event.kind, notify::EventKind::Access(_))
                && (event.paths.is_empty() || event.paths.iter().any(|at| concerns(&about, at)))
        });
        if matters {
            // A full channel already says that something changed, a closed one that nobody listens.
            let _ = sender.try_send(());
        }
    })?;
    let mut watched = false;
    for path in paths {
        if path.as_os_str() == "-" {
            continue;
        }
        // Editors replace files, so the folder is watched, not the file.
        let folder = if path.is_dir() {
            path.as_path()
        } else {
            path.parent().unwrap_or(path)
        };
        let folder = if folder.as_os_str().is_empty() {
            std::path::Path::new(".")
        } else {
            folder
        };
        watcher.watch(
            folder,
            if path.is_dir() {
                RecursiveMode::Recursive
            } else {
                RecursiveMode::NonRecursive
            },
        )?;
        watched = true;
    }
    if !watched {
        std::future::pending::<()>().await;
    }
    while events.recv().await.is_some() {
        while tokio::time::timeout(QUIET, events.recv())
            .await
            .is_ok_and(|event| event.is_some())
        {}
        changed();
    }
    Ok(())
}

/// Whether a change there can be one of `paths`. Beside a watched file others may change, a log for example that a reload itself
/// writes to.
fn concerns(paths: &[PathBuf], at: &Path) -> bool {
    let name = at.file_name().unwrap_or_default();
    // Kubernetes exchanges the link `..data` that files of a ConfigMap are behind.
    if name.as_encoded_bytes().starts_with(b"..") {
        return true;
    }
    paths
        .iter()
        .any(|path| path.is_dir() || path.file_name() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_beside_a_watched_file_is_no_change() {
        let paths = [PathBuf::from("dex.yaml")];
        for (at, matters) in [
            ("dex.yaml", true),
            ("./dex.yaml", true),
            ("..data", true),
            ("..2026_11_29_20_00_00.1", true),
            ("log", false),
            ("dex.yaml.swp", false),
        ] {
            assert_eq!(concerns(&paths, Path::new(at)), matters, "{at}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(concerns(&[folder.path().to_owned()], Path::new("any")));
    }
}
