//! The embedded OpenID provider, with Dex's configuration and URLs.
//!
//! [`DexConfig::parse`] reads the `config.yaml` of a `dex` ConfigMap; [`Storage::open`] opens the
//! one file in which keys and grants survive a restart; [`Provider::open`] joins them, and
//! [`Provider::handle`] answers one request, under the path of the issuer (`/dex/auth`,
//! `/dex/token`, ...).
//!
//! What is served is the authorization code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636)
//! and refresh tokens. Nothing is stored for a request that has not logged in: the state of a
//! pending login travels sealed in the `req` parameter and is bound to the browser by a cookie.

#![expect(
    clippy::result_large_err,
    reason = "an error is the answer itself, made once for a request and moved a few frames"
)]

mod authorize;
mod clock;
mod config;
mod grant;
mod keys;
mod limit;
mod login;
mod pages;
mod params;
mod password;
mod provider;
mod reply;
mod seal;
mod storage;
mod token;
mod token_endpoint;
mod userinfo;

#[cfg(test)]
mod tests;

pub use ::secret::Secret;
pub use clock::{Clock, system_clock};
pub use config::{
    Client, ConfigError, DexConfig, Expiry, Issuer, PasswordHash, RefreshExpiry, User, Warning,
};
pub use keys::Algorithm;
pub use provider::{OpenError, Options, Provider, Source};
pub use storage::{Storage, StorageError};
