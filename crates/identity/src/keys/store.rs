//! The file of API keys: redb, one table, every change one durable transaction.

use std::path::Path;
use std::sync::Arc;

use policy::{KeyScope, Person};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use super::secret::Digest;
use super::{KeyInfo, KeyOwner};
use crate::session::{StoreError, create_private};

/// SHA-256 of the key to what is known of it, as JSON.
const KEYS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("api-keys");

/// Pages that redb may keep in memory: the keys are there themselves.
const CACHE_BYTES: usize = 1024 * 1024;

/// A key as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    id: String,
    owner: Owner,
    label: String,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    created: u64,
    expires: u64,
    used: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Owner {
    Person {
        email: String,
        subject: String,
        groups: Vec<String>,
    },
    Service(String),
}

impl Record {
    pub(super) fn of(info: &KeyInfo) -> Self {
        let texts = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
        Self {
            id: info.id.to_string(),
            owner: match &info.owner {
                KeyOwner::Person(person) => Owner::Person {
                    email: person.email.to_string(),
                    subject: person.subject.to_string(),
                    groups: texts(&person.groups),
                },
                KeyOwner::Service(name) => Owner::Service(name.to_string()),
            },
            label: info.label.to_string(),
            namespaces: texts(&info.scope.namespaces),
            models: texts(&info.scope.models),
            created: info.created,
            expires: info.expires,
            used: info.used,
        }
    }

    /// When it ends, seconds since 1970.
    #[cfg(feature = "redis")]
    pub(super) fn expires(&self) -> u64 {
        self.expires
    }

    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A record that cannot be read is no key.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let read = serde_json::from_slice(json);
        read.map_err(|error| tracing::error!(%error, "an API key cannot be read"))
            .ok()
    }

    pub(super) fn info(self) -> KeyInfo {
        let texts = |list: Vec<String>| list.into_iter().map(Arc::from);
        KeyInfo {
            id: self.id.into(),
            owner: match self.owner {
                Owner::Person {
                    email,
                    subject,
                    groups,
                } => KeyOwner::Person(Person {
                    email: email.into(),
                    subject: subject.into(),
                    groups: texts(groups).collect(),
                }),
                Owner::Service(name) => KeyOwner::Service(name.into()),
            },
            label: self.label.into(),
            scope: Arc::new(KeyScope {
                namespaces: texts(self.namespaces).collect(),
                models: texts(self.models).collect(),
            }),
            created: self.created,
            expires: self.expires,
            used: self.used,
        }
    }
}

pub(super) struct Store {
    database: Database,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        let write = database.begin_write()?;
        write.open_table(KEYS)?;
        write.commit()?;
        Ok(Self { database })
    }

    /// One that cannot be read stays where it is.
    pub(super) fn all(&self) -> Result<Vec<(Digest, Record)>, StoreError> {
        let table = self.database.begin_read()?.open_table(KEYS)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (digest, value) = entry?;
            all.extend(Record::read(value.value()).map(|record| (*digest.value(), record)));
        }
        Ok(all)
    }

    /// Keeps records, or takes them away, all or none.
    pub(super) fn write(&self, records: &[(Digest, Option<Record>)]) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(KEYS)?;
            for (digest, record) in records {
                match record {
                    Some(record) => {
                        table.insert(digest, record.json().as_slice())?;
                    }
                    None => drop(table.remove(digest)?),
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}
