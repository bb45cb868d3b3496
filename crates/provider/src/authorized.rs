//! The answer to an application that a person logged in for: a code, and tokens where they are offered by way of the
//! browser.

use crate::authorize::AuthRequest;
use crate::config::Client;
use crate::grant::{Grant, GrantId, Stage};
use crate::keys::TokenKind;
use crate::login::Person;
use crate::pages::failed;
use crate::provider::Inner;
use crate::reply::Reply;
use crate::session::join;
use crate::token::{Claims, access_token_hash};

/// RFC 6749 section 4.1.2 recommends ten minutes at most; a redirect takes seconds.
const CODE_SECONDS: u64 = 60;

impl Inner {
    /// Answers once everything is on the disk.
    pub(crate) async fn answer_application(&self, auth: AuthRequest, person: Person) -> Reply {
        let now = self.now();
        let grant = Grant {
            client_id: auth.client_id.clone(),
            user: person.user.clone(),
            scopes: auth.scopes.clone(),
            requested: auth.requested.clone(),
            nonce: auth.nonce.clone(),
            auth_time: person.auth_time,
            created_at: now,
            expires_at: now.saturating_add(CODE_SECONDS),
            sid: person.session.as_ref().map(|session| session.sid.clone()),
            methods: person.methods.clone(),
            stage: Stage::Code {
                redirect_uri: auth.redirect_uri.clone(),
                code_challenge: auth.code_challenge.clone(),
                code_expires_at: now.saturating_add(CODE_SECONDS),
            },
        };
        let (Some(coded), Some(shown)) = (
            GrantId::new(&self.sealer, &person.user),
            GrantId::new(&self.sealer, &person.user),
        ) else {
            return failed();
        };
        let code = auth.response.code.then(|| coded.code(&self.sealer));
        let tokens = auth.response.has_tokens().then(|| self.shown(&grant));
        let mut grants = Vec::new();
        if code.is_some() {
            grants.push((coded, grant));
        }
        if let Some(tokens) = &tokens {
            grants.push((shown.clone(), tokens.clone()));
        }
        let client_id = auth.client_id.clone();
        let written = self
            .write(move |batch| {
                if let Some(session) = &person.session
                    && !join(batch, &session.key, &client_id, now)?
                {
                    return Ok(false);
                }
                for (id, grant) in &grants {
                    grant.insert(batch, id, now)?;
                }
                Ok(true)
            })
            .await;
        match written {
            Some(true) => self.success(&auth, code, tokens.map(|grant| (shown, grant))),
            Some(false) => {
                let text = "the person has logged out meanwhile";
                auth.error(&self.config, "login_required", text)
            }
            None if self.storage().is_away() => failed(),
            None => auth.error(
                &self.config,
                "server_error",
                "the login could not be recorded",
            ),
        }
    }

    /// The grant of tokens that go by way of the browser: never of refresh tokens.
    fn shown(&self, grant: &Grant) -> Grant {
        let mut scopes = grant.scopes.clone();
        scopes.retain(|scope| scope != "offline_access");
        let now = grant.created_at;
        Grant {
            scopes,
            expires_at: now.saturating_add(self.config.expiry.grant_seconds(false)),
            stage: Stage::Active {
                generation: 0,
                rotated_at: now,
                used_at: now,
            },
            ..grant.clone()
        }
    }

    fn success(
        &self,
        auth: &AuthRequest,
        code: Option<String>,
        tokens: Option<(GrantId, Grant)>,
    ) -> Reply {
        let made = match &tokens {
            Some((id, grant)) => self.by_browser(auth, code.as_deref(), id, grant),
            None => Ok(Vec::new()),
        };
        let made = match made {
            Ok(made) => made,
            Err(reply) => return reply,
        };
        let mut params: Vec<(&str, &str)> = Vec::new();
        params.extend(code.as_deref().map(|code| ("code", code)));
        params.extend(made.iter().map(|(name, value)| (*name, value.as_str())));
        auth.success(&self.config, params)
    }

    /// Parameters with tokens (OpenID Connect Core 1.0 sections 3.2.2.5 and 3.3.2.5).
    fn by_browser(
        &self,
        auth: &AuthRequest,
        code: Option<&str>,
        id: &GrantId,
        grant: &Grant,
    ) -> Result<Vec<(&'static str, String)>, Reply> {
        let known: Option<Client> = self.known_client(&auth.client_id);
        let user = self.read(|_| self.user(&grant.user)).flatten();
        let (Some(client), Some(user)) = (known, user) else {
            return Err(failed());
        };
        let (access, identity) = self.claims(&client, &user, id, grant, &grant.scopes)?;
        let mut params = Vec::new();
        let mut at_hash = None;
        if auth.response.token {
            let token = self.signed(&client, TokenKind::Access, &access)?;
            at_hash = Some(access_token_hash(client.signing, &token));
            params.push(("access_token", token));
            params.push(("token_type", "Bearer".to_owned()));
            let lifetime = self.config.expiry.id_tokens.as_secs();
            params.push(("expires_in", lifetime.to_string()));
            params.push(("scope", grant.scopes.join(" ")));
        }
        if auth.response.id_token {
            let identity = Claims {
                nonce: grant.nonce.clone(),
                at_hash,
                // The same digest, of the code.
                c_hash: code.map(|code| access_token_hash(client.signing, code)),
                ..identity
            };
            params.push(("id_token", self.signed(&client, TokenKind::Id, &identity)?));
        }
        Ok(params)
    }
}
