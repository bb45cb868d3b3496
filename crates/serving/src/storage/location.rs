//! From a `storageUri` to a place.

use std::path::{Component, Path, PathBuf};

use url::Url;

use super::StorageError;
use super::settings::{StorageSettings, Target};

/// A place that holds a model file or a folder of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// On disk, and the folder that must not be left.
    Folder {
        path: PathBuf,
        root: Option<PathBuf>,
    },
    /// One file of a web server.
    Http(Url),
    /// An object or prefix of a bucket.
    Bucket { store: Store, key: String },
}

/// Which object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Google { bucket: String },
    S3 { bucket: String },
}

impl Location {
    /// Applies the mirrors, then reads the URI.
    pub(super) fn resolve(
        uri: &str,
        namespace: &str,
        settings: &StorageSettings,
    ) -> Result<Self, StorageError> {
        let mirror = settings
            .mirrors
            .iter()
            .filter_map(|mirror| Some((mirror, below(uri, &mirror.prefix)?)))
            .max_by_key(|(mirror, _)| mirror.prefix.len());
        match mirror {
            None => Self::parse(uri, uri, namespace, settings),
            Some((mirror, rest)) => match &mirror.target {
                Target::Folder(root) => Ok(Self::Folder {
                    path: join(uri, root, rest)?,
                    root: Some(root.clone()),
                }),
                Target::Url(base) => {
                    // A rest that climbs would leave the mirrored prefix once
                    // the URL is normalised.
                    if climbs(rest) {
                        return Err(StorageError::Outside { uri: shown(uri) });
                    }
                    let mirrored = format!("{}/{rest}", base.trim_end_matches('/'));
                    Self::parse(&mirrored, uri, namespace, settings)
                }
            },
        }
    }

    fn parse(
        uri: &str,
        original: &str,
        namespace: &str,
        settings: &StorageSettings,
    ) -> Result<Self, StorageError> {
        if uri.starts_with('/') {
            return Self::file(uri, original, settings);
        }
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Err(StorageError::Scheme {
                uri: shown(original),
            });
        };
        match scheme {
            "file" => Self::file(rest, original, settings),
            "pvc" => Self::claim(rest, original, namespace, settings),
            "gs" => bucket(rest, original).map(|(bucket, key)| Self::Bucket {
                store: Store::Google { bucket },
                key,
            }),
            "s3" => bucket(rest, original).map(|(bucket, key)| Self::Bucket {
                store: Store::S3 { bucket },
                key,
            }),
            "http" | "https" => {
                Url::parse(uri)
                    .map(Self::Http)
                    .map_err(|error| StorageError::Uri {
                        uri: shown(original),
                        what: error.to_string(),
                    })
            }
            _ => Err(StorageError::Scheme {
                uri: shown(original),
            }),
        }
    }

    fn file(path: &str, original: &str, settings: &StorageSettings) -> Result<Self, StorageError> {
        if path.contains('\0') || climbs(path) {
            return Err(StorageError::Outside {
                uri: shown(original),
            });
        }
        Ok(Self::Folder {
            path: PathBuf::from(path),
            root: settings.file_root.clone(),
        })
    }

    /// `pvc://claim/path`; the claim is of the namespace of the object that
    /// names it, as a volume of its pod would be.
    fn claim(
        rest: &str,
        original: &str,
        namespace: &str,
        settings: &StorageSettings,
    ) -> Result<Self, StorageError> {
        let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain =
            |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        if !plain(claim) || !plain(namespace) {
            return Err(StorageError::Uri {
                uri: shown(original),
                what: "expected `pvc://claim/path`".into(),
            });
        }
        let root = match (
            settings.claims.get(&format!("{namespace}/{claim}")),
            &settings.claim_root,
        ) {
            (Some(folder), _) => folder.clone(),
            (None, Some(root)) => root.join(namespace).join(claim),
            (None, None) => {
                return Err(StorageError::Claim {
                    uri: shown(original),
                    claim: claim.to_owned(),
                });
            }
        };
        Ok(Self::Folder {
            path: join(original, &root, path)?,
            root: Some(root),
        })
    }

    /// Last segment of the place, if it has one.
    pub(super) fn file_name(&self) -> Option<&str> {
        let name = match self {
            Self::Folder { path, .. } => path.file_name().and_then(|name| name.to_str())?,
            Self::Http(url) => url.path_segments().and_then(|mut s| s.next_back())?,
            Self::Bucket { key, .. } => key.rsplit('/').next()?,
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

/// What of `uri` is below `prefix`, which ends at a segment.
fn below<'a>(uri: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = uri.strip_prefix(prefix)?;
    if prefix.ends_with('/') || rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

fn bucket(rest: &str, original: &str) -> Result<(String, String), StorageError> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(plain) || bucket.starts_with('.') {
        return Err(StorageError::Uri {
            uri: shown(original),
            what: format!("`{bucket}` is not a bucket name"),
        });
    }
    if climbs(key) {
        return Err(StorageError::Outside {
            uri: shown(original),
        });
    }
    Ok((bucket.to_owned(), key.trim_matches('/').to_owned()))
}

/// Whether a `/`-separated path has a segment `..`, as written or as a URL
/// parser would read it.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\'])
        .any(|segment| percent_encoding::percent_decode_str(segment).eq(b"..".iter().copied()))
}

fn join(uri: &str, root: &Path, rest: &str) -> Result<PathBuf, StorageError> {
    if climbs(rest) || rest.contains('\0') {
        return Err(StorageError::Outside { uri: shown(uri) });
    }
    let mut path = root.to_owned();
    for component in Path::new(rest.trim_start_matches('/')).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return Err(StorageError::Outside { uri: shown(uri) }),
        }
    }
    Ok(path)
}

/// The URI as messages and logs may show it: no query (signed URLs carry their
/// secret there), no user and password.
pub(super) fn shown(uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
                Some((authority, path)) => (authority, path),
                None => (rest, ""),
            };
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => uri.to_owned(),
    }
}
