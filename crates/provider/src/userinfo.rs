//! The userinfo endpoint (OpenID Connect Core 1.0 section 5.3, RFC 6750).

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};

use crate::grant::{Grant, GrantId, Stage};
use crate::keys::TokenKind;
use crate::provider::Inner;
use crate::reply::{Reply, challenge, internal, json};
use crate::token::Claims;

impl Inner {
    pub(crate) fn userinfo(&self, request: &Request<Bytes>) -> Reply {
        let header = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some(token) = header.and_then(bearer) else {
            let text = "an access token is missing";
            return challenge("invalid_token", text, r#"Bearer realm="sidegate""#);
        };
        let refuse = || {
            let text = "the access token is not valid any more, or never was";
            challenge(
                "invalid_token",
                text,
                r#"Bearer realm="sidegate", error="invalid_token""#,
            )
        };
        let now = self.now();
        let claims = self
            .keys
            .verify::<Claims>(TokenKind::Access, token)
            .filter(|claims| claims.exp > now && claims.iss == self.config.issuer.url());
        let Some((claims, id)) = claims
            .and_then(|claims| Some((GrantId::from_token_id(&claims.jti)?, claims)))
            .map(|(id, claims)| (claims, id))
        else {
            return refuse();
        };
        match self.read(|storage| storage.get::<Grant>(id.as_str())) {
            None => internal(),
            Some(Some(grant)) if matches!(grant.stage, Stage::Active { .. }) => {
                if self.config.user_by_id(&grant.user_id).is_none() {
                    return refuse();
                }
                match serde_json::to_value(&claims) {
                    Ok(value) => json(StatusCode::OK, &value),
                    Err(_) => internal(),
                }
            }
            Some(_) => refuse(),
        }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
