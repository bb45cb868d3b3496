//! The way back from the provider: code to token, token to person, person to
//! session.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use policy::{Person, Reply};
use serde::Deserialize;

use super::login::{Proofs, Transaction};
use super::provider::ProviderError;
use super::refresh::TokenResponse;
use super::reply::{self, Action};
use super::{RelyingParty, logout};
use crate::clock::now;
use crate::cookie;
use crate::jose::{Claims, JwtError, MAX_ID_TOKEN_BYTES, Unverified};
use crate::seen::Seen;
use crate::session::NewSession;
use secret::Secret;

/// Codes and states are not longer.
const MAX_CODE: usize = 2048;
const MAX_STATE: usize = 4096;

/// Why no session came of a callback.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the request is not an answer of the login provider: {0}")]
    Request(&'static str),
    #[error("the login was begun by another browser or has taken too long")]
    NotOurs,
    #[error("the login provider refused: `{0}`")]
    Refused(String),
    #[error("the login provider would not exchange the code: `{0}`")]
    Code(String),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Store(#[from] crate::session::StoreError),
}

#[derive(Deserialize)]
pub(super) struct ErrorResponse {
    pub(super) error: String,
}

impl RelyingParty {
    pub(crate) async fn called_back(&self, seen: &Seen<'_>) -> Reply {
        if *seen.method != Method::GET {
            return reply::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let state = match one(seen, "state", MAX_STATE) {
            Ok(state) => state,
            Err(failure) => return self.failure(seen, None, &failure),
        };
        let Some((transaction, return_to)) = self.transaction(&state) else {
            return self.failure(seen, None, &Failure::NotOurs);
        };
        let Some(proofs) = self.proofs_of(seen, &transaction) else {
            // Another tab of this browser was quicker, or the page was loaded again.
            if self.session_of(seen).await.is_some() {
                return reply::redirect(StatusCode::FOUND, return_to.as_str(), []);
            }
            return self.failure(seen, None, &Failure::NotOurs);
        };
        match self.complete(seen, &proofs).await {
            Ok(cookie) => reply::redirect(
                StatusCode::FOUND,
                return_to.as_str(),
                [cookie, self.unbind(seen, &transaction)],
            ),
            Err(failure) => self.failure(seen, Some((&transaction, return_to.as_str())), &failure),
        }
    }

    /// The cookie of a new session.
    async fn complete(
        &self,
        seen: &Seen<'_>,
        proofs: &Proofs,
    ) -> Result<Option<HeaderValue>, Failure> {
        // RFC 9207: an answer of another provider is refused before the code is used.
        let named = match seen.parameter("iss") {
            Ok(None) => false,
            Ok(Some(issuer)) if issuer == self.config.issuer => true,
            _ => return Err(Failure::Request("`iss` is of another provider")),
        };
        let unnamed = || Failure::Request("it does not say whose it is (`iss`)");
        let known = self.provider.known_already();
        if !named && known.is_some_and(|known| known.names_itself) {
            return Err(unnamed());
        }
        if let Ok(Some(error)) = seen.parameter("error") {
            return Err(Failure::Refused(error_code(&error)));
        }
        let code = one(seen, "code", MAX_CODE)?;
        if !named && self.provider.known().await?.names_itself {
            return Err(unnamed());
        }
        let session = self.redeem(seen, &code, proofs).await?;
        // A session id from before the login is worth nothing after it.
        for old in
            cookie::values(seen.headers, &self.config.session_cookie).take(logout::MAX_VALUES)
        {
            self.sessions.end(old).await?;
        }
        if let Some(keys) = &self.api_keys
            && let Err(error) = keys.logged_in(&session.person).await
        {
            tracing::error!(%error, "API keys keep the groups of an earlier login");
        }
        let id = self.sessions.create(session).await?;
        let life = self.sessions.absolute_lifetime().as_secs();
        Ok(self.session_cookie(seen).set(id.expose(), life))
    }

    async fn redeem(
        &self,
        seen: &Seen<'_>,
        code: &str,
        proofs: &Proofs,
    ) -> Result<NewSession, Failure> {
        let provider = self.provider.known().await?;
        let redirect_uri = self.redirect_uri(seen);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", &proofs.verifier),
        ];
        let request = self
            .token_request(&provider.token_endpoint, provider.post_secret, &form)
            .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        let response = self.provider.send(request).await?;
        if response.status() != StatusCode::OK {
            let error = serde_json::from_slice::<ErrorResponse>(response.body());
            let code = error.map_or_else(|_| response.status().to_string(), |body| body.error);
            return Err(Failure::Code(error_code(&code)));
        }
        let missing =
            || ProviderError::Unavailable("its token response has no `id_token`".to_owned());
        let tokens: TokenResponse =
            serde_json::from_slice(response.body()).map_err(|_| missing())?;
        let id_token = tokens.id_token.clone().ok_or_else(missing)?;
        let claims = self.id_token(&id_token, Some(&proofs.nonce)).await?;
        let expires = claims.time("exp").ok().flatten();
        Ok(NewSession {
            person: self.person(&claims, tokens.access_token.as_ref()).await?,
            issuer: Some(self.config.issuer.as_str().into()),
            client: Some(self.config.client_id.as_str().into()),
            sid: claims.text("sid").map(Arc::from),
            id_token: Some(Secret::new(id_token)),
            renewable: tokens.renewable(expires, now(&self.clock)),
        })
    }

    pub(super) fn token_request(
        &self,
        endpoint: &str,
        post_secret: bool,
        fields: &[(&str, &str)],
    ) -> Result<Request<Bytes>, http::Error> {
        let config = &self.config;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if config.client_secret.expose().is_empty() {
            form.append_pair("client_id", &config.client_id);
        } else if post_secret {
            form.append_pair("client_id", &config.client_id)
                .append_pair("client_secret", config.client_secret.expose());
        } else {
            request = request.header(header::AUTHORIZATION, self.client_authorization());
        }
        request.body(Bytes::from(form.finish()))
    }

    /// RFC 6749 §2.3.1: both parts are form-encoded first.
    fn client_authorization(&self) -> String {
        use base64::Engine as _;

        let encode = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
        };
        let pair = format!(
            "{}:{}",
            encode(&self.config.client_id),
            encode(self.config.client_secret.expose())
        );
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        )
    }

    /// OpenID Connect Core §3.1.3.7; without a nonce where a refresh token gave
    /// it (§12.2).
    pub(super) async fn id_token(
        &self,
        token: &str,
        nonce: Option<&str>,
    ) -> Result<Claims, ProviderError> {
        let token = Unverified::parse(token, MAX_ID_TOKEN_BYTES)?;
        let claims = self.provider.verify(&token).await?;
        let client = self.config.client_id.as_str();
        claims.check(&self.config.issuer, now(&self.clock))?;
        claims.check_audience(std::iter::once(client))?;
        let several = claims
            .texts("aud")
            .is_some_and(|audiences| audiences.len() > 1);
        if (several || claims.has("azp")) && claims.text("azp") != Some(client) {
            return Err(JwtError::Claim("azp".to_owned()).into());
        }
        if claims.time("iat")?.is_none() {
            return Err(JwtError::Claim("iat".to_owned()).into());
        }
        if nonce.is_some() && claims.text("nonce") != nonce {
            return Err(JwtError::Claim("nonce".to_owned()).into());
        }
        Ok(claims)
    }

    /// Who the ID token is of. Where it does not say so itself, the userinfo endpoint is asked: some
    /// providers tell an e-mail address only there.
    pub(super) async fn person(
        &self,
        claims: &Claims,
        access_token: Option<&Secret>,
    ) -> Result<Person, ProviderError> {
        let rules = &self.config.claims;
        let more = match access_token {
            Some(token) if !claims.has(&rules.user_id) => self.provider.userinfo(token).await?,
            _ => None,
        };
        let person = match more {
            Some(more) => rules.person(&rules.completed(claims, &more)?),
            None => rules.person(claims),
        };
        Ok(person?)
    }

    fn failure(
        &self,
        seen: &Seen<'_>,
        login: Option<(&Transaction, &str)>,
        failure: &Failure,
    ) -> Reply {
        tracing::warn!(error = %failure, "login failed");
        let (status, text) = match failure {
            Failure::Request(_) => (
                StatusCode::BAD_REQUEST,
                "This address is only of use to the login provider. Begin where you wanted to go.",
            ),
            Failure::NotOurs => (
                StatusCode::BAD_REQUEST,
                "This login was begun in another browser, or it took too long. Try again here, with cookies allowed.",
            ),
            Failure::Refused(_) => (
                StatusCode::FORBIDDEN,
                "The login provider did not let you in. Try again, perhaps with another account.",
            ),
            Failure::Code(_) => (
                StatusCode::BAD_GATEWAY,
                "The login provider did not confirm this login. Try again; if it stays so, client id, secret and redirect address do not match on both sides.",
            ),
            Failure::Provider(ProviderError::Token(_)) => (
                StatusCode::FORBIDDEN,
                "The login provider's answer could not be trusted, or does not say who you are. Ask the platform's operators.",
            ),
            Failure::Provider(ProviderError::Unavailable(_)) | Failure::Store(_) => (
                StatusCode::BAD_GATEWAY,
                "The login could not be completed just now. Try again in a moment.",
            ),
        };
        let back = login.map_or("/", |(_, return_to)| return_to);
        let page = reply::page(
            status,
            "You are not logged in",
            text,
            &Action::Link("Try again", back),
        );
        let cookie = login.and_then(|(transaction, _)| self.unbind(seen, transaction));
        reply::with_cookies(page, [cookie])
    }
}

fn one(seen: &Seen<'_>, name: &'static str, max: usize) -> Result<String, Failure> {
    match seen.parameter(name) {
        Ok(Some(value)) if !value.is_empty() && value.len() <= max => Ok(value),
        _ => Err(Failure::Request(name)),
    }
}

/// An OAuth error code as far as it is one: it goes into a log line.
pub(super) fn error_code(text: &str) -> String {
    text.chars()
        .filter(|character| {
            character.is_ascii_alphanumeric() || *character == '_' || *character == ' '
        })
        .take(60)
        .collect()
}
