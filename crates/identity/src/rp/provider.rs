//! What is known of the login provider: its endpoints and keys, fetched when
//! first needed, again when they are old or a token names an unknown key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use serde::Deserialize;

use crate::clock::Clock;
use crate::http_client::{HttpClient, HttpError};
use crate::jose::{Claims, JwtError, KeySet, Unverified};
use crate::kept::{Fetched, Hurried, Kept, document};
use secret::Secret;

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

impl From<Hurried> for ProviderError {
    fn from(hurried: Hurried) -> Self {
        unavailable(hurried)
    }
}

fn unavailable(why: impl fmt::Display) -> ProviderError {
    ProviderError::Unavailable(why.to_string())
}

/// One fetched state of the provider.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: String,
    pub(super) end_session_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    /// Its answers say whose they are (RFC 9207 §2.4).
    pub(super) names_itself: bool,
    /// The client's password goes into the form, not into a header.
    pub(super) post_secret: bool,
    keys: KeySet,
}

/// The login provider, as seen over HTTP.
pub(super) struct Provider {
    issuer: String,
    http: Arc<dyn HttpClient>,
    known: Kept<Known>,
}

/// Where browsers log in, as the provider says in its discovery document.
///
/// # Errors
/// It cannot be reached, or says nothing that makes sense.
pub async fn authorization_endpoint(
    issuer: &str,
    http: Arc<dyn HttpClient>,
    clock: Clock,
) -> Result<String, HttpError> {
    let provider = Provider::new(issuer.to_owned(), http, clock);
    let asked = async {
        let metadata = provider.metadata().await?;
        let endpoint = metadata.authorization_endpoint;
        endpoint.ok_or_else(|| unavailable("it names no `authorization_endpoint`"))
    };
    asked.await.map_err(|error| HttpError(error.to_string()))
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    #[serde(default)]
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    end_session_endpoint: Option<String>,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Provider {
    pub(super) fn new(issuer: String, http: Arc<dyn HttpClient>, clock: Clock) -> Self {
        Self {
            issuer,
            http,
            known: Kept::new(clock),
        }
    }

    /// Endpoints and keys, fresh enough.
    pub(super) async fn known(&self) -> Result<Arc<Fetched<Known>>, ProviderError> {
        self.known.get(|| self.fetch()).await
    }

    /// Endpoints and keys as they are known without asking.
    pub(super) fn known_already(&self) -> Option<Arc<Fetched<Known>>> {
        self.known.already()
    }

    /// The claims of a token that the provider signed.
    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<Claims, ProviderError> {
        let known = self.known().await?;
        match token.verify(&known.keys) {
            Err(JwtError::UnknownKey) => {
                let newer = self.known.newer_than(&known, || self.fetch()).await;
                let newer = newer.map_err(|_: ProviderError| JwtError::UnknownKey)?;
                Ok(token.verify(&newer.keys)?.clone())
            }
            verified => Ok(verified?.clone()),
        }
    }

    async fn metadata(&self) -> Result<Metadata, ProviderError> {
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
        Ok(metadata)
    }

    /// What the userinfo endpoint says of the person whose access token it is (OpenID Connect Core
    /// §5.3); nothing where there is no such endpoint.
    pub(super) async fn userinfo(
        &self,
        access_token: &Secret,
    ) -> Result<Option<Claims>, ProviderError> {
        let known = self.known().await?;
        let Some(address) = &known.userinfo_endpoint else {
            return Ok(None);
        };
        let bearer = format!("Bearer {}", access_token.expose());
        let request = Request::builder()
            .method(Method::GET)
            .uri(address)
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, bearer)
            .body(Bytes::new())
            .map_err(unavailable)?;
        let document = document(&*self.http, request, MAX_BODY, TIMEOUT);
        let document = document.await.map_err(unavailable)?;
        let claims = Claims::parse(&document);
        let claims = claims.ok_or_else(|| unavailable("its userinfo is no object of JSON"))?;
        Ok(Some(claims))
    }

    async fn fetch(&self) -> Result<Known, ProviderError> {
        let metadata = self.metadata().await?;
        let keys = self.get(&metadata.jwks_uri).await?;
        let keys = KeySet::parse(&keys)
            .filter(|keys| !keys.is_empty())
            .ok_or_else(|| unavailable("its key document has no usable key"))?;
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.iter().any(|method| method == name);
        let post_secret = has("client_secret_post") && !has("client_secret_basic");
        // Browsers are sent there: to nothing that is no page.
        let page = |address: Option<String>| {
            address.filter(|a| a.starts_with("https://") || a.starts_with("http://"))
        };
        Ok(Known {
            authorization_endpoint: page(metadata.authorization_endpoint),
            token_endpoint: metadata.token_endpoint,
            end_session_endpoint: page(metadata.end_session_endpoint),
            userinfo_endpoint: metadata.userinfo_endpoint,
            names_itself: metadata.authorization_response_iss_parameter_supported,
            post_secret,
            keys,
        })
    }

    async fn get(&self, address: &str) -> Result<Bytes, ProviderError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(address)
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(unavailable)?;
        document(&*self.http, request, MAX_BODY, TIMEOUT)
            .await
            .map_err(unavailable)
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
