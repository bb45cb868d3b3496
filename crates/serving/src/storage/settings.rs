//! Where storage may look, and what a fetch may cost.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resources::Cluster;

/// Settings of [`Storage`](crate::Storage).
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// Prefixes that are served from elsewhere; the longest that fits is used,
    /// once.
    pub mirrors: Vec<Mirror>,
    /// Folders that stand for volume claims, by `namespace/claim`.
    pub claims: BTreeMap<String, PathBuf>,
    /// Folder that holds `namespace/claim` for every claim not in `claims`.
    pub claim_root: Option<PathBuf>,
    /// Folder that `file://` and plain paths may not leave; `None` allows all.
    pub file_root: Option<PathBuf>,
    /// Bytes of one file.
    pub max_bytes: u64,
    /// Time of one fetch, from the first step to the last byte.
    pub timeout: Duration,
    /// Proxy for `http(s)://`, `gs://` and `s3://`.
    pub proxy: Option<url::Url>,
    /// Google's and Amazon's stores, or what speaks their language.
    pub objects: ObjectStoreSettings,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            claims: BTreeMap::new(),
            claim_root: None,
            file_root: None,
            max_bytes: 2 << 30,
            timeout: Duration::from_secs(600),
            proxy: None,
            objects: ObjectStoreSettings::default(),
        }
    }
}

/// A prefix that is served from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// URI prefix, such as `gs://kfserving-examples/`. It ends at a `/` of the
    /// URI, whether written or not.
    pub prefix: String,
    /// What stands in for it.
    pub target: Target,
}

/// What stands in for a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A folder on disk.
    Folder(PathBuf),
    /// Another URI prefix.
    Url(String),
}

/// Object stores. Without credentials requests are anonymous.
#[derive(Clone, Debug, Default)]
pub struct ObjectStoreSettings {
    /// Endpoint in place of Google's.
    pub gs_endpoint: Option<url::Url>,
    /// Endpoint in place of Amazon's, such as a MinIO.
    pub s3_endpoint: Option<url::Url>,
    /// Region; `us-east-1` if absent.
    pub s3_region: Option<String>,
    /// Who asks.
    pub s3_credentials: Option<S3Credentials>,
}

/// An access key. Its secret does not print.
#[derive(Clone)]
pub struct S3Credentials {
    /// Identifier of the key.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Mirror {
    /// The mirrors of the cluster's Sidegate object. A target without a scheme
    /// is a folder, relative to the file of the object.
    pub fn from_cluster(cluster: &Cluster) -> Vec<Self> {
        let Some(object) = &cluster.sidegate else {
            return Vec::new();
        };
        let base = Path::new(&*object.source.file)
            .parent()
            .unwrap_or(Path::new(""));
        object
            .spec
            .storage
            .mirrors
            .iter()
            .map(|mirror| Self {
                prefix: mirror.from.clone(),
                target: if mirror.to.contains("://") {
                    Target::Url(mirror.to.clone())
                } else {
                    Target::Folder(base.join(&mirror.to))
                },
            })
            .collect()
    }
}
