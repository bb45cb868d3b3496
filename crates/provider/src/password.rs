//! Password checks: always one bcrypt, on a blocking thread, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::config::{DexConfig, User};
use crate::seal::Sealer;
use secret::Secret;

/// How many may wait for a thread before the answer is "try again".
const MAX_WAITING: usize = 64;
/// Salt and digest of a hash that parses and that no password matches.
const NO_SALT: &str = "......................";
const NO_DIGEST: &str = "...............................";

pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    runs: Arc<AtomicU64>,
}

/// Too many checks are waiting.
#[derive(Debug)]
pub(crate) struct Busy;

impl Passwords {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        Self {
            permits: Arc::new(Semaphore::new(threads)),
            waiting: AtomicUsize::new(0),
            runs: Arc::default(),
        }
    }

    /// How many bcrypt computations have run.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Whether `password` is that of `user`. Without a user the same work is done for nothing, so
    /// that the time does not tell which accounts exist.
    pub(crate) async fn check(
        &self,
        config: &DexConfig,
        sealer: &Sealer,
        email: &str,
        user: Option<&User>,
        password: Secret,
    ) -> Result<bool, Busy> {
        let _place = Place::take(&self.waiting).ok_or(Busy)?;
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Busy)?;
        let known = user.is_some();
        let hash = match user {
            Some(user) => user.hash.text().clone(),
            None => Secret::new(stand_in(config, sealer, email)),
        };
        let runs = Arc::clone(&self.runs);
        let matches = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            runs.fetch_add(1, Ordering::Relaxed);
            // bcrypt reads 72 bytes, in Dex as here.
            bcrypt::verify(password.expose(), hash.expose()).unwrap_or(false)
        })
        .await
        .unwrap_or(false);
        Ok(known && matches)
    }
}

/// A hash that nothing matches, with the cost of some real user's hash: always the same one for
/// the same address, as an account's own cost would be.
fn stand_in(config: &DexConfig, sealer: &Sealer, email: &str) -> String {
    let costs: Vec<u32> = config.users.iter().map(|user| user.hash.cost()).collect();
    let digest = sealer.mac("stand-in", email);
    let pick = digest
        .bytes()
        .fold(0_usize, |sum, byte| sum * 31 % 65_521 + usize::from(byte));
    let cost = costs
        .get(pick.checked_rem(costs.len()).unwrap_or(0))
        .copied()
        .unwrap_or(12);
    format!("$2b${cost:02}${NO_SALT}{NO_DIGEST}")
}

/// A place in the bounded queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            drop(place);
            return None;
        }
        Some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_is_a_hash_that_nothing_matches() {
        let hash = format!("$2b$04${NO_SALT}{NO_DIGEST}");
        assert!(!bcrypt::verify("", &hash).unwrap());
    }

    #[test]
    fn the_queue_is_bounded() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..MAX_WAITING)
            .map(|_| Place::take(&waiting).unwrap())
            .collect();
        assert!(Place::take(&waiting).is_none());
        drop(places);
        assert!(Place::take(&waiting).is_some());
    }
}
