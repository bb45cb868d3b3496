//! The one file in which keys and grants survive a restart.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::grant::{Grant, GrantId};

const FILE: &str = "provider.redb";
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
/// How many grants one user keeps; the oldest make room.
const GRANTS_PER_USER: usize = 256;

/// An open database, shared by clones. Its file holds private keys and is readable by its owner
/// only.
#[derive(Clone)]
pub struct Storage {
    database: Arc<Database>,
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

/// What an update leaves of a grant.
pub(crate) enum After {
    Keep,
    Write(Grant),
    Remove,
}

impl Storage {
    /// Opens the database in `folder`, making both when they are missing.
    ///
    /// # Errors
    /// When the file cannot be made, is not ours, or another process has it open.
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        std::fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        let path = folder.join(FILE);
        protect(&path).map_err(|source| file_error(&path, source))?;
        let database = Database::create(&path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(KEYS)?;
        transaction.open_table(GRANTS)?;
        transaction.commit()?;
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// The key called `name`, made by `make` and kept when there is none yet.
    pub(crate) fn key_or_insert<E: From<StorageError>>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        if let Some(key) = self.key(name)? {
            return Ok(key);
        }
        let key = make()?;
        self.insert_key(name, &key)?;
        Ok(key)
    }

    fn key(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let table = self.database.begin_read()?.open_table(KEYS)?;
        Ok(table.get(name)?.map(|value| value.value().to_vec()))
    }

    fn insert_key(&self, name: &str, key: &[u8]) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(KEYS)?.insert(name, key)?;
        Ok(transaction.commit()?)
    }

    pub(crate) fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StorageError> {
        let table = self.database.begin_read()?.open_table(GRANTS)?;
        let Some(record) = table.get(id.as_str())? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(record.value())?))
    }

    /// Adds a grant, and drops this user's expired and surplus ones.
    pub(crate) fn insert_grant(
        &self,
        id: &GrantId,
        grant: &Grant,
        now: u64,
    ) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(GRANTS)?;
            let mut kept = Vec::new();
            let mut dropped = Vec::new();
            // `~` sorts after every character of an id.
            let (from, to) = (id.user_prefix(), format!("{}~", id.user_prefix()));
            for entry in table.range::<&str>(from..to.as_str())? {
                let (key, record) = entry?;
                let key = key.value().to_owned();
                match serde_json::from_slice::<Grant>(record.value()) {
                    Ok(grant) if grant.expires_at > now => kept.push((grant.created_at, key)),
                    _ => dropped.push(key),
                }
            }
            kept.sort_unstable();
            let surplus = (kept.len() + 1).saturating_sub(GRANTS_PER_USER);
            dropped.extend(kept.drain(..surplus).map(|(_, key)| key));
            for key in &dropped {
                table.remove(key.as_str())?;
            }
            table.insert(id.as_str(), serde_json::to_vec(grant)?.as_slice())?;
        }
        Ok(transaction.commit()?)
    }

    /// Reads and writes one grant in one transaction, so that of two requests with the same code
    /// one sees the other's effect.
    pub(crate) fn update_grant<R>(
        &self,
        id: &GrantId,
        decide: impl FnOnce(Option<Grant>) -> (After, R),
    ) -> Result<R, StorageError> {
        let transaction = self.database.begin_write()?;
        let result = {
            let mut table = transaction.open_table(GRANTS)?;
            let grant = match table.get(id.as_str())? {
                Some(record) => Some(serde_json::from_slice(record.value())?),
                None => None,
            };
            let (after, result) = decide(grant);
            match after {
                After::Keep => {}
                After::Write(grant) => {
                    table.insert(id.as_str(), serde_json::to_vec(&grant)?.as_slice())?;
                }
                After::Remove => {
                    table.remove(id.as_str())?;
                }
            }
            result
        };
        transaction.commit()?;
        Ok(result)
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

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Stage;
    use crate::seal::{SECRET_LENGTH, Sealer};

    fn grant(created_at: u64, expires_at: u64) -> Grant {
        Grant {
            client_id: "c".to_owned(),
            user_id: "u".to_owned(),
            scopes: Vec::new(),
            nonce: None,
            auth_time: created_at,
            created_at,
            expires_at,
            stage: Stage::Revoked,
        }
    }

    #[test]
    fn a_user_keeps_the_newest_grants_and_no_expired_ones() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let sealer = Sealer::new(&[7; SECRET_LENGTH]).unwrap();
        let add = |user: &str, created_at, expires_at| {
            let id = GrantId::new(&sealer, user).unwrap();
            storage
                .insert_grant(&id, &grant(created_at, expires_at), created_at)
                .unwrap();
            id
        };
        let other = add("other", 0, 50);
        let expired = add("u", 1, 2);
        let first = add("u", 2, 1000);
        let second = add("u", 3, 1000);
        for n in 0..GRANTS_PER_USER as u64 - 1 {
            add("u", 100 + n, 1000);
        }
        let kept = |id: &GrantId| storage.grant(id).unwrap().is_some();
        assert!(!kept(&expired) && !kept(&first));
        assert!(kept(&second) && kept(&other));
    }
}
