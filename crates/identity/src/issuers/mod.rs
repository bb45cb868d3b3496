//! Issuers whose tokens open models: of programs outside the cluster, of people
//! at another provider. They are those of the configuration; a token names one
//! of them and adds nothing, neither keys nor addresses.

mod config;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use policy::{Service, TokenHolder};
use serde::Deserialize;

use crate::clock::{Clock, now};
use crate::http_client::HttpClient;
use crate::jose::{Claims, JwtError, KeySet, Unverified};
use crate::kept::{Hurried, Kept, document};
use crate::person::is_plain;
pub use config::{HolderClaims, IssuerConfig, IssuerConfigError, IssuerKeys};

/// Documents are not longer.
const MAX_BODY: usize = 256 * 1024;

/// Discovery and keys together take no longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a token of such an issuer is refused. Never contains the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IssuerError {
    #[error("the keys of the token's issuer cannot be had: {0}")]
    Keys(String),
    #[error(transparent)]
    Token(#[from] JwtError),
}

impl From<Hurried> for IssuerError {
    fn from(hurried: Hurried) -> Self {
        Self::Keys(hurried.to_string())
    }
}

/// All issuers of a configuration.
#[derive(Clone, Default)]
pub struct Issuers {
    by_name: Arc<HashMap<String, Issuer>>,
}

struct Issuer {
    config: IssuerConfig,
    /// Those written in the configuration.
    written: Option<KeySet>,
    kept: Kept<KeySet>,
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// The part of an issuer's metadata that counts.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The way to documents of issuers, and the time.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Clock,
}

impl Issuers {
    /// Those of a configuration; keys that `before` has of the same issuer
    /// stay in use.
    ///
    /// # Errors
    /// When one makes no sense, with its number from 0.
    pub fn new(
        configs: Vec<IssuerConfig>,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, IssuerConfigError> {
        let mut by_name = HashMap::new();
        for (at, config) in configs.into_iter().enumerate() {
            let written = config.check(at)?;
            let kept = Kept::new(Arc::clone(clock));
            let same = before
                .and_then(|before| before.by_name.get(&config.issuer))
                .filter(|issuer| issuer.config == config);
            let kept = match same {
                Some(same) => kept.continues(&same.kept),
                None => kept,
            };
            let name = config.issuer.clone();
            let issuer = Issuer {
                config,
                written,
                kept,
            };
            if by_name.insert(name, issuer).is_some() {
                return Err(IssuerConfigError::twice(at));
            }
        }
        Ok(Self {
            by_name: Arc::new(by_name),
        })
    }

    /// What decides whether a token is good, for keys of caches.
    pub(crate) fn fingerprint(&self) -> String {
        let mut all: Vec<String> = self
            .by_name
            .values()
            .map(|issuer| format!("{:?}", issuer.config))
            .collect();
        all.sort();
        all.join("\n")
    }

    /// Whether one of them is called so.
    pub(crate) fn has(&self, issuer: &str) -> bool {
        self.by_name.contains_key(issuer)
    }

    /// Who holds a token, and when it expires.
    pub(crate) async fn verify(
        &self,
        token: &Unverified<'_>,
        outside: &Outside,
    ) -> Result<(TokenHolder, u64), IssuerError> {
        let issuer = token
            .claimed_issuer()
            .and_then(|name| self.by_name.get(name))
            .ok_or(JwtError::Issuer)?;
        let config = &issuer.config;
        let listed = &config.algorithms;
        if !listed.is_empty() && !listed.iter().any(|name| name == token.algorithm()) {
            return Err(JwtError::Algorithm.into());
        }
        let claims = issuer.verified(token, &*outside.http).await?;
        let expires = claims.check(&config.issuer, now(&outside.clock))?;
        claims.check_audience(config.audiences.iter().map(String::as_str))?;
        Ok((config.holder.holder(&claims)?, expires))
    }
}

impl Issuer {
    async fn verified(
        &self,
        token: &Unverified<'_>,
        http: &dyn HttpClient,
    ) -> Result<Claims, IssuerError> {
        if let Some(keys) = &self.written {
            return Ok(token.verify(keys)?.clone());
        }
        let known = self.kept.get(|| self.fetch(http)).await?;
        match token.verify(&known) {
            Err(JwtError::UnknownKey) => {
                let newer = self.kept.newer_than(&known, || self.fetch(http)).await;
                let newer = newer.map_err(|_: IssuerError| JwtError::UnknownKey)?;
                Ok(token.verify(&newer)?.clone())
            }
            verified => Ok(verified?.clone()),
        }
    }

    async fn fetch(&self, http: &dyn HttpClient) -> Result<KeySet, IssuerError> {
        let fetched = async {
            let address = match &self.config.keys {
                IssuerKeys::At(address) => address.clone(),
                IssuerKeys::Written(_) | IssuerKeys::Published => {
                    discover(http, &self.config.issuer).await?
                }
            };
            KeySet::parse(&get(http, &address).await?)
                .filter(|keys| !keys.is_empty())
                .ok_or_else(|| format!("`{address}` has no usable key"))
        };
        fetched.await.map_err(IssuerError::Keys)
    }
}

/// OpenID Connect Discovery 1.0 §4.
async fn discover(http: &dyn HttpClient, issuer: &str) -> Result<String, String> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let address = format!("{base}/.well-known/openid-configuration");
    let document = get(http, &address).await?;
    let metadata: Metadata =
        serde_json::from_slice(&document).map_err(|error| format!("`{address}`: {error}"))?;
    if metadata.issuer != issuer {
        return Err(format!(
            "`{address}` is of issuer `{}`, expected `{issuer}`",
            metadata.issuer
        ));
    }
    Ok(metadata.jwks_uri)
}

async fn get(http: &dyn HttpClient, address: &str) -> Result<Bytes, String> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(address)
        .header(header::ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|error| format!("`{address}`: {error}"))?;
    document(http, request, MAX_BODY, TIMEOUT).await
}

impl HolderClaims {
    fn holder(&self, claims: &Claims) -> Result<TokenHolder, JwtError> {
        let (name, claim, groups) = match self {
            Self::Person(person) => return Ok(TokenHolder::Person(person.person(claims)?)),
            Self::Service {
                name,
                claim,
                groups,
            } => (name, claim, groups),
        };
        let wrong = |claim: &str| JwtError::Claim(claim.to_owned());
        let value = claims
            .text(claim)
            .filter(|value| is_plain(value))
            .ok_or_else(|| wrong(claim))?;
        let groups = match groups {
            Some(groups) => crate::person::groups(claims, groups)?,
            None => [].into(),
        };
        Ok(TokenHolder::Service(Service {
            name: format!("{name}:{value}").into(),
            groups,
        }))
    }
}

#[cfg(test)]
mod tests;
