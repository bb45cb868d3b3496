//! What is kept in a password's place: bcrypt as Dex writes it, Argon2id for passwords that are
//! set here.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `server/passwords` of Dex refuses costs outside of these.
const COSTS: std::ops::RangeInclusive<u32> = 10..=16;
/// Salt and digest of a bcrypt hash that parses and that no password matches.
const NO_SALT: &str = "......................";
const NO_DIGEST: &str = "...............................";
const SALT_LENGTH: usize = 16;
const DIGEST_LENGTH: usize = 32;

/// A hash of a password: bcrypt of version 2a, 2b or 2y and cost 10 to 16, as Dex demands, or
/// Argon2id.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Secret,
    work: Work,
}

/// How much there is to compute, which is what the time of a check tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// 2 to the `cost` rounds.
    Bcrypt {
        cost: u32,
    },
    Argon2id(Argon2idWork),
}

/// RFC 9106: memory in KiB, passes over it, and lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Argon2idWork {
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2idWork {
    /// The first of OWASP's equivalent recommendations (Password Storage Cheat Sheet).
    const NEW: Self = Self {
        memory: 19 * 1024,
        passes: 2,
        lanes: 1,
    };

    /// Whether a hash of this work is computed at all: what is in the database may be damaged.
    fn is_bounded(self) -> bool {
        (8..=256 * 1024).contains(&self.memory)
            && (1..=16).contains(&self.passes)
            && (1..=4).contains(&self.lanes)
    }

    fn digest(self, password: &Secret, salt: &[u8]) -> Option<[u8; DIGEST_LENGTH]> {
        let length = Some(DIGEST_LENGTH);
        let params = Params::new(self.memory, self.passes, self.lanes, length).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut digest = [0; DIGEST_LENGTH];
        argon2
            .hash_password_into(password.expose().as_bytes(), salt, &mut digest)
            .ok()?;
        Some(digest)
    }

    /// The PHC string format, as every implementation writes it.
    fn text(self, salt: &[u8], digest: &[u8]) -> Secret {
        let Self {
            memory,
            passes,
            lanes,
        } = self;
        Secret::new(format!(
            "$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}",
            STANDARD_NO_PAD.encode(salt),
            STANDARD_NO_PAD.encode(digest)
        ))
    }
}

/// Why a password is not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// bcrypt reads no further, so what is behind it would not count.
    #[error("the password has {0} bytes: at most 72 count")]
    Long(usize),
    /// It ends a text for bcrypt.
    #[error("the password has a NUL in it")]
    Nul,
    /// No random salt, or a cost that bcrypt does not have.
    #[error("no hash can be made on this system")]
    Failed,
}

impl PasswordHash {
    /// The cost of bcrypt unless another one is wanted, as in Kubeflow's manifests.
    pub const COST: u32 = 12;

    /// Hashes a password by bcrypt with a salt of its own, in the form that configurations hold.
    ///
    /// # Errors
    /// A password that bcrypt would not take whole.
    pub fn of(password: &Secret, cost: u32) -> Result<Secret, PasswordRefused> {
        match password.expose() {
            "" => return Err(PasswordRefused::Empty),
            long if long.len() > 72 => return Err(PasswordRefused::Long(long.len())),
            text if text.contains('\0') => return Err(PasswordRefused::Nul),
            _ => {}
        }
        let hashed = bcrypt::hash_with_result(password.expose(), cost);
        let hashed = hashed.map_err(|_| PasswordRefused::Failed)?;
        Ok(Secret::new(
            hashed.format_for_version(bcrypt::Version::TwoB),
        ))
    }

    /// Hashes a password that is set here, by Argon2id with a salt of its own; `None` when the
    /// system has no random bytes. Takes some 20 ms and 19 MiB.
    pub(crate) fn new(password: &Secret) -> Option<Self> {
        let work = Argon2idWork::NEW;
        let mut salt = [0; SALT_LENGTH];
        rand::fill(&mut salt).ok()?;
        let digest = work.digest(password, &salt)?;
        Some(Self {
            text: work.text(&salt, &digest),
            work: Work::Argon2id(work),
        })
    }

    /// A hash of this work that nothing matches.
    pub(crate) fn stand_in(work: Work) -> Self {
        let text = match work {
            Work::Bcrypt { cost } => Secret::new(format!("$2b${cost:02}${NO_SALT}{NO_DIGEST}")),
            Work::Argon2id(work) => work.text(&[0; SALT_LENGTH], &[0; DIGEST_LENGTH]),
        };
        Self { text, work }
    }

    /// Of a configuration: a bcrypt hash, plain or in base64.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::bcrypt(text).or_else(|| {
            let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
            Self::bcrypt(decoded.trim())
        })
    }

    fn bcrypt(text: &str) -> Option<Self> {
        let version = ["$2a$", "$2b$", "$2y$"].iter().any(|v| text.starts_with(v));
        let parts: bcrypt::HashParts = text.parse().ok()?;
        let cost = parts.get_cost();
        (version && COSTS.contains(&cost)).then(|| Self {
            text: Secret::new(text),
            work: Work::Bcrypt { cost },
        })
    }

    fn argon2id(text: &str) -> Option<Self> {
        let (work, _, _) = argon2id_parts(text)?;
        Some(Self {
            text: Secret::new(text),
            work: Work::Argon2id(work),
        })
    }

    /// How much there is to compute.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// The work of new hashes.
    pub(crate) fn new_work() -> Work {
        Work::Argon2id(Argon2idWork::NEW)
    }

    /// Whether it is that of `password`. Takes as long for a password that is not.
    pub(crate) fn matches(&self, password: &Secret) -> bool {
        match self.work {
            // bcrypt reads 72 bytes, in Dex as here.
            Work::Bcrypt { .. } => {
                bcrypt::verify(password.expose(), self.text.expose()).unwrap_or(false)
            }
            Work::Argon2id(work) => {
                let Some((_, salt, digest)) = argon2id_parts(self.text.expose()) else {
                    return false;
                };
                work.digest(password, &salt)
                    .is_some_and(|found| subtle::ConstantTimeEq::ct_eq(&found[..], &digest).into())
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &Secret {
        &self.text
    }
}

/// Work, salt and digest of a hash in PHC string format.
fn argon2id_parts(text: &str) -> Option<(Argon2idWork, Vec<u8>, Vec<u8>)> {
    let rest = text.strip_prefix("$argon2id$v=19$")?;
    let mut fields = rest.split('$');
    let mut costs = fields.next()?.split(',');
    let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse().ok();
    let work = Argon2idWork {
        memory: cost("m=")?,
        passes: cost("t=")?,
        lanes: cost("p=")?,
    };
    let mut bytes = || STANDARD_NO_PAD.decode(fields.next()?).ok();
    let (salt, digest) = (bytes()?, bytes()?);
    let whole = fields.next().is_none() && costs.next().is_none();
    let sized = (8..=64).contains(&salt.len()) && digest.len() == DIGEST_LENGTH;
    (whole && sized && work.is_bounded()).then_some((work, salt, digest))
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?})", self.work)
    }
}

/// As it is kept in the database.
impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text.expose())
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::deserialize(deserializer)?;
        Self::argon2id(text.expose())
            .or_else(|| Self::bcrypt(text.expose()))
            .ok_or_else(|| de::Error::custom("not a hash of a password"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<PasswordHash> {
        serde_json::from_value(text.into()).ok()
    }

    #[test]
    fn a_new_password_is_hashed_by_argon2id_with_a_salt_of_its_own() {
        let password = Secret::new("correct horse battery");
        let hash = PasswordHash::new(&password).unwrap();
        let text = hash.text().expose();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        assert_ne!(PasswordHash::new(&password).unwrap(), hash);
        let kept = read(text).unwrap();
        assert_eq!(kept, hash);
        assert!(kept.matches(&password));
        assert!(!kept.matches(&Secret::new("correct horse battery ")));
        assert!(!format!("{hash:?}").contains("$argon2id"));
    }

    /// The value of RFC 9106's reference implementation (`argon2 somesalt -id -t 2 -m 16 -p 1`).
    #[test]
    fn hashes_of_other_implementations_are_read() {
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(read(hash).unwrap().matches(&Secret::new("password")));
        for damaged in [
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=65536,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "password",
            "",
        ] {
            assert!(read(damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn nothing_matches_a_stand_in() {
        for work in [Work::Bcrypt { cost: 10 }, PasswordHash::new_work()] {
            let hash = PasswordHash::stand_in(work);
            assert_eq!(read(hash.text().expose()).unwrap().work(), work);
            assert!(!hash.matches(&Secret::new("")), "{work:?}");
        }
    }
}
