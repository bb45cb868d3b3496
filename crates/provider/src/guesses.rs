//! What was guessed at an account, across a restart and across replicas.
//!
//! The limits are in memory, as whoever comes along must not make the disk work. Kept is only how much is left for an
//! account that exists and at which more than half of the attempts are used up, at most once in ten seconds, for as long
//! as something is missing: a flood at addresses that nobody has writes nothing, and one at accounts a record of each
//! in ten seconds, of so many at most.
//!
//! Where replicas share their storage every wrong attempt at an account that exists is counted there, so that all of them
//! together let no more through than one would. The hash of the password before it is far slower than that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::is_recent;
use crate::limit::{Drained, LoginLimits, Rate, TooMany};
use crate::provider::Inner;
use crate::seal::Sealer;
use crate::storage::{Kind, Record, Storage, StorageError};

/// Seconds between two records of an account.
const PAUSE: u64 = 10;
/// Accounts of which something is kept in that time; of further ones nothing is.
const MOST: usize = 1024;
/// What keys of the records begin with, beside which there are others of the kind.
const PREFIX: &str = "guesses ";

/// Which limit: each counts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Guessed {
    Password,
    SecondFactor,
}

/// How much was left for an account. Times are Unix seconds.
#[derive(Debug, Serialize, Deserialize)]
struct Left {
    guessed: Guessed,
    account: String,
    left: f64,
    at: u64,
    expires_at: u64,
}

impl Left {
    /// After one more wrong attempt.
    fn one_less(
        before: Option<&Self>,
        guessed: Guessed,
        account: &str,
        rate: Rate,
        now: u64,
    ) -> Self {
        let full = f64::from(rate.burst);
        let left = before.map_or(full, |before| rate.refilled(before.left, before.at, now));
        let left = (left - 1.0).max(0.0);
        Self {
            guessed,
            account: account.to_owned(),
            left,
            at: now,
            expires_at: now.saturating_add(rate.full_in(left)),
        }
    }
}

impl Record for Left {
    /// Beside challenges that were answered: something that is used up, for a while.
    const KIND: Kind = Kind::Spent;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// When something of an account was last written.
#[derive(Default)]
pub(crate) struct Guesses {
    written: Mutex<HashMap<(Guessed, String), u64>>,
}

impl Guesses {
    /// Whether an account is to be written now, which then counts as done.
    fn is_due(&self, guessed: Guessed, account: &str, now: u64) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (guessed, account.to_owned());
        if written
            .get(&key)
            .is_some_and(|at| is_recent(*at, PAUSE, now))
        {
            return false;
        }
        if written.len() >= MOST && !written.contains_key(&key) {
            written.retain(|_, at| is_recent(*at, PAUSE, now));
            if written.len() >= MOST {
                return false;
            }
        }
        written.insert(key, now);
        true
    }
}

fn key(sealer: &Sealer, guessed: Guessed, account: &str) -> String {
    let purpose = match guessed {
        Guessed::Password => "guesses password",
        Guessed::SecondFactor => "guesses second",
    };
    format!("{PREFIX}{}", sealer.mac(purpose, account))
}

/// Fills the limits of a provider that begins with what was left when the one before ended.
pub(crate) fn restore(
    storage: &Storage,
    passwords: &LoginLimits,
    second_factors: &LoginLimits,
    now: u64,
) -> Result<(), StorageError> {
    for (_, left) in storage.with_prefix::<Left>(PREFIX)? {
        if left.expires_at > now {
            let limits = match left.guessed {
                Guessed::Password => passwords,
                Guessed::SecondFactor => second_factors,
            };
            limits.lower(&left.account, left.left, left.at, now);
        }
    }
    Ok(())
}

impl Inner {
    fn limits_of(&self, guessed: Guessed) -> &LoginLimits {
        match guessed {
            Guessed::Password => &self.limits,
            Guessed::SecondFactor => &self.second_limits,
        }
    }

    /// Takes one attempt at an account (canonical) from `source`, of what this and all other replicas leave.
    pub(crate) fn attempt(
        &self,
        guessed: Guessed,
        account: &str,
        source: Option<IpAddr>,
    ) -> Result<(), TooMany> {
        let now = self.now();
        let limits = self.limits_of(guessed);
        if self.storage().is_replicated() {
            let key = key(&self.sealer, guessed, account);
            if let Some(left) = self.read(|storage| storage.get::<Left>(&key)).flatten() {
                limits.lower(account, left.left, left.at, now);
            }
        }
        limits.take(account, source, now)
    }

    /// An attempt at an account that exists was wrong. Nobody waits for what is written of it: the time of the
    /// answer would say that the account exists.
    pub(crate) fn guessed(&self, guessed: Guessed, account: &str) {
        let now = self.now();
        let limits = self.limits_of(guessed);
        let key = key(&self.sealer, guessed, account);
        let storage = self.storage().clone();
        let account = account.to_owned();
        if storage.is_replicated() {
            let rate = limits.account_rate();
            tokio::spawn(async move {
                let written = storage.write(move |batch| {
                    let before = batch.get::<Left>(&key)?;
                    let after = Left::one_less(before.as_ref(), guessed, &account, rate, now);
                    batch.insert(&key, &after, now)
                });
                if let Err(error) = written.await {
                    tracing::error!(%error, "guesses at an account could not be kept");
                }
            });
            return;
        }
        let Some(Drained { left, at, full_in }) = limits.drained(&account, now) else {
            return;
        };
        if !self.guesses.is_due(guessed, &account, now) {
            return;
        }
        let record = Left {
            guessed,
            account,
            left,
            at,
            expires_at: now.saturating_add(full_in),
        };
        tokio::spawn(async move {
            let written = storage.write(move |batch| batch.insert(&key, &record, now));
            if let Err(error) = written.await {
                tracing::error!(%error, "guesses at an account could not be kept");
            }
        });
    }

    /// The owner of an account was let in by other means: nothing was guessed.
    pub(crate) async fn forget_guesses(&self, account: &str) {
        self.limits.forget(account);
        let key = key(&self.sealer, Guessed::Password, account);
        self.write(move |batch| batch.remove::<Left>(&key)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_attempts_of_all_replicas_add_up() {
        let rate = LoginLimits::new().account_rate();
        let mut left: Option<Left> = None;
        for _ in 0..rate.burst {
            left = Some(Left::one_less(
                left.as_ref(),
                Guessed::Password,
                "a",
                rate,
                100,
            ));
        }
        let left = left.unwrap();
        assert!(left.left < 1.0);
        assert_eq!(
            left.expires_at,
            100 + u64::from(rate.burst * rate.seconds_per_token)
        );
        let here = LoginLimits::new();
        here.lower("a", left.left, left.at, 101);
        assert!(here.take("a", None, 101).is_err(), "another replica");
        assert!(here.take("b", None, 101).is_ok(), "another account");
        assert!(here.take("a", None, 110).is_ok(), "some time later");
        let much = LoginLimits::new();
        much.lower("a", f64::NAN, 1, 1);
        assert!(
            much.take("a", None, 1).is_err(),
            "what is damaged leaves nothing"
        );
    }

    #[test]
    fn an_account_is_written_once_in_a_while_and_not_too_many_are() {
        let guesses = Guesses::default();
        let due = |account: &str, now| guesses.is_due(Guessed::Password, account, now);
        assert!(due("a", 100) && !due("a", 100) && !due("a", 109) && due("a", 110));
        assert!(
            guesses.is_due(Guessed::SecondFactor, "a", 111),
            "each for itself"
        );
        for n in 0..MOST {
            due(&format!("user{n}"), 111);
        }
        assert!(!due("one more", 112));
        assert!(due("one more", 121), "the others are of another while");
        assert!(guesses.written.lock().unwrap().len() <= MOST);
    }
}
