//! Who is calling, as a header that upstreams verify: a short-lived signed token
//! for one of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use policy::{Audience, Caller, Key, TokenHolder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::jose::{self, Algorithm};
use crate::keyfile::{self, KeyFileError};
use crate::pem;

/// The header.
pub const IDENTITY_HEADER: HeaderName = HeaderName::from_static("x-sidegate-identity");

/// A longer header breaks servers behind.
const MAX_BYTES: usize = 8 * 1024;

/// More keys than this are not in one file.
const MAX_KEYS: usize = 16;

/// What a token says beside who is calling.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// Whom it is for.
    pub audience: &'a Audience,
    /// How long it counts.
    pub seconds: u64,
}

/// Signs who is calling, with keys of a file.
pub struct IdentitySigner {
    path: PathBuf,
    keys: ArcSwap<Keys>,
}

struct Keys {
    /// Signs.
    first: EcdsaKeyPair,
    kid: String,
    /// The public halves of all, as a JWKS document.
    published: Arc<str>,
}

impl fmt::Debug for IdentitySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentitySigner({})", self.keys.load().kid)
    }
}

impl IdentitySigner {
    /// Signs with the key in `folder`, which is made if there is none.
    ///
    /// # Errors
    /// When the key file cannot be read, written or understood.
    pub fn open(folder: &Path) -> Result<Self, KeyFileError> {
        let path = folder.join("identity.pem");
        keyfile::read_or_create(&path, pem::new_p256)?;
        Self::of_file(path)
    }

    /// Signs with the first key of a file. The others are published too.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn of_file(path: PathBuf) -> Result<Self, KeyFileError> {
        let keys = ArcSwap::from_pointee(Keys::read(&path)?);
        Ok(Self { path, keys })
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// As [`Self::of_file`]; the keys of before stay in use.
    pub fn read_again(&self) -> Result<(), KeyFileError> {
        self.keys.store(Arc::new(Keys::read(&self.path)?));
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that verify tokens (RFC 7517 §5).
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.keys.load().published)
    }

    /// The header for somebody who is known; `None` for everybody else, and for
    /// whom there is too much to say.
    pub fn header(&self, terms: &Terms<'_>, caller: &Caller, now: u64) -> Option<HeaderValue> {
        let claims = claims(terms, caller, now)?;
        let keys = self.keys.load();
        let sign = |signed: &[u8]| {
            let signature = keys.first.sign(&SystemRandom::new(), signed)?;
            Ok::<_, aws_lc_rs::error::Unspecified>(signature.as_ref().to_vec())
        };
        let token = jose::compact(Algorithm::Es256, &keys.kid, &claims, sign).ok()?;
        if token.len() > MAX_BYTES {
            tracing::warn!(
                "somebody is in too many groups for `x-sidegate-identity`: the upstream is not told who is calling"
            );
            return None;
        }
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Keys {
    fn read(path: &Path) -> Result<Self, KeyFileError> {
        let unusable =
            || KeyFileError::content(path, "expected 1 to 16 keys of P-256, in PKCS #8 and PEM");
        let text = keyfile::read(path).map_err(|error| KeyFileError::io(path, error))?;
        let all = pem::all(&text).ok_or_else(unusable)?;
        let pairs = all
            .iter()
            .map(|der| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der));
        let pairs: Vec<_> = pairs.collect::<Result<_, _>>().map_err(|_| unusable())?;
        let published: Option<Vec<Value>> = pairs
            .iter()
            .map(|pair| jose::public_ec(&kid(pair), pair.public_key().as_ref()))
            .collect();
        let published = published.ok_or_else(unusable)?;
        if pairs.len() > MAX_KEYS {
            return Err(unusable());
        }
        let first = pairs.into_iter().next().ok_or_else(unusable)?;
        Ok(Self {
            kid: kid(&first),
            first,
            published: json!({ "keys": published }).to_string().into(),
        })
    }
}

/// A hash of the public key.
fn kid(pair: &EcdsaKeyPair) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()))
}

fn claims(terms: &Terms<'_>, caller: &Caller, now: u64) -> Option<Value> {
    let session;
    let (holder, key) = match caller {
        Caller::Anonymous | Caller::BadToken(_) => return None,
        Caller::Session(person) => {
            session = TokenHolder::Person(person.clone());
            (&session, None)
        }
        Caller::Token(holder) => (holder, None),
        Caller::Key(Key { id, holder, .. }) => (holder, Some(id)),
    };
    let mut claims = json!({
        "iss": terms.issuer,
        "aud": terms.audience.to_string(),
        "sub": holder.user_name(),
        "iat": now,
        "exp": now.saturating_add(terms.seconds),
    });
    let mut say = |name: &str, value: Value| {
        if let Some(claims) = claims.as_object_mut() {
            claims.insert(name.to_owned(), value);
        }
    };
    let texts = |all: &[Arc<str>]| Value::from_iter(all.iter().map(|one| Value::from(&**one)));
    match holder {
        TokenHolder::Person(person) => {
            say("kind", "person".into());
            say("groups", texts(&person.groups));
        }
        TokenHolder::ServiceAccount(account) => {
            say("kind", "service-account".into());
            say("groups", json!([]));
            let name = json!({ "name": &*account.name });
            let about = json!({ "namespace": &*account.namespace, "serviceaccount": name });
            say("kubernetes.io", about);
        }
        TokenHolder::Service(service) => {
            say("kind", "service".into());
            say("groups", texts(&service.groups));
        }
    }
    if let Some(key) = key {
        say("key", (&**key).into());
    }
    Some(claims)
}

#[cfg(test)]
mod tests;
