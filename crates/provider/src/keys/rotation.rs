//! Which key signs when: a function of what is kept and the time.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::key::{Algorithm, SigningKey};
use super::{PUBLISHED_AHEAD, Rotation, SKEW};
use crate::storage::StorageError;

/// What a key does, in the order in which keys are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Current,
    Next,
    Retired,
}

/// A signing key as it is kept. Times are Unix seconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredKey {
    algorithm: Algorithm,
    /// PKCS #8 in base64.
    private: String,
    pub(super) role: Role,
    published_at: u64,
    /// It was published without a break for as long as it has to be before it signs.
    #[serde(default)]
    announced: bool,
    /// When it began to sign.
    since: u64,
    /// The longest lifetime of a token that it may have signed.
    lifetime: u64,
    /// When a retired key is forgotten, or [`OPEN`].
    until: u64,
}

/// A retired key that this process may still sign with, as its successor is being written down. When its last token
/// ends is known once it does not: a clock that moves on meanwhile, or a machine that sleeps, moves that as well.
const OPEN: u64 = u64::MAX;

/// Keys by their id.
pub(super) type Stored = BTreeMap<String, StoredKey>;

/// Since when this process publishes which key: what was written down before it began may never have been answered.
pub(super) type Served = BTreeMap<String, u64>;

/// What bears on a handover, beside the keys.
pub(super) struct Bounds<'a> {
    pub(super) rotation: &'a Rotation,
    pub(super) served: &'a Served,
    /// No handover before this.
    pub(super) not_before: u64,
}

impl StoredKey {
    fn new(algorithm: Algorithm, der: &[u8], role: Role, now: u64) -> Self {
        Self {
            algorithm,
            private: STANDARD.encode(der),
            role,
            published_at: now,
            announced: false,
            since: now,
            lifetime: 0,
            until: 0,
        }
    }

    /// The one key that schema 1 kept, with its id. When it began is not known: it is due, and
    /// hands over once its successor has been published long enough.
    pub(crate) fn of_schema_1(der: &[u8]) -> Option<(String, Self)> {
        let key = SigningKey::from_pkcs8(Algorithm::Rs256, der)?;
        Some((key.kid, Self::new(Algorithm::Rs256, der, Role::Current, 0)))
    }

    pub(super) fn open(&self) -> Result<SigningKey, StorageError> {
        let damaged = || StorageError::Key { name: "signing" };
        let der = STANDARD.decode(&self.private).map_err(|_| damaged())?;
        SigningKey::from_pkcs8(self.algorithm, &der).ok_or_else(damaged)
    }
}

pub(super) fn read(keys: Vec<(String, Vec<u8>)>) -> Result<Stored, StorageError> {
    keys.into_iter()
        .map(|(id, json)| Ok((id, serde_json::from_slice(&json)?)))
        .collect()
}

fn of(stored: &Stored, algorithm: Algorithm, role: Role) -> Option<(&String, &StoredKey)> {
    stored
        .iter()
        .find(|(_, key)| key.algorithm == algorithm && key.role == role)
}

impl Bounds<'_> {
    /// When a key has been published for as long as it has to be.
    fn announced(&self, id: &str, key: &StoredKey) -> u64 {
        if key.announced {
            return 0;
        }
        let served = self.served.get(id).copied().unwrap_or(u64::MAX);
        served.max(key.published_at).saturating_add(PUBLISHED_AHEAD)
    }

    /// When the key that signs hands over.
    fn handover(&self, current: &StoredKey, (id, next): (&String, &StoredKey)) -> u64 {
        let period = self.rotation.period.as_secs().max(PUBLISHED_AHEAD);
        current
            .since
            .saturating_add(period)
            .max(self.announced(id, next))
            .max(self.not_before)
    }
}

/// When [`advance`] has something to do; 0 when keys are missing.
pub(super) fn due(stored: &Stored, bounds: &Bounds<'_>) -> u64 {
    let algorithms = bounds.rotation.algorithms.iter();
    let handovers = algorithms.map(|algorithm| {
        let role = |role| of(stored, *algorithm, role);
        match (role(Role::Current), role(Role::Next)) {
            (Some((_, current)), Some(next)) if next.1.announced => bounds.handover(current, next),
            (Some(_), Some((id, next))) => bounds.announced(id, next),
            _ => 0,
        }
    });
    let retired = stored.values().filter(|key| key.role == Role::Retired);
    let forgotten = retired.map(|key| if key.until == OPEN { 0 } else { key.until });
    handovers.chain(forgotten).min().unwrap_or(u64::MAX)
}

/// The algorithms of the keys that [`advance`] will want.
pub(super) fn missing(stored: &Stored, bounds: &Bounds<'_>, now: u64) -> Vec<Algorithm> {
    let mut missing = Vec::new();
    for algorithm in &bounds.rotation.algorithms {
        let role = |role| of(stored, *algorithm, role);
        match (role(Role::Current), role(Role::Next)) {
            (Some((_, current)), Some(next)) => {
                if bounds.handover(current, next) <= now {
                    missing.push(*algorithm);
                }
            }
            (Some(_), None) | (None, Some(_)) => missing.push(*algorithm),
            (None, None) => missing.extend([*algorithm, *algorithm]),
        }
    }
    missing
}

/// The keys as they should be at `now`, with as many of `fresh` as it takes.
pub(super) fn advance(
    mut stored: Stored,
    fresh: Vec<(Algorithm, Vec<u8>)>,
    bounds: &Bounds<'_>,
    now: u64,
) -> Result<Stored, StorageError> {
    let mut fresh = fresh;
    let lifetime = bounds.rotation.lifetime.as_secs();
    for (id, key) in &mut stored {
        if key.role == Role::Next && bounds.announced(id, key) <= now {
            key.announced = true;
        }
        if key.role == Role::Retired && key.until == OPEN {
            key.until = now.saturating_add(key.lifetime).saturating_add(SKEW);
        }
    }
    for algorithm in &bounds.rotation.algorithms {
        let role = |role| of(&stored, *algorithm, role);
        let over = match (role(Role::Current), role(Role::Next)) {
            (Some((_, current)), Some(next)) => bounds.handover(current, next) <= now,
            (None, Some(_)) => true,
            _ => false,
        };
        let spare = fresh.iter().any(|(of, _)| of == algorithm);
        if over && spare {
            for key in stored
                .values_mut()
                .filter(|key| key.algorithm == *algorithm)
            {
                match key.role {
                    Role::Current => {
                        key.role = Role::Retired;
                        key.until = OPEN;
                    }
                    Role::Next => {
                        key.role = Role::Current;
                        key.since = now;
                    }
                    Role::Retired => {}
                }
            }
        }
        for wanted in [Role::Current, Role::Next] {
            if of(&stored, *algorithm, wanted).is_some() {
                continue;
            }
            let Some(position) = fresh.iter().position(|(of, _)| of == algorithm) else {
                continue;
            };
            let (_, der) = fresh.swap_remove(position);
            let key = SigningKey::from_pkcs8(*algorithm, &der)
                .ok_or(StorageError::Key { name: "signing" })?;
            stored.insert(key.kid, StoredKey::new(*algorithm, &der, wanted, now));
        }
    }
    for key in stored.values_mut().filter(|key| key.role == Role::Current) {
        key.lifetime = key.lifetime.max(lifetime);
    }
    stored.retain(|_, key| key.role != Role::Retired || key.until > now);
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::key;
    use super::*;

    #[test]
    fn a_key_is_forgotten_by_the_time_at_which_it_ceased_to_sign() {
        let rotation = Rotation {
            period: Duration::from_secs(PUBLISHED_AHEAD),
            lifetime: Duration::from_secs(3600),
            algorithms: vec![Algorithm::Es256],
        };
        let fresh = |count| -> Vec<_> {
            let made =
                (0..count).map(|_| (Algorithm::Es256, key::generate(Algorithm::Es256).unwrap()));
            made.collect()
        };
        let step = |stored: Stored, served: &Served, count, now| {
            let bounds = Bounds {
                rotation: &rotation,
                served,
                not_before: 0,
            };
            let stored = advance(stored, fresh(count), &bounds, now).unwrap();
            let due = due(&stored, &bounds);
            (stored, due)
        };
        let first = step(Stored::new(), &Served::new(), 2, 1000).0;
        let served: Served = first.keys().map(|id| (id.clone(), 1000)).collect();
        let handover = 1000 + PUBLISHED_AHEAD;
        let (over, again) = step(first, &served, 1, handover);
        assert_eq!(over.len(), 3);
        // Whatever time the transaction took.
        assert_eq!(again, 0);
        let woken = handover + 2400;
        let (closed, _) = step(over, &served, 0, woken);
        let last = woken + 3600 + SKEW;
        let (kept, _) = step(closed, &served, 0, last - 1);
        assert_eq!(kept.len(), 3);
        assert_eq!(step(kept, &served, 0, last).0.len(), 2);
    }
}
