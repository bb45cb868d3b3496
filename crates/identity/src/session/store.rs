//! The sessions: one table and two indexes in a file, every change one durable
//! transaction, or in memory beside Redis.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::Person;
use redb::{
    Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

#[cfg(feature = "redis")]
use super::Memory;
use super::owner::{self, Owner};
#[cfg(feature = "redis")]
use super::replicated::Replicated;
use super::{Hash, NewSession};
use crate::keyfile::KeyFileError;
use crate::random::NoRandomness;

/// Hash of the id to the session as JSON.
const SESSIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("sessions");

/// Hash of the id to the ID token of the login: longer than all else of a session, and seldom wanted. Sessions of
/// versions without this table have it within.
const ID_TOKENS: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("id_tokens");

/// Deadline (big-endian seconds) and hash: sessions in the order they end.
const DEADLINES: TableDefinition<'_, &[u8; 40], ()> = TableDefinition::new("deadlines");

/// Digest of a name that sessions have in common, and hash.
const OWNERS: TableDefinition<'_, &[u8; 64], ()> = TableDefinition::new("owners");

/// Pages that redb may keep in memory.
pub(super) const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Storage of sessions or API keys failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("file `{path}`: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed.
    #[error("database: {0}")]
    Database(Box<redb::Error>),
    /// The key that refresh tokens are sealed with.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// No id could be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// What replicas share cannot be used.
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(replicated::Error),
    /// The program is ending.
    #[error("database: the program is ending")]
    Stopped,
}

impl<E: Into<redb::Error>> From<E> for StoreError
where
    redb::Error: From<E>,
{
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// A session as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) email: String,
    pub(super) subject: String,
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<Tokens>,
    pub(super) expires: u64,
    pub(super) seen: u64,
    deadline: u64,
}

/// What renews the tokens of a session, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) sealed: String,
    pub(super) until: u64,
}

impl Record {
    pub(super) fn new(
        new: &NewSession,
        tokens: Option<Tokens>,
        expires: u64,
        now: u64,
        idle: u64,
    ) -> Self {
        let NewSession {
            person,
            issuer,
            client,
            sid,
            id_token,
            renewable: _,
        } = new;
        Self {
            email: person.email.to_string(),
            subject: person.subject.to_string(),
            groups: person.groups.iter().map(ToString::to_string).collect(),
            issuer: issuer.as_deref().map(str::to_owned),
            client: client.as_deref().map(str::to_owned),
            sid: sid.as_deref().map(str::to_owned),
            id_token: id_token.as_ref().map(|token| token.expose().to_owned()),
            tokens,
            expires,
            seen: now,
            deadline: expires.min(now.saturating_add(idle)),
        }
    }

    /// When it ends unless it is used, seconds since 1970.
    #[cfg(feature = "redis")]
    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }

    pub(super) fn person(&self) -> Person {
        Person {
            email: self.email.as_str().into(),
            subject: self.subject.as_str().into(),
            groups: self
                .groups
                .iter()
                .map(|group| Arc::from(&**group))
                .collect(),
        }
    }
}

/// Makes a file that only its owner may read, for its mode alone: redb takes an
/// empty file for a new one.
pub(crate) fn create_private(path: &Path) -> Result<(), StoreError> {
    let opening = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(opening)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(opening)
}

pub(super) struct Store {
    // Before the database: its thread uses that to the end.
    keeper: Keeper,
    database: Arc<Database>,
}

/// Who makes changes last.
enum Keeper {
    File,
    #[cfg(feature = "redis")]
    Redis(Replicated),
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        let store = Self {
            keeper: Keeper::File,
            database: Arc::new(database),
        };
        store.change(|tables| tables.index_owners())?;
        Ok(store)
    }

    #[cfg(feature = "redis")]
    pub(super) fn open_redis(
        settings: replicated::Settings,
        memory: &Arc<Memory>,
    ) -> Result<Self, StoreError> {
        let (keeper, database) = super::replicated::open(settings, memory)?;
        Ok(Self {
            keeper: Keeper::Redis(keeper),
            database,
        })
    }

    /// Whether others begin and end sessions, too.
    pub(super) fn has_replicas(&self) -> bool {
        !matches!(self.keeper, Keeper::File)
    }

    /// Waits until what other replicas have done is known; false where nothing new can be.
    pub(super) async fn catch_up(&self) -> bool {
        match &self.keeper {
            Keeper::File => false,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.catch_up().await,
        }
    }

    /// Whether what is here is too old to be believed.
    pub(super) fn is_out_of_date(&self) -> bool {
        match &self.keeper {
            Keeper::File => false,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.is_out_of_date(),
        }
    }

    /// A session, as a rule without its ID token.
    pub(super) fn get(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        let table = self.database.begin_read()?.open_table(SESSIONS)?;
        Ok(table.get(hash)?.and_then(|value| decode(value.value())))
    }

    /// The ID token of a session.
    pub(super) fn id_token(&self, hash: &Hash) -> Result<Option<String>, StoreError> {
        Ok(look_up(&self.database, hash)?.and_then(|record| record.id_token))
    }

    /// Inserts; if there are more than `max`, those that would end first go,
    /// and are returned.
    pub(super) fn insert(
        &self,
        mut new: Vec<(Hash, Record)>,
        max: u64,
    ) -> Result<Vec<Hash>, StoreError> {
        // In the order of the table: many at once are one walk through it.
        new.sort_unstable_by_key(|(hash, _)| *hash);
        let more = u64::try_from(new.len()).unwrap_or(u64::MAX);
        self.change(move |tables| {
            let count = tables.sessions.len()?;
            let excess = count.saturating_add(more).saturating_sub(max);
            let excess = usize::try_from(excess).unwrap_or(usize::MAX);
            let first: Vec<[u8; 40]> = tables
                .deadlines
                .iter()?
                .take(excess)
                .map(|entry| Ok(*entry?.0.value()))
                .collect::<Result<_, StoreError>>()?;
            let mut gone = Vec::new();
            for key in first {
                tables.deadlines.remove(&key)?;
                if let Some(hash) = key.last_chunk::<32>() {
                    tables.remove(hash)?;
                    gone.push(*hash);
                }
            }
            tables.put_all(&new)?;
            Ok(gone)
        })
    }

    /// Puts other tokens and what they say into a session that is there.
    pub(super) fn renew(
        &self,
        hash: &Hash,
        renewed: &NewSession,
        tokens: Option<Tokens>,
    ) -> Result<(), StoreError> {
        let (hash, renewed) = (*hash, renewed.clone());
        self.change(move |tables| {
            let Some(before) = tables.get(&hash)? else {
                return Ok(());
            };
            tables.remove(&hash)?;
            let record = Record {
                deadline: before.deadline,
                ..Record::new(&renewed, tokens.clone(), before.expires, before.seen, 0)
            };
            tables.put(&hash, &record)
        })
    }

    /// Removes sessions; returns how many were there.
    pub(super) fn remove(&self, hashes: &[Hash]) -> Result<u64, StoreError> {
        if hashes.is_empty() {
            return Ok(0);
        }
        let hashes = hashes.to_vec();
        self.change(move |tables| {
            let mut count = 0;
            for hash in &hashes {
                count += u64::from(tables.remove(hash)?);
            }
            Ok(count)
        })
    }

    /// Sessions with a name in common.
    pub(super) fn of(&self, owner: &Owner) -> Result<Vec<Hash>, StoreError> {
        let read = self.database.begin_read()?;
        let (owners, sessions) = (read.open_table(OWNERS)?, read.open_table(SESSIONS)?);
        let (from, to) = (
            owner_key(&owner.key, &[0; 32]),
            owner_key(&owner.key, &[255; 32]),
        );
        let mut found = Vec::new();
        for entry in owners.range::<&[u8; 64]>(&from..=&to)? {
            let (key, _) = entry?;
            let Some(hash) = key.value().last_chunk::<32>() else {
                continue;
            };
            let meant = match &owner.subject {
                None => true,
                Some(subject) => sessions
                    .get(hash)?
                    .and_then(|value| decode(value.value()))
                    .is_some_and(|record| record.subject == *subject),
            };
            if meant {
                found.push(*hash);
            }
        }
        Ok(found)
    }

    /// Records when sessions were last used.
    pub(super) fn touch(&self, seen: &HashMap<Hash, u64>, idle: u64) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let seen = seen.clone();
        self.change(move |tables| {
            for (hash, seen) in &seen {
                let Some(mut record) = tables.get(hash)? else {
                    continue;
                };
                tables
                    .deadlines
                    .remove(&deadline_key(record.deadline, hash))?;
                record.seen = record.seen.max(*seen);
                record.deadline = record.expires.min(record.seen.saturating_add(idle));
                tables.put(hash, &record)?;
            }
            Ok(())
        })
    }

    /// Removes at most `max` sessions that ended before or at `now`.
    pub(super) fn sweep(&self, now: u64, max: usize) -> Result<Vec<Hash>, StoreError> {
        let table = self.database.begin_read()?.open_table(DEADLINES)?;
        let end = deadline_key(now.saturating_add(1), &[0; 32]);
        let mut gone = Vec::new();
        for entry in table.range::<&[u8; 40]>(..&end)?.take(max) {
            if let Some(hash) = entry?.0.value().last_chunk::<32>() {
                gone.push(*hash);
            }
        }
        drop(table);
        // Each replica does so for itself, and Redis by itself.
        if !gone.is_empty() {
            let ended = gone.clone();
            self.change_here(move |tables| {
                for hash in &ended {
                    tables.remove(hash)?;
                }
                Ok(())
            })?;
        }
        Ok(gone)
    }

    fn change<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.keeper {
            Keeper::File => self.change_here(work),
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.change(work),
        }
    }

    fn change_here<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let write: WriteTransaction = self.database.begin_write()?;
        let result = work(&mut begin(&write)?)?;
        write.commit()?;
        Ok(result)
    }
}

/// A session with all that is kept of it.
pub(super) fn look_up(database: &Database, hash: &Hash) -> Result<Option<Record>, StoreError> {
    let read = database.begin_read()?;
    let (sessions, id_tokens) = (read.open_table(SESSIONS)?, read.open_table(ID_TOKENS)?);
    whole(hash, &sessions, &id_tokens)
}

fn whole(
    hash: &Hash,
    sessions: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    id_tokens: &impl ReadableTable<&'static [u8; 32], &'static str>,
) -> Result<Option<Record>, StoreError> {
    let Some(mut record) = sessions.get(hash)?.and_then(|value| decode(value.value())) else {
        return Ok(None);
    };
    if let Some(token) = id_tokens.get(hash)? {
        record.id_token = Some(token.value().to_owned());
    }
    Ok(Some(record))
}

pub(super) fn begin(write: &WriteTransaction) -> Result<Tables<'_>, StoreError> {
    Ok(Tables {
        sessions: write.open_table(SESSIONS)?,
        id_tokens: write.open_table(ID_TOKENS)?,
        deadlines: write.open_table(DEADLINES)?,
        owners: write.open_table(OWNERS)?,
        written: None,
    })
}

/// The file within one transaction.
pub(super) struct Tables<'t> {
    sessions: Table<'t, &'static [u8; 32], &'static [u8]>,
    id_tokens: Table<'t, &'static [u8; 32], &'static str>,
    deadlines: Table<'t, &'static [u8; 40], ()>,
    owners: Table<'t, &'static [u8; 64], ()>,
    /// What other replicas have to know, where there are any: sessions as they are now, or that they
    /// ended.
    written: Option<Vec<(Hash, Option<Record>)>>,
}

impl Tables<'_> {
    fn get(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        whole(hash, &self.sessions, &self.id_tokens)
    }

    /// Keeps what is written for other replicas.
    #[cfg(feature = "redis")]
    pub(super) fn for_replicas(self) -> Self {
        Self {
            written: Some(Vec::new()),
            ..self
        }
    }

    /// What was written.
    #[cfg(feature = "redis")]
    pub(super) fn into_written(self) -> Vec<(Hash, Option<Record>)> {
        self.written.unwrap_or_default()
    }

    fn tell(&mut self, hash: &Hash, record: Option<&Record>) {
        if let Some(written) = &mut self.written {
            written.push((*hash, record.cloned()));
        }
    }

    /// Takes away everything.
    #[cfg(feature = "redis")]
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        self.sessions.retain(|_, _| false)?;
        self.id_tokens.retain(|_, _| false)?;
        self.deadlines.retain(|_, ()| false)?;
        self.owners.retain(|_, ()| false)?;
        Ok(())
    }

    pub(super) fn put(&mut self, hash: &Hash, record: &Record) -> Result<(), StoreError> {
        self.put_named(hash, record)?;
        for owner in owner::keys(record) {
            self.owners.insert(&owner_key(&owner, hash), ())?;
        }
        Ok(())
    }

    fn put_all(&mut self, all: &[(Hash, Record)]) -> Result<(), StoreError> {
        let mut owners = Vec::new();
        for (hash, record) in all {
            self.put_named(hash, record)?;
            let keys = owner::keys(record).into_iter();
            owners.extend(keys.map(|owner| owner_key(&owner, hash)));
        }
        owners.sort_unstable();
        for owner in &owners {
            self.owners.insert(owner, ())?;
        }
        Ok(())
    }

    /// What is found by its name, without the names that it has in common with others.
    fn put_named(&mut self, hash: &Hash, record: &Record) -> Result<(), StoreError> {
        self.tell(hash, Some(record));
        let brief = Record {
            id_token: None,
            ..record.clone()
        };
        self.sessions.insert(hash, encode(&brief).as_slice())?;
        if let Some(token) = &record.id_token {
            self.id_tokens.insert(hash, token.as_str())?;
        }
        self.deadlines
            .insert(&deadline_key(record.deadline, hash), ())?;
        Ok(())
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, hash: &Hash) -> Result<bool, StoreError> {
        let Some(record) = self
            .sessions
            .remove(hash)?
            .map(|value| decode(value.value()))
        else {
            return Ok(false);
        };
        self.id_tokens.remove(hash)?;
        self.tell(hash, None);
        if let Some(record) = record {
            self.deadlines
                .remove(&deadline_key(record.deadline, hash))?;
            for owner in owner::keys(&record) {
                self.owners.remove(&owner_key(&owner, hash))?;
            }
        }
        Ok(true)
    }

    /// A file of a version that had no such index gets one.
    fn index_owners(&mut self) -> Result<(), StoreError> {
        if self.owners.len()? > 0 || self.sessions.len()? == 0 {
            return Ok(());
        }
        for entry in self.sessions.iter()? {
            let (hash, value) = entry?;
            let Some(record) = decode(value.value()) else {
                continue;
            };
            for owner in owner::keys(&record) {
                self.owners.insert(&owner_key(&owner, hash.value()), ())?;
            }
        }
        Ok(())
    }
}

fn owner_key(owner: &[u8; 32], hash: &Hash) -> [u8; 64] {
    let mut key = [0; 64];
    let (first, rest) = key.split_at_mut(32);
    first.copy_from_slice(owner);
    rest.copy_from_slice(hash);
    key
}

fn deadline_key(deadline: u64, hash: &Hash) -> [u8; 40] {
    let mut key = [0; 40];
    let (time, rest) = key.split_at_mut(8);
    time.copy_from_slice(&deadline.to_be_bytes());
    rest.copy_from_slice(hash);
    key
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(bytes).ok()
}
