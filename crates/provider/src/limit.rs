//! Token buckets in front of the password check, bounded in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// How many keys one limiter remembers; further ones share a bucket.
const MAX_KEYS: usize = 16 * 1024;

/// What a bucket holds and how fast it fills.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) seconds_per_token: u32,
}

impl Rate {
    /// What a bucket holds at `now` that had `left` at `at`. What was kept may be damaged: never more than a
    /// full one, nor less than nothing.
    pub(crate) fn refilled(self, left: f64, at: u64, now: u64) -> f64 {
        let burst = f64::from(self.burst);
        let left = if left.is_finite() { left } else { 0.0 };
        let gained = now.saturating_sub(at) as f64 / f64::from(self.seconds_per_token.max(1));
        (left.clamp(0.0, burst) + gained).min(burst)
    }

    /// Seconds until a bucket that holds `left` is full.
    pub(crate) fn full_in(self, left: f64) -> u64 {
        let missing = (f64::from(self.burst) - left).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between nothing and the seconds of a whole bucket"
        )]
        let seconds = (missing * f64::from(self.seconds_per_token)).ceil() as u64;
        seconds
    }
}

/// Buckets by key.
struct Buckets<K> {
    rate: Rate,
    buckets: HashMap<K, Bucket>,
    overflow: Bucket,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: u64,
}

impl<K: std::hash::Hash + Eq> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
            overflow: Bucket {
                tokens: f64::from(rate.burst),
                at: 0,
            },
        }
    }

    /// The bucket of `key`, filled up to `now`.
    fn bucket(&mut self, key: K, now: u64) -> &mut Bucket {
        let rate = self.rate;
        let refill = |bucket: &Bucket| rate.refilled(bucket.tokens, bucket.at, now);
        if self.buckets.len() >= MAX_KEYS && !self.buckets.contains_key(&key) {
            // A full bucket says the same as none.
            self.buckets
                .retain(|_, bucket| refill(bucket) < f64::from(rate.burst));
        }
        let full = Bucket {
            tokens: f64::from(rate.burst),
            at: now,
        };
        let bucket = if self.buckets.len() < MAX_KEYS || self.buckets.contains_key(&key) {
            self.buckets.entry(key).or_insert(full)
        } else {
            &mut self.overflow
        };
        bucket.tokens = refill(bucket);
        bucket.at = bucket.at.max(now);
        bucket
    }
}

/// Limits on login attempts: per account from one source, per source, per account.
///
/// The account's own limit is wider than that of account and source together, so that guessing
/// from elsewhere does not lock the owner out at once. A success gives its tokens back.
pub(crate) struct LoginLimits {
    state: Mutex<State>,
}

struct State {
    pairs: Buckets<(u64, Option<IpAddr>)>,
    sources: Buckets<Option<IpAddr>>,
    accounts: Buckets<u64>,
    hasher: std::hash::RandomState,
}

/// An account at which much was guessed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drained {
    pub(crate) left: f64,
    pub(crate) at: u64,
    /// Seconds until nothing is missing any more.
    pub(crate) full_in: u64,
}

/// Too many attempts: seconds until the next may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany(pub(crate) u64);

impl LoginLimits {
    pub(crate) fn new() -> Self {
        Self::of([(10, 6), (60, 1), (40, 2)])
    }

    /// For six digits, of which three are right at a time: who knows the password and tries all
    /// day gets through one day in three hundred.
    pub(crate) fn of_second_factors() -> Self {
        Self::of([(5, 30), (60, 1), (10, 90)])
    }

    /// Burst and seconds per token: of account and source together, of source, of account.
    fn of(rates: [(u32, u32); 3]) -> Self {
        let [pairs, sources, accounts] = rates.map(|(burst, seconds_per_token)| Rate {
            burst,
            seconds_per_token,
        });
        Self {
            state: Mutex::new(State {
                pairs: Buckets::new(pairs),
                sources: Buckets::new(sources),
                accounts: Buckets::new(accounts),
                hasher: std::hash::RandomState::new(),
            }),
        }
    }

    /// Takes one attempt on `account` (canonical) from `source`.
    pub(crate) fn take(
        &self,
        account: &str,
        source: Option<IpAddr>,
        now: u64,
    ) -> Result<(), TooMany> {
        self.change(account, source, now, |buckets| {
            for (bucket, rate) in &buckets {
                if bucket.tokens < 1.0 {
                    let missing = (1.0 - bucket.tokens) * f64::from(rate.seconds_per_token);
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "between 0 and the seconds of one token"
                    )]
                    return Err(TooMany(missing.ceil() as u64));
                }
            }
            for (bucket, _) in buckets {
                bucket.tokens -= 1.0;
            }
            Ok(())
        })
    }

    /// Gives back the attempt of a login that succeeded.
    pub(crate) fn give_back(&self, account: &str, source: Option<IpAddr>, now: u64) {
        self.change(account, source, now, |buckets| {
            for (bucket, rate) in buckets {
                bucket.tokens = (bucket.tokens + 1.0).min(f64::from(rate.burst));
            }
        });
    }

    /// What is left for an account from wherever, and when that was so; nothing where more than half is.
    pub(crate) fn drained(&self, account: &str, now: u64) -> Option<Drained> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let account = std::hash::BuildHasher::hash_one(&state.hasher, account);
        let rate = state.accounts.rate;
        let bucket = state.accounts.bucket(account, now);
        let missing = f64::from(rate.burst) - bucket.tokens;
        (missing * 2.0 >= f64::from(rate.burst)).then(|| Drained {
            left: bucket.tokens,
            at: bucket.at,
            full_in: rate.full_in(bucket.tokens),
        })
    }

    /// What buckets of accounts hold and how fast they fill.
    pub(crate) fn account_rate(&self) -> Rate {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.accounts.rate
    }

    /// An account had so little left elsewhere, or before a restart: no more is left here at `now`.
    pub(crate) fn lower(&self, account: &str, left: f64, at: u64, now: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let account = std::hash::BuildHasher::hash_one(&state.hasher, account);
        let left = state.accounts.rate.refilled(left, at.min(now), now);
        let bucket = state.accounts.bucket(account, now);
        bucket.tokens = bucket.tokens.min(left);
    }

    /// Fills the buckets of an account again, as its owner has been let in by other means.
    pub(crate) fn forget(&self, account: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let account = std::hash::BuildHasher::hash_one(&state.hasher, account);
        state.accounts.buckets.remove(&account);
        state.pairs.buckets.retain(|(of, _), _| *of != account);
    }

    fn change<R>(
        &self,
        account: &str,
        source: Option<IpAddr>,
        now: u64,
        change: impl FnOnce([(&mut Bucket, Rate); 3]) -> R,
    ) -> R {
        let source = source.map(network);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State {
            pairs,
            sources,
            accounts,
            hasher,
        } = &mut *state;
        let account = std::hash::BuildHasher::hash_one(hasher, account);
        let rates = (pairs.rate, sources.rate, accounts.rate);
        change([
            (pairs.bucket((account, source), now), rates.0),
            (sources.bucket(source, now), rates.1),
            (accounts.bucket(account, now), rates.2),
        ])
    }
}

/// One customer usually has a whole IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_account_from_one_source_is_slowed_down_and_recovers() {
        let limits = LoginLimits::new();
        for _ in 0..10 {
            limits.take("a", ip("10.0.0.1"), 100).unwrap();
        }
        assert_eq!(limits.take("a", ip("10.0.0.1"), 100), Err(TooMany(6)));
        limits.take("b", ip("10.0.0.1"), 100).unwrap();
        limits.take("a", ip("10.0.0.2"), 100).unwrap();
        limits.take("a", ip("10.0.0.1"), 106).unwrap();
        assert_eq!(limits.take("a", ip("10.0.0.1"), 106), Err(TooMany(6)));
        limits.give_back("a", ip("10.0.0.1"), 106);
        limits.take("a", ip("10.0.0.1"), 106).unwrap();
    }

    #[test]
    fn a_source_is_slowed_down_over_all_accounts() {
        let limits = LoginLimits::new();
        for n in 0..60 {
            // Addresses of one /64.
            limits
                .take(&format!("user{n}"), ip(&format!("2001:db8::{n}")), 5)
                .unwrap();
        }
        assert_eq!(
            limits.take("other", ip("2001:db8::ffff"), 5),
            Err(TooMany(1))
        );
        limits.take("other", ip("2001:db8:0:1::1"), 5).unwrap();
    }

    #[test]
    fn an_account_is_slowed_down_over_all_sources() {
        let limits = LoginLimits::new();
        for n in 0..40 {
            limits.take("a", ip(&format!("10.0.0.{n}")), 5).unwrap();
        }
        assert_eq!(limits.take("a", ip("10.0.1.1"), 5), Err(TooMany(2)));
    }

    #[test]
    fn a_drained_account_goes_on_from_where_it_was() {
        let limits = LoginLimits::new();
        for n in 0..19 {
            limits.take("a", ip(&format!("10.0.0.{n}")), 100).unwrap();
        }
        assert_eq!(limits.drained("a", 100), None, "half of it is left");
        for n in 19..40 {
            limits.take("a", ip(&format!("10.0.0.{n}")), 100).unwrap();
        }
        let drained = limits.drained("a", 100).unwrap();
        assert_eq!((drained.at, drained.full_in), (100, 80));
        let after = LoginLimits::new();
        after.lower("a", drained.left, drained.at, 101);
        assert_eq!(after.take("a", ip("10.0.1.1"), 101), Err(TooMany(1)));
        after.take("a", ip("10.0.1.1"), 102).unwrap();
        after.take("b", ip("10.0.1.1"), 102).unwrap();
        after.lower("c", f64::NAN, 102, 102);
        assert_eq!(after.take("c", None, 102), Err(TooMany(2)));
        after.lower("d", 1e9, 102, 102);
        assert_eq!(after.drained("d", 102), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut buckets = Buckets::new(Rate {
            burst: 1,
            seconds_per_token: 1,
        });
        for n in 0..MAX_KEYS * 2 {
            buckets.bucket(n, 5).tokens = 0.0;
        }
        assert_eq!(buckets.buckets.len(), MAX_KEYS);
        buckets.bucket(usize::MAX, 7);
        assert_eq!(buckets.buckets.len(), 1);
    }
}
