//! The signing keys: of each algorithm one that signs, the one after it, and those before it.
//!
//! The next key is published a whole rotation ahead of its first signature, so that whoever caches
//! the key set has it by then; the one before stays published until the last token that it signed
//! has expired. All of them are in the database and survive a restart. What was written down and never
//! answered, as the program died between the two, is not published: each process counts from when it answers a
//! key, and writes down once that was long enough ([`rotation::Bounds`]).
//!
//! The first keys of all are made beside the requests, as RSA takes a tenth of a second or more of which a
//! start needs nothing: whoever needs a key waits for it ([`Keys::settled`]).

mod der;
mod key;
mod rotation;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

pub use key::Algorithm;
use key::SigningKey;
pub(crate) use rotation::StoredKey;
use rotation::{Bounds, Role, Served, Stored};

use crate::clock::{Clock, unix_seconds};
use crate::provider::OpenError;
use crate::reply::{Reply, cached};
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

/// A new private key in PKCS #8.
type Made = (Algorithm, Vec<u8>);

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
    /// The JWK set (RFC 7517 section 5) as it is answered; none without a key, which nobody should cache.
    published: Option<Reply>,
}

pub(crate) struct Keys {
    ring: ArcSwap<Ring>,
    /// Of the keys of the ring. Whoever changes the ring holds it from the transaction on, so that no older state is
    /// published over a newer one.
    served: Mutex<Served>,
    clock: Clock,
    rotation: Rotation,
    /// No rotation before this: the key set could not be fetched while nothing ran.
    not_before: u64,
    /// When there is something to do.
    due: AtomicU64,
    /// Which state of the storage the ring is of.
    version: AtomicU64,
    /// The first keys are there, or could not be made.
    settled: AtomicBool,
    settling: Notify,
}

impl Keys {
    /// Reads the keys; makes those that are missing if that takes no time to speak of. Else they are
    /// [`Self::make_first`]'s, which [`Self::settled`] waits for.
    pub(crate) fn open(
        storage: &Storage,
        rotation: Rotation,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let now = unix_seconds(&clock);
        let stored = rotation::read(storage.signing_keys()?)?;
        let served: Served = stored.keys().map(|id| (id.clone(), now)).collect();
        let mut keys = Self {
            ring: ArcSwap::from_pointee(Ring::new(&stored)?),
            served: Mutex::new(served),
            clock,
            not_before: 0,
            due: AtomicU64::new(u64::MAX),
            version: AtomicU64::new(storage.signing_version()),
            settled: AtomicBool::new(true),
            settling: Notify::new(),
            rotation,
        };
        let late = rotation::due(&stored, &keys.bounds(&keys.served())) <= now;
        if late && !stored.is_empty() {
            keys.not_before = now.saturating_add(PUBLISHED_AHEAD);
        }
        let missing = rotation::missing(&stored, &keys.bounds(&keys.served()), now);
        if stored.is_empty() && missing.contains(&Algorithm::Rs256) {
            keys.settled.store(false, Ordering::Release);
        } else {
            keys.rotate(storage)?;
        }
        Ok(keys)
    }

    fn bounds<'a>(&'a self, served: &'a Served) -> Bounds<'a> {
        Bounds {
            rotation: &self.rotation,
            served,
            not_before: self.not_before,
        }
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another replica has changed the keys, so that [`Self::rotate`] has something to do.
    /// True for one caller only.
    pub(crate) fn is_behind(&self, storage: &Storage) -> bool {
        let version = storage.signing_version();
        self.version.swap(version, Ordering::AcqRel) != version
    }

    /// Whether the first keys are there, or could not be made.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Returns when [`Self::is_settled`].
    pub(crate) async fn settled(&self) {
        while !self.is_settled() {
            let mut settling = std::pin::pin!(self.settling.notified());
            settling.as_mut().enable();
            if !self.is_settled() {
                settling.await;
            }
        }
    }

    /// Makes the first keys on a thread of its own. `owner` is asked for them and their storage only then: a
    /// provider that has ended meanwhile keeps no database open.
    pub(crate) fn make_first<O: Send + Sync + 'static>(
        owner: &Arc<O>,
        parts: fn(&O) -> (&Self, &Storage),
    ) -> std::io::Result<()> {
        let (keys, _) = parts(owner);
        let (nothing, now) = (Stored::new(), unix_seconds(&keys.clock));
        let missing = rotation::missing(&nothing, &keys.bounds(&Served::new()), now);
        let owner = Arc::downgrade(owner);
        let make = move || {
            let fresh = make(&missing);
            let Some(owner) = owner.upgrade() else {
                return;
            };
            let (keys, storage) = parts(&owner);
            match fresh.and_then(|fresh| keys.advance(storage, &fresh)) {
                Ok(_) => tracing::info!("the identity provider has made its signing keys"),
                Err(error) => {
                    tracing::error!(%error, "no signing keys could be made");
                    let now = unix_seconds(&keys.clock);
                    keys.due.store(now.saturating_add(RETRY), Ordering::Relaxed);
                }
            }
            keys.settled.store(true, Ordering::Release);
            keys.settling.notify_waiters();
        };
        let thread = std::thread::Builder::new().name("provider-keys".to_owned());
        thread.spawn(make).map(drop)
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

    /// What was to be done could not be: it is due again before long.
    pub(crate) fn retry(&self, now: u64) {
        self.due
            .fetch_min(now.saturating_add(RETRY), Ordering::Relaxed);
    }

    /// Makes the keys that are missing, hands over where it is time, and forgets keys of which no
    /// token is left; whether that changed something. Takes 0.1 s when a key is made: not for a thread that answers
    /// requests.
    pub(crate) fn rotate(&self, storage: &Storage) -> Result<bool, OpenError> {
        self.version
            .store(storage.signing_version(), Ordering::Release);
        let stored = rotation::read(storage.signing_keys()?)?;
        let now = unix_seconds(&self.clock);
        let missing = rotation::missing(&stored, &self.bounds(&self.served()), now);
        let changed = self.advance(storage, &make(&missing)?)?;
        if self.is_due(now) {
            // Those that signed until now do not any more: when the last token of theirs ends is known.
            self.advance(storage, &[])?;
        }
        Ok(changed)
    }

    /// Writes down the keys as they should be now, with these new ones, and then publishes them.
    fn advance(&self, storage: &Storage, fresh: &[Made]) -> Result<bool, OpenError> {
        let mut served = self.served();
        let now = unix_seconds(&self.clock);
        let (rotation, not_before) = (self.rotation.clone(), self.not_before);
        let (fresh, since) = (fresh.to_vec(), served.clone());
        let stored = storage.write_now(move |batch| {
            let bounds = Bounds {
                rotation: &rotation,
                served: &since,
                not_before,
            };
            let before = rotation::read(batch.signing_keys()?)?;
            let after = rotation::advance(before.clone(), fresh.clone(), &bounds, now)?;
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
        let before = self.ring.swap(Arc::new(Ring::new(&stored)?));
        // From here on: the transaction may have taken its time.
        let now = unix_seconds(&self.clock);
        served.retain(|id, _| stored.contains_key(id));
        for id in stored.keys() {
            served.entry(id.clone()).or_insert(now);
        }
        let due = rotation::due(&stored, &self.bounds(&served));
        self.due.store(due, Ordering::Relaxed);
        Ok(!self.ring.load().is_same(&before))
    }

    /// The JWK set (RFC 7517 section 5) as it is answered, once there is a key.
    pub(crate) fn published(&self) -> Option<Reply> {
        self.ring.load().published.clone()
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
    fn new(stored: &Stored) -> Result<Self, StorageError> {
        let mut keys = Vec::new();
        for key in stored.values() {
            keys.push((key.role, key.open()?));
        }
        // Relying parties that look at no `kid` take the first.
        keys.sort_by_key(|(role, key)| (*role, key.algorithm.name() != "RS256"));
        let jwks: Vec<_> = keys.iter().map(|(_, key)| &key.jwk).collect();
        let jwks = Bytes::from(json!({ "keys": jwks }).to_string());
        let published = (!keys.is_empty()).then(|| cached("application/json", jwks));
        Ok(Self { keys, published })
    }

    fn is_same(&self, other: &Self) -> bool {
        let ids = |ring: &Self| -> Vec<_> {
            let keys = ring.keys.iter();
            keys.map(|(role, key)| (*role, key.kid.clone())).collect()
        };
        ids(self) == ids(other)
    }
}

/// New private keys, those that take long side by side.
fn make(algorithms: &[Algorithm]) -> Result<Vec<Made>, OpenError> {
    std::thread::scope(|scope| {
        let make = |algorithm: Algorithm| Some((algorithm, key::generate(algorithm)?));
        let (slow, quick): (Vec<_>, Vec<_>) = algorithms
            .iter()
            .copied()
            .partition(|algorithm| *algorithm == Algorithm::Rs256);
        let slow: Vec<_> = slow
            .into_iter()
            .map(|algorithm| scope.spawn(move || make(algorithm)))
            .collect();
        let quick: Vec<_> = quick.into_iter().map(make).collect();
        let slow = slow.into_iter().map(|made| made.join().ok().flatten());
        slow.chain(quick)
            .collect::<Option<_>>()
            .ok_or(OpenError::Generate { name: "signing" })
    })
}
