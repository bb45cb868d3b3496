//! What is configured of an issuer.

use crate::jose::{Algorithm, KeySet};
use crate::person::IdentityClaims;

/// An issuer of tokens for programs or people, beside the login provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// `iss`, compared as a whole string.
    pub issuer: String,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// Audiences that are meant for us, at least one.
    pub audiences: Vec<String>,
    /// Algorithms that are accepted; empty for those of its keys, each of which
    /// has one.
    pub algorithms: Vec<String>,
    /// Who the holder of a token is.
    pub holder: HolderClaims,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKeys {
    /// In the configuration: a JSON Web Key Set.
    Written(String),
    /// At this address.
    At(String),
    /// Where its discovery document says (OpenID Connect Discovery 1.0 §4).
    Published,
}

/// Who the holder of a token is, by its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderClaims {
    /// A person, as at the login.
    Person(IdentityClaims),
    /// A program: `service:<name>:<claim>`.
    Service {
        /// What the issuer is called, so that no other's programs have the
        /// same names.
        name: String,
        /// The claim that tells programs apart, `sub` for example.
        claim: String,
        /// The claim of groups, if there is one.
        groups: Option<String>,
    },
}

/// An issuer that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuers[{at}].{field}: expected {expected}")]
pub struct IssuerConfigError {
    at: usize,
    field: &'static str,
    expected: &'static str,
}

impl IssuerConfigError {
    pub(super) fn twice(at: usize) -> Self {
        Self {
            at,
            field: "issuer",
            expected: "another one than before: tokens name their issuer alone",
        }
    }
}

impl IssuerConfig {
    /// Looks whether it makes sense; gives the keys that are written in it.
    pub(super) fn check(&self, at: usize) -> Result<Option<KeySet>, IssuerConfigError> {
        let wrong = |field, expected| {
            Err(IssuerConfigError {
                at,
                field,
                expected,
            })
        };
        if self.issuer.is_empty() || self.issuer.len() > 1000 {
            return wrong("issuer", "what tokens have in `iss`");
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return wrong(
                "audiences",
                "at least one, which tokens for others have not",
            );
        }
        let known = |name: &String| Algorithm::from_name(name).is_some();
        if !self.algorithms.iter().all(known) {
            return wrong("algorithms", Algorithm::NAMES);
        }
        if let HolderClaims::Service { name, claim, .. } = &self.holder {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > 63 || !name.bytes().all(fits) {
                return wrong("service.name", "letters a-z, digits and `-`");
            }
            if claim.is_empty() {
                return wrong("service.claim", "the name of a claim");
            }
        }
        let address = match &self.keys {
            IssuerKeys::Written(jwks) => {
                let keys = KeySet::parse(jwks.as_bytes()).filter(|keys| !keys.is_empty());
                return match keys {
                    Some(keys) => Ok(Some(keys)),
                    None => wrong("jwks", "a JSON Web Key Set with a usable key"),
                };
            }
            IssuerKeys::At(address) => address,
            IssuerKeys::Published => &self.issuer,
        };
        let is_web = url::Url::parse(address)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        match (is_web, &self.keys) {
            (true, _) => Ok(None),
            (false, IssuerKeys::Published) => {
                wrong("issuer", "an http(s) URL, or keys in `jwksUri` or `jwks`")
            }
            (false, _) => wrong("jwksUri", "an http(s) URL"),
        }
    }
}
