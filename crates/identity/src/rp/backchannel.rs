//! The provider ended a session: so do we (OpenID Connect Back-Channel Logout
//! 1.0 §2.5-2.8).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode, header};
use policy::{Reply, RequestHead};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::provider::ProviderError;
use super::{Logins, RelyingParty, reply};
use crate::clock::now;
use crate::jose::{Claims, JwtError, MAX_BEARER_BYTES, Unverified};
use crate::seen::Seen;
use crate::session::{StoreError, Whose};

/// Where logout tokens are taken.
pub const BACKCHANNEL_LOGOUT_PATH: &str = "/oauth2/backchannel-logout";

/// The member of `events` that makes a token one of a logout.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token that lives longer is refused: it would have to be remembered.
const MAX_LIFE: u64 = 15 * 60;

/// Tokens remembered. Only the provider can make more.
const REMEMBERED: usize = 10_000;

/// Forms are not longer: one token and its name.
const MAX_FORM: usize = MAX_BEARER_BYTES + 1024;

/// Why no session was ended.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the request is not a form with one `logout_token`")]
    Form,
    #[error("the logout token was used before")]
    Replayed,
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<JwtError> for Refused {
    fn from(error: JwtError) -> Self {
        Self::Provider(error.into())
    }
}

/// Logout tokens that have been used, by the digest of their `jti`, and until when
/// they could be used again. A cache would keep old ones for which nobody asks, and
/// let go of those that came last.
#[derive(Default)]
pub(super) struct Used(Mutex<HashMap<[u8; 32], u64>>);

impl Used {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the first time; of several at once, it is for one.
    fn first(&self, jti: &str, now: u64) -> bool {
        let key: [u8; 32] = Sha256::digest(jti).into();
        let mut all = self.all();
        if all.contains_key(&key) {
            return false;
        }
        if all.len() >= REMEMBERED {
            all.retain(|_, until| now < *until);
        }
        if all.len() >= REMEMBERED {
            let next = all.iter().min_by_key(|(_, until)| **until);
            let next = next.map(|(key, _)| *key);
            next.and_then(|key| all.remove(&key));
        }
        all.insert(key, now.saturating_add(MAX_LIFE));
        true
    }

    /// What it was used for did not happen.
    fn forget(&self, jti: &str) {
        let key: [u8; 32] = Sha256::digest(jti).into();
        self.all().remove(&key);
    }
}

impl Logins {
    /// Takes a logout token (OpenID Connect Back-Channel Logout 1.0) that one of the
    /// providers posts to [`BACKCHANNEL_LOGOUT_PATH`]: by what it says of itself, for
    /// there may be one address for all. `body` is the form. `None` if nobody can
    /// log in.
    pub async fn backchannel_logout(&self, head: &RequestHead, body: &[u8]) -> Option<Reply> {
        let seen = Seen::from(head);
        let text = token_of(&seen, body);
        let token = text.and_then(|text| claimed(&text));
        let meant = token.and_then(|(issuer, clients)| {
            let is = |login: &&Arc<RelyingParty>| {
                login.config.issuer == issuer && clients.contains(&login.config.client_id)
            };
            self.iter().find(is)
        });
        let login = meant.or_else(|| self.of(seen.authority))?;
        Some(login.told_of_logout(&seen, body).await)
    }
}

/// Whose a logout token claims to be, and whom for: good for finding who verifies it.
fn claimed(token: &str) -> Option<(String, Vec<String>)> {
    let token = Unverified::parse_logout(token, MAX_BEARER_BYTES).ok()?;
    let clients = token.claims_as_sent().texts("aud")?;
    let clients = clients.into_iter().map(str::to_owned).collect();
    Some((token.claimed_issuer()?.to_owned(), clients))
}

impl RelyingParty {
    pub(super) async fn told_of_logout(&self, seen: &Seen<'_>, body: &[u8]) -> Reply {
        if *seen.method != Method::POST {
            return reply::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        match self.end_by_token(seen, body).await {
            Ok(ended) => {
                tracing::info!(ended, "the login provider ended sessions");
                reply::empty(StatusCode::OK)
            }
            Err(refused) => {
                tracing::warn!(error = %refused, "a logout token was not taken");
                let (status, code) = match refused {
                    Refused::Form
                    | Refused::Replayed
                    | Refused::Provider(ProviderError::Token(_)) => {
                        (StatusCode::BAD_REQUEST, "invalid_request")
                    }
                    // 400 would say that it is no use to try again.
                    Refused::Provider(ProviderError::Unavailable(_)) | Refused::Store(_) => {
                        (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
                    }
                };
                let text = refused.to_string();
                reply::json(status, &json!({"error": code, "error_description": text}))
            }
        }
    }

    /// How many sessions ended.
    async fn end_by_token(&self, seen: &Seen<'_>, body: &[u8]) -> Result<u64, Refused> {
        let token = token_of(seen, body).ok_or(Refused::Form)?;
        let token = Unverified::parse_logout(&token, MAX_BEARER_BYTES)?;
        let claims = self.provider.verify(&token).await?;
        let jti = self.check_logout(&claims)?;
        let issuer = self.config.issuer.as_str();
        let whose = match (claims.text("sid"), claims.text("sub")) {
            (Some(sid), subject) => Whose::Sid {
                issuer,
                sid,
                subject,
            },
            (None, Some(subject)) => Whose::Subject { issuer, subject },
            (None, None) => return Err(wrong("sub").into()),
        };
        if !self.logouts.first(jti, now(&self.clock)) {
            return Err(Refused::Replayed);
        }
        match self.sessions.end_those(whose).await {
            Ok(ended) => Ok(ended),
            Err(error) => {
                self.logouts.forget(jti);
                Err(error.into())
            }
        }
    }

    /// §2.6, whose steps 1 to 3 are done; gives `jti`.
    fn check_logout<'c>(&self, claims: &'c Claims) -> Result<&'c str, JwtError> {
        let now = now(&self.clock);
        let expires = claims.check(&self.config.issuer, now)?;
        if expires > now.saturating_add(MAX_LIFE) {
            return Err(wrong("exp"));
        }
        claims.check_audience(std::iter::once(self.config.client_id.as_str()))?;
        if claims.time("iat")?.is_none() {
            return Err(wrong("iat"));
        }
        for name in ["sub", "sid"] {
            let short = |text: &str| !text.is_empty() && text.len() <= 512;
            if claims.has(name) && !claims.text(name).is_some_and(short) {
                return Err(wrong(name));
            }
        }
        let event = claims.get("events").and_then(|events| events.get(EVENT));
        if !event.is_some_and(serde_json::Value::is_object) {
            return Err(wrong("events"));
        }
        if claims.has("nonce") {
            return Err(wrong("nonce"));
        }
        let fits = |jti: &&str| !jti.is_empty() && jti.len() <= 512;
        claims.text("jti").filter(fits).ok_or_else(|| wrong("jti"))
    }
}

fn wrong(claim: &str) -> JwtError {
    JwtError::Claim(claim.to_owned())
}

fn token_of(seen: &Seen<'_>, body: &[u8]) -> Option<String> {
    let kind = seen.header(header::CONTENT_TYPE.as_str())?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") || body.len() > MAX_FORM {
        return None;
    }
    let mut tokens = url::form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
    let token = tokens.next()?.1.into_owned();
    tokens.next().is_none().then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_remembered_for_its_life_however_many_there_were_before() {
        let used = Used::default();
        for number in 0..REMEMBERED + 100 {
            assert!(used.first(&format!("before {number}"), 0));
        }
        assert_eq!(used.all().len(), REMEMBERED);
        let now = MAX_LIFE;
        let names: Vec<_> = (0..REMEMBERED).map(|n| format!("now {n}")).collect();
        assert!(names.iter().all(|name| used.first(name, now)));
        let until = now + MAX_LIFE - 1;
        assert!(!names.iter().any(|name| used.first(name, until)));
        used.forget("now 7");
        assert!(used.first("now 7", until));
    }
}
