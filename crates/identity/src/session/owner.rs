//! Under what a session is found beside its id.

use sha2::{Digest as _, Sha256};

use super::Whose;
use super::store::Record;

/// A name that sessions have in common, as a digest: names are of any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) key: [u8; 32],
    /// Only those of this `sub`.
    pub(super) subject: Option<String>,
}

impl From<Whose<'_>> for Owner {
    fn from(whose: Whose<'_>) -> Self {
        let (key, subject) = match whose {
            Whose::Email(email) => (key("email", &[email]), None),
            Whose::Subject { issuer, subject } => (key("subject", &[issuer, subject]), None),
            Whose::Sid {
                issuer,
                sid,
                subject,
            } => (key("sid", &[issuer, sid]), subject.map(str::to_owned)),
        };
        Self { key, subject }
    }
}

/// The names of one session.
pub(super) fn keys(record: &Record) -> Vec<[u8; 32]> {
    let mut keys = vec![key("email", &[&record.email])];
    if let Some(issuer) = &record.issuer {
        keys.push(key("subject", &[issuer, &record.subject]));
        keys.extend(record.sid.as_ref().map(|sid| key("sid", &[issuer, sid])));
    }
    keys
}

fn key(kind: &str, parts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(kind);
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
