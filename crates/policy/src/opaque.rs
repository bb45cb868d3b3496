//! What of a configuration is not understood, as data: whoever proves
//! something about a listener has to stop at it.

use std::fmt;
use std::sync::Arc;

use resources::{ObjectRef, Source};

use crate::settings::Problem;

/// A part of the configuration that is not understood and may change answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// The object.
    pub object: ObjectRef,
    /// Where it is written.
    pub source: Source,
    /// Which part of it: `spec.configPatches[1]`.
    pub place: String,
    /// What it does that is not understood.
    pub why: String,
    /// Whose answers it may change.
    pub scope: Scope,
}

/// Whose answers something may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every request of the listener.
    Listener,
    /// Requests of one virtual host, by its name.
    Host(String),
    /// Requests of one route.
    Route {
        /// Virtual host.
        host: String,
        /// The object the route comes from.
        object: ObjectRef,
        /// `http[2]`.
        place: Arc<str>,
    },
}

impl NotUnderstood {
    pub(crate) fn problem(&self) -> Problem {
        let Self { place, why, .. } = self;
        Problem {
            object: Some(self.object.clone()),
            source: Some(self.source.clone()),
            message: format!("{place}: {why} is not understood and may change the answer"),
        }
    }
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}
