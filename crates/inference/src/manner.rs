//! How a server speaks.

use crate::mlserver::Traffic;
use std::sync::Arc;

/// How a server speaks.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Whose answers are given.
    pub compat: Compat,
    /// What answers to events say of themselves.
    pub events: EventSettings,
    /// What it was asked, which is counted as MLServer if that is whose answers are given.
    pub traffic: Arc<Traffic>,
}

/// Whose answers are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compat {
    /// KServe's, with mistakes of clients told as such and any content type read as JSON.
    #[default]
    Kserve,
    /// KServe's with all their statuses.
    Strict,
    /// MLServer's.
    Mlserver,
}

/// What answers to events say of themselves: KServe's `CE_MERGE`, `CE_TYPE` and `CE_SOURCE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventSettings {
    /// Whether an answer repeats the attributes of the request but for its id, time and content type.
    pub merge: bool,
    /// The type of answers; `io.kserve.inference.response` if there is none.
    pub kind: Option<String>,
    /// The source of answers; `io.kserve.inference.` and the name of the model if there is none.
    pub source: Option<String>,
}
