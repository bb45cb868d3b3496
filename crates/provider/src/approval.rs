//! What a person allows an application, and the code that follows.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::authorize::AuthRequest;
use crate::grant::GrantId;
use crate::login::{Pending, Person};
use crate::pages::{Approval, Lasts, Page, failed, page};
use crate::provider::Inner;
use crate::reply::Reply;
use crate::storage::{Kind, Record};
use crate::user::{User, UserRef};
use crate::words::Pick;

/// How long the page may stay open.
pub(crate) const SECONDS: u64 = 600;
/// How long an approval is remembered.
const CONSENT_SECONDS: u64 = 365 * 86_400;

/// What a user allowed a client, remembered where there are sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub(crate) scopes: Vec<String>,
    expires_at: u64,
}

impl Record for Consent {
    const KIND: Kind = Kind::Consent;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// What an application will be told, as scopes.
fn told(auth: &AuthRequest) -> impl Iterator<Item = &str> {
    let scopes = auth.scopes.iter().map(String::as_str);
    scopes.chain(auth.requested.scopes())
}

/// What scopes tell, each once.
pub(crate) fn in_words<'a>(scopes: impl Iterator<Item = &'a str>) -> Vec<Pick> {
    let mut seen = HashSet::new();
    let told = scopes.filter(|scope| seen.insert(*scope));
    let word = |scope: &str| -> Option<Pick> {
        match scope {
            "email" => Some(|w| &w.ask_email),
            "profile" => Some(|w| &w.ask_name),
            "groups" => Some(|w| &w.ask_groups),
            "offline_access" => Some(|w| &w.ask_offline),
            scope if scope.starts_with("audience:") => Some(|w| &w.ask_audience),
            _ => None,
        }
    };
    told.filter_map(word).collect()
}

impl Inner {
    /// Whether the person has to be asked.
    pub(crate) fn asks(&self, auth: &AuthRequest, person: &Person) -> bool {
        // A device always: somebody else may have sent the code (RFC 8628 section 5.4).
        if auth.prompt.consent || auth.device.is_some() {
            return true;
        }
        if self.config.skip_approval_screen {
            return false;
        }
        let key = self.consent_key(&person.user, &auth.client_id);
        let consent = match self.config.sessions {
            Some(_) => self.read(|storage| storage.get::<Consent>(&key)).flatten(),
            None => None,
        };
        !consent.is_some_and(|consent| {
            consent.expires_at > self.now()
                && told(auth).all(|scope| consent.scopes.iter().any(|known| known == scope))
        })
    }

    fn consent_key(&self, user: &UserRef, client: &str) -> String {
        format!("{}{client}", GrantId::user_prefix_of(&self.sealer, user))
    }

    /// `GET /approval?req=`: what the client will learn.
    pub(crate) fn approval_form(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        let (pending, user) = match self.approving(request, sealed) {
            Ok((pending, _, user)) => (pending, user),
            Err(reply) => return reply,
        };
        let mut asks: Vec<Pick> = vec![|w| &w.ask_identifier];
        asks.extend(in_words(told(&pending.request)));
        let auth = &pending.request;
        let body = Approval {
            client: self.client_name(auth),
            email: user.email.clone(),
            asks,
            lasts: self.lasts(auth),
            asked_again: self.asked_again(auth),
            device: auth.device.clone(),
        };
        page(StatusCode::OK, Page::Approval(body))
    }

    /// For how long the application has access: with refresh tokens, or with the tokens of this login.
    fn lasts(&self, auth: &AuthRequest) -> Lasts {
        let expiry = &self.config.expiry;
        match auth.scopes.iter().any(|scope| scope == "offline_access") {
            true => Lasts::Offline(expiry.grant_seconds(true)),
            false => Lasts::Online(expiry.id_tokens.as_secs()),
        }
    }

    /// After how many seconds the person is asked again; nothing where every login asks.
    fn asked_again(&self, auth: &AuthRequest) -> Option<u64> {
        let remembered = self.config.sessions.is_some() && auth.device.is_none();
        remembered.then_some(CONSENT_SECONDS)
    }

    /// `POST /approval?req=`: `approval=approve` or anything else.
    pub(crate) async fn approve(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        let (pending, person, _) = match self.approving(request, sealed) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let auth = pending.request;
        match self
            .own_form(request)
            .map(|form| matches!(form.get("approval"), Ok(Some("approve"))))
        {
            Err(reply) => reply,
            Ok(allowed) if auth.device.is_some() => {
                self.answer_device(request, &auth, person, allowed).await
            }
            Ok(false) => auth.error(&self.config, "access_denied", "the person denied access"),
            Ok(true) => {
                if self.config.sessions.is_some() && !self.remember(&auth, &person).await {
                    return failed();
                }
                self.answer_application(auth, person).await
            }
        }
    }

    fn approving(
        &self,
        request: &Request<Bytes>,
        sealed: &str,
    ) -> Result<(Pending, Person, User), Reply> {
        let pending = self.pending("approval", request, sealed)?;
        let person = pending.person.clone();
        let found = match person {
            Some(person) => {
                let user = self.read(|_| self.user(&person.user)).ok_or_else(failed)?;
                user.map(|user| (person, user))
            }
            None => None,
        };
        match found {
            Some((person, user)) => Ok((pending, person, user)),
            None => Err(self.restart(&pending)),
        }
    }

    async fn remember(&self, auth: &AuthRequest, person: &Person) -> bool {
        let key = self.consent_key(&person.user, &auth.client_id);
        let now = self.now();
        let told = Consent {
            scopes: told(auth).map(str::to_owned).collect(),
            expires_at: now.saturating_add(CONSENT_SECONDS),
        };
        self.write(move |batch| {
            let mut consent = told.clone();
            for scope in batch.get::<Consent>(&key)?.map_or(Vec::new(), |c| c.scopes) {
                if !consent.scopes.contains(&scope) {
                    consent.scopes.push(scope);
                }
            }
            batch.insert(&key, &consent, now)
        })
        .await
        .is_some()
    }
}
