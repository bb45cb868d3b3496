//! A grant: what one user allowed one client at one login. Codes and refresh tokens are names of
//! a grant with a keyed check value, so the database holds no secret that could be presented.

use serde::{Deserialize, Serialize};

use crate::factors::Method;
use crate::requested::Requested;
use crate::seal::{Sealer, random_token};
use crate::storage::{Batch, Kind, Record, StorageError};
use crate::user::{LOCAL, UserRef};

/// How many grants one user keeps; the oldest make room.
const GRANTS_PER_USER: usize = 256;

/// Digits of a grant's name: a keyed digest of the user, then random.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantId(String);

const RANDOM: usize = 22;

impl GrantId {
    /// Length of the part that is the same for all grants of a user.
    pub(crate) const USER_PREFIX: usize = 16;

    pub(crate) fn new(sealer: &Sealer, user: &UserRef) -> Option<Self> {
        let user = Self::user_prefix_of(sealer, user);
        Some(Self(format!("{user}{}", random_token::<16>()?)))
    }

    /// What the keys of all records of a user begin with.
    pub(crate) fn user_prefix_of(sealer: &Sealer, user: &UserRef) -> String {
        let digest = match user.connector.as_str() {
            LOCAL => sealer.mac("grant-user", &user.user_id),
            connector => sealer.mac(&format!("grant-user {connector}"), &user.user_id),
        };
        digest.chars().take(Self::USER_PREFIX).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == Self::USER_PREFIX + RANDOM
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        valid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn user_prefix(&self) -> &str {
        self.0.get(..Self::USER_PREFIX).unwrap_or(&self.0)
    }

    /// The authorization code of this grant.
    pub(crate) fn code(&self, sealer: &Sealer) -> String {
        format!("{}.{}", self.0, sealer.mac("code", &self.0))
    }

    pub(crate) fn from_code(sealer: &Sealer, code: &str) -> Option<Self> {
        let id = Self::parse(code.split_once('.')?.0)?;
        sealer.same(&id.code(sealer), code).then_some(id)
    }

    /// The refresh token of this grant in its `generation`.
    pub(crate) fn refresh_token(&self, sealer: &Sealer, generation: u64) -> String {
        let name = format!("{}.{generation}", self.0);
        format!("{name}.{}", sealer.mac("refresh", &name))
    }

    pub(crate) fn from_refresh_token(sealer: &Sealer, token: &str) -> Option<(Self, u64)> {
        let (id, rest) = token.split_once('.')?;
        let id = Self::parse(id)?;
        let generation = rest.split_once('.')?.0.parse().ok()?;
        sealer
            .same(&id.refresh_token(sealer, generation), token)
            .then_some((id, generation))
    }

    /// `jti` of a token of this grant.
    pub(crate) fn token_id(&self) -> Option<String> {
        Some(format!("{}.{}", self.0, random_token::<9>()?))
    }

    pub(crate) fn from_token_id(jti: &str) -> Option<Self> {
        Self::parse(jti.split_once('.')?.0)
    }
}

/// The record of a grant. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) client_id: String,
    #[serde(flatten)]
    pub(crate) user: UserRef,
    pub(crate) scopes: Vec<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) auth_time: u64,
    pub(crate) created_at: u64,
    /// When the record may be forgotten.
    pub(crate) expires_at: u64,
    /// What was asked for beside the scopes.
    #[serde(default)]
    pub(crate) requested: Requested,
    /// The session that it came of.
    #[serde(default)]
    pub(crate) sid: Option<String>,
    /// How the person logged in.
    #[serde(default)]
    pub(crate) methods: Vec<Method>,
    pub(crate) stage: Stage,
}

impl Record for Grant {
    const KIND: Kind = Kind::Grant;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

impl Grant {
    /// Whether it goes on without the person, by refresh tokens.
    pub(crate) fn is_offline(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "offline_access")
    }

    /// The same, of which nothing counts any more.
    pub(crate) fn revoked(self) -> Self {
        Self {
            stage: Stage::Revoked,
            ..self
        }
    }

    /// Adds a grant, and drops this user's surplus ones.
    pub(crate) fn insert(
        &self,
        batch: &mut Batch<'_>,
        id: &GrantId,
        now: u64,
    ) -> Result<(), StorageError> {
        let mut others = batch.with_prefix::<Self>(id.user_prefix())?;
        others.sort_unstable_by_key(|(_, grant)| grant.created_at);
        let surplus = (others.len() + 1).saturating_sub(GRANTS_PER_USER);
        for (index, (key, grant)) in others.iter().enumerate() {
            if index < surplus || grant.expires_at <= now {
                batch.remove::<Self>(key)?;
            }
        }
        batch.insert(id.as_str(), self, now)
    }
}

/// How far a grant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The code is out and not used.
    Code {
        redirect_uri: String,
        code_challenge: Option<String>,
        code_expires_at: u64,
    },
    /// Tokens were issued.
    Active {
        generation: u64,
        rotated_at: u64,
        used_at: u64,
    },
    /// A code or refresh token came twice: nothing of this grant counts any more.
    Revoked,
}
