//! Users that are kept in the database, beside those of `staticPasswords`.
//!
//! Both are users of the connector `local`. Where both have an e-mail address, or an id, the
//! configuration's counts and the other is as if it were not there.

mod configured;
mod rules;
mod setup;
mod ticket;

use serde::{Deserialize, Serialize};

use crate::config::DexConfig;
use crate::connectors::Upstream;
use crate::grant::{Grant, GrantId};
use crate::hash::{PasswordHash, Work};
use crate::provider::Inner;
use crate::seal::{Sealer, random_token};
use crate::session::Session;
use crate::storage::{Batch, Kind, NEVER, Record, Storage, StorageError};
use crate::user::{LOCAL, User, UserRef};

pub(crate) use configured::{Configured, Epoch};
pub use rules::WeakPassword;
pub(crate) use rules::{MIN_LETTERS, check as check_password, names_of};
pub(crate) use setup::in_words;
pub use ticket::SetupLink;
pub(crate) use ticket::Ticket;

/// Longest e-mail address (RFC 5321 section 4.5.3.1.3).
pub(crate) const MAX_EMAIL: usize = 254;

/// The record of a user, under its `user_id`. Times are Unix seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) preferred_username: Option<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// None until the person sets a password.
    #[serde(default)]
    pub(crate) hash: Option<PasswordHash>,
    #[serde(default)]
    pub(crate) password_changed_at: Option<u64>,
    #[serde(default)]
    pub(crate) disabled: bool,
    pub(crate) created_at: u64,
    /// See [`UserRef::epoch`].
    #[serde(default)]
    pub(crate) epoch: u64,
}

impl Record for Account {
    const KIND: Kind = Kind::Account;

    fn expires_at(&self) -> u64 {
        NEVER
    }
}

/// Whose an e-mail address is, under the address without case.
#[derive(Debug, Serialize, Deserialize)]
struct EmailOwner {
    user_id: String,
}

impl Record for EmailOwner {
    const KIND: Kind = Kind::Email;

    fn expires_at(&self) -> u64 {
        NEVER
    }
}

/// Logins that were ended before their time, for those who have to know.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) email: String,
    pub(crate) sessions: Vec<Session>,
}

impl Account {
    /// A user without a password; `None` when the system has no random bytes.
    pub(crate) fn new(email: &str, name: &str, now: u64) -> Option<Self> {
        Some(Self {
            user_id: random_id()?,
            email: email.to_owned(),
            email_verified: true,
            name: name.to_owned(),
            preferred_username: None,
            groups: Vec::new(),
            hash: None,
            password_changed_at: None,
            disabled: false,
            created_at: now,
            epoch: 0,
        })
    }

    pub(crate) fn reference(&self) -> UserRef {
        UserRef {
            user_id: self.user_id.clone(),
            connector: LOCAL.to_owned(),
            epoch: self.epoch,
        }
    }

    fn user(self) -> User {
        User {
            email: self.email,
            email_verified: self.email_verified,
            hash: self.hash,
            name: self.name,
            preferred_username: self.preferred_username,
            groups: self.groups,
            user_id: self.user_id,
            connector: LOCAL.to_owned(),
            epoch: self.epoch,
        }
    }

    /// Whether the configuration has a user in its place.
    pub(crate) fn is_shadowed(&self, config: &DexConfig) -> bool {
        config.user_by_email(&self.email).is_some() || config.user_by_id(&self.user_id).is_some()
    }

    /// The account with this address.
    pub(crate) fn find(storage: &Storage, email: &str) -> Result<Option<Self>, StorageError> {
        match storage.get::<EmailOwner>(&canonical(email))? {
            Some(owner) => storage.get(&owner.user_id),
            None => Ok(None),
        }
    }

    /// As [`Self::find`], inside of a transaction.
    pub(crate) fn find_in(batch: &Batch<'_>, email: &str) -> Result<Option<Self>, StorageError> {
        match batch.get::<EmailOwner>(&canonical(email))? {
            Some(owner) => batch.get(&owner.user_id),
            None => Ok(None),
        }
    }

    /// Writes a new account; false when its address belongs to another.
    pub(crate) fn add(&self, batch: &mut Batch<'_>) -> Result<bool, StorageError> {
        let email = canonical(&self.email);
        if batch.get::<EmailOwner>(&email)?.is_some() {
            return Ok(false);
        }
        let owner = EmailOwner {
            user_id: self.user_id.clone(),
        };
        batch.put(&email, &owner)?;
        batch.put(&self.user_id, self)?;
        Ok(true)
    }

    /// Changes the password, or takes it away, and ends every login of the person.
    pub(crate) fn set_password(
        &mut self,
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        hash: Option<PasswordHash>,
        now: u64,
    ) -> Result<Ended, StorageError> {
        self.password_changed_at = hash.as_ref().map(|_| now);
        self.hash = hash;
        self.end_logins(batch, sealer)
    }

    /// Writes the account in another epoch: sessions, refresh tokens, codes and devices of before
    /// do not count from this transaction on.
    pub(crate) fn end_logins(
        &mut self,
        batch: &mut Batch<'_>,
        sealer: &Sealer,
    ) -> Result<Ended, StorageError> {
        let prefix = GrantId::user_prefix_of(sealer, &self.reference());
        self.epoch = self.epoch.saturating_add(1);
        batch.put(&self.user_id, self)?;
        Ok(Ended {
            email: self.email.clone(),
            sessions: end_logins(batch, &prefix)?,
        })
    }
}

/// Revokes all grants of a user and takes the sessions away; `prefix` is what their keys begin with.
pub(crate) fn end_logins(
    batch: &mut Batch<'_>,
    prefix: &str,
) -> Result<Vec<Session>, StorageError> {
    for (id, grant) in batch.with_prefix::<Grant>(prefix)? {
        batch.put(&id, &grant.revoked())?;
    }
    let mut sessions = Vec::new();
    for (key, session) in batch.with_prefix::<Session>(prefix)? {
        batch.remove::<Session>(&key)?;
        sessions.push(session);
    }
    Ok(sessions)
}

impl Inner {
    /// The user of a login, unless the account is gone or disabled, or the login is of an epoch
    /// before.
    pub(crate) fn user(&self, who: &UserRef) -> Result<Option<User>, StorageError> {
        if who.connector != LOCAL {
            let known = self.config.connector(&who.connector).is_some();
            let found = self.upstream(who)?.map(|(_, upstream)| upstream);
            let found = found.filter(|upstream| !upstream.disabled);
            let found = found.map(Upstream::user);
            return Ok(found.filter(|user| known && user.epoch == who.epoch));
        }
        if !self.config.password_db {
            return Ok(None);
        }
        let user = match self.config.user_by_id(&who.user_id) {
            Some(user) => Some(self.configured(user)?),
            None => self.enabled(self.storage().get(&who.user_id)?),
        };
        Ok(user.filter(|user| user.epoch == who.epoch))
    }

    /// The user with this address, case ignored, unless the account is disabled.
    pub(crate) fn user_by_email(&self, email: &str) -> Result<Option<User>, StorageError> {
        match self.config.user_by_email(email) {
            Some(user) => Ok(Some(self.configured(user)?)),
            None => Ok(self.enabled(Account::find(self.storage(), email)?)),
        }
    }

    fn enabled(&self, account: Option<Account>) -> Option<User> {
        let account = account.filter(|account| !account.disabled);
        let account = account.filter(|account| !account.is_shadowed(&self.config));
        account.map(Account::user)
    }

    /// Who logs in with this address if the password is that of the hash.
    ///
    /// There is always a hash, so that the time does not tell which accounts exist.
    pub(crate) fn candidate(
        &self,
        email: &str,
    ) -> Result<(Option<User>, PasswordHash), StorageError> {
        if let Some(user) = self.config.user_by_email(email)
            && let Some(hash) = user.hash.clone()
        {
            return Ok((Some(self.configured(user)?), hash));
        }
        let account = Account::find(self.storage(), email)?;
        match account.as_ref().and_then(|account| account.hash.clone()) {
            Some(hash) => Ok((self.enabled(account), hash)),
            None => {
                let stored = self.storage().count(Kind::Account)?;
                let work = stand_in(&self.config, stored, &self.sealer, email);
                Ok((None, PasswordHash::stand_in(work)))
            }
        }
    }

    /// Tells clients and the program of logins that have ended.
    pub(crate) async fn tell_ended(&self, ended: Ended) {
        for session in &ended.sessions {
            self.tell_clients(session);
        }
        if let Some(sign_outs) = &self.sign_outs {
            sign_outs.signed_out(&ended.email).await;
        }
    }
}

/// What has to be computed for an address that nobody has: as much as for some user, each as
/// likely, so that an account's time says nothing.
///
/// It is always the same for an address. With more accounts in the database a few addresses
/// change over to the work of these, and none changes back.
fn stand_in(config: &DexConfig, stored: u64, sealer: &Sealer, email: &str) -> Work {
    /// A prime, so that all bytes of a digest count.
    const POINTS: u64 = 65_521;
    let point = |purpose: &str| {
        sealer
            .mac(purpose, email)
            .bytes()
            .fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % POINTS)
    };
    let configured: Vec<Work> = config
        .users
        .iter()
        .filter_map(|user| Some(user.hash.as_ref()?.work()))
        .collect();
    let count = u64::try_from(configured.len()).unwrap_or(u64::MAX);
    let all = stored.saturating_add(count);
    if point("stand-in kind").saturating_mul(all) < stored.saturating_mul(POINTS) {
        return PasswordHash::new_work();
    }
    let pick = point("stand-in").checked_rem(count).unwrap_or_default();
    usize::try_from(pick)
        .ok()
        .and_then(|pick| configured.get(pick).copied())
        .unwrap_or_else(PasswordHash::new_work)
}

/// How addresses are compared.
pub(crate) fn canonical(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Whether text can be an e-mail address: one `@` with something on both sides, nothing that
/// breaks a line or a list.
pub(crate) fn is_email(text: &str) -> bool {
    let plain = !text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '<' | '>' | '"'));
    let halves = text.split_once('@');
    text.len() <= MAX_EMAIL
        && plain
        && halves.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

/// An id that nobody else has, and that never changes.
fn random_id() -> Option<String> {
    random_token::<16>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SECRET_LENGTH;

    fn config(costs: &[u32]) -> DexConfig {
        let users: Vec<String> = costs
            .iter()
            .enumerate()
            .map(|(n, cost)| {
                let salt = "......................";
                let digest = "...............................";
                format!(
                    "- {{email: {n}@example.com, username: u, userID: '{n}', hash: '$2b${cost}${salt}{digest}'}}\n"
                )
            })
            .collect();
        let users = match users.concat() {
            none if none.is_empty() => " []\n".to_owned(),
            users => format!("\n{users}"),
        };
        let yaml = format!("issuer: http://x/dex\nenablePasswordDB: true\nstaticPasswords:{users}");
        DexConfig::parse(&yaml, &|_| None).unwrap().0
    }

    /// Of a thousand addresses that nobody has, how many take how long.
    fn works(config: &DexConfig, stored: u64) -> Vec<Work> {
        let sealer = Sealer::new(&[7; SECRET_LENGTH]).unwrap();
        (0..1000)
            .map(|n| stand_in(config, stored, &sealer, &format!("nobody{n}@example.com")))
            .collect()
    }

    #[test]
    fn addresses_that_nobody_has_take_as_long_as_those_of_users() {
        let ten = Work::Bcrypt { cost: 10 };
        let count = |works: &[Work], work: Work| works.iter().filter(|w| **w == work).count();
        let of_both = works(&config(&[10, 12]), 2);
        let new = count(&of_both, PasswordHash::new_work());
        assert!((430..570).contains(&new), "{new}");
        assert!(
            (180..320).contains(&count(&of_both, ten)),
            "{}",
            count(&of_both, ten)
        );
        assert_eq!(count(&works(&config(&[10]), 0), ten), 1000);
        let alone = works(&config(&[]), 3);
        assert_eq!(count(&alone, PasswordHash::new_work()), 1000);
        // One more account: some change over, none back, and no cost of a configuration changes.
        let more = works(&config(&[10, 12]), 3);
        for (before, after) in of_both.iter().zip(&more) {
            assert!(before == after || *after == PasswordHash::new_work());
        }
        assert!(count(&more, PasswordHash::new_work()) > new);
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("a@b", true),
            ("user.name+tag@example.com", true),
            ("박@example.com", true),
            ("", false),
            ("a", false),
            ("@b", false),
            ("a@", false),
            ("a@b@c", false),
            ("a b@c", false),
            ("a@b,c@d", false),
            ("a@b\nX: y", false),
            ("\"a\"@b", false),
        ] {
            assert_eq!(is_email(text), expected, "{text}");
        }
        assert!(!is_email(&format!("{}@b", "x".repeat(MAX_EMAIL))));
    }
}
