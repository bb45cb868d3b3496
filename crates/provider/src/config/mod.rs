//! Dex's configuration, checked: what `config.yaml` of the `dex` ConfigMap says.

mod check;
mod client;
mod client_ip;
mod compatibility;
mod connectors;
mod duration;
mod error;
mod factors;
mod grant_type;
mod raw;
mod signer;
mod storage;
mod tls;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use secret::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::cors::Cors;
use crate::keys::Algorithm;
use crate::response_type::ResponseType;
use crate::user::User;

pub(crate) use check::{is_logout_target, is_redirect_target};
pub use client_ip::ClientIp;
pub use compatibility::{Line, compatibility, examined, parse_with_lines};
pub use connectors::{Connector, ConnectorKind, LdapConnector, OidcConnector};
pub use error::{ConfigError, Warning};
pub use grant_type::GrantType;
pub use storage::{RedisConfig, StorageConfig};
pub use tls::WebTls;

/// The provider's configuration, right by construction.
#[derive(Debug, Clone)]
pub struct DexConfig {
    /// Who signs the tokens, and the path under which everything is served.
    pub issuer: Issuer,
    /// `storage`: where state is kept.
    pub storage: StorageConfig,
    /// `web.http`: where a provider of its own listens.
    pub listen: Option<SocketAddr>,
    /// `web.https`: where it listens with TLS of its own. Behind `sidegate up` the gateway has that.
    pub tls: Option<WebTls>,
    /// `web.allowedOrigins` and `web.allowedHeaders`: pages of other origins.
    pub cors: Cors,
    /// `web.clientRemoteIP`: whom requests come from.
    pub client_ip: Option<ClientIp>,
    /// `oauth2.skipApprovalScreen`: go on to the application right after the password.
    pub skip_approval_screen: bool,
    /// `secondFactor`: whether all users here have to have one, for every client.
    pub second_factor: SecondFactor,
    /// `mfa.defaultMFAChain`: the same for clients of the database.
    pub second_factor_of_clients: SecondFactor,
    /// `signer.config.algorithm` (RS256): how tokens of clients are signed that do not say so.
    pub signing: Algorithm,
    /// `oauth2.pkce.enforce`: what clients have to do that do not say so themselves.
    pub pkce: Pkce,
    /// `sessions`: single sign-on. Without it every login asks for the password, as in Dex.
    pub sessions: Option<SessionRules>,
    /// `oauth2.grantTypes`.
    pub grants: Grants,
    /// `oauth2.responseTypes` (`code`).
    pub response_types: ResponseType,
    /// `oauth2.passwordConnector`: who knows passwords that applications hand over.
    pub password_connector: Option<String>,
    /// `expiry`: lifetimes.
    pub expiry: Expiry,
    /// `frontend`: what the pages are called and how they look.
    pub frontend: Frontend,
    /// `enablePasswordDB`: whether the users here, of `staticPasswords` and of the database, can log
    /// in.
    pub password_db: bool,
    /// `connectors`.
    pub connectors: Vec<Connector>,
    /// `oauth2.alwaysShowLoginScreen`: a choice of ways to log in, also where there is one.
    pub always_show_login_screen: bool,
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
    /// `expiry.deviceRequests` (5 min): how long a device waits for its person.
    pub device_requests: Duration,
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
            device_requests: Duration::from_secs(300),
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

/// Which grants are offered beside codes and refresh tokens, which always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    /// `client_credentials`: only where it is listed.
    pub client_credentials: bool,
    /// RFC 8628; where nothing is listed, too.
    pub device_code: bool,
    /// RFC 8693; where nothing is listed, too. Each client says whose tokens.
    pub token_exchange: bool,
    /// `implicit`: where `oauth2.responseTypes` has tokens.
    pub implicit: bool,
    /// `password`: where `oauth2.passwordConnector` is set.
    pub password: bool,
}

/// `frontend`, as far as it is about pages of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontend {
    /// `issuer`: the name shown on pages.
    pub name: Option<String>,
    /// `theme`.
    pub scheme: Scheme,
}

/// Which colours pages have: `theme` of `frontend`, which is `light` or `dark` in Dex.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// As the browser prefers.
    #[default]
    Both,
    /// Light ones always.
    Light,
    /// Dark ones always.
    Dark,
}

/// One of `tokenExchange` of a client: whose tokens it may exchange, and for what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Exchange {
    /// `system:serviceaccount:NAMESPACE:NAME`, or the beginning of such names and `*`.
    pub subject: String,
    /// E-mail of the user that the new token is about; without it, that is the subject itself.
    #[serde(default)]
    pub user: Option<String>,
}

/// `sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRules {
    /// `absoluteLifetime` (24 h), from the password on.
    pub absolute: Duration,
    /// `validIfNotUsedFor` (1 h).
    pub idle: Duration,
    /// `ssoSharedWithDefault`: whether clients without `ssoSharedWith` share a login with all
    /// others (`all`) or with nobody (`none`, the default).
    pub shared_with_all: bool,
}

/// Whether a client has to use PKCE (RFC 7636). S256 only, and never optional for public clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pkce {
    /// Authorization requests without a code challenge are refused.
    #[default]
    Required,
    /// They are accepted; a challenge that is sent counts.
    Optional,
}

/// Whether users here have to show a second factor after the password. Those who have none make one
/// when they log in. People of connectors prove themselves where they are known.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Those who have one are asked for it.
    #[default]
    Optional,
    /// Everybody.
    Required,
}

/// Whether refresh tokens of a client end with the session that they came of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshLifetime {
    /// They go on: a program works while the person is logged out.
    #[default]
    #[serde(alias = "")]
    Standalone,
    /// They end with it.
    Session,
}

/// What `prompt=none` of a client means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptNone {
    /// No page is shown: an error says that one is needed (OpenID Connect Core 1.0 section
    /// 3.1.2.1).
    #[default]
    Refuse,
    /// It is passed over, as in Dex without sessions. Kubeflow's oauth2-proxy relies on that.
    Ignore,
}

impl Expiry {
    /// How long a grant is kept once it has tokens, in seconds.
    pub(crate) fn grant_seconds(&self, offline: bool) -> u64 {
        let lifetime = if offline {
            self.refresh.absolute.max(self.id_tokens)
        } else {
            self.id_tokens
        };
        lifetime.as_secs()
    }
}

/// What a client proves itself by.
#[derive(Debug, Clone)]
pub enum ClientSecret {
    /// As the configuration has it.
    Plain(Secret),
    /// The SHA-256 of one that was made here, of 256 random bits.
    Digest([u8; 32]),
}

impl ClientSecret {
    /// Compares in a time that tells nothing of the secret.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        match self {
            Self::Plain(secret) => secret.matches(candidate),
            Self::Digest(digest) => {
                let theirs: [u8; 32] = Sha256::digest(candidate.as_bytes()).into();
                digest.ct_eq(&theirs).into()
            }
        }
    }

    /// The secret itself, where it is known.
    #[must_use]
    pub fn expose(&self) -> Option<&str> {
        match self {
            Self::Plain(secret) => Some(secret.expose()),
            Self::Digest(_) => None,
        }
    }
}

/// One of `staticClients`.
#[derive(Debug, Clone)]
pub struct Client {
    /// `id`, or the value of `idEnv`.
    pub id: String,
    /// `secret`, or the value of `secretEnv`; only a public client may have none.
    pub secret: Option<ClientSecret>,
    /// `redirectURIs`: compared as whole strings. A relative one such as `/oauth2/callback` is
    /// resolved by the browser against the host it is on.
    pub redirect_uris: Vec<String>,
    /// The name shown to people.
    pub name: String,
    /// `public`: cannot keep a secret, must use PKCE.
    pub public: bool,
    /// `trustedPeers`: clients that may ask for tokens with this one in `aud`.
    pub trusted_peers: Vec<String>,
    /// `allowedConnectors`: ids of connectors that people may log in with; all where none is listed.
    pub allowed_connectors: Vec<String>,
    /// `allowedScopes`: scopes that it may ask for beside `openid`; all where none is listed.
    pub allowed_scopes: Vec<String>,
    /// `grantTypes`: its ways to tokens; all that are offered where none is listed.
    pub grant_types: Vec<GrantType>,
    /// `secondFactor` and `mfaChain`: whether users here need one for this client.
    pub second_factor: SecondFactor,
    /// `pkce`. Clients of a Dex configuration need not use it unless `oauth2.pkce.enforce` is set
    /// or they are public.
    pub pkce: Pkce,
    /// `promptNone`. Clients of a Dex configuration without `sessions` have it ignored.
    pub prompt_none: PromptNone,
    /// `ssoSharedWith`: ids of clients, or `*`, that need no password once this one had it.
    pub sso_shared_with: Option<Vec<String>>,
    /// `postLogoutRedirectURIs`: where a logout may lead, compared as whole strings.
    pub post_logout_redirect_uris: Vec<String>,
    /// `backchannelLogoutURI`: where logout tokens go.
    pub backchannel_logout_uri: Option<String>,
    /// `tokenExchange`.
    pub exchanges: Vec<Exchange>,
    /// `clientCredentialsClaims.groups`.
    pub credentials_groups: Vec<String>,
    /// `refreshTokenLifetime`.
    pub refresh_lifetime: RefreshLifetime,
    /// `idTokenSignedResponseAlg`: how its ID and logout tokens are signed (as `signer` says).
    pub signing: Algorithm,
    /// `accessTokenSignedResponseAlg`: how its access tokens are signed (as its ID tokens, which is
    /// Dex's only way).
    pub access_signing: Algorithm,
}

impl DexConfig {
    /// Reads Dex's `config.yaml`. `env` answers `idEnv`, `secretEnv` and `hashFromEnv`.
    ///
    /// `storage` of Dex's own types, `logger` and `telemetry` are about what is done otherwise here and
    /// are passed over;
    /// every other key without effect is a [`Warning`]. [`compatibility`] accounts for all.
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

    /// The connector with this id.
    #[must_use]
    pub fn connector(&self, id: &str) -> Option<&Connector> {
        self.connectors.iter().find(|connector| connector.id == id)
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

impl Client {
    /// Whether `allowedConnectors` has this one.
    #[must_use]
    pub fn allows_connector(&self, id: &str) -> bool {
        let allowed = &self.allowed_connectors;
        allowed.is_empty() || allowed.iter().any(|known| known == id)
    }

    /// Whether `allowedScopes` has this one.
    #[must_use]
    pub fn allows_scope(&self, scope: &str) -> bool {
        let allowed = &self.allowed_scopes;
        scope == "openid" || allowed.is_empty() || allowed.iter().any(|known| known == scope)
    }

    /// Whether `grantTypes` has this one.
    #[must_use]
    pub fn allows_grant(&self, kind: GrantType) -> bool {
        let allowed = &self.grant_types;
        allowed.is_empty() || allowed.contains(&kind)
    }

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
    // As it is written, not as parsers mend it: `127.1` and tabs are not what was meant.
    let canonical = parsed.as_str();
    let canonical = canonical == uri || canonical.strip_suffix('/') == Some(uri);
    local
        && canonical
        && parsed.scheme() == "http"
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.fragment().is_none()
        && check::is_header_safe(uri)
}
