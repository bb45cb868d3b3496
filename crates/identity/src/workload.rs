//! Credentials that prove which workload a connection to the cluster-local
//! listener belongs to: the user and password of its `http_proxy`.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use policy::{ServiceAccount, Workload};

use crate::clock::{Clock, now};
use crate::keyfile::{self, KeyFileError};
use crate::names;
use secret::Secret;

/// A password lives this long.
pub const WORKLOAD_PASSWORD_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Longest header that is looked at: three names of at most 253 bytes.
const MAX_HEADER_BYTES: usize = 2048;

/// Unreserved in URLs (RFC 3986 §2.3) and in no Kubernetes name.
const SEPARATOR: char = '~';

/// Issues and verifies workload credentials: the password is an HMAC over
/// namespace, ServiceAccount, pod and expiry, so nothing is stored and no pod
/// can make another's.
pub struct WorkloadCredentials {
    key: hmac::Key,
    clock: Clock,
}

/// User name and password.
#[derive(Clone, Debug)]
pub struct ProxyLogin {
    /// `<namespace>~<service account>~<pod>`.
    pub username: String,
    /// The password; base64url, needs no escaping in a URL.
    pub password: Secret,
}

/// Why workload credentials are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// Not `Basic` with a user name of ours.
    #[error("proxy credentials are not those of a workload")]
    Malformed,
    /// Made by somebody else or changed.
    #[error("proxy credentials are wrong")]
    Forged,
    /// Too old.
    #[error("proxy credentials have expired; start the workload again")]
    Expired,
}

/// A workload whose names are none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a Kubernetes name")]
pub struct BadWorkload(String);

impl std::fmt::Debug for WorkloadCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkloadCredentials(..)")
    }
}

impl WorkloadCredentials {
    /// Opens the key in `folder`, making one if there is none.
    ///
    /// # Errors
    /// When the key file cannot be read, written or understood.
    pub fn open(folder: &Path, clock: Clock) -> Result<Self, KeyFileError> {
        let key = keyfile::symmetric(&folder.join("workload.key"))?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            clock,
        })
    }

    /// Credentials for `workload`, valid for [`WORKLOAD_PASSWORD_LIFE`].
    ///
    /// # Errors
    /// When one of its names is not a Kubernetes name.
    pub fn issue(&self, workload: &Workload) -> Result<ProxyLogin, BadWorkload> {
        let ServiceAccount { namespace, name } = &workload.service_account;
        for (part, valid) in [
            (namespace, names::is_namespace(namespace)),
            (name, names::is_name(name)),
            (&workload.pod, names::is_name(&workload.pod)),
        ] {
            if !valid {
                return Err(BadWorkload(part.to_string()));
            }
        }
        let username = format!("{namespace}{SEPARATOR}{name}{SEPARATOR}{}", workload.pod);
        let expires = now(&self.clock).saturating_add(WORKLOAD_PASSWORD_LIFE.as_secs());
        let mut password = expires.to_be_bytes().to_vec();
        password.extend_from_slice(hmac::sign(&self.key, &signed(&username, expires)).as_ref());
        Ok(ProxyLogin {
            username,
            password: Secret::new(URL_SAFE_NO_PAD.encode(password)),
        })
    }

    /// The workload that holds the credentials of a `proxy-authorization` header.
    ///
    /// # Errors
    /// When they are malformed, made by somebody else, or too old.
    pub fn verify(&self, header: &HeaderValue) -> Result<Workload, WorkloadError> {
        let (username, password) = basic(header).ok_or(WorkloadError::Malformed)?;
        let workload = workload(&username).ok_or(WorkloadError::Malformed)?;
        let password = URL_SAFE_NO_PAD
            .decode(password)
            .map_err(|_| WorkloadError::Malformed)?;
        let (expires, tag) = password
            .split_first_chunk::<8>()
            .ok_or(WorkloadError::Malformed)?;
        let expires = u64::from_be_bytes(*expires);
        hmac::verify(&self.key, &signed(&username, expires), tag)
            .map_err(|_| WorkloadError::Forged)?;
        match now(&self.clock) < expires {
            true => Ok(workload),
            false => Err(WorkloadError::Expired),
        }
    }
}

fn signed(username: &str, expires: u64) -> Vec<u8> {
    let mut message = b"workload-1\0".to_vec();
    message.extend_from_slice(username.as_bytes());
    message.push(0);
    message.extend_from_slice(&expires.to_be_bytes());
    message
}

/// RFC 7617.
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    if header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = STANDARD.decode(credentials.trim_matches(' ')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

fn workload(username: &str) -> Option<Workload> {
    let (namespace, rest) = username.split_once(SEPARATOR)?;
    let (name, pod) = rest.split_once(SEPARATOR)?;
    if !names::is_namespace(namespace) || !names::is_name(name) || !names::is_name(pod) {
        return None;
    }
    Some(Workload {
        pod: pod.into(),
        service_account: ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
    })
}

#[cfg(test)]
mod tests;
