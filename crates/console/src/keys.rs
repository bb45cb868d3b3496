//! The page where people look after their API keys.

use std::fmt;

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct KeysView {
    /// The keys of the person, in the order to show them.
    pub keys: Vec<KeyView>,
    /// The key that was just made: shown this once.
    pub made: Option<MadeKey>,
    /// Why what was asked for was not done.
    pub problem: Option<String>,
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// Its name in forms.
    pub id: String,
    /// What its person calls it.
    pub label: String,
    /// Namespaces and models that it is for; none for all.
    pub scope: Vec<String>,
    /// When it was made, as people write it.
    pub created: String,
    /// When it ends.
    pub expires: String,
    /// When it was last used.
    pub used: Option<String>,
}

/// The secret of a new key.
#[derive(Clone)]
pub struct MadeKey(String);

impl MadeKey {
    /// Wraps the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MadeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MadeKey(..)")
    }
}

/// What a person asks for on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// Nothing: show the page.
    Show,
    /// A new key.
    Make {
        /// What it is called.
        label: String,
        /// Namespaces and models (`namespace/name`), as typed, a line each.
        scope: Vec<String>,
        /// Days until it ends.
        days: u64,
    },
    /// An end of one.
    Revoke {
        /// Its id.
        id: String,
    },
}
