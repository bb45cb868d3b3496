//! ServiceAccount tokens of a real cluster: verified with the keys of its API
//! server, or by asking it. And who may call which model, as it says.
//!
//! Nothing of where to ask comes from a token or a discovery document: the
//! server, its authority and our own token are given, the issuer is that of our
//! own token, and keys are at `/openid/v1/jwks` of that server. So it works with
//! any issuer that a distribution chooses.
//!
//! Keys alone do not see that a pod or ServiceAccount is gone before its tokens
//! expire; [`Review::Always`] asks the API server, which does, at most once a
//! minute for a token.

mod access;
mod questions;
mod review;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use policy::ServiceAccount;
use secret::Secret;

use crate::clock::{Clock, now};
use crate::cluster::service_account;
use crate::http_client::HttpClient;
use crate::jose::{JwtError, KeySet, MAX_BEARER_BYTES, Unverified};
use crate::kept::{Hurried, Kept, document};
use access::Accesses;
use questions::Server;
use review::Reviews;

/// Our own token is read again after so many seconds: it is renewed in place.
const READ_AGAIN: u64 = 60;

/// Keys of an API server are not longer.
const MAX_BODY: usize = 256 * 1024;

/// Time limit of one exchange.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a cluster's API server is, and what is asked of it.
#[derive(Clone, Debug)]
pub struct ClusterApiConfig {
    /// `https://host:port`, without a path.
    pub server: String,
    /// File with our own token; it is read again when it may have been renewed.
    pub token_file: PathBuf,
    /// Audiences that are meant for us: a token has to have one of them.
    pub audiences: Vec<String>,
    /// When the API server is asked about a token.
    pub review: Review,
}

/// When the API server is asked about a token (TokenReview).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Review {
    /// When its keys cannot be had.
    #[default]
    WithoutKeys,
    /// About each token, at most once a minute: sees that a pod or account is gone.
    Always,
}

/// Why a token is refused. Never contains the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("the cluster cannot be asked about tokens just now: {0}")]
    Unavailable(String),
    #[error("the cluster does not know the token, or not for this audience")]
    Refused,
    #[error(transparent)]
    Token(#[from] JwtError),
}

impl From<Hurried> for ClusterError {
    fn from(hurried: Hurried) -> Self {
        Self::Unavailable(hurried.to_string())
    }
}

/// Verifies tokens of one cluster.
pub struct ClusterApi {
    config: ClusterApiConfig,
    http: Arc<dyn HttpClient>,
    clock: Clock,
    own: ArcSwapOption<Own>,
    keys: Kept<KeySet>,
    reviews: Reviews,
    accesses: Accesses,
}

/// Our own token.
struct Own {
    token: Secret,
    issuer: String,
    read: u64,
}

impl fmt::Debug for ClusterApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterApi")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl ClusterApi {
    /// Asks nobody yet. `http` trusts the cluster's authority and nobody else.
    pub fn new(config: ClusterApiConfig, http: Arc<dyn HttpClient>, clock: Clock) -> Self {
        Self {
            keys: Kept::new(Arc::clone(&clock)),
            reviews: Reviews::new(Arc::clone(&clock)),
            accesses: Accesses::new(Arc::clone(&clock)),
            config,
            http,
            clock,
            own: ArcSwapOption::empty(),
        }
    }

    /// What decides whether a token is good, for keys of caches.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:?}", self.config)
    }

    /// Issuer of the cluster's tokens.
    ///
    /// # Errors
    /// When our own token cannot be read.
    pub async fn issuer(&self) -> Result<String, String> {
        let own = self.own().await.map_err(|error| error.to_string())?;
        Ok(own.issuer.clone())
    }

    /// Whose token this is, and until when that may be believed. `None` when it
    /// is of another issuer.
    pub(crate) async fn verify(
        &self,
        text: &str,
        token: &Unverified<'_>,
    ) -> Option<Result<(ServiceAccount, u64), ClusterError>> {
        match self.own().await {
            Ok(own) if token.claimed_issuer() == Some(&own.issuer) => {
                Some(self.verify_own(text, token, &own).await)
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    async fn verify_own(
        &self,
        text: &str,
        token: &Unverified<'_>,
        own: &Own,
    ) -> Result<(ServiceAccount, u64), ClusterError> {
        // What is refused anyhow costs the API server nothing.
        let now = now(&self.clock);
        let claims = token.claims_as_sent();
        let expires = claims.check(&own.issuer, now)?;
        claims.check_audience(self.config.audiences.iter().map(String::as_str))?;
        // Tokens of Secrets have neither: they are bound to nothing and never end.
        if !claims.has("kubernetes.io") {
            return Err(JwtError::Claim("kubernetes.io".to_owned()).into());
        }
        let account = service_account(claims)?;
        let asks = match self.config.review {
            Review::Always => true,
            Review::WithoutKeys => match self.keys.get(|| self.fetch(own)).await {
                Ok(keys) => match token.verify(&keys) {
                    Err(JwtError::UnknownKey) => {
                        let newer = self.keys.newer_than(&keys, || self.fetch(own)).await;
                        let newer = newer.map_err(|_: ClusterError| JwtError::UnknownKey)?;
                        token.verify(&newer)?;
                        false
                    }
                    verified => {
                        verified?;
                        false
                    }
                },
                Err(error @ ClusterError::Unavailable(_)) => {
                    tracing::warn!(%error, "the API server is asked about each token");
                    true
                }
                Err(error) => return Err(error),
            },
        };
        if !asks {
            return Ok((account, expires));
        }
        let ask = review::Ask {
            server: Server {
                http: &*self.http,
                server: &self.config.server,
                own: &own.token,
            },
            audiences: &self.config.audiences,
            token: text,
        };
        let (reviewed, until) = self.reviews.review(&ask).await?;
        match reviewed == account {
            true => Ok((account, expires.min(until))),
            false => Err(ClusterError::Refused),
        }
    }

    async fn fetch(&self, own: &Own) -> Result<KeySet, ClusterError> {
        let address = format!(
            "{}/openid/v1/jwks",
            self.config.server.trim_end_matches('/')
        );
        let request = Request::builder()
            .method(Method::GET)
            .uri(&address)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::AUTHORIZATION, bearer(&own.token))
            .body(Bytes::new())
            .map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let document = document(&*self.http, request, MAX_BODY, TIMEOUT).await;
        KeySet::parse(&document.map_err(ClusterError::Unavailable)?)
            .filter(|keys| !keys.is_empty())
            .ok_or_else(|| ClusterError::Unavailable(format!("`{address}` has no usable key")))
    }

    /// Our own token, which is renewed in its file.
    async fn own(&self) -> Result<Arc<Own>, ClusterError> {
        let now = now(&self.clock);
        let known = self.own.load_full();
        if let Some(own) = known
            .as_ref()
            .filter(|own| now < own.read.saturating_add(READ_AGAIN))
        {
            return Ok(Arc::clone(own));
        }
        let path = self.config.token_file.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = match read {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                let path = self.config.token_file.display();
                let error = ClusterError::Unavailable(format!("own token `{path}`: {error}"));
                return known.ok_or(error);
            }
            Err(_) => {
                return Err(ClusterError::Unavailable(
                    "the program is ending".to_owned(),
                ));
            }
        };
        let token = text.trim();
        let issuer = Unverified::parse(token, MAX_BEARER_BYTES)
            .ok()
            .and_then(|token| token.claimed_issuer().map(str::to_owned))
            .ok_or_else(|| {
                let path = self.config.token_file.display();
                ClusterError::Unavailable(format!("own token `{path}`: no token with an issuer"))
            })?;
        let own = Arc::new(Own {
            token: Secret::new(token),
            issuer,
            read: now,
        });
        self.own.store(Some(Arc::clone(&own)));
        Ok(own)
    }
}

fn bearer(token: &Secret) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
