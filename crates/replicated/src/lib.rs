//! State that several processes keep in memory, each of them whole, and agree on through Redis.
//!
//! Redis holds each record, with its end as time to live, and a log of transactions that names the
//! records of each. A [`Replica`] follows the log. A transaction runs on the state in memory and
//! is appended only if its author has seen everything before it; otherwise the author catches up
//! and runs it again. So there is one order of all transactions of all replicas, each of them ran on
//! what the ones before it left, and none needs a lock.
//!
//! # Guarantees
//! - What [`Replica::submit`] reported as done is what every other replica sees from its next
//!   [`Replica::catch_up`] on.
//! - A read after a `catch_up` that said [`Freshness::Current`] sees everything that was done, at any
//!   replica, before `catch_up` was called.
//! - While Redis cannot be reached, nothing is written; reads go on with what is in memory.
//!
//! # Assumptions
//! - Redis loses nothing that it acknowledged. What it lost in a restart it gets back from a replica
//!   that has followed it until then, if nobody has appended anything since.
//! - Redis evicts nothing (`maxmemory-policy noeviction`, its default).

mod log;
mod position;
mod recent;
mod replica;
mod settings;

#[cfg(test)]
mod tests;

pub use log::Change;
pub use replica::{Decision, Freshness, Mirror, Replica};
pub use settings::{BadSettings, Settings};

/// Why there is no state, or no change of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Redis does not answer, or answers with an error.
    #[error("Redis: {0}")]
    Redis(String),
    /// The data is of a later version.
    #[error(
        "the data in Redis has schema {found}, this version knows {known} and older: start the \
         version that wrote it"
    )]
    Newer {
        /// The schema of the data.
        found: u64,
        /// The newest schema that this version knows.
        known: u64,
    },
    /// Something else is under our names.
    #[error("Redis holds something under `{key}` that is not of this program")]
    Foreign {
        /// The key.
        key: String,
    },
    /// Redis is there and empty, after it was not.
    #[error(
        "Redis has lost everything: restore its data, or restart all replicas to begin with nothing"
    )]
    Emptied,
    /// Redis holds a state that is not the one that this replica had.
    #[error("Redis holds another state than before: restart this replica to take part in it")]
    Another,
    /// The state in memory cannot be changed.
    #[error("{0}")]
    Mirror(String),
    /// Redis cannot be reached now, more wait than can be served, or the thread has ended.
    #[error("the state in Redis cannot be changed now")]
    Unavailable,
}
