//! Objects of Google's and Amazon's stores, or of what speaks their language.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt, RetryConfig, StaticCredentialProvider,
};

use super::location::Store;
use super::{ModelFile, ObjectStoreSettings, StorageError, StorageSettings};
use crate::Format;

/// Objects below a prefix that are looked at.
const MAX_OBJECTS: usize = 10_000;

/// Fetches the object `key`, or the model file right below the prefix `key`.
pub(super) async fn read(
    uri: &str,
    client: &reqwest::Client,
    place: (&Store, &str),
    format: Format,
    settings: &StorageSettings,
) -> Result<ModelFile, StorageError> {
    let (store, key) = place;
    let store = open(store, client, &settings.objects).map_err(|error| failed(uri, error))?;
    let path = Path::parse(key).map_err(|error| StorageError::Uri {
        uri: uri.to_owned(),
        what: error.to_string(),
    })?;
    // KServe takes an exact key before it takes a prefix.
    if format.accepts(key) {
        match get(uri, &*store, &path, settings.max_bytes).await {
            Err(StorageError::NotFound { .. }) => {}
            other => return other,
        }
    }
    let names = list(uri, &*store, &path).await?;
    if names.is_empty() {
        return Err(StorageError::NotFound {
            uri: uri.to_owned(),
        });
    }
    let name = format
        .choose(names)
        .map_err(|choice| StorageError::choice(uri, choice))?;
    get(uri, &*store, &path.join(name.as_str()), settings.max_bytes).await
}

/// Names right below the prefix. Empty objects are skipped: they are how web
/// consoles mark folders.
async fn list(
    uri: &str,
    store: &dyn ObjectStore,
    prefix: &Path,
) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    let mut seen = 0_usize;
    let mut objects = store.list(Some(prefix));
    while let Some(object) = objects.next().await {
        let object = object.map_err(|error| failed(uri, error))?;
        seen += 1;
        if seen > MAX_OBJECTS {
            return Err(StorageError::TooMany {
                uri: uri.to_owned(),
                limit: MAX_OBJECTS,
            });
        }
        let Some(mut below) = object.location.prefix_match(prefix) else {
            continue;
        };
        if let (Some(name), None) = (below.next(), below.next())
            && object.size > 0
        {
            names.push(name.as_ref().to_owned());
        }
    }
    Ok(names)
}

async fn get(
    uri: &str,
    store: &dyn ObjectStore,
    path: &Path,
    limit: u64,
) -> Result<ModelFile, StorageError> {
    let too_large = || StorageError::TooLarge {
        uri: uri.to_owned(),
        limit,
    };
    let object = store.get(path).await.map_err(|error| failed(uri, error))?;
    if object.meta.size > limit {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut stream = object.into_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| failed(uri, error))?;
        let size = bytes.len().saturating_add(chunk.len());
        if u64::try_from(size).is_ok_and(|size| size > limit) {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(ModelFile {
        name: path.filename().unwrap_or_default().to_owned(),
        bytes: bytes.freeze(),
    })
}

/// The client that all of storage shares; one made by the library would read
/// proxies from the environment.
#[derive(Debug)]
struct Shared(reqwest::Client);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient, Error> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

fn open(
    store: &Store,
    client: &reqwest::Client,
    objects: &ObjectStoreSettings,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let connector = Shared(client.clone());
    let retry = RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    };
    match store {
        Store::Google { bucket } => {
            let mut builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_skip_signature(true)
                // Without credentials the builder would look for a file of the
                // user's home and for a metadata server.
                .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential {
                    bearer: String::new(),
                })));
            if let Some(endpoint) = &objects.gs_endpoint {
                builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
            }
            Ok(Arc::new(builder.with_http_connector(connector).build()?))
        }
        Store::S3 { bucket } => {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_region(objects.s3_region.as_deref().unwrap_or("us-east-1"));
            builder = match &objects.s3_credentials {
                None => builder.with_skip_signature(true),
                Some(credentials) => builder
                    .with_access_key_id(&credentials.access_key_id)
                    .with_secret_access_key(&credentials.secret_access_key),
            };
            if let Some(endpoint) = &objects.s3_endpoint {
                builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
            }
            Ok(Arc::new(builder.with_http_connector(connector).build()?))
        }
    }
}

fn failed(uri: &str, error: Error) -> StorageError {
    let uri = uri.to_owned();
    match error {
        Error::NotFound { .. } => StorageError::NotFound { uri },
        Error::PermissionDenied { .. } => StorageError::Denied {
            uri,
            what: "the store answered 403".into(),
        },
        Error::Unauthenticated { .. } => StorageError::Denied {
            uri,
            what: "the store wants credentials".into(),
        },
        other => StorageError::Read {
            uri,
            what: innermost(&other),
        },
    }
}

/// The reason at the end of the chain; the outer texts repeat URLs.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    // Stores put whole pages of XML there.
    let text = reason.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}
