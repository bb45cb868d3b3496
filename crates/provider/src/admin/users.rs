//! Users of the database.

use std::sync::Arc;

use secret::Secret;

use super::{Admin, AdminError, is_name};
use crate::accounts::{Account, SetupLink, Ticket, check_password, is_email, names_of};
use crate::clients::StoredClient;
use crate::clock::unix_seconds;
use crate::factors::Factors;
use crate::hash::PasswordHash;
use crate::storage::StorageError;

/// Most groups of a user.
const MAX_GROUPS: usize = 500;

/// A user to be.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// The address, which nobody has yet.
    pub email: String,
    /// The claim `name`; the address where it is empty.
    pub name: String,
    /// The claim `groups`.
    pub groups: Vec<String>,
}

/// What is told of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserInfo {
    /// `userID`.
    pub user_id: String,
    /// The address.
    pub email: String,
    /// The claim `name`.
    pub name: String,
    /// The claim `groups`.
    pub groups: Vec<String>,
    /// Whether the user can log in, or why not.
    pub state: UserState,
    /// When it was added, in Unix seconds; unknown for users of the configuration.
    pub created_at: Option<u64>,
    /// When the password was set, in Unix seconds.
    pub password_changed_at: Option<u64>,
}

/// Whether a user can log in, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// One of `staticPasswords`.
    Configured,
    /// Can log in.
    Enabled,
    /// Has to set a password first.
    Invited,
    /// Was disabled.
    Disabled,
    /// `staticPasswords` has a user of the same address or id, who counts.
    Shadowed,
}

impl UserState {
    /// As it is written for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Enabled => "enabled",
            Self::Invited => "invited",
            Self::Disabled => "disabled",
            Self::Shadowed => "shadowed",
        }
    }
}

impl Admin {
    /// All users: those of the configuration, then those of the database by address.
    ///
    /// # Errors
    /// When the database fails.
    pub fn users(&self) -> Result<Vec<UserInfo>, AdminError> {
        let configured = self.config().into_iter().flat_map(|config| &config.users);
        let mut all: Vec<UserInfo> = configured
            .map(|user| UserInfo {
                user_id: user.user_id.clone(),
                email: user.email.clone(),
                name: user.name.clone(),
                groups: user.groups.clone(),
                state: UserState::Configured,
                created_at: None,
                password_changed_at: None,
            })
            .collect();
        let mut stored: Vec<UserInfo> = self
            .storage
            .all::<Account>()?
            .into_iter()
            .map(|(_, account)| self.info(&account))
            .collect();
        stored.sort_by(|a, b| a.email.cmp(&b.email));
        all.extend(stored);
        Ok(all)
    }

    /// Adds a user, with a password or a link with which the person sets one.
    ///
    /// # Errors
    /// When the address is taken or none, or the password may not be set.
    pub async fn add_user(
        &self,
        new: NewUser,
        password: Option<Secret>,
    ) -> Result<(UserInfo, Option<SetupLink>), AdminError> {
        let email = new.email.trim().to_owned();
        if !is_email(&email) {
            return Err(AdminError::Email(email));
        }
        let name = match new.name.trim() {
            "" => email.clone(),
            name => name.to_owned(),
        };
        let groups = new.groups.iter().map(|group| group.trim().to_owned());
        let groups: Vec<String> = groups.collect();
        let bad = groups
            .iter()
            .find(|group| !is_name(group) || group.contains(','));
        let bad = bad.or(groups.get(MAX_GROUPS));
        let bad = bad.or((!is_name(&name)).then_some(&name));
        if let Some(bad) = bad {
            return Err(AdminError::Name(bad.clone()));
        }
        if self.is_configured(&email) {
            return Err(AdminError::Exists(email));
        }
        let hash = match password {
            None => None,
            Some(password) => {
                let clients = StoredClient::all(&self.storage)?;
                check_password(&password, &email, &names_of(self.config(), &clients))?;
                Some(hashed(password).await?)
            }
        };
        let now = unix_seconds(&self.clock);
        let mut account = Account::new(&email, &name, now).ok_or(StorageError::Random)?;
        account.groups = groups;
        account.password_changed_at = hash.as_ref().map(|_| now);
        account.hash = hash;
        let sealer = Arc::clone(&self.sealer);
        let written = account.clone();
        let added = self.change(move |batch| {
            if !written.add(batch)? {
                return Ok(Err(AdminError::Exists(written.email.clone())));
            }
            let invite = written.hash.is_none();
            let user = Some(written.reference());
            let link = if invite {
                Some(Ticket::issue(batch, &sealer, user, now)?)
            } else {
                None
            };
            Ok(Ok(link))
        });
        let link = added.await?;
        Ok((self.info(&account), link))
    }

    /// Lets a user log in again, or ends all of the user's logins and lets in none.
    ///
    /// # Errors
    /// When there is no such user in the database.
    pub async fn set_enabled(&self, email: &str, enabled: bool) -> Result<UserInfo, AdminError> {
        let email = self.changeable(email)?;
        let sealer = Arc::clone(&self.sealer);
        let changed = self.change(move |batch| {
            let Some(mut account) = Account::find_in(batch, &email)? else {
                return Ok(Err(AdminError::Unknown(email.clone())));
            };
            account.disabled = !enabled;
            if enabled {
                batch.put(&account.user_id, &account)?;
                return Ok(Ok((account, None)));
            }
            Ticket::withdraw_of(batch, &sealer, &account.reference())?;
            let ended = account.end_logins(batch, &sealer)?;
            Ok(Ok((account, Some(ended))))
        });
        let (account, ended) = changed.await?;
        self.tell(ended).await;
        Ok(self.info(&account))
    }

    /// Takes a user's password away, ends all of the user's logins, and makes a link with which
    /// the person sets another password.
    ///
    /// # Errors
    /// When there is no such user in the database, or the user is disabled.
    pub async fn reset_user(&self, email: &str) -> Result<(UserInfo, SetupLink), AdminError> {
        let email = self.changeable(email)?;
        let sealer = Arc::clone(&self.sealer);
        let now = unix_seconds(&self.clock);
        let changed = self.change(move |batch| {
            let Some(mut account) = Account::find_in(batch, &email)? else {
                return Ok(Err(AdminError::Unknown(email.clone())));
            };
            if account.disabled {
                return Ok(Err(AdminError::Disabled(email.clone())));
            }
            let ended = account.set_password(batch, &sealer, None, now)?;
            let link = Ticket::issue(batch, &sealer, Some(account.reference()), now)?;
            Ok(Ok((account, ended, link)))
        });
        let (account, ended, link) = changed.await?;
        self.tell(Some(ended)).await;
        Ok((self.info(&account), link))
    }

    /// Takes the second factors of a user away, of the configuration as well, who has lost them: the
    /// password is enough again.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn remove_second_factors(&self, email: &str) -> Result<(), AdminError> {
        let configured = self.config().and_then(|config| config.user_by_email(email));
        let configured = configured.map(crate::user::User::reference);
        let sealer = Arc::clone(&self.sealer);
        let email = email.to_owned();
        let changed = self.change(move |batch| {
            let user = match configured.clone() {
                Some(user) => Some(user),
                None => Account::find_in(batch, &email)?.map(|account| account.reference()),
            };
            let Some(user) = user else {
                return Ok(Err(AdminError::Unknown(email.clone())));
            };
            Factors::forget(batch, &sealer, &user)?;
            Ok(Ok(()))
        });
        changed.await
    }

    /// A link for the very first user, who chooses address and password, where nobody can log in
    /// yet. It ends with the next one, and with the first user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn first_link(&self) -> Result<Option<SetupLink>, AdminError> {
        let nobody = match &self.provider {
            Some(inner) => inner.has_nobody()?,
            None => self.users()?.is_empty(),
        };
        if !nobody {
            return Ok(None);
        }
        let sealer = Arc::clone(&self.sealer);
        let now = unix_seconds(&self.clock);
        let link = self
            .change(move |batch| Ok(Ok(Ticket::issue(batch, &sealer, None, now)?)))
            .await?;
        Ok(Some(link))
    }

    fn is_configured(&self, email: &str) -> bool {
        self.config()
            .is_some_and(|config| config.user_by_email(email).is_some())
    }

    /// An address, unless it is one of the configuration.
    fn changeable(&self, email: &str) -> Result<String, AdminError> {
        if self.is_configured(email) {
            return Err(AdminError::Configured(email.to_owned()));
        }
        Ok(email.to_owned())
    }

    fn info(&self, account: &Account) -> UserInfo {
        let shadowed = self
            .config()
            .is_some_and(|config| account.is_shadowed(config));
        let state = match account {
            _ if shadowed => UserState::Shadowed,
            Account { disabled: true, .. } => UserState::Disabled,
            Account { hash: None, .. } => UserState::Invited,
            _ => UserState::Enabled,
        };
        UserInfo {
            user_id: account.user_id.clone(),
            email: account.email.clone(),
            name: account.name.clone(),
            groups: account.groups.clone(),
            state,
            created_at: Some(account.created_at),
            password_changed_at: account.password_changed_at,
        }
    }
}

/// The hash of a password that may be set.
async fn hashed(password: Secret) -> Result<PasswordHash, AdminError> {
    let hash = tokio::task::spawn_blocking(move || PasswordHash::new(&password)).await;
    Ok(hash.ok().flatten().ok_or(StorageError::Random)?)
}
