//! Reload on change.

use std::path::PathBuf;
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
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| !matches!(event.kind, notify::EventKind::Access(_)));
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
