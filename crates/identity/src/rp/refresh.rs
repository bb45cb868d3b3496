//! Tokens of a session, renewed before they end: the provider says anew who
//! the person is (OpenID Connect Core §12). Sessions whose provider gives no
//! refresh token (scope `offline_access`) live without.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use super::RelyingParty;
use super::callback::{ErrorResponse, error_code};
use super::provider::ProviderError;
use crate::clock::now;
use crate::jose::{MAX_ID_TOKEN_BYTES, Unverified};
use crate::session::{NewSession, Renewable, Session};
use secret::Secret;

/// Tokens are renewed so many seconds before they end.
const EARLY: u64 = 10;

/// A session lives on so many seconds behind the end of its tokens, while the
/// provider cannot be asked; its own limits hold beside.
pub(super) const STALE: u64 = 3600;

/// A provider that could not be asked is asked again after so many seconds.
pub(super) const AGAIN: u64 = 30;

/// Tokens are taken to live so long at least: shorter ones would be renewed
/// for each request.
const SHORTEST: u64 = 60;

/// What a provider answers to a code or a refresh token.
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) id_token: Option<String>,
    pub(super) access_token: Option<Secret>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the login provider ended the login: `{0}`")]
    Over(String),
    #[error("{0}")]
    Unasked(String),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unavailable(_) => Self::Unasked(error.to_string()),
            // Not what this login was: who it is now of is not known.
            ProviderError::Token(_) => Self::Over(error.to_string()),
        }
    }
}

impl TokenResponse {
    /// What a session keeps to renew its tokens. `expires` is that of the ID token.
    pub(super) fn renewable(&self, expires: Option<u64>, now: u64) -> Option<Renewable> {
        let refresh_token = Secret::new(self.refresh_token.clone()?);
        Some(Renewable {
            refresh_token,
            until: self.until(expires, now),
        })
    }

    fn until(&self, expires: Option<u64>, now: u64) -> u64 {
        let access = self.expires_in.map(|life| now.saturating_add(life));
        let first = [access, expires].into_iter().flatten().min();
        first.unwrap_or(now).max(now.saturating_add(SHORTEST))
    }
}

impl RelyingParty {
    /// A session with tokens that have not ended; `None` when it is over. Of
    /// many requests at a time one asks the provider.
    pub(crate) async fn renewed(self: &Arc<Self>, session: Arc<Session>) -> Option<Arc<Session>> {
        match self.is_due(&session) {
            true => Box::pin(self.renewed_now(session)).await,
            false => Some(session),
        }
    }

    async fn renewed_now(self: &Arc<Self>, session: Arc<Session>) -> Option<Arc<Session>> {
        let mut not_before = Arc::clone(&session.renewing).lock_owned().await;
        // Somebody else may have renewed or ended it meanwhile.
        let session = self.sessions.again(&session)?;
        if !self.is_due(&session) {
            return Some(session);
        }
        if now(&self.clock) < *not_before {
            return self.while_unasked(session);
        }
        // A request that is given up must not take a rotated token with it.
        let login = Arc::clone(self);
        let renewing = tokio::spawn(async move {
            match login.renew(&session).await {
                Ok(renewed) => renewed,
                Err(Failure::Over(why)) => {
                    tracing::info!(user = %session.person.email, why, "a session ended at its renewal");
                    if let Err(error) = login.sessions.end_this(&session).await {
                        tracing::error!(%error, "session could not be ended");
                    }
                    None
                }
                Err(Failure::Unasked(why)) => {
                    tracing::warn!(why, "the tokens of a session could not be renewed");
                    *not_before = now(&login.clock).saturating_add(AGAIN);
                    login.while_unasked(session)
                }
            }
        });
        renewing.await.ok().flatten()
    }

    fn is_due(&self, session: &Session) -> bool {
        let due = |tokens: &Renewable| now(&self.clock).saturating_add(EARLY) >= tokens.until;
        session.renewable.as_ref().is_some_and(due)
    }

    fn while_unasked(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        let end = session
            .renewable
            .as_ref()
            .map(|tokens| tokens.until.saturating_add(STALE));
        let counts = end.is_none_or(|end| now(&self.clock) < end);
        counts.then_some(session)
    }

    async fn renew(&self, session: &Session) -> Result<Option<Arc<Session>>, Failure> {
        let Some(tokens) = &session.renewable else {
            return Ok(None);
        };
        let provider = self.provider.known().await?;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.refresh_token.expose()),
        ];
        let request = self
            .token_request(&provider.token_endpoint, provider.post_secret, &form)
            .map_err(|error| Failure::Unasked(error.to_string()))?;
        let response = self.provider.send(request).await?;
        if response.status() != StatusCode::OK {
            let error = serde_json::from_slice::<ErrorResponse>(response.body());
            let code = error.map_or_else(|_| response.status().to_string(), |body| body.error);
            let code = error_code(&code);
            return Err(match code.as_str() {
                "invalid_grant" => Failure::Over(code),
                _ => Failure::Unasked(format!("the login provider answered `{code}`")),
            });
        }
        let answer: TokenResponse = serde_json::from_slice(response.body()).map_err(|_| {
            Failure::Unasked("the login provider's answer makes no sense".to_owned())
        })?;
        let renewed = self.read_renewal(session, tokens, answer).await?;
        let kept = self.sessions.renew(session, renewed).await;
        kept.map_err(|error| Failure::Unasked(error.to_string()))
    }

    /// §12.2: an ID token is not always there, and of the same person where it is.
    async fn read_renewal(
        &self,
        session: &Session,
        tokens: &Renewable,
        answer: TokenResponse,
    ) -> Result<NewSession, Failure> {
        let now = now(&self.clock);
        let mut renewed = NewSession {
            person: session.person.clone(),
            issuer: session.issuer.clone(),
            client: session.client.clone(),
            sid: session.sid.clone(),
            id_token: self.sessions.id_token(session),
            renewable: None,
        };
        let mut expires = None;
        if let Some(token) = &answer.id_token {
            let claims = self.id_token(token, None).await?;
            if claims.text("sub") != Some(&*session.person.subject) {
                return Err(Failure::Over("the tokens are another person's".to_owned()));
            }
            match self.person(&claims, answer.access_token.as_ref()).await {
                Ok(person) => renewed.person = person,
                // The former refresh token is used up: what came for it must not be lost.
                Err(ProviderError::Unavailable(why)) => {
                    tracing::warn!(why, "a session keeps the groups of before");
                }
                Err(error) => return Err(error.into()),
            }
            renewed.id_token = Some(Secret::new(token.clone()));
            expires = Unverified::parse(token, MAX_ID_TOKEN_BYTES)
                .ok()
                .and_then(|token| token.claimed_expiry());
        }
        renewed.renewable = Some(Renewable {
            until: answer.until(expires, now),
            refresh_token: match answer.refresh_token {
                Some(rotated) => Secret::new(rotated),
                None => tokens.refresh_token.clone(),
            },
        });
        Ok(renewed)
    }
}
