//! What is known of the login provider: its endpoints and keys, fetched when
//! first needed, again when they are old or a token names an unknown key.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;

use crate::clock::{Clock, now};
use crate::http_client::HttpClient;
use crate::jose::{Claims, JwtError, KeySet, Unverified};

/// Keys older than this are fetched again before use.
const FRESH: u64 = 15 * 60;

/// Keys older than this are not used any more when they cannot be fetched.
const USABLE: u64 = 24 * 3600;

/// At most one fetch in so many seconds, whoever sends what.
const BETWEEN_FETCHES: u64 = 5;

/// Time limit of one exchange with the provider.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Documents of the provider are not longer.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// Why something the provider has to do was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("the login provider cannot be reached or makes no sense: {0}")]
    Unavailable(String),
    #[error(transparent)]
    Token(#[from] JwtError),
}

fn unavailable(why: impl fmt::Display) -> ProviderError {
    ProviderError::Unavailable(why.to_string())
}

/// One fetched state of the provider.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) token_endpoint: String,
    /// The client's password goes into the form, not into a header.
    pub(super) post_secret: bool,
    keys: KeySet,
    fetched: u64,
}

/// The login provider, as seen over HTTP.
pub(super) struct Provider {
    issuer: String,
    http: Arc<dyn HttpClient>,
    clock: Clock,
    known: ArcSwapOption<Known>,
    /// One fetch at a time; who waits finds its result.
    fetching: tokio::sync::Mutex<()>,
    last_attempt: AtomicU64,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Provider {
    pub(super) fn new(issuer: String, http: Arc<dyn HttpClient>, clock: Clock) -> Self {
        Self {
            issuer,
            http,
            clock,
            known: ArcSwapOption::empty(),
            fetching: tokio::sync::Mutex::new(()),
            last_attempt: AtomicU64::new(0),
        }
    }

    /// Endpoints and keys, fresh enough.
    pub(super) async fn known(&self) -> Result<Arc<Known>, ProviderError> {
        let now = now(&self.clock);
        let known = self.known.load_full();
        match known {
            Some(known) if now < known.fetched.saturating_add(FRESH) => Ok(known),
            Some(known) if now < known.fetched.saturating_add(USABLE) => {
                match self.fetch_unless_newer(known.fetched).await {
                    Ok(newer) => Ok(newer),
                    Err(error) => {
                        tracing::warn!(%error, "login provider's keys are old");
                        Ok(known)
                    }
                }
            }
            old => {
                self.fetch_unless_newer(old.map_or(0, |known| known.fetched))
                    .await
            }
        }
    }

    /// The claims of a token that the provider signed.
    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<Claims, ProviderError> {
        let known = self.known().await?;
        match token.verify(&known.keys) {
            Err(JwtError::UnknownKey) => {
                let newer = self
                    .fetch_unless_newer(known.fetched)
                    .await
                    .map_err(|_| JwtError::UnknownKey)?;
                Ok(token.verify(&newer.keys)?.clone())
            }
            verified => Ok(verified?.clone()),
        }
    }

    async fn fetch_unless_newer(&self, than: u64) -> Result<Arc<Known>, ProviderError> {
        let _turn = self.fetching.lock().await;
        if let Some(known) = self.known.load_full().filter(|known| known.fetched > than) {
            return Ok(known);
        }
        let now = now(&self.clock);
        let last = self.last_attempt.load(Ordering::Relaxed);
        if last != 0 && now < last.saturating_add(BETWEEN_FETCHES) {
            return Err(unavailable("asked a moment ago"));
        }
        self.last_attempt.store(now, Ordering::Relaxed);
        let known = Arc::new(self.fetch(now).await?);
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }

    async fn fetch(&self, now: u64) -> Result<Known, ProviderError> {
        let address = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let metadata = self.get(&address).await?;
        let metadata: Metadata = serde_json::from_slice(&metadata).map_err(unavailable)?;
        if metadata.issuer != self.issuer {
            return Err(unavailable(format_args!(
                "its configuration is of issuer `{}`, expected `{}`",
                metadata.issuer, self.issuer
            )));
        }
        let keys = self.get(&metadata.jwks_uri).await?;
        let keys = KeySet::parse(&keys)
            .filter(|keys| !keys.is_empty())
            .ok_or_else(|| unavailable("its key document has no usable key"))?;
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.iter().any(|method| method == name);
        Ok(Known {
            token_endpoint: metadata.token_endpoint,
            post_secret: has("client_secret_post") && !has("client_secret_basic"),
            keys,
            fetched: now,
        })
    }

    async fn get(&self, address: &str) -> Result<Bytes, ProviderError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(address)
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(unavailable)?;
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(unavailable(format_args!("`{address}` answered {status}"))),
        }
    }

    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ProviderError> {
        let response = tokio::time::timeout(TIMEOUT, self.http.send(request))
            .await
            .map_err(|_| unavailable("no answer in time"))?
            .map_err(unavailable)?;
        match response.body().len() > MAX_BODY {
            true => Err(unavailable("its answer is too long")),
            false => Ok(response),
        }
    }
}
