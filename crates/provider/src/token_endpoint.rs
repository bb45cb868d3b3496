//! The token endpoint: `/token` (RFC 6749 sections 4.1.3, 5 and 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::client_auth::{get, invalid, posted, repeated};
use crate::config::{Client, GrantType, RefreshLifetime};
use crate::factors::Strength;
use crate::grant::{Grant, GrantId, Stage};
use crate::keys::TokenKind;
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::{Reply, internal, json};
use crate::token::{Claims, Person, access_token_hash, audience};
use crate::user::User;
use secret::Secret;

/// RFC 8628 section 3.4.
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8693 section 2.1.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// An error code and what to say.
type Refusal = (&'static str, &'static str);
/// What becomes of a grant, if anything, and the answer.
type Decision = (Option<After>, Result<Grant, Refusal>);

enum After {
    Write(Box<Grant>),
    Remove,
}

impl Inner {
    pub(crate) async fn token(&self, request: &Request<Bytes>) -> Reply {
        match self.grant(request).await {
            Ok(reply) | Err(reply) => reply,
        }
    }

    async fn grant(&self, request: &Request<Bytes>) -> Result<Reply, Reply> {
        let params = &posted(request)?;
        let client = &self.client(request, params)?;
        let asked = get(params, "grant_type")?;
        let kind = asked.and_then(GrantType::parse);
        if kind.is_some_and(|kind| !client.allows_grant(kind)) {
            let text = "grant_type is not among the grantTypes of this client";
            return Err(invalid("unauthorized_client", text));
        }
        match asked {
            Some("authorization_code") => self.redeem(client, params).await,
            Some("refresh_token") => self.refresh(client, params).await,
            Some("client_credentials") => self.client_credentials(client, params),
            Some(DEVICE_CODE) => self.poll(client, params).await,
            Some(TOKEN_EXCHANGE) => self.exchange_token(client, params).await,
            Some("password") => self.password_grant(request, client, params).await,
            None => Err(invalid("invalid_request", "grant_type is missing")),
            Some(_) => Err(invalid(
                "unsupported_grant_type",
                "expected one of grant_types_supported of the discovery document",
            )),
        }
    }

    async fn redeem(&self, client: &Client, params: &Params) -> Result<Reply, Reply> {
        let Some(code) = get(params, "code")? else {
            return Err(invalid("invalid_request", "code is missing"));
        };
        let Some(id) = GrantId::from_code(&self.sealer, code) else {
            return Err(invalid("invalid_grant", "the code is not one of ours"));
        };
        let redirect_uri = get(params, "redirect_uri")?.unwrap_or_default().to_owned();
        let verifier = params.secret("code_verifier").map_err(repeated)?;
        let (client_id, now) = (client.id.clone(), self.now());
        let expiry = self.config.expiry.clone();
        let key = id.clone();
        let decide = move |grant: Option<Grant>| -> Decision {
            let Some(mut grant) = grant.filter(|grant| grant.client_id == client_id) else {
                let text = "the code is unknown, too old, or of another client";
                return (None, Err(("invalid_grant", text)));
            };
            let Stage::Code {
                redirect_uri: expected,
                code_challenge,
                code_expires_at,
            } = &grant.stage
            else {
                // RFC 6749 section 4.1.2: used twice means stolen once.
                grant.stage = Stage::Revoked;
                let text = "the code was used before: its tokens are revoked";
                return (
                    Some(After::Write(Box::new(grant))),
                    Err(("invalid_grant", text)),
                );
            };
            if *code_expires_at <= now {
                return (
                    Some(After::Remove),
                    Err(("invalid_grant", "the code is too old")),
                );
            }
            if *expected != redirect_uri {
                let text = "redirect_uri is not the one of the authorization request";
                return (Some(After::Remove), Err(("invalid_grant", text)));
            }
            if !verifies(code_challenge.as_deref(), verifier.as_ref()) {
                let text = "code_verifier does not fit the authorization request";
                return (Some(After::Remove), Err(("invalid_grant", text)));
            }
            grant.expires_at = now.saturating_add(expiry.grant_seconds(grant.is_offline()));
            grant.stage = Stage::Active {
                generation: 0,
                rotated_at: now,
                used_at: now,
            };
            (Some(After::Write(Box::new(grant.clone()))), Ok(grant))
        };
        let grant = self
            .decide(key, decide)
            .await?
            .map_err(|(error, text)| invalid(error, text))?;
        let user = self.grant_user(&grant)?;
        let scopes = grant.scopes.clone();
        self.tokens(client, &user, &id, &grant, &scopes, grant.nonce.clone())
    }

    async fn refresh(&self, client: &Client, params: &Params) -> Result<Reply, Reply> {
        let Some(token) = get(params, "refresh_token")? else {
            return Err(invalid("invalid_request", "refresh_token is missing"));
        };
        let Some((id, presented)) = GrantId::from_refresh_token(&self.sealer, token) else {
            return Err(invalid(
                "invalid_grant",
                "the refresh token is not one of ours",
            ));
        };
        self.recheck(client, &id, presented).await?;
        self.still_in_session(client, &id)?;
        let asked: Option<Vec<String>> = get(params, "scope")?.map(|scope| {
            scope
                .split(' ')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect()
        });
        let (client_id, now) = (client.id.clone(), self.now());
        let rules = self.config.expiry.refresh.clone();
        let key = id.clone();
        let wanted = asked.clone().unwrap_or_default();
        let decide = move |grant: Option<Grant>| -> Decision {
            let unusable = (
                None,
                Err(("invalid_grant", "the refresh token is not valid")),
            );
            let Some(mut grant) = grant.filter(|grant| grant.client_id == client_id) else {
                return unusable;
            };
            let Stage::Active {
                generation,
                rotated_at,
                used_at,
            } = grant.stage
            else {
                return unusable;
            };
            if !grant.is_offline()
                || now >= grant.created_at.saturating_add(rules.absolute.as_secs())
                || now >= used_at.saturating_add(rules.idle.as_secs())
            {
                return (None, Err(("invalid_grant", "the refresh token is too old")));
            }
            if wanted.iter().any(|scope| !grant.scopes.contains(scope)) {
                return (None, Err(("invalid_scope", "more than was granted")));
            }
            let grace = rules.reuse_interval.as_secs();
            let recently = grace > 0 && now <= rotated_at.saturating_add(grace);
            let previous = presented.checked_add(1) == Some(generation);
            grant.stage = if presented == generation && !rules.disable_rotation {
                Stage::Active {
                    generation: generation + 1,
                    rotated_at: now,
                    used_at: now,
                }
            } else if presented == generation || (previous && recently) {
                // A client whose answer was lost asks again and gets the same successor.
                Stage::Active {
                    generation,
                    rotated_at,
                    used_at: now,
                }
            } else {
                grant.stage = Stage::Revoked;
                let text = "the refresh token was used before: all of its login are revoked";
                return (
                    Some(After::Write(Box::new(grant))),
                    Err(("invalid_grant", text)),
                );
            };
            (Some(After::Write(Box::new(grant.clone()))), Ok(grant))
        };
        let grant = self
            .decide(key, decide)
            .await?
            .map_err(|(error, text)| invalid(error, text))?;
        let user = self.grant_user(&grant)?;
        let mut scopes = asked.unwrap_or_else(|| grant.scopes.clone());
        // What the client may ask for can have become less since.
        scopes.retain(|scope| client.allows_scope(scope));
        self.tokens(client, &user, &id, &grant, &scopes, None)
    }

    /// Refuses what ended with its session.
    fn still_in_session(&self, client: &Client, id: &GrantId) -> Result<(), Reply> {
        if client.refresh_lifetime == RefreshLifetime::Standalone {
            return Ok(());
        }
        let looked = self.read(|storage| match storage.get::<Grant>(id.as_str())? {
            Some(grant) => self.outlasts_session(client, &grant),
            None => Ok(true),
        });
        match looked.ok_or_else(internal)? {
            true => Ok(()),
            false => Err(invalid(
                "invalid_grant",
                "the session has ended, and its refresh tokens with it",
            )),
        }
    }

    /// Reads and writes one grant in one transaction, so that of two requests with the same code
    /// one sees the other's effect.
    async fn decide(
        &self,
        id: GrantId,
        decide: impl Fn(Option<Grant>) -> Decision + Send + 'static,
    ) -> Result<Result<Grant, Refusal>, Reply> {
        self.write(move |batch| {
            let (after, result) = decide(batch.get::<Grant>(id.as_str())?);
            match after {
                None => {}
                Some(After::Write(grant)) => batch.put(id.as_str(), &*grant)?,
                Some(After::Remove) => batch.remove::<Grant>(id.as_str())?,
            }
            Ok(result)
        })
        .await
        .ok_or_else(internal)
    }

    /// The user of a grant, who may have left since.
    pub(crate) fn grant_user(&self, grant: &Grant) -> Result<User, Reply> {
        self.read(|_| self.user(&grant.user))
            .ok_or_else(internal)?
            .ok_or_else(|| {
                invalid(
                    "invalid_grant",
                    "the account does not exist any more, or its logins have ended",
                )
            })
    }

    pub(crate) fn tokens(
        &self,
        client: &Client,
        user: &User,
        id: &GrantId,
        grant: &Grant,
        scopes: &[String],
        nonce: Option<String>,
    ) -> Result<Reply, Reply> {
        let lifetime = self.config.expiry.id_tokens.as_secs();
        let (access, identity) = self.claims(client, user, id, grant, scopes)?;
        let access_token = self.signed(client, TokenKind::Access, &access)?;
        let identity = Claims {
            nonce,
            at_hash: Some(access_token_hash(client.signing, &access_token)),
            ..identity
        };
        let id_token = self.signed(client, TokenKind::Id, &identity)?;
        let mut body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "id_token": id_token,
            "scope": scopes.join(" "),
        });
        let goes_on = grant.is_offline() && client.allows_grant(GrantType::RefreshToken);
        if let (true, Stage::Active { generation, .. }, Some(body)) =
            (goes_on, &grant.stage, body.as_object_mut())
        {
            let token = id.refresh_token(&self.sealer, *generation);
            body.insert("refresh_token".to_owned(), token.into());
        }
        Ok(json(StatusCode::OK, &body))
    }

    /// What the access token and the ID token of a grant say.
    pub(crate) fn claims(
        &self,
        client: &Client,
        user: &User,
        id: &GrantId,
        grant: &Grant,
        scopes: &[String],
    ) -> Result<(Claims, Claims), Reply> {
        let now = self.now();
        let (aud, azp) = audience(client, scopes);
        let requested = grant.requested.clone().within(client);
        let access = Claims {
            iss: self.config.issuer.url().to_owned(),
            sub: user.subject(),
            aud,
            azp,
            exp: now.saturating_add(self.config.expiry.id_tokens.as_secs()),
            iat: now,
            auth_time: Some(grant.auth_time),
            jti: id.token_id().ok_or_else(internal)?,
            nonce: None,
            at_hash: None,
            c_hash: None,
            amr: Vec::new(),
            acr: None,
            sid: None,
            person: Person::new(user, scopes).and(user, &requested.userinfo),
        };
        let identity = Claims {
            jti: id.token_id().ok_or_else(internal)?,
            sid: grant.sid.clone(),
            acr: Strength::of(&grant.methods).map(|strength| strength.class().to_owned()),
            amr: grant.methods.clone(),
            person: Person::new(user, scopes).and(user, &requested.id_token),
            ..access.clone()
        };
        Ok((access, identity))
    }
}

/// RFC 7636 section 4.6; a verifier without a challenge is a downgrade (RFC 9700 section 4.8.2).
pub(crate) fn verifies(challenge: Option<&str>, verifier: Option<&Secret>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            let verifier = verifier.expose();
            (43..=128).contains(&verifier.len())
                && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == challenge
        }
        _ => false,
    }
}
