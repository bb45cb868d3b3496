//! Time as a value that is given.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where this crate reads the time; tests give one that they move themselves.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The clock of the machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

/// Seconds since 1970; a time before that reads as 0.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// The clock's seconds since 1970.
pub(crate) fn now(clock: &Clock) -> u64 {
    unix(clock())
}
