//! The session file: redb, two tables, every change one durable transaction.

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

use super::Hash;
use crate::random::NoRandomness;
use secret::Secret;

/// Hash of the id to the session as JSON.
const SESSIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("sessions");

/// Deadline (big-endian seconds) and hash: sessions in the order they end.
const DEADLINES: TableDefinition<'_, &[u8; 40], ()> = TableDefinition::new("deadlines");

/// Pages that redb may keep in memory.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Session storage failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("session file `{path}`: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed.
    #[error("session store: {0}")]
    Database(Box<redb::Error>),
    /// No id could be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The program is ending.
    #[error("session store: stopped")]
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
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    email: String,
    subject: String,
    groups: Vec<String>,
    pub(super) id_token: Option<String>,
    pub(super) expires: u64,
    pub(super) seen: u64,
    deadline: u64,
}

impl Record {
    pub(super) fn new(
        person: &Person,
        id_token: Option<&Secret>,
        expires: u64,
        now: u64,
        idle: u64,
    ) -> Self {
        Self {
            email: person.email.to_string(),
            subject: person.subject.to_string(),
            groups: person.groups.iter().map(ToString::to_string).collect(),
            id_token: id_token.map(|token| token.expose().to_owned()),
            expires,
            seen: now,
            deadline: expires.min(now.saturating_add(idle)),
        }
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

pub(super) struct Store {
    database: Database,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let opening = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(opening)?;
        }
        // Made here for its mode; redb takes an empty file for a new one.
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(opening)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        let write = database.begin_write()?;
        write.open_table(SESSIONS)?;
        write.open_table(DEADLINES)?;
        write.commit()?;
        Ok(Self { database })
    }

    pub(super) fn get(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        let table = self.database.begin_read()?.open_table(SESSIONS)?;
        Ok(table.get(hash)?.and_then(|value| decode(value.value())))
    }

    /// Inserts; if there are more than `max`, those that would end first go,
    /// and are returned.
    pub(super) fn insert(
        &self,
        hash: &Hash,
        record: &Record,
        max: u64,
    ) -> Result<Vec<Hash>, StoreError> {
        self.change(|sessions, deadlines| {
            let excess = sessions.len()?.saturating_add(1).saturating_sub(max);
            let excess = usize::try_from(excess).unwrap_or(usize::MAX);
            let first: Vec<[u8; 40]> = deadlines
                .iter()?
                .take(excess)
                .map(|entry| Ok(*entry?.0.value()))
                .collect::<Result<_, StoreError>>()?;
            let mut gone = Vec::new();
            for key in first {
                deadlines.remove(&key)?;
                if let Some(hash) = key.last_chunk::<32>() {
                    sessions.remove(hash)?;
                    gone.push(*hash);
                }
            }
            sessions.insert(hash, encode(record).as_slice())?;
            deadlines.insert(&deadline_key(record.deadline, hash), ())?;
            Ok(gone)
        })
    }

    /// Removes sessions; returns how many were there.
    pub(super) fn remove(&self, hashes: &[Hash]) -> Result<u64, StoreError> {
        if hashes.is_empty() {
            return Ok(0);
        }
        self.change(|sessions, deadlines| {
            let mut count = 0;
            for hash in hashes {
                let record = sessions.remove(hash)?.map(|value| decode(value.value()));
                if let Some(record) = record {
                    count += 1;
                    if let Some(record) = record {
                        deadlines.remove(&deadline_key(record.deadline, hash))?;
                    }
                }
            }
            Ok(count)
        })
    }

    /// Sessions of a person.
    pub(super) fn of(&self, email: &str) -> Result<Vec<Hash>, StoreError> {
        let table = self.database.begin_read()?.open_table(SESSIONS)?;
        let mut found = Vec::new();
        for entry in table.iter()? {
            let (hash, value) = entry?;
            if decode(value.value()).is_some_and(|record| record.email == email) {
                found.push(*hash.value());
            }
        }
        Ok(found)
    }

    /// Records when sessions were last used.
    pub(super) fn touch(&self, seen: &HashMap<Hash, u64>, idle: u64) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        self.change(|sessions, deadlines| {
            for (hash, seen) in seen {
                let Some(mut record) = sessions.get(hash)?.and_then(|value| decode(value.value()))
                else {
                    continue;
                };
                deadlines.remove(&deadline_key(record.deadline, hash))?;
                record.seen = record.seen.max(*seen);
                record.deadline = record.expires.min(record.seen.saturating_add(idle));
                sessions.insert(hash, encode(&record).as_slice())?;
                deadlines.insert(&deadline_key(record.deadline, hash), ())?;
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
        self.remove(&gone)?;
        Ok(gone)
    }

    fn change<T>(
        &self,
        work: impl FnOnce(
            &mut Table<'_, &'static [u8; 32], &'static [u8]>,
            &mut Table<'_, &'static [u8; 40], ()>,
        ) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let write: WriteTransaction = self.database.begin_write()?;
        let result = {
            let mut sessions = write.open_table(SESSIONS)?;
            let mut deadlines = write.open_table(DEADLINES)?;
            work(&mut sessions, &mut deadlines)?
        };
        write.commit()?;
        Ok(result)
    }
}

fn deadline_key(deadline: u64, hash: &Hash) -> [u8; 40] {
    let mut key = [0; 40];
    let (time, rest) = key.split_at_mut(8);
    time.copy_from_slice(&deadline.to_be_bytes());
    rest.copy_from_slice(hash);
    key
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(bytes).ok()
}
