//! Dex's configuration, checked: what `config.yaml` of the `dex` ConfigMap says.

mod check;
mod duration;
mod error;
mod raw;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use secret::Secret;

use crate::keys::Algorithm;

pub use error::{ConfigError, Warning};

/// The provider's configuration, right by construction.
#[derive(Debug, Clone)]
pub struct DexConfig {
    /// Who signs the tokens, and the path under which everything is served.
    pub issuer: Issuer,
    /// `oauth2.skipApprovalScreen`: go on to the application right after the password.
    pub skip_approval_screen: bool,
    /// `oauth2.pkce.enforce`: refuse authorization requests without a code challenge.
    pub enforce_pkce: bool,
    /// `expiry`: lifetimes.
    pub expiry: Expiry,
    /// `staticPasswords`.
    pub users: Vec<User>,
    /// `staticClients`.
    pub clients: Vec<Client>,
}

/// `issuer`: an http or https URL without query, fragment or trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    url: String,
    path: String,
}

/// Lifetimes; the defaults are Dex's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// `expiry.idTokens` (24 h), of ID tokens and access tokens.
    pub id_tokens: Duration,
    /// `expiry.authRequests` (24 h): how long a login page may be left open.
    pub auth_requests: Duration,
    /// `expiry.signingKeys` (6 h): how long one key signs, at least 40 minutes.
    pub signing_keys: Duration,
    /// `expiry.refreshTokens`.
    pub refresh: RefreshExpiry,
}

/// `expiry.refreshTokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshExpiry {
    /// `disableRotation`: the same refresh token stays valid.
    pub disable_rotation: bool,
    /// `reuseInterval` (3 s): how long the previous token still gets the current one.
    pub reuse_interval: Duration,
    /// `validIfNotUsedFor` (90 days).
    pub idle: Duration,
    /// `absoluteLifetime` (165 days).
    pub absolute: Duration,
}

impl Default for Expiry {
    fn default() -> Self {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        Self {
            id_tokens: hours(24),
            auth_requests: hours(24),
            signing_keys: hours(6),
            refresh: RefreshExpiry {
                disable_rotation: false,
                reuse_interval: Duration::from_secs(3),
                idle: hours(90 * 24),
                absolute: hours(165 * 24),
            },
        }
    }
}

/// One of `staticPasswords`.
#[derive(Debug, Clone)]
pub struct User {
    /// The address as written; the login form compares it without case.
    pub email: String,
    /// Whether tokens say that the address is verified (true unless configured).
    pub email_verified: bool,
    /// What the password is checked against.
    pub hash: PasswordHash,
    /// The claim `name`: `name` when given, else `username`.
    pub name: String,
    /// The claim `preferred_username`, only when configured.
    pub preferred_username: Option<String>,
    /// The claim `groups`.
    pub groups: Vec<String>,
    /// `userID`, from which `sub` is made.
    pub user_id: String,
}

/// A bcrypt hash of version 2a, 2b or 2y and cost 10 to 16, as Dex demands.
#[derive(Clone)]
pub struct PasswordHash {
    text: Secret,
    cost: u32,
}

/// One of `staticClients`.
#[derive(Debug, Clone)]
pub struct Client {
    /// `id`, or the value of `idEnv`.
    pub id: String,
    /// `secret`, or the value of `secretEnv`; only a public client may have none.
    pub secret: Option<Secret>,
    /// `redirectURIs`: compared as whole strings. A relative one such as `/oauth2/callback` is
    /// resolved by the browser against the host it is on.
    pub redirect_uris: Vec<String>,
    /// The name shown to people.
    pub name: String,
    /// `public`: cannot keep a secret, must use PKCE.
    pub public: bool,
    /// `trustedPeers`: clients that may ask for tokens with this one in `aud`.
    pub trusted_peers: Vec<String>,
    /// `idTokenSignedResponseAlg`: how its tokens are signed (RS256).
    pub signing: Algorithm,
}

impl DexConfig {
    /// Reads Dex's `config.yaml`. `env` answers `idEnv`, `secretEnv` and `hashFromEnv`.
    ///
    /// `storage`, `web`, `logger` and `telemetry` configure a process of its own and are passed
    /// over; every other key without effect is a [`Warning`].
    ///
    /// # Errors
    /// The first field that is missing or wrong. Secrets never appear in the message.
    pub fn parse(
        yaml: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        check::parse(yaml, env)
    }

    /// The client with this id.
    #[must_use]
    pub fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    /// The user with this e-mail address, case ignored as Dex does.
    #[must_use]
    pub fn user_by_email(&self, email: &str) -> Option<&User> {
        let email = email.to_lowercase();
        self.users
            .iter()
            .find(|user| user.email.to_lowercase() == email)
    }

    /// The user with this `userID`.
    #[must_use]
    pub fn user_by_id(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.user_id == id)
    }
}

impl Issuer {
    /// The URL exactly as tokens carry it in `iss`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path under which the provider is served, without a trailing slash: `/dex`, or empty.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl PasswordHash {
    /// The cost, a power of two of rounds.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.cost
    }

    pub(crate) fn text(&self) -> &Secret {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash(cost {})", self.cost)
    }
}

impl Client {
    /// Whether codes may be sent to `uri`, by Dex's rule: the exact string is registered, or the
    /// client is public, registers nothing and `uri` is a plain-http loopback address.
    #[must_use]
    pub fn allows_redirect(&self, uri: &str) -> bool {
        if self.redirect_uris.iter().any(|known| known == uri) {
            return true;
        }
        self.public && self.redirect_uris.is_empty() && is_loopback(uri)
    }
}

fn is_loopback(uri: &str) -> bool {
    let Ok(parsed) = url::Url::parse(uri) else {
        return false;
    };
    let local = match parsed.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    local
        && parsed.scheme() == "http"
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.fragment().is_none()
        && check::is_header_safe(uri)
}
