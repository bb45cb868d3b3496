//! The embedded OpenID provider, with Dex's configuration and URLs.
//!
//! [`DexConfig::parse`] reads the `config.yaml` of a `dex` ConfigMap; [`Storage::open`] opens the
//! one file in which keys and grants survive a restart; [`Provider::open`] joins them, and
//! [`Provider::handle`] answers one request, under the path of the issuer (`/dex/auth`,
//! `/dex/token`, ...).
//!
//! What is served is OpenID Connect Core 1.0's authorization code flow with PKCE (RFC 7636), sessions
//! with logout, refresh tokens, the device flow (RFC 8628), client credentials, token exchange
//! (RFC 8693), introspection (RFC 7662) and revocation (RFC 7009). Nothing is stored for a request that has not logged in: the state of a
//! pending login travels sealed in the `req` parameter and is bound to the browser by a cookie.

#![expect(
    clippy::result_large_err,
    reason = "an error is the answer itself, made once for a request and moved a few frames"
)]

mod access;
mod account;
mod accounts;
mod admin;
mod approval;
mod authorize;
mod authorized;
mod backchannel;
mod client_auth;
mod clients;
mod clock;
mod config;
mod connectors;
mod cors;
mod device;
mod discovery;
mod enrol;
mod factors;
mod forms;
mod grant;
mod guesses;
mod hash;
mod keys;
mod known;
mod limit;
mod login;
mod logout;
mod machines;
mod outage;
mod pages;
mod params;
mod password;
mod password_grant;
mod paths;
mod provider;
mod reply;
mod requested;
mod response_type;
mod seal;
mod second;
mod session;
mod storage;
mod theme;
mod token;
mod token_endpoint;
mod user;
mod words;

#[cfg(test)]
mod tests;

pub use ::secret::Secret;
pub use accounts::{SetupLink, WeakPassword};
pub use admin::{
    Admin, AdminError, ClientInfo, ClientState, EndedLogins, Logins, NewClient, NewUser, UserInfo,
    UserState,
};
pub use backchannel::{Outgoing, Roots};
pub use clock::{Clock, system_clock};
pub use config::{
    Client, ClientIp, ClientSecret, ConfigError, Connector, ConnectorKind, DexConfig, Exchange,
    Expiry, Frontend, GrantType, Grants, Issuer, LdapConnector, Line, OidcConnector, Pkce,
    PromptNone, RedisConfig, RefreshExpiry, RefreshLifetime, Scheme, SecondFactor, SessionRules,
    StorageConfig, Warning, WebTls, compatibility, examined, parse_with_lines,
};
pub use cors::Cors;
pub use hash::{PasswordHash, PasswordRefused};
pub use keys::Algorithm;
pub use machines::{Subject, SubjectTokens};
pub use paths::paths;
pub use provider::{OpenError, Options, Provider, SignOuts, Source};
pub use response_type::ResponseType;
pub use storage::{Outage, Storage, StorageError};
pub use theme::{Theme, ThemeError};
pub use user::User;
