//! Users of the configuration, which knows nothing of their logins.

use serde::{Deserialize, Serialize};

use crate::provider::Inner;
use crate::storage::{Batch, Kind, NEVER, Record, StorageError};
use crate::user::User;

/// The epoch that the logins of such a user are in, under the `userID`; see
/// [`UserRef::epoch`](crate::user::UserRef::epoch). It stays when the user leaves the configuration: who
/// comes back has no login of before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Epoch {
    epoch: u64,
}

impl Record for Epoch {
    const KIND: Kind = Kind::Epoch;

    fn expires_at(&self) -> u64 {
        NEVER
    }
}

impl Epoch {
    /// Begins another one.
    pub(crate) fn advance(batch: &mut Batch<'_>, user_id: &str) -> Result<(), StorageError> {
        let mut record = batch.get::<Self>(user_id)?.unwrap_or_default();
        record.epoch = record.epoch.saturating_add(1);
        batch.put(user_id, &record)
    }
}

impl Inner {
    /// A user of the configuration in the epoch of its logins.
    pub(super) fn configured(&self, user: &User) -> Result<User, StorageError> {
        let record = self.storage().get::<Epoch>(&user.user_id)?;
        Ok(User {
            epoch: record.unwrap_or_default().epoch,
            ..user.clone()
        })
    }
}
