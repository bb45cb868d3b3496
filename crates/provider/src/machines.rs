//! Tokens for programs: client credentials (RFC 6749 section 4.4) and token exchange (RFC 8693).

use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use serde_json::json;

use crate::authorize::scopes;
use crate::client_auth::{get, invalid, need};
use crate::config::{Client, Exchange};
use crate::connectors::Way;
use crate::keys::TokenKind;
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::{Reply, internal, json};
use crate::seal::random_token;
use crate::token::{
    Audience, CLIENT_TOKEN, Claims, EXCHANGED_TOKEN, Person, access_token_hash, audience,
    check_scopes, client_subject, is_trusted,
};
use crate::token_endpoint::TOKEN_EXCHANGE;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// An exchanged token lives an hour at most, and no longer than the token it came of.
const EXCHANGED_SECONDS: u64 = 3600;
/// What an exchange asks for that names no scope.
const EXCHANGED_SCOPES: &str = "openid email profile groups";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Knows the tokens of somebody else that may be exchanged here.
pub trait SubjectTokens: Send + Sync {
    /// Whose token this is, if it is valid now.
    fn verify(&self, token: String) -> Pin<Box<dyn Future<Output = Option<Subject>> + Send + '_>>;
}

/// Whose token came to be exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The name that `tokenExchange` lists: `system:serviceaccount:NAMESPACE:NAME`.
    pub name: String,
    /// When its token ends, in Unix seconds, where that is known.
    pub expires_at: Option<u64>,
}

impl Inner {
    /// `grant_type=client_credentials`: tokens about the client itself, as Dex makes them.
    pub(crate) fn client_credentials(
        &self,
        client: &Client,
        params: &Params,
    ) -> Result<Reply, Reply> {
        if !self.config.grants.client_credentials {
            let text = "client_credentials is not among oauth2.grantTypes";
            return Err(invalid("unsupported_grant_type", text));
        }
        if client.public || client.secret.is_none() {
            let text = "a client without a secret cannot use client_credentials";
            return Err(invalid("unauthorized_client", text));
        }
        let scopes = scopes(get(params, "scope")?.unwrap_or_default())
            .map_err(|(error, text)| invalid(error, &text))?;
        let wrong = scopes
            .iter()
            .find(|scope| matches!(scope.as_str(), "offline_access" | "federated:id"));
        if let Some(scope) = wrong {
            let text = format!("{scope} needs a person");
            return Err(invalid("invalid_scope", &text));
        }
        let mut asked = scopes.clone();
        asked.push("openid".to_owned());
        check_scopes(self, client, &asked).map_err(|text| invalid("invalid_scope", &text))?;
        let has = |name: &str| scopes.iter().any(|scope| scope == name);
        let mut person = Person::default();
        if has("profile") {
            person.name = Some(client.name.clone());
            person.preferred_username = Some(client.name.clone());
        }
        if has("groups") && !client.credentials_groups.is_empty() {
            person.groups = Some(client.credentials_groups.clone());
        }
        let now = self.now();
        let lifetime = self.config.expiry.id_tokens.as_secs();
        let (aud, azp) = audience(client, &scopes);
        let claims = Claims {
            iss: self.config.issuer.url().to_owned(),
            sub: client_subject(&client.id),
            aud,
            azp,
            exp: now.saturating_add(lifetime),
            iat: now,
            jti: token_id(CLIENT_TOKEN)?,
            person,
            ..Claims::default()
        };
        let access_token = self.signed(client, TokenKind::Access, &claims)?;
        let mut body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": scopes.join(" "),
        });
        if has("openid") {
            let identity = Claims {
                jti: token_id(CLIENT_TOKEN)?,
                nonce: get(params, "nonce")?.map(str::to_owned),
                at_hash: Some(access_token_hash(client.signing, &access_token)),
                ..claims
            };
            let id_token = self.signed(client, TokenKind::Id, &identity)?;
            if let Some(body) = body.as_object_mut() {
                body.insert("id_token".to_owned(), id_token.into());
            }
        }
        tracing::info!(client = client.id, "token issued to a client");
        Ok(json(StatusCode::OK, &body))
    }

    /// `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`.
    pub(crate) async fn exchange_token(
        &self,
        client: &Client,
        params: &Params,
    ) -> Result<Reply, Reply> {
        if !self.config.grants.token_exchange {
            let text = "token exchange is not among oauth2.grantTypes";
            return Err(invalid("unsupported_grant_type", text));
        }
        let token = need(params, "subject_token")?;
        if !matches!(
            need(params, "subject_token_type")?,
            ACCESS_TOKEN | ID_TOKEN | JWT
        ) {
            let text = "subject_token_type is not one of access_token, id_token and jwt";
            return Err(invalid("invalid_request", text));
        }
        if params.all("actor_token").next().is_some() {
            return Err(invalid("invalid_request", "actor_token is not supported"));
        }
        if params.all("resource").next().is_some() {
            return Err(invalid(
                "invalid_target",
                "expected audience and no resource",
            ));
        }
        let kind = match get(params, "requested_token_type")? {
            None | Some(ACCESS_TOKEN | JWT) => TokenKind::Access,
            Some(ID_TOKEN) => TokenKind::Id,
            Some(_) => {
                let text = "requested_token_type is not one of access_token, id_token and jwt";
                return Err(invalid("invalid_request", text));
            }
        };
        let (aud, azp) = self.target(client, params)?;
        let scopes = scopes(get(params, "scope")?.unwrap_or(EXCHANGED_SCOPES))
            .map_err(|(error, text)| invalid(error, &text))?;
        let allowed = ["openid", "email", "profile", "groups"];
        if let Some(scope) = scopes
            .iter()
            .find(|scope| !allowed.contains(&scope.as_str()))
        {
            let text = format!("`{scope}` is not offered for exchanged tokens");
            return Err(invalid("invalid_scope", &text));
        }
        let (sub, person, end) = match get(params, "connector_id")? {
            Some(id) => self.known_upstream(client, params, id, &scopes).await?,
            None => self.known_by_rule(client, token, &scopes).await?,
        };
        let now = self.now();
        let most = self
            .config
            .expiry
            .id_tokens
            .as_secs()
            .min(EXCHANGED_SECONDS);
        let exp = now.saturating_add(most).min(end.unwrap_or(u64::MAX));
        let claims = Claims {
            iss: self.config.issuer.url().to_owned(),
            sub,
            aud,
            azp,
            exp,
            iat: now,
            jti: token_id(EXCHANGED_TOKEN)?,
            person,
            ..Claims::default()
        };
        Ok(json(
            StatusCode::OK,
            &json!({
                "access_token": self.signed(client, kind, &claims)?,
                "issued_token_type": if kind == TokenKind::Id { ID_TOKEN } else { ACCESS_TOKEN },
                // Section 2.2.1: an ID token is not presented as a bearer.
                "token_type": if kind == TokenKind::Id { "N_A" } else { "Bearer" },
                "expires_in": exp.saturating_sub(now),
                "scope": scopes.join(" "),
            }),
        ))
    }

    /// The subject of a ServiceAccount's token, or the user that `tokenExchange` has for it.
    async fn known_by_rule(
        &self,
        client: &Client,
        token: &str,
        scopes: &[String],
    ) -> Result<(String, Person, Option<u64>), Reply> {
        let subject = match &self.subjects {
            Some(subjects) => subjects.verify(token.to_owned()).await,
            None => None,
        };
        let Some(from) = subject else {
            let text = "subject_token is not a valid token of a trusted issuer";
            return Err(invalid("invalid_grant", text));
        };
        let Some(rule) = client.exchanges.iter().find(|rule| rule.covers(&from.name)) else {
            tracing::info!(client = client.id, subject = from.name, "exchange refused");
            let text = "the client's tokenExchange does not list this subject";
            return Err(invalid("invalid_grant", text));
        };
        let (sub, person) = self.shape(rule, &from.name, scopes)?;
        let (client, subject, user) = (&client.id, from.name, &rule.user);
        tracing::info!(client, subject, user, "token exchanged");
        Ok((sub, person, from.expires_at))
    }

    /// The subject of another provider's ID token for us, as Dex takes it by `connector_id`. Dex
    /// takes those for other clients of that provider, too, which would let each of these be
    /// anybody who logged in to it.
    async fn known_upstream(
        &self,
        client: &Client,
        params: &Params,
        id: &str,
        scopes: &[String],
    ) -> Result<(String, Person, Option<u64>), Reply> {
        if client.public || client.secret.is_none() {
            let text = "a client without a secret cannot exchange tokens of a connector";
            return Err(invalid("unauthorized_client", text));
        }
        let open = self
            .connectors
            .get(id)
            .filter(|open| client.allows_connector(id) && open.config.allows(TOKEN_EXCHANGE));
        let Some(Way::Oidc(oidc)) = open.map(|open| &open.way) else {
            let text = "connector_id is no connector whose tokens this client may exchange";
            return Err(invalid("invalid_request", text));
        };
        if need(params, "subject_token_type")? == ACCESS_TOKEN {
            let text = "expected an ID token: whom an access token was given to is not known";
            return Err(invalid("invalid_request", text));
        }
        let token = need(params, "subject_token")?;
        let (identity, end) = oidc
            .subject_token(token, self.now())
            .await
            .map_err(|trouble| {
                tracing::info!(client = client.id, connector = id, %trouble, "exchange refused");
                invalid(
                    "invalid_grant",
                    "subject_token is not a valid ID token for the connector",
                )
            })?;
        let user = identity.user(id);
        let known = self.read(|_| self.upstream(&user.reference()));
        let known = known.ok_or_else(internal)?;
        if known.is_some_and(|(_, upstream)| upstream.disabled) {
            return Err(invalid("invalid_grant", "the person is disabled"));
        }
        let (client, user_id) = (&client.id, &user.user_id);
        tracing::info!(client, connector = id, user_id, "token exchanged");
        Ok((user.subject(), Person::new(&user, scopes), Some(end)))
    }

    /// `aud` and `azp` of an exchanged token: the client itself, or peers that trust it.
    fn target(
        &self,
        client: &Client,
        params: &Params,
    ) -> Result<(Audience, Option<String>), Reply> {
        let mut all: Vec<String> = Vec::new();
        for audience in params.all("audience") {
            if !is_trusted(self, client, audience) {
                let text = format!("`{audience}` does not trust this client with its tokens");
                return Err(invalid("invalid_target", &text));
            }
            if !all.iter().any(|known| known == audience) {
                all.push(audience.to_owned());
            }
        }
        Ok(match <[String; 1]>::try_from(all) {
            Ok([one]) if one == client.id => (Audience::One(one), None),
            Ok([one]) => (Audience::One(one), Some(client.id.clone())),
            Err(none) if none.is_empty() => (Audience::One(client.id.clone()), None),
            Err(many) => (Audience::Many(many), Some(client.id.clone())),
        })
    }

    /// Who the new token is about: the user that the rule names, or the service itself.
    fn shape(
        &self,
        rule: &Exchange,
        name: &str,
        scopes: &[String],
    ) -> Result<(String, Person), Reply> {
        if let Some(email) = &rule.user {
            let user = self.read(|_| self.user_by_email(email));
            let user = user.ok_or_else(internal)?.ok_or_else(|| {
                invalid(
                    "invalid_grant",
                    "the user of the exchange does not exist any more",
                )
            })?;
            return Ok((user.subject(), Person::new(&user, scopes)));
        }
        let asked = |scope: &str| scopes.iter().any(|known| known == scope);
        let namespace = name
            .strip_prefix(SERVICE_ACCOUNT)
            .and_then(|rest| rest.split_once(':'))
            .map(|(namespace, _)| namespace);
        // What the API server says of such an account.
        let groups = namespace.map(|namespace| {
            vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ]
        });
        let person = Person {
            groups: groups.filter(|_| asked("groups")),
            name: asked("profile").then(|| name.to_owned()),
            preferred_username: asked("profile").then(|| name.to_owned()),
            ..Person::default()
        };
        Ok((name.to_owned(), person))
    }

    pub(crate) fn signed(
        &self,
        client: &Client,
        kind: TokenKind,
        claims: &Claims,
    ) -> Result<String, Reply> {
        let algorithm = match kind {
            TokenKind::Access => client.access_signing,
            TokenKind::Id | TokenKind::Logout => client.signing,
        };
        self.keys.sign(algorithm, kind, claims).ok_or_else(internal)
    }
}

impl Exchange {
    /// Whether `name` is the subject, or begins with it where that ends in `*`.
    fn covers(&self, name: &str) -> bool {
        match self.subject.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.subject,
        }
    }
}

/// `jti` of a token that comes of no grant.
fn token_id(kind: &str) -> Result<String, Reply> {
    let random = random_token::<16>().ok_or_else(internal)?;
    Ok(format!("{kind}.{random}"))
}
