//! Keys on disk: mode 0600, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::random::{NoRandomness, random};

/// No key file is larger.
const MAX_BYTES: u64 = 64 * 1024;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Reading or writing failed.
    #[error("key file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content is not a key.
    #[error("key file `{path}` is not usable: {why}; move it away to have a new key made")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        why: &'static str,
    },
    /// A new key could not be made.
    #[error("no new key for `{path}`: {source}")]
    Randomness {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NoRandomness,
    },
}

impl KeyFileError {
    pub(crate) fn content(path: &Path, why: &'static str) -> Self {
        Self::Content {
            path: path.to_owned(),
            why,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// The file's content; if there is no such file, what `make` gives, once it is
/// safely on disk.
pub(crate) fn read_or_create(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, NoRandomness>,
) -> Result<Vec<u8>, KeyFileError> {
    match read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let randomness = |source| KeyFileError::Randomness {
                path: path.to_owned(),
                source,
            };
            let suffix = u64::from_ne_bytes(random().map_err(randomness)?);
            let temporary = path.with_extension(format!("{suffix:016x}.tmp"));
            let bytes = make().map_err(randomness)?;
            let written = write_new(path, &temporary, &bytes);
            // Linked under its name by now, or of no use.
            drop(fs::remove_file(&temporary));
            written
                .and_then(|()| read(path))
                .map_err(|source| KeyFileError::io(path, source))
        }
        Err(source) => Err(KeyFileError::io(path, source)),
    }
}

/// 32 random bytes that stay the same from now on.
pub(crate) fn symmetric(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let bytes = read_or_create(path, || random::<32>().map(Vec::from))?;
    bytes
        .try_into()
        .map_err(|_| KeyFileError::content(path, "expected exactly 32 bytes"))
}

/// The file's content.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "key file is readable by others, expected mode 0600");
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Temporary file, fsync, link, fsync of the folder: after a crash there is
/// either no key or a whole one. A link, unlike a rename, replaces nothing: of
/// two programs that make a key at once both use the first.
fn write_new(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match fs::hard_link(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/login.key");
        let first = symmetric(&path).unwrap();
        assert_eq!(symmetric(&path).unwrap(), first);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn programs_that_make_a_key_at_once_use_the_same() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("login.key");
            let start = std::sync::Barrier::new(4);
            let keys: Vec<_> = std::thread::scope(|scope| {
                let make = || {
                    start.wait();
                    symmetric(&path).unwrap()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_crash_before_the_link_leaves_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login.key");
        fs::write(path.with_extension("0123456789abcdef.tmp"), b"half").unwrap();
        let key = symmetric(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), key);
    }

    #[test]
    fn a_truncated_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login.key");
        fs::write(&path, b"short").unwrap();
        let error = symmetric(&path).unwrap_err().to_string();
        assert!(error.contains("expected exactly 32 bytes"), "{error}");
    }
}
