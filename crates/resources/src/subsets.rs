//! DestinationRules: what destinations of routes may name as subsets.

use serde::{Deserialize, Serialize};

/// Traffic policy of a host; only what it names as subsets is looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DestinationRule {
    /// Host, short names resolve in the object's namespace.
    pub host: String,
    /// What destinations may name.
    pub subsets: Vec<Subset>,
}

/// A subset of a host's pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Subset {
    /// Its name.
    pub name: String,
}
