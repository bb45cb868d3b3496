//! Reload on change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Editors write a file in several steps; one reload is enough for them.
const QUIET: Duration = Duration::from_millis(25);

/// Calls `changed` after every change of files and folders, for ever.
pub(crate) async fn until_cancelled(
    paths: &[PathBuf],
    changed: impl FnMut(),
) -> anyhow::Result<()> {
    following(|| paths.to_vec(), changed).await
}

/// The same for files that may be others after a change: those that a configuration names.
pub(crate) async fn following(
    paths: impl Fn() -> Vec<PathBuf>,
    mut changed: impl FnMut(),
) -> anyhow::Result<()> {
    let (sender, mut events) = mpsc::channel::<()>(1);
    let about = Arc::new(ArcSwap::from_pointee(paths()));
    let looked_at = Arc::clone(&about);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let about = looked_at.load();
        let matters = event.is_ok_and(|event| {
            !matches!(event.kind, notify::EventKind::Access(_))
                && (event.paths.is_empty() || event.paths.iter().any(|at| concerns(&about, at)))
        });
        if matters {
            // A full channel already says that something changed, a closed one that nobody listens.
            let _ = sender.try_send(());
        }
    })?;
    let mut watched = folders(&about.load());
    for (folder, mode) in &watched {
        watcher.watch(folder, *mode)?;
    }
    if watched.is_empty() {
        std::future::pending::<()>().await;
    }
    while events.recv().await.is_some() {
        while tokio::time::timeout(QUIET, events.recv())
            .await
            .is_ok_and(|event| event.is_some())
        {}
        loop {
            changed();
            let now = paths();
            let wanted = folders(&now);
            about.store(Arc::new(now));
            for folder in watched
                .keys()
                .filter(|folder| !wanted.contains_key(*folder))
            {
                // Gone itself, perhaps.
                let _ = watcher.unwatch(folder);
            }
            let mut more = false;
            for (folder, mode) in &wanted {
                if watched.get(folder) != Some(mode) {
                    match watcher.watch(folder, *mode) {
                        Ok(()) => more = true,
                        Err(error) => tracing::warn!(%error, "changes of a file are not seen"),
                    }
                }
            }
            watched = wanted;
            // What is watched only now may have changed since it was read.
            if !more {
                break;
            }
        }
    }
    Ok(())
}

/// What has to be watched to see changes of these: folders, for editors replace files.
fn folders(paths: &[PathBuf]) -> BTreeMap<PathBuf, RecursiveMode> {
    let mut folders = BTreeMap::new();
    for path in paths.iter().filter(|path| path.as_os_str() != "-") {
        let is_folder = path.is_dir();
        let folder = match path.parent() {
            _ if is_folder => path.as_path(),
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => path.as_path(),
        };
        let mode = folders
            .entry(folder.to_owned())
            .or_insert(RecursiveMode::NonRecursive);
        if is_folder {
            *mode = RecursiveMode::Recursive;
        }
    }
    folders
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

    #[test]
    fn a_file_of_a_watched_folder_leaves_its_folders_below_watched() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        for paths in [
            [at.clone(), at.join("secret")],
            [at.join("secret"), at.clone()],
        ] {
            let found = folders(&paths);
            assert_eq!(
                found,
                BTreeMap::from([(at.clone(), RecursiveMode::Recursive)])
            );
        }
        let here = folders(&[PathBuf::from("a.yaml"), PathBuf::from("-")]);
        assert_eq!(
            here,
            BTreeMap::from([(PathBuf::from("."), RecursiveMode::NonRecursive)])
        );
    }
}
