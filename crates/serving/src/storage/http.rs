//! One file of a web server.

use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, StatusCode, redirect};
use url::Url;

use super::{ModelFile, StorageError, StorageSettings};
use crate::Format;

/// KServe's storage initializer waits as long for a connection and for bytes.
const STALL: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

/// A client with the bounds and the proxy of the settings.
pub(super) fn client(settings: &StorageSettings) -> Result<Client, StorageError> {
    let failed = |error: reqwest::Error| StorageError::Read {
        uri: "http(s)://".into(),
        what: chain(&error),
    };
    let mut builder = Client::builder()
        .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(STALL)
        .read_timeout(STALL)
        .redirect(redirect::Policy::custom(|attempt| {
            let secure_before = attempt
                .previous()
                .last()
                .is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > REDIRECTS {
                attempt.error("more redirects than 5")
            } else if secure_before && attempt.url().scheme() != "https" {
                attempt.error("a redirect from https to http")
            } else {
                attempt.follow()
            }
        }))
        // The environment is read by the program, not by its parts.
        .no_proxy();
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(failed)?);
    }
    builder.build().map_err(failed)
}

/// Fetches the file of that URL.
pub(super) async fn read(
    uri: &str,
    client: &Client,
    url: Url,
    format: Format,
    limit: u64,
) -> Result<ModelFile, StorageError> {
    let name = url
        .path_segments()
        .and_then(|mut s| s.next_back())
        .unwrap_or_default()
        .to_owned();
    if name.is_empty() {
        return Err(StorageError::Uri {
            uri: uri.to_owned(),
            what: "a web server's folder cannot be listed: name the model file".into(),
        });
    }
    if !format.accepts(&name) {
        return Err(StorageError::choice(uri, format.missing(&[name])));
    }
    let failed = |error: reqwest::Error| StorageError::Read {
        uri: uri.to_owned(),
        what: chain(&error),
    };
    let too_large = || StorageError::TooLarge {
        uri: uri.to_owned(),
        limit,
    };
    let mut response = client.get(url).send().await.map_err(failed)?;
    check_status(uri, response.status())?;
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        let size = bytes.len().saturating_add(chunk.len());
        if u64::try_from(size).is_ok_and(|size| size > limit) {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(ModelFile {
        name,
        bytes: bytes.freeze(),
    })
}

fn check_status(uri: &str, status: StatusCode) -> Result<(), StorageError> {
    let uri = uri.to_owned();
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(StorageError::NotFound { uri }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(StorageError::Denied {
            uri,
            what: format!("the server answered {}", status.as_u16()),
        }),
        other => Err(StorageError::Read {
            uri,
            what: format!("the server answered {}, expected 200", other.as_u16()),
        }),
    }
}

/// The innermost reasons of an error, without the URL (it may carry a secret).
fn chain(error: &reqwest::Error) -> String {
    let mut reasons = Vec::new();
    let mut source: Option<&dyn Error> = error.source();
    while let Some(reason) = source {
        reasons.push(reason.to_string());
        source = reason.source();
    }
    match reasons.pop() {
        Some(innermost) => innermost,
        None if error.is_timeout() => "the server did not answer in time".into(),
        None => "the exchange with the server failed".into(),
    }
}
