//! The end of logins that count: of one person, or of everybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Admin, AdminError};
use crate::accounts::{Account, Configured, Ended, Epoch, canonical, end_logins};
use crate::connectors::Upstream;
use crate::grant::{Grant, GrantId, Stage};
use crate::session::Session;
use crate::storage::{Batch, StorageError};
use crate::user::{LOCAL, UserRef};

/// Whose logins are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logins {
    /// Of a user here, of the configuration or the database, by e-mail address.
    OfUser(String),
    /// Of those who logged in by a connector and have this e-mail address, or this id there.
    OfPerson {
        /// Id of the connector.
        connector: String,
        /// The address or id.
        user: String,
    },
    /// Everybody's.
    All,
}

/// What was ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedLogins {
    /// People who were logged in, somewhere.
    pub people: usize,
    /// Sessions, of browsers.
    pub sessions: usize,
}

/// What a transaction ended.
#[derive(Default)]
struct Found {
    people: usize,
    sessions: Vec<Session>,
    /// Addresses of those who may have sessions elsewhere.
    emails: BTreeSet<String>,
}

impl Admin {
    /// Ends logins: sessions, refresh tokens, codes, access tokens where they are asked about, and what is under way,
    /// in one transaction. Whoever is meant can log in again at once.
    ///
    /// Users of the configuration are known while a provider runs.
    ///
    /// # Errors
    /// When nobody of that address or id is known.
    pub async fn end_logins(&self, whose: Logins) -> Result<EndedLogins, AdminError> {
        let configured: Vec<(String, UserRef)> = self
            .config()
            .into_iter()
            .flat_map(|config| &config.users)
            .map(|user| (user.email.clone(), user.reference()))
            .collect();
        let sealer = Arc::clone(&self.sealer);
        let changed = self.change(move |batch| {
            let prefix = |user: &UserRef| GrantId::user_prefix_of(&sealer, user);
            let mut found = Found::default();
            match &whose {
                Logins::OfUser(email) => {
                    let is_meant = |known: &str| canonical(known) == canonical(email);
                    if let Some((email, user)) = configured.iter().find(|(e, _)| is_meant(e)) {
                        Epoch::advance(batch, &user.user_id)?;
                        found.end(batch, email, &prefix(user))?;
                    } else if let Some(mut account) = Account::find_in(batch, email)? {
                        let user = account.reference();
                        found.people = usize::from(is_logged_in(batch, &prefix(&user))?);
                        found.take(account.end_logins(batch, &sealer)?);
                    } else {
                        return Ok(Err(AdminError::Unknown(email.clone())));
                    }
                }
                Logins::OfPerson { connector, user } => {
                    let mut known = false;
                    for (key, mut upstream) in batch.with_prefix::<Upstream>("")? {
                        if upstream.is_called(connector, user) {
                            known = true;
                            let logged_in = is_logged_in(batch, &prefix(&upstream.user))?;
                            found.people += usize::from(logged_in);
                            let sessions = upstream.end_logins(batch, &sealer, &key)?;
                            let email = upstream.email;
                            found.take(Ended { email, sessions });
                        }
                    }
                    if !known {
                        return Ok(Err(AdminError::UnknownAtConnector {
                            connector: connector.clone(),
                            user: user.clone(),
                        }));
                    }
                }
                Logins::All => found.end_all(batch, &configured)?,
            }
            Ok(Ok(found))
        });
        let found = changed.await?;
        let ended = EndedLogins {
            people: found.people,
            sessions: found.sessions.len(),
        };
        tracing::info!(
            people = ended.people,
            sessions = ended.sessions,
            "logins ended by the operator"
        );
        self.tell_all(found).await;
        Ok(ended)
    }

    /// Ends the logins of those who were in the configuration when this was last done on the same storage, and are not
    /// now, or have another address. To be called once a configuration is in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_logins_of_the_gone(&self) -> Result<EndedLogins, AdminError> {
        let Some(users) = self.config().map(Configured::of) else {
            return Ok(EndedLogins::default());
        };
        if users.are_noted(&self.storage)? {
            return Ok(EndedLogins::default());
        }
        let sealer = Arc::clone(&self.sealer);
        let changed = self.change(move |batch| Ok(Ok(users.note(batch, &sealer)?)));
        let mut found = Found::default();
        for ended in changed.await? {
            tracing::info!(
                user = ended.email,
                "logins ended: the user is not in the configuration any more"
            );
            found.people += 1;
            found.take(ended);
        }
        let ended = EndedLogins {
            people: found.people,
            sessions: found.sessions.len(),
        };
        self.tell_all(found).await;
        Ok(ended)
    }

    async fn tell_all(&self, found: Found) {
        let running = self.provider.as_ref();
        if let Some(inner) = running {
            inner.tell_clients_of_all(found.sessions);
        }
        let elsewhere = running.and_then(|inner| inner.sign_outs.as_ref());
        if let Some(sign_outs) = elsewhere.or(self.sign_outs.as_ref()) {
            for email in &found.emails {
                sign_outs.signed_out(email).await;
            }
        }
    }
}

impl Found {
    fn take(&mut self, ended: Ended) {
        self.emails.insert(ended.email);
        self.sessions.extend(ended.sessions);
    }

    fn end(
        &mut self,
        batch: &mut Batch<'_>,
        email: &str,
        prefix: &str,
    ) -> Result<(), StorageError> {
        self.people += usize::from(is_logged_in(batch, prefix)?);
        let sessions = end_logins(batch, prefix)?;
        let email = email.to_owned();
        self.take(Ended { email, sessions });
        Ok(())
    }

    fn end_all(
        &mut self,
        batch: &mut Batch<'_>,
        configured: &[(String, UserRef)],
    ) -> Result<(), StorageError> {
        let mut people = BTreeSet::new();
        let mut of_here: BTreeSet<String> = BTreeSet::new();
        let mut meet = |user: &UserRef| {
            if user.connector == LOCAL {
                of_here.insert(user.user_id.clone());
            }
            people.insert((user.connector.clone(), user.user_id.clone()));
        };
        for (key, session) in batch.with_prefix::<Session>("")? {
            batch.remove::<Session>(&key)?;
            meet(&session.user);
            self.sessions.push(session);
        }
        for (key, grant) in batch.with_prefix::<Grant>("")? {
            if grant.stage != Stage::Revoked {
                meet(&grant.user);
                batch.put(&key, &grant.revoked())?;
            }
        }
        for (key, mut account) in batch.with_prefix::<Account>("")? {
            of_here.remove(&account.user_id);
            account.epoch = account.epoch.saturating_add(1);
            batch.put(&key, &account)?;
            self.emails.insert(account.email);
        }
        for (key, mut upstream) in batch.with_prefix::<Upstream>("")? {
            upstream.begin_epoch();
            batch.put(&key, &upstream)?;
            self.emails.insert(upstream.email);
        }
        // Who is left is of the configuration, or was.
        for (email, user) in configured {
            of_here.insert(user.user_id.clone());
            self.emails.insert(email.clone());
        }
        for user_id in of_here {
            Epoch::advance(batch, &user_id)?;
        }
        self.people = people.len();
        Ok(())
    }
}

/// Whether something counts that ends now.
fn is_logged_in(batch: &Batch<'_>, prefix: &str) -> Result<bool, StorageError> {
    let mut grants = batch.with_prefix::<Grant>(prefix)?.into_iter();
    Ok(grants.any(|(_, grant)| grant.stage != Stage::Revoked)
        || !batch.with_prefix::<Session>(prefix)?.is_empty())
}
