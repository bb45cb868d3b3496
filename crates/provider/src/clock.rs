//! Time as a value that is given.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the provider reads the time; tests give one that they move themselves.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The clock of the machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

/// Seconds since 1970; a clock before that reads as 0.
pub(crate) fn unix_seconds(clock: &Clock) -> u64 {
    clock()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// Whether `since` is less than so many seconds ago. One that is to come is of a clock that ran ahead since: nobody
/// knows how long ago that was, and it says nothing.
pub(crate) fn is_recent(since: u64, seconds: u64, now: u64) -> bool {
    (since..since.saturating_add(seconds)).contains(&now)
}
