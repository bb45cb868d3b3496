//! The form of the data, and how older data gets there.

use redb::WriteTransaction;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
};

use super::{Batch, EXPIRY, KEYS, Kind, SIGNING, StorageError};
use crate::grant::Grant;
use crate::keys::StoredKey;

/// The schema that this version writes. Increase it with every change that an older version would
/// misread, and add a step to [`prepare`].
pub(super) const SCHEMA: u64 = 6;
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const SCHEMA_KEY: &str = "schema";
/// Grants of schema 1, as JSON without an expiry of their own.
pub(super) const GRANTS_1: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
/// The signing key of schema 1, among [`KEYS`].
pub(super) const SIGNING_1: &str = "signing";

/// Brings a file to [`SCHEMA`], in one transaction: after a crash it is the old or the new one.
pub(super) fn prepare(database: &Database) -> Result<(), StorageError> {
    let found = schema(database)?;
    if found > SCHEMA {
        return Err(StorageError::Newer {
            found,
            known: SCHEMA,
        });
    }
    if found == SCHEMA {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    for kind in Kind::ALL {
        transaction.open_table(kind.table())?;
    }
    transaction.open_table(EXPIRY)?;
    transaction.open_table(KEYS)?;
    transaction.open_table(SIGNING)?;
    if found == 1 {
        from_1(&transaction)?;
    }
    transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    Ok(transaction.commit()?)
}

/// The schema of a file: 0 when it is empty. Schema 1 did not say so.
fn schema(database: &Database) -> Result<u64, StorageError> {
    let transaction = database.begin_read()?;
    let has = |name: &str| -> Result<bool, StorageError> {
        Ok(transaction.list_tables()?.any(|table| table.name() == name))
    };
    if has("meta")? {
        let table = transaction.open_table(META)?;
        return Ok(table.get(SCHEMA_KEY)?.map_or(0, |number| number.value()));
    }
    Ok(u64::from(has("grants")?))
}

/// One signing key and a table of grants become several of both.
fn from_1(transaction: &WriteTransaction) -> Result<(), StorageError> {
    let mut batch = Batch::new(transaction);
    {
        let grants = transaction.open_table(GRANTS_1)?;
        for entry in grants.iter()? {
            let (id, json) = entry?;
            let grant: Grant = serde_json::from_slice(json.value())?;
            batch.put(id.value(), &grant)?;
        }
    }
    transaction.delete_table(GRANTS_1)?;
    let signing = transaction
        .open_table(KEYS)?
        .remove(SIGNING_1)?
        .map(|key| key.value().to_vec());
    if let Some(der) = signing {
        let (id, key) =
            StoredKey::of_schema_1(&der).ok_or(StorageError::Key { name: "signing" })?;
        batch.set_signing_key(&id, Some(&serde_json::to_vec(&key)?))?;
    }
    Ok(())
}
