//! What can be done in a transaction.

use redb::{ReadableTable, ReadableTableMetadata as _, WriteTransaction};

use super::{EXPIRY, KEYS, Kind, NEVER, Record, SIGNING, StorageError};

/// What was written, for replicas: the name of a record among all of them, and its value with its
/// expiry, or that it is gone.
pub(super) type Written = (String, Option<(u64, Vec<u8>)>);

/// How many expired records an insertion takes away. More than it adds, so that the file shrinks
/// to what is alive; few, so that no request pays for a long silence.
const SWEEP: usize = 4;

/// A transaction that others may be part of as well.
pub(crate) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    changed: bool,
    /// Where others want to know what is written.
    written: Option<Vec<Written>>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            transaction,
            changed: false,
            written: None,
        }
    }

    /// One that remembers what is written in it.
    #[cfg(feature = "redis")]
    pub(super) fn recording(transaction: &'t WriteTransaction) -> Self {
        Self {
            written: Some(Vec::new()),
            ..Self::new(transaction)
        }
    }

    /// What was written. What was swept is not: every replica sweeps for itself.
    #[cfg(feature = "redis")]
    pub(super) fn into_written(self) -> Vec<Written> {
        self.written.unwrap_or_default()
    }

    pub(super) fn note(&mut self, table: &str, key: &str, value: Option<(u64, &[u8])>) {
        self.changed = true;
        if let Some(written) = &mut self.written {
            let value = value.map(|(expires_at, bytes)| (expires_at, bytes.to_vec()));
            written.push((format!("{table}/{key}"), value));
        }
    }

    #[cfg(feature = "redis")]
    pub(super) fn transaction(&self) -> &'t WriteTransaction {
        self.transaction
    }

    /// Whether there is anything to commit.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn get<R: Record>(&self, key: &str) -> Result<Option<R>, StorageError> {
        let table = self.transaction.open_table(R::KIND.table())?;
        let Some(stored) = table.get(key)? else {
            return Ok(None);
        };
        let (_, json) = stored.value();
        Ok(Some(serde_json::from_slice(json)?))
    }

    /// Records whose key begins with `prefix`; those that cannot be read are left out.
    pub(crate) fn with_prefix<R: Record>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, R)>, StorageError> {
        let table = self.transaction.open_table(R::KIND.table())?;
        with_prefix(&table, prefix)
    }

    /// How many records of a kind there are, expired ones included.
    pub(crate) fn count(&self, kind: Kind) -> Result<u64, StorageError> {
        Ok(self.transaction.open_table(kind.table())?.len()?)
    }

    /// Writes a record anew or over the one that has its key.
    pub(crate) fn put<R: Record>(&mut self, key: &str, record: &R) -> Result<(), StorageError> {
        let json = serde_json::to_vec(record)?;
        let expires_at = record.expires_at();
        self.store(R::KIND, key, expires_at, &json)?;
        self.note(R::KIND.name(), key, Some((expires_at, &json)));
        Ok(())
    }

    /// A record as it is kept.
    pub(super) fn store(
        &self,
        kind: Kind,
        key: &str,
        expires_at: u64,
        json: &[u8],
    ) -> Result<(), StorageError> {
        let before = self
            .transaction
            .open_table(kind.table())?
            .insert(key, (expires_at, json))?
            .map(|before| before.value().0);
        if before != Some(expires_at) && expires_at != NEVER {
            self.transaction
                .open_table(EXPIRY)?
                .insert((expires_at, kind as u8, key), ())?;
        }
        Ok(())
    }

    /// As [`Self::put`], and takes away some of what has expired.
    pub(crate) fn insert<R: Record>(
        &mut self,
        key: &str,
        record: &R,
        now: u64,
    ) -> Result<(), StorageError> {
        self.put(key, record)?;
        self.sweep(now, SWEEP)
    }

    pub(crate) fn remove<R: Record>(&mut self, key: &str) -> Result<(), StorageError> {
        if self.drop_record(R::KIND, key)? {
            self.note(R::KIND.name(), key, None);
        }
        Ok(())
    }

    /// Its entry of the expiry table goes when its time comes.
    pub(super) fn drop_record(&self, kind: Kind, key: &str) -> Result<bool, StorageError> {
        let mut table = self.transaction.open_table(kind.table())?;
        Ok(table.remove(key)?.is_some())
    }

    /// Takes away at most `limit` of what has expired, the oldest first.
    pub(crate) fn sweep(&mut self, now: u64, limit: usize) -> Result<(), StorageError> {
        let mut expiry = self.transaction.open_table(EXPIRY)?;
        let mut due = Vec::new();
        for entry in expiry.range(..=(now, u8::MAX, ""))?.take(limit) {
            let (key, ()) = entry.map(|(key, unit)| (key, unit.value()))?;
            let (at, kind, key) = key.value();
            due.push((at, kind, key.to_owned()));
        }
        for (at, kind, key) in due {
            expiry.remove((at, kind, key.as_str()))?;
            self.changed = true;
            let Some(kind) = Kind::from_number(kind) else {
                continue;
            };
            let mut table = self.transaction.open_table(kind.table())?;
            // A record that was written again since has a later entry.
            let over = table
                .get(key.as_str())?
                .is_some_and(|stored| stored.value().0 <= now);
            if over {
                table.remove(key.as_str())?;
            }
        }
        Ok(())
    }

    /// The key with this name, which is `key` if there was none.
    pub(super) fn key_or_insert(
        &mut self,
        name: &str,
        key: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        {
            let mut table = self.transaction.open_table(KEYS)?;
            let found = table.get(name)?.map(|found| found.value().to_vec());
            if let Some(found) = found {
                return Ok(found);
            }
            table.insert(name, key)?;
        }
        self.note("keys", name, Some((NEVER, key)));
        Ok(key.to_vec())
    }

    /// All signing keys, by key id.
    pub(crate) fn signing_keys(&self) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let table = self.transaction.open_table(SIGNING)?;
        table
            .iter()?
            .map(|entry| {
                let (id, key) = entry?;
                Ok((id.value().to_owned(), key.value().to_vec()))
            })
            .collect()
    }

    /// Writes a signing key, or removes it.
    pub(crate) fn set_signing_key(
        &mut self,
        id: &str,
        key: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        {
            let mut table = self.transaction.open_table(SIGNING)?;
            match key {
                Some(key) => table.insert(id, key)?,
                None => table.remove(id)?,
            };
        }
        self.note("signing", id, key.map(|key| (NEVER, key)));
        Ok(())
    }
}

/// Records of a table whose key begins with `prefix`.
pub(super) fn with_prefix<R: Record>(
    table: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
    prefix: &str,
) -> Result<Vec<(String, R)>, StorageError> {
    let mut found = Vec::new();
    for entry in table.range(prefix..)? {
        let (key, stored) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        let (_, json) = stored.value();
        if let Ok(record) = serde_json::from_slice(json) {
            found.push((key.value().to_owned(), record));
        }
    }
    Ok(found)
}
