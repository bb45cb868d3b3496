//! Logout that an application asks for: `/logout` (OpenID Connect RP-Initiated Logout 1.0).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::config::Client;
use crate::forms::is_form;
use crate::keys::TokenKind;
use crate::pages::{Page, asked_language, failed, notice, page, problem};
use crate::params::{MAX_LENGTH, Params};
use crate::provider::Inner;
use crate::reply::{Reply, redirect};
use crate::session::Current;
use crate::token::{Audience, Claims};

/// How long the question whether to log out may stay open.
const QUESTION_SECONDS: u64 = 600;

/// Where to go after the logout.
#[derive(Serialize, Deserialize)]
struct Afterwards {
    uri: String,
    state: Option<String>,
}

/// What the page that asks carries: bound to the session that it would end.
#[derive(Serialize, Deserialize)]
struct Question {
    key: String,
    afterwards: Option<Afterwards>,
    expires_at: u64,
}

impl Inner {
    /// `/logout` by GET or POST, from an application, or with `req` from our own page.
    pub(crate) async fn logout(&self, request: &Request<Bytes>) -> Reply {
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let answer = match Params::parse(query) {
            Ok(params) if request.method() == Method::POST => match params.get("req") {
                Ok(Some(sealed)) => self.confirmed(request, sealed).await,
                _ if !is_form(request) || request.body().len() > MAX_LENGTH => Err(bad(
                    "expected `application/x-www-form-urlencoded` below 16 KiB",
                )),
                _ => match Params::parse(request.body()) {
                    Ok(params) => self.asked(request, &params).await,
                    Err(error) => Err(bad(&error.to_string())),
                },
            },
            Ok(params) => self.asked(request, &params).await,
            Err(error) => Err(bad(&error.to_string())),
        };
        match answer {
            Ok(reply) | Err(reply) => reply,
        }
    }

    async fn asked(&self, request: &Request<Bytes>, params: &Params) -> Result<Reply, Reply> {
        let get = |name| params.get(name).map_err(|error| bad(&error.to_string()));
        let hint = match get("id_token_hint")? {
            None => None,
            Some(token) => Some(
                self.hint(token)
                    .ok_or_else(|| bad("`id_token_hint` is no ID token of this provider"))?,
            ),
        };
        let client = self.client_of(hint.as_ref(), get("client_id")?)?;
        let afterwards = match get("post_logout_redirect_uri")? {
            None => None,
            Some(uri) => {
                let registered = client.as_ref().is_some_and(|client| {
                    client
                        .post_logout_redirect_uris
                        .iter()
                        .any(|known| known == uri)
                });
                if !registered {
                    return Err(bad(
                        "`post_logout_redirect_uri` is not among the `postLogoutRedirectURIs` of \
                         the application, or no application is named",
                    ));
                }
                Some(Afterwards {
                    uri: uri.to_owned(),
                    state: get("state")?.map(str::to_owned),
                })
            }
        };
        let Some(current) = self.session(request) else {
            return Ok(self.done(request, afterwards.as_ref()));
        };
        // Somebody else's ID token, or none, must not log a person out by a link.
        if hint.is_some_and(|hint| is_of(&hint, &current)) {
            self.end_session(current.key, current.session).await?;
            return Ok(self.done(request, afterwards.as_ref()));
        }
        let question = Question {
            key: current.key,
            afterwards,
            expires_at: self.now().saturating_add(QUESTION_SECONDS),
        };
        let sealed = self.sealer.seal("logout", &question).ok_or_else(failed)?;
        let language = asked_language(request).map_or_else(String::new, |language| {
            format!("&ui_locales={}", language.tag())
        });
        let base = self.config.issuer.path();
        let body = Page::Logout {
            email: current.user.email.clone(),
            action: format!("{base}/logout?req={sealed}{language}"),
        };
        Ok(page(StatusCode::OK, body))
    }

    /// The form of our own page came back.
    async fn confirmed(&self, request: &Request<Bytes>, sealed: &str) -> Result<Reply, Reply> {
        let form = self.own_form(request)?;
        let question = self
            .sealer
            .open::<Question>("logout", sealed)
            .filter(|question| question.expires_at > self.now())
            .ok_or_else(|| bad("the page was open for too long, or was not made here"))?;
        if !matches!(form.get("logout"), Ok(Some("yes"))) {
            return Ok(stayed());
        }
        match self.session(request) {
            Some(current) if current.key == question.key => {
                self.end_session(current.key, current.session).await?;
            }
            Some(_) => return Err(bad("another person has logged in meanwhile")),
            None => {}
        }
        Ok(self.done(request, question.afterwards.as_ref()))
    }

    fn done(&self, request: &Request<Bytes>, afterwards: Option<&Afterwards>) -> Reply {
        let mut reply = match afterwards {
            Some(Afterwards { uri, state }) => {
                let state: Vec<_> = state
                    .iter()
                    .map(|state| ("state", state.as_str()))
                    .collect();
                redirect(StatusCode::SEE_OTHER, uri, &state)
            }
            None => notice(|w| &w.logged_out, |w| &w.logged_out_text),
        };
        self.set_session_cookie(request, &mut reply, "");
        reply
    }

    /// The claims of an ID token of ours, also an expired one.
    pub(crate) fn hint(&self, token: &str) -> Option<Claims> {
        self.keys
            .verify::<Claims>(TokenKind::Id, token)
            .filter(|claims| claims.iss == self.config.issuer.url())
    }

    /// The application that asks: both ways of naming it have to agree.
    fn client_of(
        &self,
        hint: Option<&Claims>,
        named: Option<&str>,
    ) -> Result<Option<Client>, Reply> {
        let hinted = hint.map(|hint| match (&hint.azp, &hint.aud) {
            (Some(azp), _) => azp.as_str(),
            (None, Audience::One(aud)) => aud.as_str(),
            (None, Audience::Many(all)) => all.first().map_or("", String::as_str),
        });
        match (hinted, named) {
            (Some(hinted), Some(named)) if hinted != named => {
                Err(bad("`id_token_hint` was issued to another `client_id`"))
            }
            (hinted, named) => match hinted.or(named) {
                None => Ok(None),
                Some(id) => match self.known_client(id) {
                    None => Err(bad("`client_id` is not known here")),
                    client => Ok(client),
                },
            },
        }
    }
}

fn is_of(hint: &Claims, current: &Current) -> bool {
    hint.sub == current.user.subject()
        && hint
            .sid
            .as_ref()
            .is_none_or(|sid| *sid == current.session.sid)
}

fn stayed() -> Reply {
    notice(|w| &w.stayed, |w| &w.stayed_text)
}

fn bad(detail: &str) -> Reply {
    problem(
        StatusCode::BAD_REQUEST,
        |w| &w.logout_bad,
        |w| &w.logout_bad_text,
        detail,
    )
}
