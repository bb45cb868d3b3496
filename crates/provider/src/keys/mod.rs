//! The signing keys: of each algorithm one that signs, the one after it, and those before it.
//!
//! The next key is published a whole rotation ahead of its first signature, so that whoever caches
//! the key set has it by then; the one before stays published until the last token that it signed
//! has expired. All of them are in the database and survive a restart.

mod der;
mod key;
mod rotation;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use key::Algorithm;
use key::SigningKey;
use rotation::Role;
pub(crate) use rotation::StoredKey;

use crate::provider::OpenError;
use crate::storage::{Storage, StorageError};

/// How long the key set and the discovery document may be cached, as Dex says.
pub(crate) const CACHE_SECONDS: u64 = 600;
/// The least time between publishing a key and signing with it: istiod asks for the key set every
/// 20 minutes, whatever its answer says about caching.
const PUBLISHED_AHEAD: u64 = 2 * 1200;
/// Relying parties forgive this much of a clock that is wrong.
const SKEW: u64 = 300;
/// After a rotation that failed.
const RETRY: u64 = 60;
/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// What a token is for, in its `typ` header, so that one kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Id,
    /// RFC 9068 section 2.1.
    Access,
    /// OpenID Connect Back-Channel Logout 1.0 section 2.4.
    Logout,
}

impl TokenKind {
    fn typ(self) -> &'static str {
        match self {
            Self::Id => "JWT",
            Self::Access => "at+jwt",
            Self::Logout => "logout+jwt",
        }
    }
}

/// How keys rotate.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    /// How long one key signs.
    pub(crate) period: Duration,
    /// The longest that a token lives.
    pub(crate) lifetime: Duration,
    pub(crate) algorithms: Vec<Algorithm>,
}

/// The keys as requests see them; replaced whole.
struct Ring {
    keys: Vec<(Role, SigningKey)>,
    jwks: Bytes,
}

pub(crate) struct Keys {
    ring: ArcSwap<Ring>,
    rotation: Rotation,
    /// No rotation before this: the key set could not be fetched while nothing ran.
    not_before: u64,
    /// When there is something to do.
    due: AtomicU64,
    /// Which state of the storage the ring is of.
    version: AtomicU64,
}

impl Keys {
    /// Reads the keys, or makes them the first time.
    pub(crate) fn open(storage: &Storage, rotation: Rotation, now: u64) -> Result<Self, OpenError> {
        let stored = rotation::read(storage.signing_keys()?)?;
        let late = rotation::due(&stored, &rotation, 0) <= now;
        let keys = Self {
            ring: ArcSwap::from_pointee(Ring::new(&stored)?),
            not_before: if late && !stored.is_empty() {
                now.saturating_add(PUBLISHED_AHEAD)
            } else {
                0
            },
            due: AtomicU64::new(0),
            version: AtomicU64::new(0),
            rotation,
        };
        keys.rotate(storage, now)?;
        Ok(keys)
    }

    /// Whether another replica has changed the keys, so that [`Self::rotate`] has something to do.
    /// True for one caller only.
    pub(crate) fn is_behind(&self, storage: &Storage) -> bool {
        let version = storage.signing_version();
        self.version.swap(version, Ordering::AcqRel) != version
    }

    /// Whether [`Self::rotate`] has something to do. True for one caller only.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        due <= now
            && self
                .due
                .compare_exchange(
                    due,
                    now.saturating_add(RETRY),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Makes the keys that are missing, hands over where it is time, and forgets keys of which no
    /// token is left. Takes 0.1 s when a key is made: not for a thread that answers requests.
    pub(crate) fn rotate(&self, storage: &Storage, now: u64) -> Result<(), OpenError> {
        self.version
            .store(storage.signing_version(), Ordering::Release);
        let stored = rotation::read(storage.signing_keys()?)?;
        let mut fresh = Vec::new();
        for algorithm in rotation::missing(&stored, &self.rotation, self.not_before, now) {
            let der = key::generate(algorithm).ok_or(OpenError::Generate { name: "signing" })?;
            fresh.push((algorithm, der));
        }
        let (rotation, not_before) = (self.rotation.clone(), self.not_before);
        let stored = storage.write_now(move |batch| {
            let before = rotation::read(batch.signing_keys()?)?;
            let after =
                rotation::advance(before.clone(), fresh.clone(), &rotation, not_before, now)?;
            for (id, key) in &after {
                if before.get(id) != Some(key) {
                    batch.set_signing_key(id, Some(&serde_json::to_vec(key)?))?;
                }
            }
            for id in before.keys().filter(|id| !after.contains_key(*id)) {
                batch.set_signing_key(id, None)?;
            }
            Ok(after)
        })?;
        self.ring.store(Arc::new(Ring::new(&stored)?));
        let due = rotation::due(&stored, &self.rotation, self.not_before);
        self.due.store(due, Ordering::Relaxed);
        Ok(())
    }

    /// The JWK set (RFC 7517 section 5), ready to be sent.
    pub(crate) fn jwks(&self) -> Bytes {
        self.ring.load().jwks.clone()
    }

    /// A JWT of `claims`; `None` when signing fails.
    pub(crate) fn sign<T: Serialize>(
        &self,
        algorithm: Algorithm,
        kind: TokenKind,
        claims: &T,
    ) -> Option<String> {
        let ring = self.ring.load();
        let (_, key) = ring
            .keys
            .iter()
            .find(|(role, key)| *role == Role::Current && key.algorithm == algorithm)?;
        let header = json!({"alg": algorithm.name(), "kid": key.kid, "typ": kind.typ()});
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?));
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(token)
    }

    /// The claims of a token that one of these keys signed as `kind`. Times are not looked at.
    pub(crate) fn verify<T: DeserializeOwned>(&self, kind: TokenKind, token: &str) -> Option<T> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: String,
            typ: String,
        }
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let ring = self.ring.load();
        let (_, key) = ring.keys.iter().find(|(_, key)| key.kid == header.kid)?;
        // The key decides how it is used (RFC 8725 section 3.1).
        if header.alg != key.algorithm.name() || header.typ != kind.typ() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !key.verifies(signed.as_bytes(), &signature) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

impl Ring {
    fn new(stored: &rotation::Stored) -> Result<Self, StorageError> {
        let mut keys = Vec::new();
        for key in stored.values() {
            keys.push((key.role, key.open()?));
        }
        // Relying parties that look at no `kid` take the first.
        keys.sort_by_key(|(role, key)| (*role, key.algorithm.name() != "RS256"));
        let jwks: Vec<_> = keys.iter().map(|(_, key)| &key.jwk).collect();
        let jwks = json!({ "keys": jwks }).to_string().into();
        Ok(Self { keys, jwks })
    }
}
