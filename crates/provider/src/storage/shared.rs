//! The tables in memory, as one of several replicas that agree through Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _, TableDefinition};
use replicated::{Change, Decision, Error, Freshness, Mirror, Replica, Settings};

use super::job::BoxedJob;
use super::schema::{self, SCHEMA};
use super::{Batch, CACHE_BYTES, EXPIRY, KEYS, Kind, NEVER, Outage, SIGNING, StorageError};
use crate::clock::{system_clock, unix_seconds};

/// How many expired records go for each that another replica wrote.
const SWEEP: usize = 4;

/// The replica, and what others changed that is also kept elsewhere in memory.
pub(super) struct Replicated {
    replica: Replica<Tables>,
    signing: Arc<AtomicU64>,
}

pub(super) fn open(settings: Settings) -> Result<(Replicated, Arc<Database>), StorageError> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(InMemoryBackend::new())?;
    schema::prepare(&database)?;
    let database = Arc::new(database);
    let signing = Arc::new(AtomicU64::new(1));
    let tables = Tables {
        database: Arc::clone(&database),
        signing: Arc::clone(&signing),
    };
    let replica = Replica::open(settings, "provider", SCHEMA, tables)?;
    Ok((Replicated { replica, signing }, database))
}

impl Replicated {
    pub(super) fn submit(&self, job: BoxedJob) -> Result<(), StorageError> {
        Ok(self.replica.submit(job)?)
    }

    pub(super) async fn catch_up(&self) -> Result<(), Outage> {
        match self.replica.catch_up().await {
            Freshness::Current => Ok(()),
            Freshness::Recent => Err(Outage::Recent),
            Freshness::Outdated => Err(Outage::Long),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.replica.is_away()
    }

    pub(super) fn outages(&self) -> u64 {
        self.replica.outages()
    }

    pub(super) fn signing_version(&self) -> u64 {
        self.signing.load(Ordering::Acquire)
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Newer { found, known } => Self::Newer { found, known },
            Error::Unavailable => Self::Unavailable,
            error => Self::Shared(error.to_string()),
        }
    }
}

fn failed(error: impl Into<StorageError>) -> Error {
    Error::Mirror(error.into().to_string())
}

struct Tables {
    database: Arc<Database>,
    signing: Arc<AtomicU64>,
}

/// A record by the name that it has among all.
enum Place<'n> {
    Record(Kind, &'n str),
    Key(&'n str),
    Signing(&'n str),
}

impl<'n> Place<'n> {
    /// `None` for what a later version of the same schema keeps.
    fn of(name: &'n str) -> Option<Self> {
        let (table, key) = name.split_once('/')?;
        match table {
            "keys" => Some(Self::Key(key)),
            "signing" => Some(Self::Signing(key)),
            table => Some(Self::Record(Kind::from_name(table)?, key)),
        }
    }
}

impl Tables {
    fn take(&self, changes: Vec<Change>, anew: bool) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        if anew {
            for kind in Kind::ALL {
                transaction.delete_table(kind.table())?;
                transaction.open_table(kind.table())?;
            }
            for table in [KEYS, SIGNING] {
                transaction.delete_table(table)?;
                transaction.open_table(table)?;
            }
            transaction.delete_table(EXPIRY)?;
            transaction.open_table(EXPIRY)?;
        }
        let mut signing = anew;
        let mut batch = Batch::new(&transaction);
        let limit = changes.len().saturating_mul(SWEEP);
        for Change { name, value } in changes {
            let value = value.as_ref().map(|(at, bytes)| (*at, bytes.as_slice()));
            match (Place::of(&name), value) {
                (Some(Place::Record(kind, key)), Some((expires_at, json))) => {
                    batch.store(kind, key, expires_at, json)?;
                }
                (Some(Place::Record(kind, key)), None) => {
                    batch.drop_record(kind, key)?;
                }
                (Some(Place::Signing(key)), value) => {
                    signing = true;
                    batch.set_signing_key(key, value.map(|(_, bytes)| bytes))?;
                }
                (Some(Place::Key(name)), Some((_, bytes))) => {
                    transaction.open_table(KEYS)?.insert(name, bytes)?;
                }
                (Some(Place::Key(name)), None) => {
                    transaction.open_table(KEYS)?.remove(name)?;
                }
                (None, _) => {}
            }
        }
        batch.sweep(unix_seconds(&system_clock()), limit)?;
        transaction.commit()?;
        if signing {
            self.signing.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    fn look_up(&self, name: &str) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        let reading = self.database.begin_read()?;
        let key_of = |table: TableDefinition<'static, &'static str, &'static [u8]>,
                      key: &str|
         -> Result<_, StorageError> {
            let table = reading.open_table(table)?;
            Ok(table.get(key)?.map(|found| (NEVER, found.value().to_vec())))
        };
        match Place::of(name) {
            Some(Place::Record(kind, key)) => {
                let table = reading.open_table(kind.table())?;
                Ok(table.get(key)?.map(|stored| {
                    let (expires_at, json) = stored.value();
                    (expires_at, json.to_vec())
                }))
            }
            Some(Place::Key(key)) => key_of(KEYS, key),
            Some(Place::Signing(key)) => key_of(SIGNING, key),
            None => Ok(None),
        }
    }
}

impl Mirror for Tables {
    type Job = BoxedJob;

    fn run(
        &mut self,
        jobs: &mut [BoxedJob],
        decide: &mut dyn FnMut(Vec<Change>) -> Decision,
    ) -> Result<(), Error> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let mut batch = Batch::recording(&transaction);
        for job in jobs {
            if !job.run(&mut batch) {
                drop(transaction.abort());
                return Err(Error::Mirror("the tables in memory failed".to_owned()));
            }
        }
        let written = batch.into_written().into_iter();
        let changes: Vec<_> = written
            .map(|(name, value)| Change { name, value })
            .collect();
        let nothing = changes.is_empty();
        match decide(changes) {
            Decision::Keep if !nothing => transaction.commit().map_err(failed),
            _ => transaction.abort().map_err(failed),
        }
    }

    fn finish(job: BoxedJob, outcome: Result<(), &Error>) {
        match outcome {
            Ok(()) => job.finish(Ok(())),
            Err(error) => job.finish(Err(&error.to_string())),
        }
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        self.take(changes, false).map_err(failed)
    }

    fn reset(&mut self, all: Vec<Change>) -> Result<(), Error> {
        self.take(all, true).map_err(failed)
    }

    fn record(&self, name: &str) -> Result<Change, Error> {
        Ok(Change {
            name: name.to_owned(),
            value: self.look_up(name).map_err(failed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{Grant, Stage};
    use crate::storage::job;
    use crate::user::{LOCAL, UserRef};

    const FOREVER: u64 = 100_000_000_000;

    fn tables() -> Tables {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .unwrap();
        schema::prepare(&database).unwrap();
        Tables {
            database: Arc::new(database),
            signing: Arc::new(AtomicU64::new(1)),
        }
    }

    fn grant(client_id: &str) -> Grant {
        Grant {
            client_id: client_id.to_owned(),
            user: UserRef {
                user_id: "u".to_owned(),
                connector: LOCAL.to_owned(),
                epoch: 0,
            },
            scopes: Vec::new(),
            requested: crate::requested::Requested::default(),
            nonce: None,
            auth_time: 1,
            created_at: 1,
            expires_at: FOREVER,
            methods: Vec::new(),
            sid: None,
            stage: Stage::Revoked,
        }
    }

    /// Puts a grant; what it would change, and what became of it.
    fn put(tables: &mut Tables, key: &'static str, decision: Decision) -> Vec<String> {
        let mut jobs = [job::job(
            move |batch| batch.put(key, &grant("c")),
            |result| result.unwrap(),
        )];
        let mut names = Vec::new();
        tables
            .run(&mut jobs, &mut |changes| {
                names = changes.into_iter().map(|change| change.name).collect();
                decision
            })
            .unwrap();
        names
    }

    #[test]
    fn a_transaction_that_comes_second_leaves_nothing() {
        let mut tables = tables();
        assert_eq!(put(&mut tables, "a", Decision::Undo), ["grant/a"]);
        assert_eq!(tables.record("grant/a").unwrap().value, None);
        assert_eq!(put(&mut tables, "a", Decision::Keep), ["grant/a"]);
        assert!(tables.record("grant/a").unwrap().value.is_some());
    }

    #[test]
    fn what_others_wrote_is_here_and_swept_in_its_time() {
        let (mut here, mut there) = (tables(), tables());
        put(&mut here, "a", Decision::Keep);
        let change = here.record("grant/a").unwrap();
        there.apply(vec![change.clone()]).unwrap();
        assert_eq!(there.record("grant/a").unwrap(), change);
        let over = Change {
            name: "grant/b".to_owned(),
            value: Some((1, b"{}".to_vec())),
        };
        there.apply(vec![over]).unwrap();
        assert_eq!(there.record("grant/b").unwrap().value, None, "it is over");
        let gone = Change {
            value: None,
            ..change
        };
        // What a later version keeps beside is passed over.
        let unknown = Change {
            name: "later/a".to_owned(),
            value: Some((FOREVER, Vec::new())),
        };
        there.apply(vec![unknown, gone]).unwrap();
        assert_eq!(there.record("grant/a").unwrap().value, None);
    }

    #[test]
    fn a_reset_leaves_what_is_given_and_signing_keys_are_told() {
        let mut tables = tables();
        put(&mut tables, "a", Decision::Keep);
        let version = tables.signing.load(Ordering::Acquire);
        let key = Change {
            name: "signing/k".to_owned(),
            value: Some((NEVER, vec![1])),
        };
        tables.reset(vec![key.clone()]).unwrap();
        assert_eq!(tables.record("grant/a").unwrap().value, None);
        assert_eq!(tables.record("signing/k").unwrap(), key);
        assert!(tables.signing.load(Ordering::Acquire) > version);
    }
}
