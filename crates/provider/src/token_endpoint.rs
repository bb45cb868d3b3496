//! The token endpoint: `/token` (RFC 6749 sections 2.3, 4.1.3, 5 and 6).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::config::{Client, User};
use crate::grant::{Grant, GrantId, Stage};
use crate::keys::TokenKind;
use crate::login::is_form;
use crate::params::{MAX_LENGTH, Params, Repeated};
use crate::provider::Inner;
use crate::reply::{Reply, challenge, internal, json, oauth_error};
use crate::token::{Claims, Person, access_token_hash, audience, subject};
use secret::Secret;

/// An error code and what to say.
type Refusal = (&'static str, &'static str);
/// What becomes of a grant, if anything, and the answer.
type Decision = (Option<After>, Result<Grant, Refusal>);

enum After {
    Write(Grant),
    Remove,
}

impl Inner {
    pub(crate) async fn token(&self, request: &Request<Bytes>) -> Reply {
        if !is_form(request) || request.body().len() > MAX_LENGTH {
            let text = "expected application/x-www-form-urlencoded below 16 KiB";
            return invalid("invalid_request", text);
        }
        let params = Params::parse(request.body());
        match self.exchange(request, &params).await {
            Ok(reply) | Err(reply) => reply,
        }
    }

    async fn exchange(&self, request: &Request<Bytes>, params: &Params) -> Result<Reply, Reply> {
        let client = self.client(request, params)?;
        match get(params, "grant_type")? {
            Some("authorization_code") => self.redeem(client, params).await,
            Some("refresh_token") => self.refresh(client, params).await,
            None => Err(invalid("invalid_request", "grant_type is missing")),
            Some(_) => Err(invalid(
                "unsupported_grant_type",
                "expected authorization_code or refresh_token",
            )),
        }
    }

    /// Who asks, by `client_secret_basic`, `client_secret_post` or, for public clients, by name.
    fn client(&self, request: &Request<Bytes>, params: &Params) -> Result<&Client, Reply> {
        let refuse = || {
            let text = "unknown client, or a secret that is not its own";
            challenge(
                "invalid_client",
                text,
                r#"Basic realm="sidegate", charset="UTF-8""#,
            )
        };
        let form_id = get(params, "client_id")?;
        let form_secret = params.secret("client_secret").map_err(repeated)?;
        let (id, secret) = match request.headers().get(AUTHORIZATION) {
            None => (form_id.map(str::to_owned), form_secret),
            Some(_) if form_secret.is_some() => {
                let text = "the client authenticates twice: expected a header or client_secret";
                return Err(invalid("invalid_request", text));
            }
            Some(header) => {
                let (id, secret) = basic(header.as_bytes()).ok_or_else(refuse)?;
                if form_id.is_some_and(|form_id| form_id != id) {
                    return Err(invalid(
                        "invalid_request",
                        "client_id is not the one in the header",
                    ));
                }
                (Some(id), Some(secret))
            }
        };
        let client = id
            .and_then(|id| self.config.client(&id))
            .ok_or_else(refuse)?;
        let known = match (&client.secret, &secret) {
            (Some(ours), Some(theirs)) => ours.matches(theirs.expose()),
            (_, None) => client.public,
            (None, Some(theirs)) => client.public && theirs.expose().is_empty(),
        };
        if known { Ok(client) } else { Err(refuse()) }
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
                return (Some(After::Write(grant)), Err(("invalid_grant", text)));
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
            let lifetime = if is_offline(&grant) {
                expiry.refresh.absolute.max(expiry.id_tokens)
            } else {
                expiry.id_tokens
            };
            grant.expires_at = now.saturating_add(lifetime.as_secs());
            grant.stage = Stage::Active {
                generation: 0,
                rotated_at: now,
                used_at: now,
            };
            (Some(After::Write(grant.clone())), Ok(grant))
        };
        let grant = self
            .decide(key, decide)
            .await?
            .map_err(|(error, text)| invalid(error, text))?;
        let user = self.grant_user(&grant)?;
        let scopes = grant.scopes.clone();
        self.tokens(client, user, &id, &grant, &scopes, grant.nonce.clone())
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
            if !is_offline(&grant)
                || now >= grant.created_at.saturating_add(rules.absolute.as_secs())
                || now >= used_at.saturating_add(rules.idle.as_secs())
            {
                return (None, Err(("invalid_grant", "the refresh token is too old")));
            }
            if wanted.iter().any(|scope| !grant.scopes.contains(scope)) {
                return (None, Err(("invalid_scope", "more than was granted")));
            }
            let recently = now <= rotated_at.saturating_add(rules.reuse_interval.as_secs());
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
                return (Some(After::Write(grant)), Err(("invalid_grant", text)));
            };
            (Some(After::Write(grant.clone())), Ok(grant))
        };
        let grant = self
            .decide(key, decide)
            .await?
            .map_err(|(error, text)| invalid(error, text))?;
        let user = self.grant_user(&grant)?;
        let scopes = asked.unwrap_or_else(|| grant.scopes.clone());
        self.tokens(client, user, &id, &grant, &scopes, None)
    }

    /// Reads and writes one grant in one transaction, so that of two requests with the same code
    /// one sees the other's effect.
    async fn decide(
        &self,
        id: GrantId,
        decide: impl FnOnce(Option<Grant>) -> Decision + Send + 'static,
    ) -> Result<Result<Grant, Refusal>, Reply> {
        self.write(move |batch| {
            let (after, result) = decide(batch.get::<Grant>(id.as_str())?);
            match after {
                None => {}
                Some(After::Write(grant)) => batch.put(id.as_str(), &grant)?,
                Some(After::Remove) => batch.remove::<Grant>(id.as_str())?,
            }
            Ok(result)
        })
        .await
        .ok_or_else(internal)
    }

    /// The user of a grant, who may have left the configuration since.
    fn grant_user(&self, grant: &Grant) -> Result<&User, Reply> {
        self.config
            .user_by_id(&grant.user_id)
            .ok_or_else(|| invalid("invalid_grant", "the account does not exist any more"))
    }

    fn tokens(
        &self,
        client: &Client,
        user: &User,
        id: &GrantId,
        grant: &Grant,
        scopes: &[String],
        nonce: Option<String>,
    ) -> Result<Reply, Reply> {
        let now = self.now();
        let lifetime = self.config.expiry.id_tokens.as_secs();
        let (aud, azp) = audience(client, scopes);
        let access = Claims {
            iss: self.config.issuer.url().to_owned(),
            sub: subject(&user.user_id),
            aud,
            azp,
            exp: now.saturating_add(lifetime),
            iat: now,
            auth_time: grant.auth_time,
            jti: id.token_id().ok_or_else(internal)?,
            nonce: None,
            at_hash: None,
            person: Person::new(user, scopes),
        };
        let access_token = self
            .keys
            .sign(client.signing, TokenKind::Access, &access)
            .ok_or_else(internal)?;
        let identity = Claims {
            jti: id.token_id().ok_or_else(internal)?,
            nonce,
            at_hash: Some(access_token_hash(client.signing, &access_token)),
            ..access
        };
        let id_token = self
            .keys
            .sign(client.signing, TokenKind::Id, &identity)
            .ok_or_else(internal)?;
        let mut body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "id_token": id_token,
            "scope": scopes.join(" "),
        });
        if let (true, Stage::Active { generation, .. }, Some(body)) =
            (is_offline(grant), &grant.stage, body.as_object_mut())
        {
            let token = id.refresh_token(&self.sealer, *generation);
            body.insert("refresh_token".to_owned(), token.into());
        }
        Ok(json(StatusCode::OK, &body))
    }
}

fn is_offline(grant: &Grant) -> bool {
    grant.scopes.iter().any(|scope| scope == "offline_access")
}

/// RFC 7636 section 4.6; a verifier without a challenge is a downgrade (RFC 9700 section 4.8.2).
fn verifies(challenge: Option<&str>, verifier: Option<&Secret>) -> bool {
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

/// Id and secret of an `Authorization: Basic`, both form-encoded inside (RFC 6749 section 2.3.1).
fn basic(header: &[u8]) -> Option<(String, Secret)> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, Secret::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    // As a name without value: `=` and `&` are encoded, or the pair would be another.
    if text.contains(['=', '&']) {
        return Some(text.to_owned());
    }
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    Some(
        pairs
            .next()
            .map(|(name, _)| name.into_owned())
            .unwrap_or_default(),
    )
}

fn get<'a>(params: &'a Params, name: &'static str) -> Result<Option<&'a str>, Reply> {
    params.get(name).map_err(repeated)
}

fn repeated(Repeated(name): Repeated) -> Reply {
    invalid("invalid_request", &format!("{name} is there twice"))
}

fn invalid(error: &str, text: &str) -> Reply {
    oauth_error(StatusCode::BAD_REQUEST, error, text)
}
