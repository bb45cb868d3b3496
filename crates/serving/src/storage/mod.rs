//! Model files from where InferenceServices say they are.
//!
//! A `storageUri` becomes one [`ModelFile`] in memory: mirrors are applied
//! first, a folder or bucket prefix is searched for the file of the format, and
//! neither size nor time is left to the other side.

mod error;
mod folder;
mod http;
mod location;
mod object;
mod settings;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use tokio::sync::OnceCell;

pub use error::StorageError;
pub use folder::model_in;
pub use settings::{Mirror, ObjectStoreSettings, S3Credentials, StorageSettings, Target};

use crate::Format;
use location::Location;

/// A model file in memory.
#[derive(Clone)]
pub struct ModelFile {
    /// Its name, without a folder.
    pub name: String,
    /// What it holds.
    pub bytes: Bytes,
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelFile({}, {} bytes)", self.name, self.bytes.len())
    }
}

/// Reads model files.
#[derive(Debug)]
pub struct Storage {
    settings: StorageSettings,
    client: OnceCell<reqwest::Client>,
}

impl Storage {
    /// Storage with these settings. Nothing is opened yet.
    pub fn new(settings: StorageSettings) -> Self {
        Self {
            settings,
            client: OnceCell::new(),
        }
    }

    /// The model file of that format behind a `storageUri` that an object of
    /// `namespace` names.
    ///
    /// # Errors
    /// Every reason why there is no such file within the limits of the
    /// settings. URIs in messages carry no query and no password.
    pub async fn fetch(
        &self,
        namespace: &str,
        uri: &str,
        format: Format,
    ) -> Result<ModelFile, StorageError> {
        let shown = location::shown(uri);
        let location = Location::resolve(uri, namespace, &self.settings)?;
        if let Some(name) = location.file_name().filter(|name| is_archive(name)) {
            return Err(StorageError::Archive {
                uri: shown,
                name: name.to_owned(),
            });
        }
        let limit = self.settings.max_bytes;
        let fetching = async {
            match location {
                Location::Folder { path, root } => {
                    folder::read(&shown, path, root, format, limit).await
                }
                Location::Http(url) => {
                    http::read(&shown, self.client().await?, url, format, limit).await
                }
                Location::Bucket { store, key } => {
                    let client = self.client().await?;
                    object::read(&shown, client, (&store, &key), format, &self.settings).await
                }
            }
        };
        match tokio::time::timeout(self.settings.timeout, fetching).await {
            Ok(result) => result,
            Err(_) => Err(StorageError::Timeout {
                uri: location::shown(uri),
                after: self.settings.timeout,
            }),
        }
    }

    /// Made when it is first needed: it reads the system's certificates.
    async fn client(&self) -> Result<&reqwest::Client, StorageError> {
        self.client
            .get_or_try_init(|| async { http::client(&self.settings) })
            .await
    }
}

/// KServe's storage initializer unpacks these; here the model itself has to be
/// named.
fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"]
        .iter()
        .any(|ending| name.ends_with(ending))
}
