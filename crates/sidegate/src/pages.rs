//! The size of memory's pages.
//!
//! The allocator asks for huge pages, and every thread begins with some of its own: 8 MB for a server of two threads
//! with a model of a few kilobytes, 14 for an identity provider. Trees of hundreds of megabytes are gone down a seventh faster in huge pages, those
//! of 30 MB no faster.
//!
//! The first of them are there before `main`: a process that does without begins anew, as itself.

use std::path::Path;

/// Bytes of model files from which on huge pages are worth what they take.
const WORTH_IT: u64 = 64 << 20;

/// Folders of models are this deep, with versions.
const DEPTH: u32 = 3;

/// Turns huge pages off for this process if the model files of the folder are small together. Begins the program anew, the
/// same process with the same arguments, unless they were off already: nothing may be open that has to stay.
pub(crate) fn suit(models: &Path) {
    if bytes(models, DEPTH) < WORTH_IT {
        small();
    }
}

/// Turns huge pages off for this process, for one that needs little memory. As [`suit`], it may begin the program anew.
pub(crate) fn small() {
    if let Err(error) = turn_off() {
        tracing::debug!(%error, "huge pages cannot be turned off");
    }
}

/// Returns if they are off from the beginning of the process on, or the process cannot begin anew.
#[cfg(target_os = "linux")]
fn turn_off() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;

    // The setting outlives `execve`, so this comes to an end.
    if rustix::thread::transparent_huge_pages_are_disabled()? {
        return Ok(());
    }
    rustix::thread::disable_transparent_huge_pages(true)?;
    if !rustix::thread::transparent_huge_pages_are_disabled()? {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    Err(again.args(arguments).exec())
}

#[cfg(not(target_os = "linux"))]
fn turn_off() -> std::io::Result<()> {
    Ok(())
}

/// Bytes of the files at a place, `depth` folders deep. What cannot be read counts nothing: reading the models says why.
fn bytes(path: &Path, depth: u32) -> u64 {
    let Ok(data) = std::fs::metadata(path) else {
        return 0;
    };
    if !data.is_dir() {
        return data.len();
    }
    let Some((entries, depth)) = std::fs::read_dir(path).ok().zip(depth.checked_sub(1)) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| bytes(&entry.path(), depth))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_below_the_folder_count() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("iris/1");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(folder.path().join("a"), [0; 3]).unwrap();
        std::fs::write(deep.join("model.joblib"), [0; 4]).unwrap();
        assert_eq!(bytes(folder.path(), DEPTH), 7);
        assert_eq!(bytes(&folder.path().join("a"), DEPTH), 3);
        assert_eq!(bytes(&folder.path().join("missing"), DEPTH), 0);
    }
}
