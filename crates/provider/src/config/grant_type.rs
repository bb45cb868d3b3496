//! Ways to tokens, by the names of the standards.

use serde::{Deserialize, Serialize};

use crate::token_endpoint::{DEVICE_CODE, TOKEN_EXCHANGE};

/// A `grant_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantType {
    /// A person logs in (RFC 6749 section 4.1).
    AuthorizationCode,
    /// The application goes on without the person (section 6).
    RefreshToken,
    /// Its own tokens (section 4.4).
    ClientCredentials,
    /// A device without a keyboard (RFC 8628).
    DeviceCode,
    /// Another's token (RFC 8693).
    TokenExchange,
    /// Tokens by way of the browser (section 4.2), where they are offered.
    Implicit,
    /// What a person typed into the application (section 4.3), where that is offered.
    Password,
}

impl GrantType {
    const ALL: [Self; 7] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::DeviceCode,
        Self::TokenExchange,
        Self::Implicit,
        Self::Password,
    ];

    /// As requests and configurations write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => DEVICE_CODE,
            Self::TokenExchange => TOKEN_EXCHANGE,
            Self::Implicit => "implicit",
            Self::Password => "password",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The names of all, in words.
    #[must_use]
    pub fn names() -> String {
        let names = Self::ALL.map(|kind| format!("`{}`", kind.name()));
        let [first @ .., last] = &names;
        format!("{} or {last}", first.join(", "))
    }
}
