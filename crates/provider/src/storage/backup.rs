//! A copy of the database while it is in use.

use std::path::Path;

use redb::{Database, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use redb::{TableDefinition, Value, WriteTransaction};

use super::schema::META;
use super::{EXPIRY, KEYS, Kind, SIGNING, StorageError, file_error, protect};

pub(super) fn copy(database: &Database, to: &Path) -> Result<(), StorageError> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let failed = |source| file_error(part, source);
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    protect(part).map_err(failed)?;
    let target = Database::create(part)?;
    let reading = database.begin_read()?;
    let writing = target.begin_write()?;
    for kind in Kind::ALL {
        table(&reading, &writing, kind.table())?;
    }
    table(&reading, &writing, META)?;
    table(&reading, &writing, KEYS)?;
    table(&reading, &writing, SIGNING)?;
    table(&reading, &writing, EXPIRY)?;
    writing.commit()?;
    drop(target);
    // Under its name only when it is whole.
    std::fs::rename(part, to).map_err(|source| file_error(to, source))
}

fn table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<(), StorageError> {
    let from = from.open_table(definition)?;
    let mut to = to.open_table(definition)?;
    for entry in from.iter()? {
        let (key, value) = entry?;
        to.insert(key.value(), value.value())?;
    }
    Ok(())
}
