//! How a person gets to a connector and back: the choice, the form of a directory, the way to
//! another provider and its answer.
//!
//! Nothing is stored for somebody who has not logged in: what travels to another provider is sealed
//! in `state` and bound to the browser.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::oidc::Asking;
use super::{Directory, Noted, Oidc, Open, Trouble, Way};
use crate::authorize::AuthRequest;
use crate::factors::Method;
use crate::forms::bad_form;
use crate::known::Unknown;
use crate::login::{MAX_PASSWORD, Pending, retry_after};
use crate::pages::{Choice, Login, Page, failed, page, problem};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::{Reply, redirect};
use crate::seal::random_token;
use crate::token_endpoint::DEVICE_CODE;
use crate::user::LOCAL;
use crate::words::Text;

/// Longest name that is typed into a directory's form.
const MAX_USERNAME: usize = 254;
/// How long the way to another provider and back may take, in seconds.
const AWAY: u64 = 3600;

/// What travels to another provider and back.
#[derive(Serialize, Deserialize)]
struct Sent {
    pending: Pending,
    connector: String,
    nonce: String,
    verifier: String,
}

impl Inner {
    /// Ids and names of the ways to log in that an application may use.
    fn ways(&self, auth: &AuthRequest) -> Vec<(String, Option<String>)> {
        let client = self.known_client(&auth.client_id);
        if client.is_none() && !auth.account {
            return Vec::new();
        }
        let grant_type = match auth.device {
            Some(_) => DEVICE_CODE,
            None => "authorization_code",
        };
        let connectors = self.config.connectors.iter();
        let mut ways: Vec<(String, Option<String>)> = connectors
            .filter(|connector| connector.allows(grant_type))
            .map(|connector| (connector.id.clone(), Some(connector.name.clone())))
            .collect();
        if self.config.password_db {
            ways.push((LOCAL.to_owned(), None));
        }
        let allowed = |id: &str| {
            client
                .as_ref()
                .is_none_or(|client| client.allows_connector(id))
        };
        ways.retain(|(id, _)| allowed(id));
        ways
    }

    /// Whether an application may be logged in to by this connector.
    pub(crate) fn is_way(&self, auth: &AuthRequest, id: &str) -> bool {
        self.ways(auth).iter().any(|(known, _)| known == id)
    }

    /// Goes on to the one way there is, or lets the person choose.
    pub(crate) async fn choose(&self, request: &Request<Bytes>, auth: AuthRequest) -> Reply {
        let ways = self.ways(&auth);
        if let Some(id) = auth.connector.clone() {
            return match ways.iter().any(|(known, _)| *known == id) {
                true => self.go_to(request, auth, &id).await,
                false if id == LOCAL || self.connectors.get(&id).is_some() => not_allowed(),
                false => unknown_connector(),
            };
        }
        match ways.as_slice() {
            [] => not_allowed(),
            [(id, _)] if !self.config.always_show_login_screen => {
                self.go_to(request, auth, id).await
            }
            _ => {
                let client = (!auth.account).then(|| self.client_name(&auth));
                let Some((sealed, cookie)) = self.sealed_for(request, auth) else {
                    return failed();
                };
                let base = self.config.issuer.path();
                let ways = ways
                    .into_iter()
                    .map(|(id, name)| (format!("{base}/auth/{id}?req={sealed}"), name))
                    .collect();
                let mut reply = page(StatusCode::OK, Page::Choice(Choice { client, ways }));
                self.set_browser(request, &mut reply, &cookie);
                reply
            }
        }
    }

    /// `/auth/{id}?req=`: a way that was chosen.
    pub(crate) async fn chosen(&self, request: &Request<Bytes>, sealed: &str, id: &str) -> Reply {
        match self.pending("login", request, sealed) {
            Err(reply) => reply,
            Ok(pending) if self.is_way(&pending.request, id) => {
                self.go_to(request, pending.request, id).await
            }
            Ok(_) => not_allowed(),
        }
    }

    async fn go_to(&self, request: &Request<Bytes>, auth: AuthRequest, id: &str) -> Reply {
        let base = self.config.issuer.path();
        let open = self.connectors.get(id);
        match open.map(|open| &open.way) {
            Some(Way::Oidc(oidc)) => self.go_upstream(request, auth, id, oidc).await,
            Some(Way::Directory(_)) => {
                self.send_to_login(request, auth, &format!("{base}/auth/{id}/login"))
            }
            None => self.send_to_login(request, auth, &format!("{base}/auth/{LOCAL}")),
        }
    }

    async fn go_upstream(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
        id: &str,
        oidc: &Oidc,
    ) -> Reply {
        let offline = auth.scopes.iter().any(|scope| scope == "offline_access");
        let login = auth.prompt.login;
        let (Some((pending, cookie)), Some(nonce), Some(verifier)) = (
            self.pend(request, auth, AWAY),
            random_token::<16>(),
            random_token::<32>(),
        ) else {
            return failed();
        };
        let sent = Sent {
            pending,
            connector: id.to_owned(),
            nonce,
            verifier,
        };
        let Some(state) = self.sealer.seal("upstream", &sent) else {
            return failed();
        };
        let asking = Asking {
            state: &state,
            nonce: &sent.nonce,
            verifier: &sent.verifier,
            offline,
            login,
        };
        match oidc.location(&asking, self.now()).await {
            Err(trouble) => troubled(id, &trouble),
            Ok(location) => {
                let status = match *request.method() {
                    http::Method::POST => StatusCode::SEE_OTHER,
                    _ => StatusCode::FOUND,
                };
                let mut reply = redirect(status, &location, &[]);
                self.set_browser(request, &mut reply, &cookie);
                reply
            }
        }
    }

    /// `/callback` and `/callback/{id}`: a browser comes back from another provider.
    pub(crate) async fn callback(&self, request: &Request<Bytes>, id: Option<&str>) -> Reply {
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let Ok(params) = Params::parse(query) else {
            return invalid_login();
        };
        let get = |name| params.get(name).ok().flatten();
        let sent = get("state").and_then(|state| self.sealer.open::<Sent>("upstream", state));
        let Some(sent) = sent.filter(|sent| id.is_none_or(|id| id == sent.connector)) else {
            return invalid_login();
        };
        let pending = match self.still_pending(request, sent.pending) {
            Ok(pending) => pending,
            Err(reply) => return reply,
        };
        let open = self.connectors.get(&sent.connector);
        let Some((open, oidc)) = open.and_then(|open| match &open.way {
            Way::Oidc(oidc) => Some((open, oidc)),
            Way::Directory(_) => None,
        }) else {
            return self.restart(&pending);
        };
        let connector = &open.config.id;
        if !self.is_way(&pending.request, connector) {
            return not_allowed();
        }
        let now = self.now();
        match oidc.is_answer(get("iss"), now).await {
            Ok(true) => {}
            Ok(false) => {
                let text = "the response is of another provider: `iss`".to_owned();
                return troubled(connector, &Trouble::Unusable(text));
            }
            Err(trouble) => return troubled(connector, &trouble),
        }
        match (get("error"), get("code")) {
            (Some("access_denied"), _) => {
                let text = "the person denied access at the other provider";
                pending.request.error(&self.config, "access_denied", text)
            }
            (Some(error), _) => {
                let shown: String = error
                    .chars()
                    .filter(char::is_ascii_graphic)
                    .take(50)
                    .collect();
                let text = format!("the other provider answers `{shown}`");
                troubled(connector, &Trouble::Refused(text))
            }
            (None, None) => {
                let text = "the other provider answers without a code".to_owned();
                troubled(connector, &Trouble::Unusable(text))
            }
            (None, Some(code)) => match oidc.redeem(code, &sent.verifier, &sent.nonce, now).await {
                Err(trouble) => troubled(connector, &trouble),
                Ok(identity) => match self.note(connector, identity).await {
                    None => failed(),
                    Some(Noted::Disabled) => disabled(connector),
                    Some(Noted::User(user)) => {
                        let client = &pending.request.client_id;
                        tracing::info!(user = user.email, client, connector, "logged in");
                        // How is the other provider's affair.
                        self.logged_in(request, pending.request, &user, Vec::new())
                            .await
                    }
                },
            },
        }
    }

    /// `GET /auth/{id}/login?req=`: the form of a directory.
    pub(crate) fn directory_form(
        &self,
        request: &Request<Bytes>,
        sealed: &str,
        open: &Open,
        directory: &Directory,
    ) -> Reply {
        match self.pending("login", request, sealed) {
            Err(reply) => reply,
            Ok(pending) => {
                let hint = pending.request.login_hint.clone().unwrap_or_default();
                self.name_form(StatusCode::OK, &pending, open, directory, &hint, None)
            }
        }
    }

    /// `POST /auth/{id}/login?req=`: a name and a password for a directory.
    pub(crate) async fn directory_login(
        &self,
        request: &Request<Bytes>,
        sealed: &str,
        source: Option<IpAddr>,
        open: &Arc<Open>,
        directory: &Directory,
    ) -> Reply {
        let pending = match self.pending("login", request, sealed) {
            Ok(pending) => pending,
            Err(reply) => return reply,
        };
        let form = match self.own_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let connector = &open.config.id;
        if !self.is_way(&pending.request, connector) {
            return not_allowed();
        }
        let (login, password) = match (form.get("login"), form.secret("password")) {
            (Ok(login), Ok(password)) => (login.unwrap_or_default().trim(), password),
            _ => return bad_form("a field of the form is there twice"),
        };
        let again = |status, login: &str, text: Text| {
            self.name_form(status, &pending, open, directory, login, Some(text))
        };
        let wrong = || Text::new(|w| &w.name_wrong);
        let Some(password) = password.filter(|password| {
            login.len() <= MAX_USERNAME && password.expose().len() <= MAX_PASSWORD
        }) else {
            return again(StatusCode::UNAUTHORIZED, "", wrong());
        };
        let client = &pending.request.client_id;
        let known = self.known_there(connector, directory, login, &password, source);
        match known.await {
            Ok(user) => {
                tracing::info!(user = user.email, client, connector, "logged in");
                self.logged_in(request, pending.request, &user, vec![Method::Pwd])
                    .await
            }
            Err(Unknown::Wrong) => {
                tracing::info!(client, connector, "login refused");
                again(StatusCode::UNAUTHORIZED, login, wrong())
            }
            Err(Unknown::Disabled) => disabled(connector),
            Err(Unknown::TooMany(seconds)) => {
                let text = Text::new(|w| &w.too_many).with("seconds", seconds);
                let reply = again(StatusCode::TOO_MANY_REQUESTS, login, text);
                retry_after(reply, seconds)
            }
            Err(Unknown::Busy) => {
                let text = Text::new(|w| &w.busy);
                retry_after(again(StatusCode::SERVICE_UNAVAILABLE, login, text), 2)
            }
            Err(Unknown::Trouble(trouble)) => troubled(connector, &trouble),
            Err(Unknown::Failed) => failed(),
        }
    }

    fn name_form(
        &self,
        status: StatusCode,
        pending: &Pending,
        open: &Open,
        directory: &Directory,
        login: &str,
        problem: Option<Text>,
    ) -> Reply {
        let body = Login {
            client: (!pending.request.account).then(|| self.client_name(&pending.request)),
            login: login.to_owned(),
            problem,
            hint: None,
            by: Some((open.config.name.clone(), directory.prompt().to_owned())),
            other: self.other_way(&pending.request),
        };
        page(status, Page::Login(body))
    }

    /// Where another way to log in can be chosen, if there is any.
    pub(crate) fn other_way(&self, auth: &AuthRequest) -> Option<String> {
        let several =
            auth.device.is_none() && auth.connector.is_none() && self.ways(auth).len() > 1;
        let base = self.config.issuer.path();
        several.then(|| match auth.account {
            true => format!("{base}/account"),
            false => format!("{base}/auth?{}", auth.query()),
        })
    }
}

/// The person cannot do anything about it; whoever runs the provider finds the detail in the log.
fn troubled(connector: &str, trouble: &Trouble) -> Reply {
    tracing::warn!(connector, %trouble, "a login by another provider came to nothing");
    match trouble {
        Trouble::Unreachable(_) | Trouble::Busy => retry_after(
            problem(
                StatusCode::BAD_GATEWAY,
                |w| &w.upstream_down,
                |w| &w.upstream_down_text,
                "",
            ),
            5,
        ),
        Trouble::Unusable(_) => problem(
            StatusCode::BAD_GATEWAY,
            |w| &w.upstream_bad,
            |w| &w.upstream_bad_text,
            "",
        ),
        Trouble::Weak(_) => problem(
            StatusCode::FORBIDDEN,
            |w| &w.upstream_weak,
            |w| &w.upstream_weak_text,
            "",
        ),
        Trouble::Refused(_) | Trouble::Gone(_) => problem(
            StatusCode::FORBIDDEN,
            |w| &w.upstream_refused,
            |w| &w.upstream_refused_text,
            "",
        ),
    }
}

/// The operator does not let the person in.
fn disabled(connector: &str) -> Reply {
    let text = "the person is disabled here".to_owned();
    troubled(connector, &Trouble::Refused(text))
}

fn not_allowed() -> Reply {
    problem(
        StatusCode::FORBIDDEN,
        |w| &w.no_way,
        |w| &w.no_way_text,
        "the client's `allowedConnectors` does not have this connector, or there is none",
    )
}

/// As Dex answers.
pub(super) fn unknown_connector() -> Reply {
    problem(
        StatusCode::BAD_REQUEST,
        |w| &w.no_way,
        |w| &w.no_way_text,
        "there is no such connector",
    )
}

fn invalid_login() -> Reply {
    problem(
        StatusCode::BAD_REQUEST,
        |w| &w.login_invalid,
        |w| &w.login_invalid_text,
        "",
    )
}
