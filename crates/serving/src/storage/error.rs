//! Why there is no model file.

use std::time::Duration;

use thiserror::Error;

use crate::format::NoChoice;

/// Why there is no model file. URIs in it carry no query and no password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum StorageError {
    #[error(
        "storageUri `{uri}` is not supported: expected `gs://`, `s3://`, `pvc://`, `file://`, \
         `http://`, `https://` or an absolute path"
    )]
    Scheme { uri: String },
    #[error("storageUri `{uri}` is not well formed: {what}")]
    Uri { uri: String, what: String },
    #[error("storageUri `{uri}` leaves its folder: expected no `..` and no link to elsewhere")]
    Outside { uri: String },
    #[error("storageUri `{uri}` names claim `{claim}`, and no folder stands for it here")]
    Claim { uri: String, claim: String },
    #[error(
        "`{name}` of `{uri}` is an archive, which is not unpacked: name the model file or its folder"
    )]
    Archive { uri: String, name: String },
    #[error("no model found in `{uri}`: {choice}")]
    Choice { uri: String, choice: String },
    #[error("`{uri}` does not exist")]
    NotFound { uri: String },
    #[error("access to `{uri}` is denied: {what}")]
    Denied { uri: String, what: String },
    #[error("`{uri}` is larger than the limit of {limit} bytes")]
    TooLarge { uri: String, limit: u64 },
    #[error("`{uri}` has more than {limit} files: name the model file itself")]
    TooMany { uri: String, limit: usize },
    #[error("`{uri}` was not fetched within {} seconds", .after.as_secs())]
    Timeout { uri: String, after: Duration },
    #[error("`{uri}` could not be read: {what}")]
    Read { uri: String, what: String },
}

impl StorageError {
    pub(crate) fn choice(uri: &str, choice: NoChoice) -> Self {
        Self::Choice {
            uri: uri.to_owned(),
            choice: choice.to_string(),
        }
    }

    pub(crate) fn io(uri: &str, error: &std::io::Error) -> Self {
        let uri = uri.to_owned();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound { uri },
            std::io::ErrorKind::PermissionDenied => Self::Denied {
                uri,
                what: "the file system refuses it".into(),
            },
            _ => Self::Read {
                uri,
                what: error.to_string(),
            },
        }
    }

    /// Whether waiting may help without any change of configuration.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::Scheme { .. }
                | Self::Uri { .. }
                | Self::Outside { .. }
                | Self::Claim { .. }
                | Self::Archive { .. }
        )
    }
}
