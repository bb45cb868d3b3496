//! Users of the configuration, which knows nothing of their logins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Ended, canonical, end_logins};
use crate::config::DexConfig;
use crate::grant::GrantId;
use crate::provider::Inner;
use crate::seal::Sealer;
use crate::storage::{Batch, Kind, NEVER, Record, Storage, StorageError};
use crate::user::{LOCAL, User, UserRef};

/// The epoch that the logins of such a user are in, under the `userID`; see
/// [`UserRef::epoch`](crate::user::UserRef::epoch). It stays when the user leaves the configuration: who
/// comes back has no login of before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Epoch {
    epoch: u64,
    /// The address of the user, while the configuration has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// Addresses of the users that a configuration has, by their ids.
#[derive(Debug, Clone)]
pub(crate) struct Configured(BTreeMap<String, String>);

impl Configured {
    pub(crate) fn of(config: &DexConfig) -> Self {
        let users = config.users.iter().filter(|_| config.password_db);
        let users = users.map(|user| (user.user_id.clone(), user.email.clone()));
        Self(users.collect())
    }

    fn has(&self, user_id: &str, email: &str) -> bool {
        let known = self.0.get(user_id);
        known.is_some_and(|known| canonical(known) == canonical(email))
    }

    /// Whether it was these that were noted last.
    pub(crate) fn are_noted(&self, storage: &Storage) -> Result<bool, StorageError> {
        let noted = storage.all::<Epoch>()?.into_iter();
        let noted = noted.filter_map(|(user_id, record)| Some((user_id, record.email?)));
        Ok(noted.collect::<BTreeMap<_, _>>() == self.0)
    }

    /// Notes these, and ends the logins of those who were noted and are not among them, or have another address.
    pub(crate) fn note(
        &self,
        batch: &mut Batch<'_>,
        sealer: &Sealer,
    ) -> Result<Vec<Ended>, StorageError> {
        let mut ended = Vec::new();
        for (user_id, mut record) in batch.with_prefix::<Epoch>("")? {
            let gone = |email: &String| !self.has(&user_id, email);
            let Some(email) = record.email.take_if(|email| gone(email)) else {
                continue;
            };
            record.epoch = record.epoch.saturating_add(1);
            batch.put(&user_id, &record)?;
            let user = UserRef {
                user_id,
                connector: LOCAL.to_owned(),
                epoch: record.epoch,
            };
            let sessions = end_logins(batch, &GrantId::user_prefix_of(sealer, &user))?;
            ended.push(Ended { email, sessions });
        }
        for (user_id, email) in &self.0 {
            let mut record = batch.get::<Epoch>(user_id)?.unwrap_or_default();
            if record.email.as_ref() != Some(email) {
                record.email = Some(email.clone());
                batch.put(user_id, &record)?;
            }
        }
        Ok(ended)
    }
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
