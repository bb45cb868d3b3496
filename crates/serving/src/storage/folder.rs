//! Files on disk.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{ModelFile, StorageError};
use crate::Format;

/// Names of a folder that are looked at.
const MAX_NAMES: usize = 10_000;

/// Reads the model file at or in `path`, which after all links must be below
/// `root`.
pub(super) async fn read(
    uri: &str,
    path: PathBuf,
    root: Option<PathBuf>,
    format: Format,
    limit: u64,
) -> Result<ModelFile, StorageError> {
    let shown = uri.to_owned();
    tokio::task::spawn_blocking(move || {
        read_blocking(&shown, &path, root.as_deref(), format, limit)
    })
    .await
    .unwrap_or_else(|error| {
        Err(StorageError::Read {
            uri: uri.to_owned(),
            what: error.to_string(),
        })
    })
}

/// The model file at the top level of a folder of this machine, `None` if no name has an ending of the format. Links are
/// followed wherever they lead, as volumes are made of them. Blocks.
///
/// # Errors
/// Several model files, or one that cannot be read within `limit` bytes.
pub fn model_in(
    folder: &Path,
    format: Format,
    limit: u64,
) -> Result<Option<ModelFile>, StorageError> {
    let uri = folder.display().to_string();
    if folder.is_dir() && !names(&uri, folder)?.iter().any(|name| format.accepts(name)) {
        return Ok(None);
    }
    read_blocking(&uri, folder, None, format, limit).map(Some)
}

fn read_blocking(
    uri: &str,
    path: &Path,
    root: Option<&Path>,
    format: Format,
    limit: u64,
) -> Result<ModelFile, StorageError> {
    let io = |error: std::io::Error| StorageError::io(uri, &error);
    let root = root.map(fs::canonicalize).transpose().map_err(io)?;
    let inside = |path: &Path| -> Result<PathBuf, StorageError> {
        let real = fs::canonicalize(path).map_err(io)?;
        match &root {
            Some(root) if !real.starts_with(root) => Err(StorageError::Outside {
                uri: uri.to_owned(),
            }),
            _ => Ok(real),
        }
    };
    let (name, real) = if inside(path)?.is_dir() {
        let name = format
            .choose(names(uri, path)?)
            .map_err(|c| StorageError::choice(uri, c))?;
        let real = inside(&path.join(&name))?;
        (name, real)
    } else {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !format.accepts(&name) {
            return Err(StorageError::choice(uri, format.missing(&[name])));
        }
        (name, inside(path)?)
    };
    let bytes = contents(uri, &real, limit)?;
    Ok(ModelFile {
        name,
        bytes: bytes.into(),
    })
}

/// Names of the top level, folders left out as KServe does not descend.
fn names(uri: &str, folder: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| StorageError::io(uri, &e))? {
        let entry = entry.map_err(|e| StorageError::io(uri, &e))?;
        if names.len() == MAX_NAMES {
            return Err(StorageError::TooMany {
                uri: uri.to_owned(),
                limit: MAX_NAMES,
            });
        }
        if !entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Reads a regular file; anything else (a pipe, a device) could block or never
/// end.
fn contents(uri: &str, path: &Path, limit: u64) -> Result<Vec<u8>, StorageError> {
    let io = |error: std::io::Error| StorageError::io(uri, &error);
    let size = {
        let metadata = fs::metadata(path).map_err(io)?;
        if !metadata.is_file() {
            return Err(StorageError::Read {
                uri: uri.to_owned(),
                what: "expected a regular file".into(),
            });
        }
        metadata.len()
    };
    let too_large = || StorageError::TooLarge {
        uri: uri.to_owned(),
        limit,
    };
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    File::open(path)
        .map_err(io)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read > limit) {
        return Err(too_large());
    }
    Ok(bytes)
}
