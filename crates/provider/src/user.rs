//! A person as tokens describe them, whoever knows their password.

use serde::{Deserialize, Serialize};

use crate::hash::PasswordHash;
use crate::token::subject_of;

/// Dex's name of the connector behind `staticPasswords`, and behind the users that are kept here.
pub(crate) const LOCAL: &str = "local";

/// A user: one of `staticPasswords`, or one that is kept in the database.
#[derive(Debug, Clone)]
pub struct User {
    /// The address as written; the login form compares it without case.
    pub email: String,
    /// Whether tokens say that the address is verified (true unless configured).
    pub email_verified: bool,
    /// What the password is checked against; none until it is set.
    pub hash: Option<PasswordHash>,
    /// The claim `name`: `name` when given, else `username`.
    pub name: String,
    /// The claim `preferred_username`, only when configured.
    pub preferred_username: Option<String>,
    /// The claim `groups`.
    pub groups: Vec<String>,
    /// `userID`, from which `sub` is made.
    pub user_id: String,
    /// Id of the connector that knows the user, from which `sub` is made, too.
    pub connector: String,
    /// Which logins count: those of this epoch of the account.
    pub(crate) epoch: u64,
}

impl User {
    /// What a login remembers of the user.
    pub(crate) fn reference(&self) -> UserRef {
        UserRef {
            user_id: self.user_id.clone(),
            connector: self.connector.clone(),
            epoch: self.epoch,
        }
    }

    /// What the person is called on pages: not every connector tells an address.
    pub(crate) fn label(&self) -> String {
        let known = [&self.email, &self.name, &self.user_id];
        let known = known.into_iter().find(|text| !text.is_empty());
        known.cloned().unwrap_or_default()
    }

    /// The claim `sub`.
    pub(crate) fn subject(&self) -> String {
        self.reference().subject()
    }
}

/// Whom a login is of, in records and in what travels sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRef {
    pub(crate) user_id: String,
    /// Id of the connector that knows the user.
    #[serde(default = "local", skip_serializing_if = "is_local")]
    pub(crate) connector: String,
    /// The epoch of the account when the login began. A password that is reset and an account
    /// that is disabled begin another one: what came before does not count any more, wherever it
    /// is kept.
    #[serde(default)]
    pub(crate) epoch: u64,
}

impl UserRef {
    /// The claim `sub`.
    pub(crate) fn subject(&self) -> String {
        subject_of(&self.user_id, &self.connector)
    }

    /// Whether both are the same user, at whatever time.
    pub(crate) fn is_same_user(&self, other: &Self) -> bool {
        self.user_id == other.user_id && self.connector == other.connector
    }
}

fn local() -> String {
    LOCAL.to_owned()
}

fn is_local(connector: &str) -> bool {
    connector == LOCAL
}
