//! A small LDAP client (RFC 4511): it binds and searches, which is what a login needs.
//!
//! Filters are trees ([`Filter`]), so that a name that somebody types is a value and never syntax.
//! Whatever a server sends is bounded in size, number and time, and is data.

mod ber;
mod connection;
mod filter;
mod message;
mod tls;

#[cfg(test)]
mod tests;

pub use connection::{Connection, Scope, Search, Security, Server};
pub use filter::{BadFilter, Filter};
pub use message::Entry;
pub use tls::{Trust, TrustError};

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server is not reached.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The connection ended or failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// It took too long.
    #[error("the server took too long")]
    Late,
    /// The server answers with something that is no LDAP.
    #[error("the server sent something else than LDAP: {0}")]
    Malformed(&'static str),
    /// More than is taken.
    #[error("the server sent more than is taken: {0}")]
    TooMuch(&'static str),
    /// A password that is empty would be a bind without one, which servers answer with success
    /// (RFC 4513 section 5.1.2).
    #[error("the password is empty")]
    EmptyPassword,
    /// The server says no.
    #[error("result {code}: {message}")]
    Refused {
        /// `resultCode` (RFC 4511 section 4.1.9).
        code: u32,
        /// `diagnosticMessage`, in printable letters.
        message: String,
    },
}

impl Error {
    /// `invalidCredentials` and `constraintViolation`, which is how some servers lock an account.
    #[must_use]
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Refused { code: 49 | 19, .. })
    }

    /// `noSuchObject`.
    #[must_use]
    pub fn is_no_such_object(&self) -> bool {
        matches!(self, Self::Refused { code: 32, .. })
    }
}
