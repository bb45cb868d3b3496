//! Keys in memory, and a change of them before it counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use policy::{Key, Service, TokenHolder};

use super::secret::Digest;
use super::store::Record;
use super::{KeyInfo, KeyOwner};

/// Keys by their digests.
pub(super) type All = HashMap<Digest, Arc<Held>>;

/// What is to be kept of a key; nothing where it has ended.
pub(super) type Change = (Digest, Option<Record>);

/// A key as it is held in memory.
pub(super) struct Held {
    pub(super) info: KeyInfo,
    /// What a request with it is.
    pub(super) key: Key,
    pub(super) used: AtomicU64,
    /// What is kept of it says so.
    written: AtomicU64,
}

impl Held {
    pub(super) fn new(info: KeyInfo) -> Self {
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

    pub(super) fn info(&self) -> KeyInfo {
        let used = self.used.load(Ordering::Relaxed);
        KeyInfo {
            used: (used > 0).then_some(used),
            ..self.info.clone()
        }
    }

    /// Whether it was used since that was written down.
    pub(super) fn is_used_anew(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.written.load(Ordering::Relaxed)
    }

    /// The same key with what is known of it now. Its use meanwhile is written next time.
    pub(super) fn again(&self, info: KeyInfo) -> Self {
        let new = Self::new(info);
        let used = self.used.load(Ordering::Relaxed);
        new.used.fetch_max(used, Ordering::Relaxed);
        new
    }
}

/// Keys as a change leaves them.
pub(super) struct Work {
    all: All,
    changes: Vec<Change>,
}

impl Work {
    pub(super) fn on(all: &All) -> Self {
        Self {
            all: all.clone(),
            changes: Vec::new(),
        }
    }

    /// The keys, and what has to be kept of them.
    pub(super) fn finish(self) -> (All, Vec<Change>) {
        (self.all, self.changes)
    }

    /// How much was changed, to go back there.
    #[cfg(feature = "redis")]
    pub(super) fn mark(&self) -> (All, usize) {
        (self.all.clone(), self.changes.len())
    }

    /// Undoes what was changed since.
    #[cfg(feature = "redis")]
    pub(super) fn back_to(&mut self, (all, changes): (All, usize)) {
        self.all = all;
        self.changes.truncate(changes);
    }

    pub(super) fn owners(&self) -> Vec<KeyOwner> {
        let owners = self.all.values().map(|held| held.info.owner.clone());
        owners.collect()
    }

    pub(super) fn put(&mut self, digest: Digest, info: KeyInfo) {
        self.changes.push((digest, Some(Record::of(&info))));
        let held = match self.all.get(&digest) {
            Some(held) => held.again(info),
            None => Held::new(info),
        };
        self.all.insert(digest, Arc::new(held));
    }

    /// Gives those keys that `which` names what `to` makes of them; returns
    /// what they were.
    pub(super) fn change(
        &mut self,
        which: impl Fn(&Held) -> bool,
        to: impl Fn(KeyInfo) -> Option<KeyInfo>,
    ) -> Vec<KeyInfo> {
        let meant = self.all.iter().filter(|(_, held)| which(held));
        let meant: Vec<(Digest, KeyInfo)> = meant.map(|(d, held)| (*d, held.info())).collect();
        let mut before = Vec::new();
        for (digest, info) in meant {
            before.push(info.clone());
            match to(info) {
                Some(info) => self.put(digest, info),
                None => {
                    self.all.remove(&digest);
                    self.changes.push((digest, None));
                }
            }
        }
        before
    }
}

/// What counts from now on.
pub(super) fn replace(held: &RwLock<All>, all: All) {
    *held.write().unwrap_or_else(PoisonError::into_inner) = all;
}
