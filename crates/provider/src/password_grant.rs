//! `grant_type=password` (RFC 6749 section 4.3): an application hands over what a person typed into it.
//!
//! RFC 9700 section 2.4 wants nobody to do that, so it is there only where `oauth2.passwordConnector` says who knows
//! the passwords. The limits of the login page count here as well, and a second factor cannot be passed over.

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::authorize::{AuthRequest, drop_offline, scopes};
use crate::client_auth::{get, invalid, need, repeated};
use crate::config::Client;
use crate::connectors::Way;
use crate::factors::Method;
use crate::grant::{Grant, GrantId, Stage};
use crate::known::Unknown;
use crate::login::{MAX_EMAIL, MAX_PASSWORD, retry_after};
use crate::params::Params;
use crate::provider::{Inner, Source};
use crate::reply::{Reply, internal, oauth_error};
use crate::requested::Requested;
use crate::token::check_scopes;
use crate::user::LOCAL;

impl Inner {
    pub(crate) async fn password_grant(
        &self,
        request: &Request<Bytes>,
        client: &Client,
        params: &Params,
    ) -> Result<Reply, Reply> {
        let connector = match &self.config.password_connector {
            Some(connector) if self.config.grants.password => connector,
            _ => {
                let text = "applications do not get to see passwords: expected authorization_code";
                return Err(invalid("unsupported_grant_type", text));
            }
        };
        if !client.allows_connector(connector) {
            let text = "this client does not let people in by the connector of passwords";
            return Err(invalid("unauthorized_client", text));
        }
        let mut scopes = scopes(get(params, "scope")?.unwrap_or_default())
            .map_err(|(error, text)| invalid(error, &text))?;
        check_scopes(self, client, &scopes).map_err(|text| invalid("invalid_scope", &text))?;
        drop_offline(client, &mut scopes);
        let nonce = get(params, "nonce")?.map(str::to_owned);
        let name = need(params, "username")?.trim();
        let password = params.secret("password").map_err(repeated)?;
        let password = password.ok_or_else(|| invalid("invalid_request", "password is missing"))?;
        if name.len() > MAX_EMAIL || password.expose().len() > MAX_PASSWORD {
            return Err(wrong());
        }
        let source = request.extensions().get::<Source>().map(|source| source.0);
        let user = match connector.as_str() {
            LOCAL => self.known_here(name, password, source).await,
            _ => {
                let open = self.connectors.get(connector).ok_or_else(internal)?;
                let Way::Directory(directory) = &open.way else {
                    return Err(internal());
                };
                self.known_there(connector, directory, name, &password, source)
                    .await
            }
        };
        let user = user.map_err(|why| unknown(connector, why))?;
        let who = user.reference();
        let auth = AuthRequest {
            client_id: client.id.clone(),
            ..AuthRequest::default()
        };
        let factors = self.factors(&who).ok_or_else(internal)?;
        if factors.any() || self.demanded(&auth, connector).is_some() {
            let text = "a second factor is needed: the person has to log in with a browser";
            return Err(invalid("invalid_grant", text));
        }
        tracing::info!(
            user = user.email,
            client = client.id,
            connector,
            "logged in by an application"
        );
        let id = GrantId::new(&self.sealer, &who).ok_or_else(internal)?;
        let now = self.now();
        let offline = scopes.iter().any(|scope| scope == "offline_access");
        let grant = Grant {
            client_id: client.id.clone(),
            user: who,
            scopes: scopes.clone(),
            requested: Requested::default(),
            nonce: nonce.clone(),
            auth_time: now,
            created_at: now,
            expires_at: now.saturating_add(self.config.expiry.grant_seconds(offline)),
            sid: None,
            methods: vec![Method::Pwd],
            stage: Stage::Active {
                generation: 0,
                rotated_at: now,
                used_at: now,
            },
        };
        let (written, key) = (grant.clone(), id.clone());
        self.write(move |batch| written.insert(batch, &key, now))
            .await
            .ok_or_else(internal)?;
        self.tokens(client, &user, &id, &grant, &scopes, nonce)
    }
}

/// RFC 6749 section 5.2; the same for names that nobody has.
fn wrong() -> Reply {
    invalid("invalid_grant", "wrong name or password")
}

fn unknown(connector: &str, why: Unknown) -> Reply {
    let later = |status, text, seconds| {
        let reply = oauth_error(status, "temporarily_unavailable", text);
        retry_after(reply, seconds)
    };
    match why {
        Unknown::Wrong | Unknown::Disabled => wrong(),
        Unknown::TooMany(seconds) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            later(status, "too many attempts", seconds)
        }
        Unknown::Busy => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            later(status, "too many people are logging in", 2)
        }
        Unknown::Trouble(trouble) => {
            tracing::warn!(connector, %trouble, "a login by an application came to nothing");
            let text = "who knows the passwords does not answer";
            later(StatusCode::SERVICE_UNAVAILABLE, text, 5)
        }
        Unknown::Failed => internal(),
    }
}
