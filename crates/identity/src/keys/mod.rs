//! API keys: tokens for programs that people, or whoever operates this, make
//! and take back.
//!
//! A key is shown once and kept as its SHA-256, which is enough for 256 random
//! bits. All of them are in memory, so that a request costs one look-up and a
//! revoked key is none for the next request.

mod rules;
mod secret;
mod store;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::secret::Secret;
use policy::{Key, KeyScope, Person, Service, TokenError, TokenHolder};

use crate::clock::{Clock, now};
use crate::random::random;
use crate::session::StoreError;
pub use rules::KeyError;
use secret::Digest;
pub(crate) use secret::PREFIX;
use store::{Record, Store};

/// No key lives longer.
pub const LONGEST_KEY_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

/// Keys in all.
const MAX_KEYS: usize = 20_000;

/// Keys of one person or program.
const MAX_KEYS_OF_ONE: usize = 100;

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// A person, with the groups of their last login.
    Person(Person),
    /// A program with a name.
    Service(Arc<str>),
}

impl KeyOwner {
    fn name(&self) -> &str {
        match self {
            Self::Person(person) => &person.email,
            Self::Service(name) => name,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        matches!(self, Self::Person(_)) == matches!(other, Self::Person(_))
            && self.name() == other.name()
    }
}

/// What a key is asked for.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whose it is.
    pub owner: KeyOwner,
    /// What people call it: `laptop`, `nightly job`.
    pub label: String,
    /// What it is for.
    pub scope: KeyScope,
    /// How long it counts, at most [`LONGEST_KEY_LIFE`].
    pub life: Duration,
}

/// What may be told of a key. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name in commands and logs.
    pub id: Arc<str>,
    /// Whose it is.
    pub owner: KeyOwner,
    /// What people call it.
    pub label: Arc<str>,
    /// What it is for.
    pub scope: Arc<KeyScope>,
    /// When it was made.
    pub created: u64,
    /// When it ends.
    pub expires: u64,
    /// When it was last used, within a minute.
    pub used: Option<u64>,
}

/// A key as it is held in memory.
struct Held {
    info: KeyInfo,
    /// What a request with it is.
    key: Key,
    used: AtomicU64,
    /// What the file says of it.
    written: AtomicU64,
}

impl Held {
    fn new(info: KeyInfo) -> Self {
        let holder = match &info.owner {
            KeyOwner::Person(person) => TokenHolder::Person(person.clone()),
            KeyOwner::Service(name) => TokenHolder::Service(Service {
                name: Arc::clone(name),
                groups: [].into(),
            }),
        };
        let used = info.used.unwrap_or_default();
        Self {
            key: Key {
                id: Arc::clone(&info.id),
                holder,
                scope: Arc::clone(&info.scope),
            },
            info,
            used: used.into(),
            written: used.into(),
        }
    }

    fn info(&self) -> KeyInfo {
        let used = self.used.load(Ordering::Relaxed);
        KeyInfo {
            used: (used > 0).then_some(used),
            ..self.info.clone()
        }
    }
}

/// All API keys. Cheap to clone.
#[derive(Clone)]
pub struct ApiKeys {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    held: RwLock<HashMap<Digest, Arc<Held>>>,
    /// One change at a time, on disk and then in memory.
    changing: tokio::sync::Mutex<()>,
    clock: Clock,
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeys(..)")
    }
}

impl ApiKeys {
    /// Opens `api-keys.redb` in `folder`, making it if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or is none of ours.
    pub fn open(folder: &Path, clock: Clock) -> Result<Self, StoreError> {
        let store = Store::open(&folder.join("api-keys.redb"))?;
        let held = store
            .all()?
            .into_iter()
            .map(|(digest, record)| (digest, Arc::new(Held::new(record.info()))))
            .collect();
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                held: RwLock::new(held),
                changing: tokio::sync::Mutex::new(()),
                clock,
            }),
        })
    }

    /// Makes a key; it is on disk when this returns. The secret is told here
    /// and never again.
    ///
    /// # Errors
    /// When the key cannot be as asked for, there are too many, or the disk
    /// cannot be written.
    pub async fn create(&self, new: NewKey) -> Result<(KeyInfo, Secret), KeyError> {
        let made = self.create_all(vec![new]).await?;
        let made = made.into_iter().next();
        made.ok_or(KeyError::Store(StoreError::Stopped))
    }

    /// Makes keys in one transaction, which come back in the same order.
    ///
    /// # Errors
    /// As for one; there is none of them then.
    pub async fn create_all(&self, new: Vec<NewKey>) -> Result<Vec<(KeyInfo, Secret)>, KeyError> {
        new.iter().try_for_each(rules::check)?;
        let _turn = self.shared.changing.lock().await;
        let now = now(&self.shared.clock);
        self.forget_expired(now).await?;
        let mut owners: Vec<KeyOwner> = self.list().into_iter().map(|key| key.owner).collect();
        let mut made = Vec::new();
        let mut records = Vec::new();
        for new in new {
            if owners.len() >= MAX_KEYS {
                return Err(KeyError::Full(MAX_KEYS));
            }
            let theirs = owners.iter().filter(|owner| owner.is_same(&new.owner));
            if theirs.count() >= MAX_KEYS_OF_ONE {
                return Err(KeyError::Many(MAX_KEYS_OF_ONE));
            }
            owners.push(new.owner.clone());
            let (digest, info, secret) = fresh(new, now)?;
            records.push((digest, Some(Record::of(&info))));
            made.push((digest, info, secret));
        }
        self.write(records).await?;
        let mut held = self.held_mut();
        Ok(made
            .into_iter()
            .map(|(digest, info, secret)| {
                held.insert(digest, Arc::new(Held::new(info.clone())));
                (info, secret)
            })
            .collect())
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// Says what is wrong with it, without repeating it.
    pub fn find(&self, token: &str) -> Result<Key, TokenError> {
        let unknown = || TokenError("the API key is unknown or was revoked".to_owned());
        let digest = secret::digest(token)
            .ok_or_else(|| TokenError("the API key is mistyped or cut off".to_owned()))?;
        let held = {
            let all = self.shared.held.read();
            let all = all.unwrap_or_else(PoisonError::into_inner);
            all.get(&digest).map(Arc::clone).ok_or_else(unknown)?
        };
        let now = now(&self.shared.clock);
        if now >= held.info.expires {
            return Err(TokenError("the API key has expired".to_owned()));
        }
        if held.used.load(Ordering::Relaxed) < now {
            held.used.store(now, Ordering::Relaxed);
        }
        Ok(held.key.clone())
    }

    /// All keys, oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        let all = self.shared.held.read();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<KeyInfo> = all.values().map(|held| held.info()).collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }

    /// The keys of a person, oldest first.
    pub fn list_of(&self, email: &str) -> Vec<KeyInfo> {
        let mut all = self.list();
        all.retain(|key| matches!(&key.owner, KeyOwner::Person(person) if *person.email == *email));
        all
    }

    /// Ends a key: it counts for no request after this. `of` is the person
    /// whose it has to be.
    ///
    /// # Errors
    /// When there is none, or the disk cannot be written; the key then lives on.
    pub async fn revoke(&self, id: &str, of: Option<&str>) -> Result<KeyInfo, KeyError> {
        let wanted = |key: &KeyInfo| {
            let theirs = match (&key.owner, of) {
                (_, None) => true,
                (KeyOwner::Person(person), Some(email)) => *person.email == *email,
                (KeyOwner::Service(_), Some(_)) => false,
            };
            *key.id == *id && theirs
        };
        let ended = self.remove(wanted).await?;
        ended.into_iter().next().ok_or(KeyError::Unknown)
    }

    /// Ends all keys of a person; returns how many there were.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub async fn revoke_all_of(&self, email: &str) -> Result<usize, StoreError> {
        let theirs = |key: &KeyInfo| matches!(&key.owner, KeyOwner::Person(person) if *person.email == *email);
        self.remove(theirs).await.map(|ended| ended.len())
    }

    /// Somebody logged in: their keys have the groups of this login from now on.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub async fn logged_in(&self, person: &Person) -> Result<(), StoreError> {
        let stale = |held: &Held| match &held.info.owner {
            KeyOwner::Person(owner) => owner.email == person.email && owner != person,
            KeyOwner::Service(_) => false,
        };
        self.change(stale, |info| {
            Some(KeyInfo {
                owner: KeyOwner::Person(person.clone()),
                ..info
            })
        })
        .await
        .map(drop)
    }

    /// Writes down when keys were used and forgets expired ones. Call it every
    /// minute and before the program ends.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        {
            let _turn = self.shared.changing.lock().await;
            self.forget_expired(now(&self.shared.clock)).await?;
        }
        let used =
            |held: &Held| held.used.load(Ordering::Relaxed) > held.written.load(Ordering::Relaxed);
        self.change(used, Some).await.map(drop)
    }

    async fn remove(&self, which: impl Fn(&KeyInfo) -> bool) -> Result<Vec<KeyInfo>, StoreError> {
        self.change(|held| which(&held.info), |_| None).await
    }

    /// Gives those keys that `which` names what `to` makes of them; returns
    /// what they were.
    async fn change(
        &self,
        which: impl Fn(&Held) -> bool,
        to: impl Fn(KeyInfo) -> Option<KeyInfo>,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let _turn = self.shared.changing.lock().await;
        self.change_in_turn(which, to).await
    }

    async fn forget_expired(&self, now: u64) -> Result<(), StoreError> {
        self.change_in_turn(|held| now >= held.info.expires, |_| None)
            .await
            .map(drop)
    }

    async fn change_in_turn(
        &self,
        which: impl Fn(&Held) -> bool,
        to: impl Fn(KeyInfo) -> Option<KeyInfo>,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let mut before = Vec::new();
        let mut after: Vec<(Digest, Option<KeyInfo>)> = Vec::new();
        {
            let all = self.shared.held.read();
            let all = all.unwrap_or_else(PoisonError::into_inner);
            for (digest, held) in all.iter().filter(|(_, held)| which(held)) {
                let info = held.info();
                before.push(info.clone());
                after.push((*digest, to(info)));
            }
        }
        if before.is_empty() {
            return Ok(before);
        }
        let records = after
            .iter()
            .map(|(digest, info)| (*digest, info.as_ref().map(Record::of)))
            .collect();
        self.write(records).await?;
        let mut all = self.held_mut();
        for (digest, info) in after {
            let Some(info) = info else {
                all.remove(&digest);
                continue;
            };
            let new = Held::new(info);
            // Used meanwhile: that is written next time.
            if let Some(old) = all.get(&digest) {
                new.used
                    .fetch_max(old.used.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            all.insert(digest, Arc::new(new));
        }
        Ok(before)
    }

    fn held_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Digest, Arc<Held>>> {
        let all = self.shared.held.write();
        all.unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, records: Vec<(Digest, Option<Record>)>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        crate::session::blocking(move || shared.store.write(&records)).await
    }
}

/// A key that is nowhere yet.
fn fresh(new: NewKey, now: u64) -> Result<(Digest, KeyInfo, Secret), StoreError> {
    let mut id = String::new();
    secret::base32(&random::<10>()?, &mut id);
    let secret = secret::new()?;
    let digest = secret::digest(secret.expose()).ok_or(StoreError::Stopped)?;
    let info = KeyInfo {
        id: id.into(),
        owner: new.owner,
        label: new.label.into(),
        scope: Arc::new(new.scope),
        created: now,
        expires: now.saturating_add(new.life.as_secs()),
        used: None,
    };
    Ok((digest, info, secret))
}

#[cfg(test)]
mod tests;
