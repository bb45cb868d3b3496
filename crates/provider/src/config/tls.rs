//! `web.https`: a listener with TLS of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;
use super::check::{check_listen, missing};
use super::raw::RawWeb;

/// `web.https` and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebTls {
    /// `https`.
    pub listen: SocketAddr,
    /// `tlsCert`: a file with the certificate and those above it.
    pub certificate: PathBuf,
    /// `tlsKey`.
    pub key: PathBuf,
    /// Whether TLS 1.2 is spoken, by `tlsMinVersion`.
    pub with_1_2: bool,
    /// Whether TLS 1.3 is spoken, by `tlsMaxVersion`.
    pub with_1_3: bool,
}

pub(super) fn check(raw: &RawWeb) -> Result<Option<WebTls>, ConfigError> {
    let version = |name: &str, text: &str| match text {
        "" | "1.2" | "1.3" => Ok(()),
        other => Err(ConfigError::Invalid {
            field: format!("web.{name}"),
            value: other.to_owned(),
            expected: "`1.2` or `1.3`",
        }),
    };
    version("tlsMinVersion", &raw.tls_min_version)?;
    version("tlsMaxVersion", &raw.tls_max_version)?;
    let Some(listen) = raw.https.clone().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let file = |name: &str, text: &str| match text {
        "" => Err(missing("web", name, "a file, as `web.https` is there")),
        text => Ok(PathBuf::from(text)),
    };
    let (with_1_2, with_1_3) = (raw.tls_min_version != "1.3", raw.tls_max_version != "1.2");
    if !with_1_2 && !with_1_3 {
        return Err(ConfigError::Invalid {
            field: "web.tlsMinVersion".to_owned(),
            value: "1.3".to_owned(),
            expected: "at most `web.tlsMaxVersion`",
        });
    }
    Ok(Some(WebTls {
        listen: check_listen("web.https", listen)?,
        certificate: file("tlsCert", &raw.tls_cert)?,
        key: file("tlsKey", &raw.tls_key)?,
        with_1_2,
        with_1_3,
    }))
}
