//! Links with which a person sets a password, once.

use secret::Secret;
use serde::{Deserialize, Serialize};

use crate::grant::GrantId;
use crate::seal::{Sealer, random_token};
use crate::storage::{Batch, Kind, Record, StorageError};
use crate::user::UserRef;

/// How long a link is valid.
const SECONDS: u64 = 24 * 3600;
const RANDOM: usize = 22;

/// What a link stands for, under a digest of it. It begins with the user's part, so that all of a
/// user's are found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// Whose password is set; none for the first user of all, who also chooses the address.
    pub(crate) user: Option<UserRef>,
    pub(crate) expires_at: u64,
}

impl Record for Ticket {
    const KIND: Kind = Kind::Ticket;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// A link with which a person sets a password, once. Whoever has it is let in, so it does not
/// print itself.
#[derive(Debug, Clone)]
pub struct SetupLink {
    token: Secret,
}

impl SetupLink {
    /// The link under the address at which the provider's issuer path is reached, such as
    /// `http://127.0.0.1:8080/dex`.
    #[must_use]
    pub fn at(&self, base: &str) -> Secret {
        Secret::new(format!(
            "{}/setup?ticket={}",
            base.trim_end_matches('/'),
            self.token.expose()
        ))
    }
}

impl Ticket {
    /// Makes a link; earlier ones of the same user end.
    pub(crate) fn issue(
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        user: Option<UserRef>,
        now: u64,
    ) -> Result<SetupLink, StorageError> {
        let random = random_token::<16>().ok_or(StorageError::Random)?;
        let prefix = prefix(sealer, user.as_ref());
        Self::withdraw(batch, &prefix)?;
        let token = format!("{prefix}{random}");
        let ticket = Self {
            user,
            expires_at: now.saturating_add(SECONDS),
        };
        batch.insert(&key(sealer, &prefix, &token), &ticket, now)?;
        Ok(SetupLink {
            token: Secret::new(token),
        })
    }

    /// The key of a link's record; `None` for text that is none.
    pub(crate) fn key_of(sealer: &Sealer, token: &str) -> Option<String> {
        let valid = token.len() == GrantId::USER_PREFIX + RANDOM;
        let prefix = token.get(..GrantId::USER_PREFIX)?;
        valid.then(|| key(sealer, prefix, token))
    }

    /// Ends all links of the user that `key` or a prefix of it is of.
    pub(crate) fn withdraw(batch: &mut Batch<'_>, key: &str) -> Result<(), StorageError> {
        let prefix = key.get(..GrantId::USER_PREFIX).unwrap_or(key);
        for (key, _) in batch.with_prefix::<Self>(prefix)? {
            batch.remove::<Self>(&key)?;
        }
        Ok(())
    }

    /// Ends all links of a user.
    pub(crate) fn withdraw_of(
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        user: &UserRef,
    ) -> Result<(), StorageError> {
        Self::withdraw(batch, &prefix(sealer, Some(user)))
    }
}

fn prefix(sealer: &Sealer, user: Option<&UserRef>) -> String {
    // A connector without a name has no users.
    let first = UserRef {
        user_id: String::new(),
        connector: String::new(),
        epoch: 0,
    };
    GrantId::user_prefix_of(sealer, user.unwrap_or(&first))
}

fn key(sealer: &Sealer, prefix: &str, token: &str) -> String {
    format!("{prefix}{}", sealer.mac("ticket", token))
}
