//! Configurations of the login services that Sidegate takes the place of: oauth2-proxy's file and environment, and
//! oidc-authservice's environment, read key by key.
//!
//! What comes out is a [`Login`] and a [`Report`]: each key is supported, ignored or refused, with why and what to do. A
//! configuration with a refused key gives no login. No value of a secret is in a report.

mod authservice;
mod given;
mod login;
mod oauth2_proxy;
mod report;

pub use authservice::authservice;
pub use login::{Cookie, Headers, Login, Redirect, TokenIssuer};
pub use oauth2_proxy::oauth2_proxy;
pub use report::{Entry, Report, Standing};

/// What a configuration finds around it.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The environment.
    pub environment: &'a [(String, String)],
    /// Reads a file that a setting names.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
    /// Whether secrets that are published with a distribution are taken.
    pub known_secrets: bool,
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Imported {
    /// What it says; nothing if a key is refused.
    pub login: Option<Login>,
    /// What becomes of each key.
    pub report: Report,
}

/// Secrets that the manifests of Kubeflow and Dex's example publish.
pub const PUBLISHED_SECRETS: [&str; 3] = [
    "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok",
    "ZXhhbXBsZS1hcHAtc2VjcmV0",
    "7d16fee92f8d11b8940b081b3f8b8acb",
];

#[cfg(test)]
mod tests;
