//! Whom a name and a password are of, within the limits on guessing: at the login page, and where an application hands
//! them over.

use std::net::IpAddr;

use secret::Secret;

use crate::connectors::{Directory, Noted, Trouble};
use crate::guesses::Guessed;
use crate::limit::TooMany;
use crate::provider::Inner;
use crate::user::User;

/// Why nobody is known by them.
pub(crate) enum Unknown {
    /// Nobody has the name, or not with this password.
    Wrong,
    /// The operator does not let the person in.
    Disabled,
    /// So many seconds later there are attempts again.
    TooMany(u64),
    /// Too many passwords are looked at.
    Busy,
    /// Whoever knows the passwords does not say.
    Trouble(Trouble),
    /// Something of ours failed, as the log says.
    Failed,
}

impl From<TooMany> for Unknown {
    fn from(TooMany(seconds): TooMany) -> Self {
        Self::TooMany(seconds)
    }
}

impl Inner {
    /// A user here with this password.
    pub(crate) async fn known_here(
        &self,
        name: &str,
        password: Secret,
        source: Option<IpAddr>,
    ) -> Result<User, Unknown> {
        let account = name.to_lowercase();
        self.attempt(Guessed::Password, &account, source)?;
        let candidate = self.read(|_| self.candidate(&account));
        let (user, hash) = candidate.ok_or(Unknown::Failed)?;
        match (self.passwords.check(hash, password).await, user) {
            (Err(_), _) => Err(Unknown::Busy),
            (Ok(true), Some(user)) => {
                self.limits.give_back(&account, source, self.now());
                Ok(user)
            }
            (Ok(_), user) => {
                if user.is_some() {
                    self.guessed(Guessed::Password, &account);
                }
                Err(Unknown::Wrong)
            }
        }
    }

    /// Somebody whom a directory knows by this name and password.
    pub(crate) async fn known_there(
        &self,
        connector: &str,
        directory: &Directory,
        name: &str,
        password: &Secret,
        source: Option<IpAddr>,
    ) -> Result<User, Unknown> {
        let account = format!("{connector} {}", name.to_lowercase());
        self.attempt(Guessed::Password, &account, source)?;
        let identity = match directory.log_in(name, password).await {
            Ok(found) => found.ok_or(Unknown::Wrong)?,
            Err(Trouble::Busy) => return Err(Unknown::Busy),
            Err(trouble) => return Err(Unknown::Trouble(trouble)),
        };
        self.limits.give_back(&account, source, self.now());
        match self.note(connector, identity).await {
            None => Err(Unknown::Failed),
            Some(Noted::Disabled) => Err(Unknown::Disabled),
            Some(Noted::User(user)) => Ok(user),
        }
    }
}
