//! API keys: tokens for programs that people, or whoever operates this, make
//! and take back.
//!
//! A key is shown once and kept as its SHA-256, which is enough for 256 random
//! bits. All of them are in memory, so that a request costs one look-up and a
//! revoked key is none for the next request.

mod held;
#[cfg(feature = "redis")]
mod replicated;
mod rules;
mod secret;
mod store;

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::secret::Secret;
use policy::{Key, KeyScope, Person, TokenError};

use crate::clock::{Clock, now};
use crate::random::random;
use crate::session::StoreError;
use held::{All, Held, Work};
pub use rules::KeyError;
use secret::Digest;
pub(crate) use secret::PREFIX;
use store::Store;

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

/// All API keys. Cheap to clone.
#[derive(Clone)]
pub struct ApiKeys {
    shared: Arc<Shared>,
}

struct Shared {
    // Before what it keeps: its thread uses that to the end.
    keeper: Keeper,
    held: Arc<RwLock<All>>,
    clock: Clock,
}

/// Who makes changes last.
enum Keeper {
    File {
        store: Arc<Store>,
        /// One change at a time, on disk and then in memory.
        changing: tokio::sync::Mutex<()>,
    },
    #[cfg(feature = "redis")]
    Redis(replicated::Replicated),
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
        let keeper = Keeper::File {
            store: Arc::new(store),
            changing: tokio::sync::Mutex::new(()),
        };
        Ok(Self::of(keeper, Arc::new(RwLock::new(held)), clock))
    }

    /// Shares keys with other replicas through Redis. One that is revoked at another counts here for
    /// half a second at most; while Redis does not answer, for as long as the settings say, after which no key
    /// counts. Waits up to ten seconds for Redis: not for a thread that answers requests.
    ///
    /// # Errors
    /// When Redis does not answer, or holds what this version cannot read.
    #[cfg(feature = "redis")]
    pub fn open_redis(settings: ::replicated::Settings, clock: Clock) -> Result<Self, StoreError> {
        let held = Arc::new(RwLock::new(All::new()));
        let keeper = Keeper::Redis(replicated::open(settings, &held)?);
        Ok(Self::of(keeper, held, clock))
    }

    fn of(keeper: Keeper, held: Arc<RwLock<All>>, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                keeper,
                held,
                clock,
            }),
        }
    }

    /// Makes a key; it is kept for good when this returns. The secret is told here
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
        let now = now(&self.shared.clock);
        let (mut added, mut made) = (Vec::new(), Vec::new());
        for new in new {
            let (digest, info, secret) = fresh(new, now)?;
            added.push((digest, info.clone()));
            made.push((info, secret));
        }
        self.transact(move |work| {
            work.change(|held| now >= held.info.expires, |_| None);
            let mut owners: Vec<KeyOwner> = work.owners();
            for (digest, info) in &added {
                if owners.len() >= MAX_KEYS {
                    return Err(KeyError::Full(MAX_KEYS));
                }
                let theirs = owners.iter().filter(|owner| owner.is_same(&info.owner));
                if theirs.count() >= MAX_KEYS_OF_ONE {
                    return Err(KeyError::Many(MAX_KEYS_OF_ONE));
                }
                owners.push(info.owner.clone());
                work.put(*digest, info.clone());
            }
            Ok(())
        })
        .await?;
        Ok(made)
    }

    /// Makes sure that a key which another replica has made is known here. Where it is, or there
    /// are no replicas, this does nothing.
    pub async fn meet(&self, token: &str) {
        #[cfg(feature = "redis")]
        if let Keeper::Redis(keeper) = &self.shared.keeper
            && secret::digest(token).is_some_and(|digest| !self.held().contains_key(&digest))
        {
            keeper.catch_up().await;
        }
        #[cfg(not(feature = "redis"))]
        let _ = token;
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// Says what is wrong with it, without repeating it.
    pub fn find(&self, token: &str) -> Result<Key, TokenError> {
        let unknown = || TokenError("the API key is unknown or was revoked".to_owned());
        let digest = secret::digest(token)
            .ok_or_else(|| TokenError("the API key is mistyped or cut off".to_owned()))?;
        #[cfg(feature = "redis")]
        if let Keeper::Redis(keeper) = &self.shared.keeper
            && keeper.is_out_of_date()
        {
            return Err(TokenError(
                "whether the API key was revoked cannot be known now".to_owned(),
            ));
        }
        let held = self.held().get(&digest).map(Arc::clone);
        let held = held.ok_or_else(unknown)?;
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
        let mut all: Vec<KeyInfo> = self.held().values().map(|held| held.info()).collect();
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
        let (id, of) = (id.to_owned(), of.map(str::to_owned));
        let wanted = move |key: &KeyInfo| {
            let theirs = match (&key.owner, &of) {
                (_, None) => true,
                (KeyOwner::Person(person), Some(email)) => *person.email == **email,
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
        let email = email.to_owned();
        let theirs = move |key: &KeyInfo| matches!(&key.owner, KeyOwner::Person(person) if *person.email == *email);
        let ended = self.remove(theirs).await;
        ended.map(|ended| ended.len()).map_err(KeyError::of_store)
    }

    /// Somebody logged in: their keys have the groups of this login from now on.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub async fn logged_in(&self, person: &Person) -> Result<(), StoreError> {
        let person = person.clone();
        let changed = self.transact(move |work| {
            let stale = |held: &Held| match &held.info.owner {
                KeyOwner::Person(owner) => owner.email == person.email && *owner != person,
                KeyOwner::Service(_) => false,
            };
            work.change(stale, |info| {
                Some(KeyInfo {
                    owner: KeyOwner::Person(person.clone()),
                    ..info
                })
            });
            Ok(())
        });
        changed.await.map_err(KeyError::of_store)
    }

    /// Writes down when keys were used and forgets expired ones. Call it every
    /// minute and before the program ends.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        let now = now(&self.shared.clock);
        let changed = self.transact(move |work| {
            work.change(|held| now >= held.info.expires, |_| None);
            work.change(Held::is_used_anew, Some);
            Ok(())
        });
        changed.await.map_err(KeyError::of_store)
    }

    async fn remove(
        &self,
        which: impl Fn(&KeyInfo) -> bool + Send + 'static,
    ) -> Result<Vec<KeyInfo>, KeyError> {
        self.transact(move |work| Ok(work.change(|held| which(&held.info), |_| None)))
            .await
    }

    fn held(&self) -> std::sync::RwLockReadGuard<'_, All> {
        let held = self.shared.held.read();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes keys, all that `work` does or nothing: what it did before an error does not count. It
    /// may run again.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Work) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        match &self.shared.keeper {
            Keeper::File { store, changing } => {
                let _turn = changing.lock().await;
                let mut working = Work::on(&self.held());
                let done = work(&mut working)?;
                let (all, changes) = working.finish();
                if !changes.is_empty() {
                    let store = Arc::clone(store);
                    crate::session::blocking(move || store.write(&changes)).await?;
                    held::replace(&self.shared.held, all);
                }
                Ok(done)
            }
            #[cfg(feature = "redis")]
            Keeper::Redis(_) => {
                let shared = Arc::clone(&self.shared);
                let changed = tokio::task::spawn_blocking(move || match &shared.keeper {
                    Keeper::Redis(keeper) => keeper.change(work),
                    Keeper::File { .. } => Err(StoreError::Stopped.into()),
                });
                changed
                    .await
                    .unwrap_or_else(|_| Err(StoreError::Stopped.into()))
            }
        }
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
