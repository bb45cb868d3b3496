//! The data of a folder, taken over into Redis that has none yet.

use std::path::Path;

use redb::{ReadableDatabase as _, ReadableTable as _};

use super::{FILE, KEYS, Keeper, Kind, NEVER, SIGNING, Storage, StorageError};

/// How many records one transaction takes over.
const AT_ONCE: usize = 500;
/// The key that is taken over last, and made first where there is nothing.
const LAST: &str = "sealing";

/// A record of any kind, or a key.
#[derive(Clone)]
pub(super) enum Piece {
    Record(Kind, String, u64, Vec<u8>),
    Signing(String, Vec<u8>),
    Key(String, Vec<u8>),
}

/// True when something was taken over: everything, and the file has another name now.
pub(super) fn take_over(folder: &Path, into: &Storage) -> Result<bool, StorageError> {
    let file = folder.join(FILE);
    if matches!(into.shared.keeper, Keeper::File(_)) || !file.exists() || has_begun(into)? {
        return Ok(false);
    }
    let from = Storage::open(folder)?;
    let mut pieces = pieces(&from)?;
    // Whoever finds it knows that all is there.
    pieces.sort_by_key(|piece| matches!(piece, Piece::Key(name, _) if name == LAST));
    drop(from);
    for some in pieces.chunks(AT_ONCE) {
        let some = some.to_vec();
        into.write_now(move |batch| {
            if batch.has_key(LAST)? {
                return Err(StorageError::Shared(
                    "another replica began meanwhile: start one alone with the data folder"
                        .to_owned(),
                ));
            }
            some.iter().try_for_each(|piece| batch.take_over(piece))
        })?;
    }
    let mut taken = file.as_os_str().to_owned();
    taken.push(".taken-over");
    std::fs::rename(&file, &taken).map_err(|source| super::file_error(&file, source))?;
    Ok(true)
}

fn has_begun(storage: &Storage) -> Result<bool, StorageError> {
    let table = storage.shared.database.begin_read()?.open_table(KEYS)?;
    Ok(table.get(LAST)?.is_some())
}

fn pieces(storage: &Storage) -> Result<Vec<Piece>, StorageError> {
    let reading = storage.shared.database.begin_read()?;
    let mut pieces = Vec::new();
    for kind in Kind::ALL {
        for entry in reading.open_table(kind.table())?.iter()? {
            let (key, stored) = entry?;
            let (expires_at, json) = stored.value();
            let key = key.value().to_owned();
            pieces.push(Piece::Record(kind, key, expires_at, json.to_vec()));
        }
    }
    for entry in reading.open_table(SIGNING)?.iter()? {
        let (id, key) = entry?;
        pieces.push(Piece::Signing(id.value().to_owned(), key.value().to_vec()));
    }
    for entry in reading.open_table(KEYS)?.iter()? {
        let (name, key) = entry?;
        pieces.push(Piece::Key(name.value().to_owned(), key.value().to_vec()));
    }
    Ok(pieces)
}

impl super::Batch<'_> {
    fn has_key(&self, name: &str) -> Result<bool, StorageError> {
        let table = self.transaction().open_table(KEYS)?;
        Ok(table.get(name)?.is_some())
    }

    fn take_over(&mut self, piece: &Piece) -> Result<(), StorageError> {
        match piece {
            Piece::Record(kind, key, expires_at, json) => {
                self.store(*kind, key, *expires_at, json)?;
                self.note(kind.name(), key, Some((*expires_at, json)));
            }
            Piece::Signing(id, key) => self.set_signing_key(id, Some(key))?,
            Piece::Key(name, key) => {
                self.transaction()
                    .open_table(KEYS)?
                    .insert(name.as_str(), key.as_slice())?;
                self.note("keys", name, Some((NEVER, key)));
            }
        }
        Ok(())
    }
}
