//! Where keys, grants and sessions survive a restart: one file, or Redis for several replicas.
//!
//! Whatever is acknowledged is on the disk: writes of requests that arrive together are gathered
//! by one thread into one transaction (`writer.rs`), so that a disk that syncs a few hundred times
//! a second still takes thousands of tokens. Reads see committed state and wait for nobody.
//!
//! With Redis the same tables are in memory, the same transactions run on them, and count once they
//! are in the log that all replicas follow (`shared.rs`, the crate `replicated`).

mod backup;
mod batch;
#[cfg(feature = "redis")]
mod import;
mod job;
mod schema;
#[cfg(feature = "redis")]
mod shared;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata as _, TableDefinition,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use batch::Batch;
use writer::Writer;

const FILE: &str = "provider.redb";
/// Keys that never change: the secret that seals and names what leaves the provider.
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
/// Signing keys by key id.
const SIGNING: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signing_keys");
/// What expires when, in that order: time, kind and key of a record.
const EXPIRY: TableDefinition<'_, (u64, u8, &str), ()> = TableDefinition::new("expiry");
/// Pages that stay in memory. The file of a thousand people is smaller.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// An open database, shared by clones. Its file holds private keys and is readable by its owner
/// only.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

struct Shared {
    // Before the database: its end waits for the thread, which has the last work to commit.
    keeper: Keeper,
    database: Arc<Database>,
}

/// Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// What is in memory can be believed.
    #[error("redis does not answer")]
    Recent,
    /// What is in memory is too old to be believed: another replica may have taken back much of it.
    #[error("redis has not answered for too long")]
    Long,
}

/// Who makes transactions count.
enum Keeper {
    File(Writer),
    #[cfg(feature = "redis")]
    Redis(shared::Replicated),
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The folder or file cannot be made or protected.
    #[error("cannot prepare `{path}` for the provider's keys: {source}")]
    File {
        /// The folder or file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The database refuses; when it is opened, often because another process has it.
    #[error("the provider's database failed: {0}")]
    Database(Box<redb::Error>),
    /// A record that this version cannot read.
    #[error("the provider's database holds a record that cannot be read: {0}")]
    Record(#[from] serde_json::Error),
    /// A key of an older version that cannot be read.
    #[error("the provider's `{name}` key in the database is damaged")]
    Key {
        /// Which key.
        name: &'static str,
    },
    /// The file was written by a later version; nothing was changed in it.
    #[error(
        "the provider's database has schema {found}, this version knows {known} and older: start \
         the version that wrote it, or restore a backup"
    )]
    Newer {
        /// The schema of the file.
        found: u64,
        /// The newest schema that this version knows.
        known: u64,
    },
    /// The transaction that this write was part of did not reach the disk.
    #[error("the provider's database did not commit: {0}")]
    Commit(String),
    /// Redis refuses or cannot be used.
    #[error("the provider's state: {0}")]
    Shared(String),
    /// The writing thread has ended, Redis is away, or more wait for it than it can take.
    #[error("the provider's database takes no more work")]
    Unavailable,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

macro_rules! database_errors {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for StorageError {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
database_errors!(DatabaseError TransactionError TableError StorageError CommitError);

/// When a record expires that stays until it is removed.
pub(crate) const NEVER: u64 = u64::MAX;

/// What is kept until it expires.
pub(crate) trait Record: Serialize + DeserializeOwned {
    const KIND: Kind;

    /// When the record may be forgotten, in Unix seconds, or [`NEVER`].
    fn expires_at(&self) -> u64;
}

/// The table of a record. The numbers are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Grant = 1,
    Session = 2,
    Device = 3,
    Revoked = 4,
    Consent = 5,
    Account = 6,
    Email = 7,
    Ticket = 8,
    Client = 9,
    Upstream = 10,
    Factors = 11,
    Spent = 12,
    Epoch = 13,
}

/// Expiry and JSON of a record.
type Stored = (u64, &'static [u8]);
type Records = TableDefinition<'static, &'static str, Stored>;

impl Kind {
    const ALL: [Self; 13] = [
        Self::Grant,
        Self::Session,
        Self::Device,
        Self::Revoked,
        Self::Consent,
        Self::Account,
        Self::Email,
        Self::Ticket,
        Self::Client,
        Self::Upstream,
        Self::Factors,
        Self::Spent,
        Self::Epoch,
    ];

    const fn table(self) -> Records {
        TableDefinition::new(self.name())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Session => "session",
            Self::Device => "device",
            Self::Revoked => "revoked",
            Self::Consent => "consent",
            Self::Account => "account",
            Self::Email => "email",
            Self::Ticket => "ticket",
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Factors => "factors",
            Self::Spent => "spent",
            Self::Epoch => "epoch",
        }
    }

    #[cfg(feature = "redis")]
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl Storage {
    /// Opens the database in `folder`, making both when they are missing, and brings data of an
    /// older version forward.
    ///
    /// # Errors
    /// When the file cannot be made, is not ours, was written by a newer version, or another
    /// process has it open.
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        std::fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        let path = folder.join(FILE);
        protect(&path).map_err(|source| file_error(&path, source))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)?;
        schema::prepare(&database)?;
        let database = Arc::new(database);
        let writer =
            Writer::start(Arc::clone(&database)).map_err(|source| file_error(&path, source))?;
        Ok(Self {
            shared: Arc::new(Shared {
                keeper: Keeper::File(writer),
                database,
            }),
        })
    }

    /// Keeps everything in Redis, where other replicas have it, too. Waits up to ten seconds for
    /// Redis.
    ///
    /// # Errors
    /// When Redis does not answer, or holds what this version cannot read.
    #[cfg(feature = "redis")]
    pub fn open_redis(settings: replicated::Settings) -> Result<Self, StorageError> {
        let (keeper, database) = shared::open(settings)?;
        Ok(Self {
            shared: Arc::new(Shared {
                keeper: Keeper::Redis(keeper),
                database,
            }),
        })
    }

    /// Whether other replicas have it, too.
    pub(crate) fn is_replicated(&self) -> bool {
        match self.shared.keeper {
            Keeper::File(_) => false,
            #[cfg(feature = "redis")]
            Keeper::Redis(_) => true,
        }
    }

    /// Takes over what is in the file of a data folder, where Redis holds nothing yet; the file has
    /// another name then. True when it did. Waits: not for a thread that answers requests.
    ///
    /// # Errors
    /// When the file cannot be read or renamed, or Redis does not answer. It can be tried again.
    #[cfg(feature = "redis")]
    pub fn take_over(&self, folder: &Path) -> Result<bool, StorageError> {
        import::take_over(folder, self)
    }

    /// Waits until reads see everything that was answered before, by any replica. Where Redis does
    /// not answer: how old what they see is.
    ///
    /// # Errors
    /// While Redis does not answer.
    pub async fn catch_up(&self) -> Result<(), Outage> {
        match &self.shared.keeper {
            Keeper::File(_) => Ok(()),
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.catch_up().await,
        }
    }

    /// Whether nothing can be written, as Redis does not answer.
    pub(crate) fn is_away(&self) -> bool {
        match &self.shared.keeper {
            Keeper::File(_) => false,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.is_away(),
        }
    }

    /// How often something failed because Redis did not answer.
    pub(crate) fn outages(&self) -> u64 {
        match &self.shared.keeper {
            Keeper::File(_) => 0,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.outages(),
        }
    }

    /// Changes whenever another replica has changed the signing keys.
    pub(crate) fn signing_version(&self) -> u64 {
        match &self.shared.keeper {
            Keeper::File(_) => 0,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.signing_version(),
        }
    }

    /// Runs `work` in the next transaction and waits until it is on the disk.
    ///
    /// `work` decides before it writes: an error that is not the database's own leaves the writes
    /// of others in the same transaction alone, and must not come after one of its own. It runs
    /// again when another replica was first.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        work: impl Fn(&mut Batch<'_>) -> Result<R, StorageError> + Send + 'static,
    ) -> Result<R, StorageError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job = job::job(work, move |result| drop(reply.send(result)));
        match &self.shared.keeper {
            Keeper::File(writer) => writer.send(job).await?,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.submit(job)?,
        }
        answer.await.map_err(|_| StorageError::Unavailable)?
    }

    /// As [`Self::write`], for those who may wait: at the start, on a blocking thread.
    pub(crate) fn write_now<R: Send + 'static>(
        &self,
        work: impl Fn(&mut Batch<'_>) -> Result<R, StorageError> + Send + 'static,
    ) -> Result<R, StorageError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let job = job::job(work, move |result| drop(reply.send(result)));
        match &self.shared.keeper {
            Keeper::File(writer) => writer.send_now(job)?,
            #[cfg(feature = "redis")]
            Keeper::Redis(keeper) => keeper.submit(job)?,
        }
        answer.recv().map_err(|_| StorageError::Unavailable)?
    }

    /// The record with this key, also when it has expired and was not swept yet.
    pub(crate) fn get<R: Record>(&self, key: &str) -> Result<Option<R>, StorageError> {
        let table = self
            .shared
            .database
            .begin_read()?
            .open_table(R::KIND.table())?;
        let Some(stored) = table.get(key)? else {
            return Ok(None);
        };
        let (_, json) = stored.value();
        Ok(Some(serde_json::from_slice(json)?))
    }

    /// All records of a kind by their keys, expired ones included.
    pub(crate) fn all<R: Record>(&self) -> Result<Vec<(String, R)>, StorageError> {
        let table = self
            .shared
            .database
            .begin_read()?
            .open_table(R::KIND.table())?;
        table
            .iter()?
            .map(|entry| {
                let (key, stored) = entry?;
                let (_, json) = stored.value();
                Ok((key.value().to_owned(), serde_json::from_slice(json)?))
            })
            .collect()
    }

    /// Records whose key begins with `prefix`; those that cannot be read are left out.
    pub(crate) fn with_prefix<R: Record>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, R)>, StorageError> {
        let transaction = self.shared.database.begin_read()?;
        batch::with_prefix(&transaction.open_table(R::KIND.table())?, prefix)
    }

    /// How many records of a kind there are, expired ones included.
    pub(crate) fn count(&self, kind: Kind) -> Result<u64, StorageError> {
        let table = self
            .shared
            .database
            .begin_read()?
            .open_table(kind.table())?;
        Ok(table.len()?)
    }

    /// The key called `name`, made by `make` and kept when there is none yet.
    pub(crate) fn key_or_insert<E: From<StorageError>>(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let read = || -> Result<Option<Vec<u8>>, StorageError> {
            let table = self.shared.database.begin_read()?.open_table(KEYS)?;
            Ok(table.get(name)?.map(|value| value.value().to_vec()))
        };
        if let Some(key) = read()? {
            return Ok(key);
        }
        let key = make()?;
        Ok(self.write_now(move |batch| batch.key_or_insert(name, &key))?)
    }

    /// All signing keys, by key id: JSON that [`crate::keys`] reads.
    pub(crate) fn signing_keys(&self) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let table = self.shared.database.begin_read()?.open_table(SIGNING)?;
        table
            .iter()?
            .map(|entry| {
                let (id, key) = entry?;
                Ok((id.value().to_owned(), key.value().to_vec()))
            })
            .collect()
    }

    /// Copies everything that is committed at this moment into a database of its own at `to`,
    /// which is replaced when it exists. Requests go on meanwhile.
    ///
    /// The file holds private keys, as the original does, and is readable by its owner only. To
    /// restore it, put it into a data folder under the name `provider.redb`. With Redis it is a copy of
    /// what this replica knows.
    ///
    /// # Errors
    /// When the file cannot be written, or the database cannot be read.
    pub fn backup(&self, to: &Path) -> Result<(), StorageError> {
        backup::copy(&self.shared.database, to)
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}

fn file_error(path: &Path, source: std::io::Error) -> StorageError {
    StorageError::File {
        path: path.display().to_string(),
        source,
    }
}

/// Makes the file if needed, for its owner only, before a key is written to it.
fn protect(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    drop(file);
    Ok(())
}
