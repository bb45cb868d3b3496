//! Access tokens that come back: which of them still count, what they say, and their end.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client_auth::{get, invalid, need, posted};
use crate::config::Client;
use crate::forms::is_form;
use crate::grant::{Grant, GrantId, Stage};
use crate::keys::TokenKind;
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::{Reply, challenge, internal, json};
use crate::storage::{Kind, Record, StorageError};
use crate::token::{Audience, Claims, is_of_client};
use crate::user::User;

/// A token that was revoked by itself, under its `jti`, for as long as it would have lived.
#[derive(Debug, Serialize, Deserialize)]
struct Revoked {
    expires_at: u64,
}

impl Record for Revoked {
    const KIND: Kind = Kind::Revoked;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// A token that counts. Those of machines come of no grant.
pub(crate) struct Access {
    pub(crate) claims: Claims,
    pub(crate) of: Option<(Grant, User)>,
}

impl Inner {
    /// What an access token says, if it counts; an error when that cannot be found out.
    pub(crate) fn access(&self, token: &str) -> Result<Option<Access>, StorageError> {
        let now = self.now();
        let claims = self.keys.verify::<Claims>(TokenKind::Access, token);
        let Some(claims) =
            claims.filter(|claims| claims.exp > now && claims.iss == self.config.issuer.url())
        else {
            return Ok(None);
        };
        if self.storage().get::<Revoked>(&claims.jti)?.is_some() {
            return Ok(None);
        }
        let Some(id) = GrantId::from_token_id(&claims.jti) else {
            return Ok(Some(Access { claims, of: None }));
        };
        let grant = self.storage().get::<Grant>(id.as_str())?;
        let Some(grant) = grant.filter(|grant| matches!(grant.stage, Stage::Active { .. })) else {
            return Ok(None);
        };
        if self.known_client(&grant.client_id).is_none() {
            return Ok(None);
        }
        Ok(self.user(&grant.user)?.map(|user| Access {
            claims,
            of: Some((grant, user)),
        }))
    }

    /// `/userinfo` (OpenID Connect Core 1.0 section 5.3): the token in a header, or in the form of
    /// a POST (RFC 6750 section 2).
    pub(crate) fn userinfo(&self, request: &Request<Bytes>) -> Reply {
        let token = match presented(request) {
            Ok(token) => token,
            Err(text) => return invalid("invalid_request", text),
        };
        let Some(token) = token else {
            let text = "an access token is missing";
            return challenge("invalid_token", text, r#"Bearer realm="sidegate""#);
        };
        match self.read(|_| self.access(&token)) {
            None => internal(),
            Some(Some(access)) if is_of_client(&access.claims) => {
                let text = "the token is of an application, not of a person";
                let mut reply = challenge(
                    "insufficient_scope",
                    text,
                    r#"Bearer realm="sidegate", error="insufficient_scope""#,
                );
                *reply.status_mut() = StatusCode::FORBIDDEN;
                reply
            }
            Some(Some(access)) => match serde_json::to_value(&access.claims) {
                Ok(value) => json(StatusCode::OK, &value),
                Err(_) => internal(),
            },
            Some(None) => challenge(
                "invalid_token",
                "the access token is not valid any more, or never was",
                r#"Bearer realm="sidegate", error="invalid_token""#,
            ),
        }
    }

    /// `/token/introspect` (RFC 7662), for clients with a secret and about tokens that are for
    /// them.
    pub(crate) fn introspect(&self, request: &Request<Bytes>) -> Result<Reply, Reply> {
        let params = posted(request)?;
        let client = &self.confidential_client(request, &params)?;
        let token = need(&params, "token")?;
        let access = self.read(|_| self.access(token)).ok_or_else(internal)?;
        let about = match access {
            Some(access) => Self::about_access(client, &access),
            None => self.about_refresh(client, token)?,
        };
        Ok(json(
            StatusCode::OK,
            &about.unwrap_or_else(|| json!({"active": false})),
        ))
    }

    fn about_access(client: &Client, access: &Access) -> Option<Value> {
        let claims = &access.claims;
        let meant = match &claims.aud {
            Audience::One(aud) => *aud == client.id,
            Audience::Many(all) => all.contains(&client.id),
        };
        if !meant {
            return None;
        }
        let mut about = serde_json::to_value(claims).ok()?;
        let members = about.as_object_mut()?;
        members.insert("active".to_owned(), true.into());
        members.insert("token_type".to_owned(), "Bearer".into());
        members.insert("token_use".to_owned(), "access_token".into());
        let client_id = match (&access.of, &claims.azp, &claims.aud) {
            (Some((grant, _)), _, _) => grant.client_id.clone(),
            (None, Some(azp), _) | (None, None, Audience::One(azp)) => azp.clone(),
            (None, None, Audience::Many(all)) => all.first().cloned().unwrap_or_default(),
        };
        members.insert("client_id".to_owned(), client_id.into());
        if let Some((grant, user)) = &access.of {
            members.insert("scope".to_owned(), grant.scopes.join(" ").into());
            members.insert("username".to_owned(), user.email.as_str().into());
        }
        Some(about)
    }

    fn about_refresh(&self, client: &Client, token: &str) -> Result<Option<Value>, Reply> {
        let Some((id, presented)) = GrantId::from_refresh_token(&self.sealer, token) else {
            return Ok(None);
        };
        let found = self.read(|storage| {
            let Some(grant) = storage.get::<Grant>(id.as_str())? else {
                return Ok(None);
            };
            if !self.outlasts_session(client, &grant)? {
                return Ok(None);
            }
            Ok(self.user(&grant.user)?.map(|user| (grant, user)))
        });
        let now = self.now();
        Ok(found.ok_or_else(internal)?.and_then(|(grant, user)| {
            let Stage::Active {
                generation,
                used_at,
                ..
            } = grant.stage
            else {
                return None;
            };
            let rules = &self.config.expiry.refresh;
            let end = grant
                .created_at
                .saturating_add(rules.absolute.as_secs())
                .min(used_at.saturating_add(rules.idle.as_secs()));
            let counts = grant.client_id == client.id
                && grant.is_offline()
                && presented == generation
                && now < end;
            counts.then(|| {
                json!({
                    "active": true,
                    "token_use": "refresh_token",
                    "client_id": grant.client_id,
                    "scope": grant.scopes.join(" "),
                    "username": user.email,
                    "sub": user.subject(),
                    "iss": self.config.issuer.url(),
                    "exp": end,
                })
            })
        }))
    }

    /// `/token/revoke` (RFC 7009): a refresh token with all that came of its login, an access
    /// token by itself.
    pub(crate) async fn revoke(&self, request: &Request<Bytes>) -> Result<Reply, Reply> {
        let params = posted(request)?;
        let client = self.client(request, &params)?;
        let token = need(&params, "token")?;
        get(&params, "token_type_hint")?;
        let foreign = || invalid("unauthorized_client", "the token is of another client");
        let now = self.now();
        if let Some((id, _)) = GrantId::from_refresh_token(&self.sealer, token) {
            let client_id = client.id.clone();
            let own = self
                .write(move |batch| match batch.get::<Grant>(id.as_str())? {
                    Some(grant) if grant.client_id != client_id => Ok(false),
                    Some(grant) => {
                        batch.put(id.as_str(), &grant.revoked())?;
                        Ok(true)
                    }
                    None => Ok(true),
                })
                .await
                .ok_or_else(internal)?;
            if !own {
                return Err(foreign());
            }
        } else if let Some(access) = self.read(|_| self.access(token)).ok_or_else(internal)? {
            let owner = match (&access.of, &access.claims.azp, &access.claims.aud) {
                (Some((grant, _)), _, _) => &grant.client_id,
                (None, Some(azp), _) | (None, None, Audience::One(azp)) => azp,
                (None, None, Audience::Many(_)) => return Err(foreign()),
            };
            if *owner != client.id {
                return Err(foreign());
            }
            let record = Revoked {
                expires_at: access.claims.exp,
            };
            self.write(move |batch| batch.insert(&access.claims.jti, &record, now))
                .await
                .ok_or_else(internal)?;
        }
        // Section 2.2: what is no token (any more) is as revoked as it can be.
        Ok(json(StatusCode::OK, &json!({})))
    }
}

/// The access token of a request, if there is one.
fn presented(request: &Request<Bytes>) -> Result<Option<String>, &'static str> {
    let twice = "the access token is there twice";
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let header = match (headers.next(), headers.next()) {
        (_, Some(_)) => return Err(twice),
        (header, None) => header
            .and_then(|value| value.to_str().ok())
            .and_then(bearer)
            .map(str::to_owned),
    };
    if request.method() != Method::POST || !is_form(request) {
        return Ok(header);
    }
    let params = Params::parse(request.body()).map_err(|_| "the form cannot be read")?;
    match (header, params.get("access_token").map_err(|_| twice)?) {
        (Some(_), Some(_)) => Err(twice),
        (header, form) => Ok(header.or(form.map(str::to_owned))),
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
