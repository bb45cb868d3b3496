//! What a key may be.

use policy::Person;

use super::{KeyOwner, LONGEST_KEY_LIFE, NewKey};
use crate::names;
use crate::session::StoreError;

/// Characters of a label.
const MAX_LABEL: usize = 80;

/// Namespaces and models of one key.
const MAX_SCOPE: usize = 64;

/// Why there is no such key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Something of it is not as it has to be.
    #[error("{field}: expected {expected}, found `{found}`")]
    Wrong {
        /// What.
        field: &'static str,
        /// As it should be.
        expected: &'static str,
        /// As it is.
        found: String,
    },
    /// Its owner has too many.
    #[error("there are {0} keys of this owner already; revoke one first")]
    Many(usize),
    /// There are too many.
    #[error("there are {0} keys already; revoke some first")]
    Full(usize),
    /// No key has this id.
    #[error("there is no such key")]
    Unknown,
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyError {
    /// That of the store, where nothing else can fail.
    pub(super) fn of_store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            _ => StoreError::Stopped,
        }
    }
}

pub(super) fn check(new: &NewKey) -> Result<(), KeyError> {
    let wrong = |field, expected, found: &str| {
        Err(KeyError::Wrong {
            field,
            expected,
            found: found.chars().take(100).collect(),
        })
    };
    match &new.owner {
        KeyOwner::Person(Person { email, .. }) if !is_plain(email, 254) || !email.contains('@') => {
            return wrong("owner", "an e-mail address", email);
        }
        KeyOwner::Service(name) if !names::is_name(name) => {
            return wrong("owner", "a name such as `nightly-job`", name);
        }
        KeyOwner::Person(_) | KeyOwner::Service(_) => {}
    }
    if !is_plain(&new.label, MAX_LABEL) {
        return wrong("name", "1 to 80 characters on one line", &new.label);
    }
    let scope = &new.scope;
    if let Some(found) = scope
        .namespaces
        .iter()
        .find(|name| !names::is_namespace(name))
    {
        return wrong("namespaces", "names of namespaces", found);
    }
    let is_model = |model: &str| {
        let parts = model.split_once('/');
        parts
            .is_some_and(|(namespace, name)| names::is_namespace(namespace) && names::is_name(name))
    };
    if let Some(found) = scope.models.iter().find(|model| !is_model(model)) {
        return wrong("models", "models as NAMESPACE/NAME", found);
    }
    if scope.namespaces.len() + scope.models.len() > MAX_SCOPE {
        return wrong("scope", "at most 64 namespaces and models", "more");
    }
    if new.life.is_zero() || new.life > LONGEST_KEY_LIFE {
        let found = format!("{} s", new.life.as_secs());
        return wrong("duration", "at most 366 days", &found);
    }
    Ok(())
}

fn is_plain(text: &str, max: usize) -> bool {
    let count = text.chars().count();
    text.trim() == text && count > 0 && count <= max && !text.chars().any(char::is_control)
}
