//! People of connectors, as they were when they last logged in or were asked about.

use serde::{Deserialize, Serialize};

use super::{Again, Identity};
use crate::accounts::{canonical, end_logins};
use crate::grant::GrantId;
use crate::provider::Inner;
use crate::seal::Sealer;
use crate::session::Session;
use crate::storage::{Batch, Kind, NEVER, Record, StorageError};
use crate::user::{User, UserRef};

/// What is kept of somebody who logged in by a connector.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Upstream {
    #[serde(flatten)]
    pub(crate) user: UserRef,
    pub(crate) name: String,
    pub(crate) preferred_username: Option<String>,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) groups: Vec<String>,
    /// An [`Again`], sealed: it is a secret of another provider.
    pub(crate) again: Option<String>,
    /// When the connector last said so, in Unix seconds.
    pub(crate) seen_at: u64,
    pub(crate) expires_at: u64,
    /// Let in no more, whatever the connector says.
    #[serde(default)]
    pub(crate) disabled: bool,
}

/// What came of writing somebody down.
pub(crate) enum Noted {
    User(User),
    /// The operator does not let the person in.
    Disabled,
}

impl Record for Upstream {
    const KIND: Kind = Kind::Upstream;

    fn expires_at(&self) -> u64 {
        // That somebody is disabled does not end with what is left of their logins.
        match self.disabled {
            true => NEVER,
            false => self.expires_at,
        }
    }
}

impl Upstream {
    pub(crate) fn key(sealer: &Sealer, connector: &str, user_id: &str) -> String {
        sealer.mac(&format!("upstream {connector}"), user_id)
    }

    pub(crate) fn user(self) -> User {
        User {
            email: self.email,
            email_verified: self.email_verified,
            hash: None,
            name: self.name,
            preferred_username: self.preferred_username,
            groups: self.groups,
            user_id: self.user.user_id,
            connector: self.user.connector,
            epoch: self.user.epoch,
        }
    }

    /// Ends every login of the person.
    pub(crate) fn end_logins(
        &mut self,
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        key: &str,
    ) -> Result<Vec<Session>, StorageError> {
        let prefix = GrantId::user_prefix_of(sealer, &self.user);
        self.begin_epoch();
        batch.put(key, self)?;
        end_logins(batch, &prefix)
    }

    /// Nothing of before counts any more, once this is written.
    pub(crate) fn begin_epoch(&mut self) {
        self.user.epoch = self.user.epoch.saturating_add(1);
        self.again = None;
    }

    /// Whether `user` is the address, or the id at the connector, of this person.
    pub(crate) fn is_called(&self, connector: &str, user: &str) -> bool {
        let user = user.trim();
        self.user.connector == connector
            && (self.user.user_id == user || canonical(&self.email) == canonical(user))
    }
}

impl Inner {
    /// Writes down who somebody is; nothing when that failed, which is in the log.
    pub(crate) async fn note(&self, connector: &str, identity: Identity) -> Option<Noted> {
        let again = match &identity.again {
            Some(again) => Some(self.sealer.seal("again", again)?),
            None => None,
        };
        let now = self.now();
        let key = Upstream::key(&self.sealer, connector, &identity.user_id);
        let seen = Upstream {
            user: UserRef {
                user_id: identity.user_id,
                connector: connector.to_owned(),
                epoch: 0,
            },
            name: identity.name,
            preferred_username: identity.preferred_username,
            email: identity.email,
            email_verified: identity.email_verified,
            groups: identity.groups,
            again,
            seen_at: now,
            expires_at: now.saturating_add(self.upstream_seconds()),
            disabled: false,
        };
        self.write(move |batch| {
            let mut record = seen.clone();
            if let Some(before) = batch.get::<Upstream>(&key)? {
                if before.disabled {
                    return Ok(Noted::Disabled);
                }
                record.user.epoch = before.user.epoch;
                // A login without `offline_access` brings nothing to ask again with.
                record.again = record.again.take().or(before.again);
                record.expires_at = record.expires_at.max(before.expires_at);
            }
            batch.insert(&key, &record, now)?;
            Ok(Noted::User(record.user()))
        })
        .await
    }

    /// How long after a login something of it can still count.
    fn upstream_seconds(&self) -> u64 {
        let expiry = &self.config.expiry;
        let sessions = self.config.sessions.as_ref();
        [
            expiry.grant_seconds(true),
            expiry.auth_requests.as_secs(),
            sessions.map_or(0, |rules| rules.absolute.as_secs()),
        ]
        .into_iter()
        .max()
        .unwrap_or_default()
        .saturating_add(expiry.id_tokens.as_secs())
    }

    /// What is kept of a person, with its key.
    pub(crate) fn upstream(
        &self,
        who: &UserRef,
    ) -> Result<Option<(String, Upstream)>, StorageError> {
        let key = Upstream::key(&self.sealer, &who.connector, &who.user_id);
        let record = self.storage().get::<Upstream>(&key)?;
        Ok(record.map(|record| (key, record)))
    }

    pub(super) fn unsealed(&self, upstream: &Upstream) -> Option<Again> {
        self.sealer.open("again", upstream.again.as_deref()?)
    }
}
