//! Second factors: what a person shows after the password. Codes of an authenticator app, passkeys,
//! and codes on paper for when both are gone.
//!
//! There is one record per user, whoever knows the password, so that what works once is looked at
//! and used up in one transaction.

mod cbor;
mod cose;
mod manage;
mod prove;
mod recovery;
mod totp;
mod webauthn;

#[cfg(test)]
pub(crate) mod tests;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use serde::{Deserialize, Serialize};

use crate::grant::GrantId;
use crate::provider::Inner;
use crate::seal::Sealer;
use crate::storage::{Batch, Kind, NEVER, Record, StorageError};
use crate::user::UserRef;
use webauthn::{Credential, Place};

/// How many passkeys a user has at most.
pub(crate) const MAX_PASSKEYS: usize = 10;
/// Longest name of a passkey, in characters.
const MAX_NAME: usize = 60;
/// How long a secret for an app may wait for its first code.
const SETUP_SECONDS: u64 = 900;
/// How long a passkey may take.
pub(crate) const CHALLENGE_SECONDS: u64 = 600;
/// How much longer it is known that a challenge was answered: one that is forgotten counts again if the clock is put
/// back.
const SPENT_SECONDS: u64 = 24 * 3600;

/// How a person proved who they are (RFC 8176).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// The password.
    Pwd,
    /// A code of an app or on paper.
    Otp,
    /// A passkey.
    Hwk,
    /// More than one of them.
    Mfa,
}

/// How strong a login is, weaker ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Strength {
    #[serde(rename = "1")]
    Password,
    #[serde(rename = "2")]
    SecondFactor,
}

impl Strength {
    /// Of a login; `None` where another provider was asked, and only that one knows.
    pub(crate) fn of(methods: &[Method]) -> Option<Self> {
        if methods.is_empty() {
            return None;
        }
        Some(match methods.contains(&Method::Mfa) {
            true => Self::SecondFactor,
            false => Self::Password,
        })
    }

    /// The claim `acr`.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Password => "1",
            Self::SecondFactor => "2",
        }
    }

    pub(crate) fn of_class(class: &str) -> Option<Self> {
        let both = [Self::Password, Self::SecondFactor];
        both.into_iter().find(|strength| strength.class() == class)
    }
}

/// The second factors of a user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Factors {
    #[serde(default)]
    totp: Option<Totp>,
    #[serde(default)]
    pub(crate) passkeys: Vec<Passkey>,
    /// Keyed digests of the codes on paper that were not used.
    #[serde(default)]
    recovery: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Totp {
    /// The secret, sealed.
    secret: String,
    /// The step of the last code: no earlier one counts.
    used: u64,
    added_at: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Passkey {
    #[serde(flatten)]
    credential: Credential,
    pub(crate) name: String,
    pub(crate) added_at: u64,
}

impl Record for Factors {
    const KIND: Kind = Kind::Factors;

    fn expires_at(&self) -> u64 {
        NEVER
    }
}

/// A challenge that was answered, so that no answer counts twice.
#[derive(Debug, Serialize, Deserialize)]
struct Spent {
    expires_at: u64,
}

impl Spent {
    fn new(challenge: &Challenge) -> Self {
        Self {
            expires_at: challenge.expires_at.saturating_add(SPENT_SECONDS),
        }
    }
}

impl Record for Spent {
    const KIND: Kind = Kind::Spent;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// A secret for an app that has shown no code yet; it travels sealed.
#[derive(Serialize, Deserialize)]
struct NewTotp {
    user: UserRef,
    secret: String,
    expires_at: u64,
}

/// What a passkey is to sign; it travels sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Challenge {
    user: UserRef,
    value: String,
    expires_at: u64,
}

/// What the page for an app shows.
pub(crate) struct AppSetup {
    /// `otpauth:` for the picture.
    pub(crate) uri: String,
    pub(crate) secret: String,
    /// Comes back with the first code.
    pub(crate) sealed: String,
}

/// What came of adding something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Yes,
    /// The code or answer does not count.
    Wrong,
    /// There are enough.
    Full,
}

impl Factors {
    /// Whether a login asks for one.
    pub(crate) fn any(&self) -> bool {
        self.has_app() || !self.passkeys.is_empty()
    }

    pub(crate) fn has_app(&self) -> bool {
        self.totp.is_some()
    }

    pub(crate) fn app_added_at(&self) -> Option<u64> {
        self.totp.as_ref().map(|totp| totp.added_at)
    }

    pub(crate) fn codes_left(&self) -> usize {
        self.recovery.len()
    }

    fn credentials(&self) -> Vec<Credential> {
        let all = self.passkeys.iter();
        all.map(|passkey| passkey.credential.clone()).collect()
    }

    /// Without a factor, codes that stand in for one are of no use.
    fn tidy(&mut self) {
        if !self.any() {
            self.recovery.clear();
        }
    }
}

impl Passkey {
    /// What forms call it.
    pub(crate) fn id(&self) -> &str {
        &self.credential.id
    }
}

impl Inner {
    fn factors_key(&self, user: &UserRef) -> String {
        GrantId::user_prefix_of(&self.sealer, user)
    }

    /// The second factors of a user; `None` when the storage failed, so that nobody gets in
    /// without the one that they have.
    pub(crate) fn factors(&self, user: &UserRef) -> Option<Factors> {
        let key = self.factors_key(user);
        let found = self.read(|storage| storage.get::<Factors>(&key))?;
        Some(found.unwrap_or_default())
    }

    async fn change_factors<R: Send + 'static>(
        &self,
        user: &UserRef,
        change: impl Fn(&mut Factors, &mut Batch<'_>) -> Result<R, StorageError> + Send + 'static,
    ) -> Option<R> {
        let key = self.factors_key(user);
        self.write(move |batch| {
            let mut factors = batch.get::<Factors>(&key)?.unwrap_or_default();
            let changed = change(&mut factors, batch)?;
            factors.tidy();
            batch.put(&key, &factors)?;
            Ok(changed)
        })
        .await
    }

    /// A challenge for a passkey of this user.
    pub(crate) fn challenge(&self, user: &UserRef) -> Option<Challenge> {
        Some(Challenge {
            user: user.clone(),
            value: crate::seal::random_token::<32>()?,
            expires_at: self.now().saturating_add(CHALLENGE_SECONDS),
        })
    }
}

impl Factors {
    /// Takes all second factors of a user away, who has lost them.
    pub(crate) fn forget(
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        user: &UserRef,
    ) -> Result<(), StorageError> {
        batch.remove::<Self>(&GrantId::user_prefix_of(sealer, user))
    }
}

/// Where the browser thinks that it is.
fn place_of(request: &Request<Bytes>) -> Option<Place> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    Place::new(host.or_else(|| Some(request.uri().authority()?.as_str()))?)
}
