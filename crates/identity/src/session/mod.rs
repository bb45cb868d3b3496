//! Sessions of people: kept on disk or in Redis, found in memory.

mod listed;
mod owner;
#[cfg(feature = "redis")]
mod replicated;
mod store;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policy::Person;
use sha2::{Digest as _, Sha256};

use crate::clock::{Clock, now};
use crate::keyfile;
use crate::random::{NoRandomness, random};
use crate::seal::Sealer;
pub use listed::SessionInfo;
use owner::Owner;
use secret::Secret;
pub use store::StoreError;
pub(crate) use store::create_private;
use store::{Record, Store, Tokens};

/// Name of the session cookie, as oidc-authservice has it.
pub const SESSION_COOKIE: &str = "authservice_session";

/// How often use of a session is written down, at most.
const TOUCH_EVERY: u64 = 60;

/// Uses not written down yet; more than this are forgotten.
const MAX_TOUCHED: usize = 10_000;

/// Expired sessions removed in one sweep.
const SWEEP: usize = 1_000;

/// SHA-256 of a session id: what is stored, so that the file gives nobody a session.
type Hash = [u8; 32];

/// Settings of [`Sessions`].
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// A session not used for so long ends.
    pub idle: Duration,
    /// A session older than this ends.
    pub absolute: Duration,
    /// More sessions than this push out those that would end first.
    pub max_sessions: u64,
    /// Sessions held in memory.
    pub cached: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(12 * 3600),
            absolute: Duration::from_secs(24 * 3600),
            max_sessions: 1_000_000,
            cached: 10_000,
        }
    }
}

/// The secret that a browser's session cookie holds: 32 random bytes.
#[derive(Clone)]
pub struct SessionId(String);

impl SessionId {
    /// The cookie's value.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn hash(value: &str) -> Option<Hash> {
        if value.len() != 43 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        Some(Sha256::digest(bytes).into())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Whose it is.
    pub person: Person,
    /// `iss` of the login.
    pub issuer: Option<Arc<str>>,
    /// As whom the login was made: the client id.
    pub client: Option<Arc<str>>,
    /// The provider's name for its own session (OpenID Connect Back-Channel
    /// Logout 1.0 §2.1).
    pub sid: Option<Arc<str>>,
    /// The ID token of the login.
    pub id_token: Option<Secret>,
    /// What renews its tokens, if the provider gave it.
    pub renewable: Option<Renewable>,
}

/// Tokens that are renewed.
#[derive(Clone, Debug)]
pub struct Renewable {
    /// The refresh token; sealed where it is kept.
    pub refresh_token: Secret,
    /// When the tokens end, seconds since 1970.
    pub until: u64,
}

impl NewSession {
    /// A session of a login that nothing else is known about.
    pub fn of(person: Person) -> Self {
        Self {
            person,
            issuer: None,
            client: None,
            sid: None,
            id_token: None,
            renewable: None,
        }
    }
}

/// Sessions that end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Of a person, by e-mail address.
    Email(&'a str),
    /// Of a person, as a provider knows them.
    Subject {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
    },
    /// That belong to one session at a provider.
    Sid {
        /// `iss`.
        issuer: &'a str,
        /// `sid`.
        sid: &'a str,
        /// `sub`, if only this person's are meant.
        subject: Option<&'a str>,
    },
}

/// A person's session.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub person: Person,
    /// When it ends at the latest, seconds since 1970.
    pub expires: u64,
    pub(crate) issuer: Option<Arc<str>>,
    pub(crate) client: Option<Arc<str>>,
    pub(crate) sid: Option<Arc<str>>,
    pub(crate) renewable: Option<Renewable>,
    /// Held by who renews its tokens; not before this time, seconds since 1970.
    pub(crate) renewing: Arc<tokio::sync::Mutex<u64>>,
    hash: Hash,
    /// Read when it is wanted.
    id_token: OnceLock<Option<Secret>>,
    seen: AtomicU64,
    written: AtomicU64,
}

/// All sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    /// For refresh tokens: the file alone lets nobody log in.
    sealer: Sealer,
    memory: Arc<Memory>,
    touched: Mutex<HashMap<Hash, u64>>,
    /// Seconds; what the configuration says now.
    idle: AtomicU64,
    absolute: AtomicU64,
    max_sessions: u64,
    clock: Clock,
}

/// Sessions that were used lately.
struct Memory {
    cache: quick_cache::sync::Cache<Hash, Arc<Session>>,
    /// Held while a session goes from disk to memory and while an ended one
    /// leaves memory, so that no read from before the end survives it.
    filling: Mutex<()>,
}

impl Memory {
    fn new(config: &SessionConfig) -> Arc<Self> {
        Arc::new(Self {
            cache: quick_cache::sync::Cache::new(config.cached),
            filling: Mutex::new(()),
        })
    }

    fn filling(&self) -> std::sync::MutexGuard<'_, ()> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, hashes: &[Hash]) {
        let _filling = self.filling();
        for hash in hashes {
            self.cache.remove(hash);
        }
    }

    #[cfg(feature = "redis")]
    fn forget_all(&self) {
        let _filling = self.filling();
        self.cache.clear();
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("idle", &self.shared.idle())
            .field("absolute", &self.absolute_lifetime())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Opens `sessions.redb` in `folder`, making it if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or is not a session store.
    pub fn open(folder: &Path, config: SessionConfig, clock: Clock) -> Result<Self, StoreError> {
        let store = Store::open(&folder.join("sessions.redb"))?;
        Self::of(store, Memory::new(&config), folder, config, clock)
    }

    /// Shares sessions with other replicas through Redis. What one of them ends, others let in for
    /// half a second at most; while Redis does not answer, for as long as the settings say, after which no session
    /// counts. Waits up to ten seconds for Redis: not for a thread that answers requests.
    ///
    /// `folder` has the key that seals refresh tokens; replicas need the same.
    ///
    /// # Errors
    /// When Redis does not answer, or holds what this version cannot read.
    #[cfg(feature = "redis")]
    pub fn open_redis(
        settings: ::replicated::Settings,
        folder: &Path,
        config: SessionConfig,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let memory = Memory::new(&config);
        let store = Store::open_redis(settings, &memory)?;
        Self::of(store, memory, folder, config, clock)
    }

    fn of(
        store: Store,
        memory: Arc<Memory>,
        folder: &Path,
        config: SessionConfig,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let key = keyfile::symmetric(&folder.join("sessions.key"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                sealer: Sealer::new(&key, "sessions")?,
                memory,
                touched: Mutex::new(HashMap::new()),
                idle: AtomicU64::new(config.idle.as_secs()),
                absolute: AtomicU64::new(config.absolute.as_secs()),
                max_sessions: config.max_sessions,
                clock,
            }),
        })
    }

    /// Makes sure that a session which another replica has begun is known here. Where it is, or
    /// there are no replicas, this does nothing.
    pub async fn meet(&self, value: &str) {
        if self.has_replicas() && value.len() == 43 && self.find(value).is_none() {
            self.shared.store.catch_up().await;
        }
    }

    /// Whether others begin sessions, too.
    pub(crate) fn has_replicas(&self) -> bool {
        self.shared.store.has_replicas()
    }

    /// How long a session can live.
    pub fn absolute_lifetime(&self) -> Duration {
        Duration::from_secs(self.shared.absolute.load(Ordering::Relaxed))
    }

    /// How long sessions live from now on. Those that there are keep the end that they were begun with, and the new time
    /// without use.
    pub fn use_times(&self, idle: Duration, absolute: Duration) {
        let shared = &self.shared;
        shared.idle.store(idle.as_secs(), Ordering::Relaxed);
        shared.absolute.store(absolute.as_secs(), Ordering::Relaxed);
    }

    /// Starts a session; it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn create(&self, new: NewSession) -> Result<SessionId, StoreError> {
        let ids = self.create_all(vec![new]).await?;
        ids.into_iter().next().ok_or(StoreError::Stopped)
    }

    /// Starts sessions in one transaction, whose ids come back in the same order.
    ///
    /// # Errors
    /// When they cannot be written; none has begun then.
    pub async fn create_all(&self, new: Vec<NewSession>) -> Result<Vec<SessionId>, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let now = now(&shared.clock);
            let expires = now.saturating_add(shared.absolute.load(Ordering::Relaxed));
            let (mut ids, mut records) = (Vec::new(), Vec::new());
            for new in &new {
                let id = SessionId(URL_SAFE_NO_PAD.encode(random::<32>()?));
                let hash = SessionId::hash(id.expose()).ok_or(NoRandomness)?;
                let tokens = shared.seal(&hash, new.renewable.as_ref())?;
                let record = Record::new(new, tokens, expires, now, shared.idle());
                records.push((hash, record));
                ids.push(id);
            }
            let max = shared.max_sessions;
            let pushed_out = shared.store.insert(records, max)?;
            shared.forget(&pushed_out);
            Ok(ids)
        })
        .await
    }

    /// The live session of a cookie's value. Reads the disk only for sessions
    /// not used lately.
    pub fn find(&self, value: &str) -> Option<Arc<Session>> {
        let hash = SessionId::hash(value)?;
        let now = now(&self.shared.clock);
        if self.shared.store.is_out_of_date() {
            return None;
        }
        let session = match self.shared.memory.cache.get(&hash) {
            Some(session) => session,
            None => self.shared.fill(&hash)?,
        };
        let seen = session.seen.load(Ordering::Relaxed);
        if now >= session.expires || now >= seen.saturating_add(self.shared.idle()) {
            return None;
        }
        if now > seen {
            session.seen.store(now, Ordering::Relaxed);
        }
        let written = session.written.load(Ordering::Relaxed);
        if now >= written.saturating_add(TOUCH_EVERY) {
            session.written.store(now, Ordering::Relaxed);
            self.shared.touch(hash, now);
        }
        Some(session)
    }

    /// Ends the session of a cookie's value; true if there was one. No request
    /// after this finds it.
    ///
    /// # Errors
    /// When the disk cannot be written; the session then lives on.
    pub async fn end(&self, value: &str) -> Result<bool, StoreError> {
        let Some(hash) = SessionId::hash(value) else {
            return Ok(false);
        };
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let existed = shared.store.remove(&[hash])? > 0;
            shared.forget(&[hash]);
            Ok(existed)
        })
        .await
    }

    /// The ID token of a session's login, for upstreams that verify it themselves.
    pub fn id_token(&self, session: &Session) -> Option<Secret> {
        if let Some(known) = session.id_token.get() {
            return known.clone();
        }
        match self.shared.store.id_token(&session.hash) {
            Ok(token) => {
                let token = token.map(Secret::new);
                session.id_token.get_or_init(|| token).clone()
            }
            // Another time it may be readable.
            Err(error) => {
                tracing::error!(%error, "session store cannot be read");
                None
            }
        }
    }

    /// The session as it is now, if it has not ended.
    pub(crate) fn again(&self, session: &Session) -> Option<Arc<Session>> {
        match self.shared.memory.cache.get(&session.hash) {
            Some(session) => Some(session),
            None => self.shared.fill(&session.hash),
        }
    }

    /// Gives a session other tokens and what they say of its person. `None`
    /// when it has ended meanwhile.
    pub(crate) async fn renew(
        &self,
        session: &Session,
        renewed: NewSession,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let hash = session.hash;
        blocking(move || {
            let tokens = shared.seal(&hash, renewed.renewable.as_ref())?;
            shared.store.renew(&hash, &renewed, tokens)?;
            // From the disk again: a session that ends just now stays ended.
            shared.forget(&[hash]);
            Ok(shared.fill(&hash))
        })
        .await
    }

    /// Ends a session.
    pub(crate) async fn end_this(&self, session: &Session) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let hash = session.hash;
        blocking(move || {
            shared.store.remove(&[hash])?;
            shared.forget(&[hash]);
            Ok(())
        })
        .await
    }

    /// Ends every session of a person; returns how many there were.
    ///
    /// # Errors
    /// When the disk cannot be read or written.
    pub async fn end_all_of(&self, email: &str) -> Result<u64, StoreError> {
        self.end_those(Whose::Email(email)).await
    }

    /// Ends the sessions that are meant; returns how many there were. No
    /// request after this finds one.
    ///
    /// # Errors
    /// When the disk cannot be read or written.
    pub async fn end_those(&self, whose: Whose<'_>) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        let owner = Owner::from(whose);
        // Those too that another replica has begun a moment ago.
        shared.store.catch_up().await;
        blocking(move || {
            let theirs = shared.store.of(&owner)?;
            let count = shared.store.remove(&theirs)?;
            shared.forget(&theirs);
            Ok(count)
        })
        .await
    }

    /// Writes down which sessions were used and removes expired ones, a
    /// bounded number at a time; returns how many went. Call it every minute
    /// and before the program ends.
    ///
    /// # Errors
    /// When the disk cannot be read or written.
    pub async fn maintain(&self) -> Result<usize, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let touched = std::mem::take(&mut *shared.touched());
            shared.store.touch(&touched, shared.idle())?;
            let gone = shared.store.sweep(now(&shared.clock), SWEEP)?;
            shared.forget(&gone);
            Ok(gone.len())
        })
        .await
    }
}

impl Shared {
    fn idle(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }

    fn touched(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, u64>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, hash: Hash, now: u64) {
        let mut touched = self.touched();
        if touched.len() < MAX_TOUCHED || touched.contains_key(&hash) {
            touched.insert(hash, now);
        }
    }

    fn fill(&self, hash: &Hash) -> Option<Arc<Session>> {
        let _filling = self.memory.filling();
        if let Some(session) = self.memory.cache.get(hash) {
            return Some(session);
        }
        let record = match self.store.get(hash) {
            Ok(record) => record?,
            Err(error) => {
                tracing::error!(%error, "session store cannot be read");
                return None;
            }
        };
        let seen = self.touched().get(hash).copied().unwrap_or(record.seen);
        let session = Arc::new(Session {
            person: record.person(),
            expires: record.expires,
            issuer: record.issuer.as_deref().map(Arc::from),
            client: record.client.as_deref().map(Arc::from),
            sid: record.sid.as_deref().map(Arc::from),
            renewable: self.open(hash, record.tokens.as_ref()),
            renewing: Arc::default(),
            hash: *hash,
            seen: AtomicU64::new(seen),
            written: AtomicU64::new(record.seen),
            id_token: OnceLock::new(),
        });
        self.memory.cache.insert(*hash, Arc::clone(&session));
        Some(session)
    }

    fn seal(&self, hash: &Hash, tokens: Option<&Renewable>) -> Result<Option<Tokens>, StoreError> {
        let Some(tokens) = tokens else {
            return Ok(None);
        };
        let plain = tokens.refresh_token.expose().as_bytes();
        Ok(Some(Tokens {
            sealed: self.sealer.seal(&label(hash), plain)?,
            until: tokens.until,
        }))
    }

    /// A token that cannot be opened is none: the session lives without.
    fn open(&self, hash: &Hash, tokens: Option<&Tokens>) -> Option<Renewable> {
        let tokens = tokens?;
        let plain = self.sealer.open(&label(hash), &tokens.sealed)?;
        Some(Renewable {
            refresh_token: Secret::new(String::from_utf8(plain).ok()?),
            until: tokens.until,
        })
    }

    fn forget(&self, hashes: &[Hash]) {
        self.memory.forget(hashes);
    }
}

/// What a refresh token is sealed for: no other session can have it.
fn label(hash: &Hash) -> String {
    format!("refresh token of {}", URL_SAFE_NO_PAD.encode(hash))
}

/// Runs disk work where it holds up no request.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(StoreError::Stopped))
}

#[cfg(test)]
mod tests;
