//! The end of a session, and the small endpoints beside it.

use http::{Method, StatusCode, header};
use policy::Reply;
use serde_json::json;
use std::sync::Arc;

use super::RelyingParty;
use super::local_path::LocalPath;
use super::login::START_PATH;
use super::reply::{self, Action};
use crate::cookie;
use crate::seen::Seen;
use crate::session::Session;
use secret::Secret;

/// Session cookies of one request that are looked at.
pub(super) const MAX_VALUES: usize = 4;

/// Longer ID tokens do not fit into an address.
const MAX_HINT: usize = 4 * 1024;

/// Who caused a request, as far as the browser says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// This site, or the person at the keyboard.
    Ourselves,
    /// Another site.
    Others,
    /// It does not say: no browser, or an old one.
    Unknown,
}

impl RelyingParty {
    /// Callback and logout.
    pub(crate) async fn serve_own(&self, seen: &Seen<'_>) -> Option<Reply> {
        if seen.path == self.callback_path {
            return Some(self.called_back(seen).await);
        }
        let mut logout_paths = self.config.logout_paths.iter();
        if logout_paths.any(|path| path == seen.path) {
            return Some(self.log_out(seen).await);
        }
        None
    }

    /// Callback, logout and oauth2-proxy's paths.
    pub(crate) async fn serve(&self, seen: &Seen<'_>) -> Option<Reply> {
        if let Some(reply) = self.serve_own(seen).await {
            return Some(reply);
        }
        match seen.path {
            START_PATH | "/oauth2/sign_in" => {
                let target = seen.parameter("rd").ok().flatten();
                Some(self.start(seen, target.as_deref().unwrap_or("/")).await)
            }
            "/oauth2/auth" => Some(reply::empty(match self.session_of(seen).await {
                Some(_) => StatusCode::ACCEPTED,
                None => StatusCode::UNAUTHORIZED,
            })),
            "/oauth2/userinfo" => Some(match self.session_of(seen).await {
                None => reply::empty(StatusCode::UNAUTHORIZED),
                Some(session) => {
                    let groups: Vec<&str> =
                        session.person.groups.iter().map(|group| &**group).collect();
                    reply::json(
                        StatusCode::OK,
                        &json!({
                            "user": &*session.person.subject,
                            "email": &*session.person.email,
                            "groups": groups,
                        }),
                    )
                }
            }),
            _ => None,
        }
    }

    pub(crate) async fn log_out(&self, seen: &Seen<'_>) -> Reply {
        let post = *seen.method == Method::POST;
        if !post && *seen.method != Method::GET {
            return reply::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        match (post, cause(seen)) {
            (true, Cause::Others) => {
                return reply::json(
                    StatusCode::FORBIDDEN,
                    &json!({"error": "logout was asked for by another site"}),
                );
            }
            (false, Cause::Others | Cause::Unknown) => {
                return reply::page(
                    StatusCode::OK,
                    "Log out?",
                    "Another page sent you here. Do you want to end your session?",
                    &Action::Post("Log out", &format!("{}?confirmed=1", seen.path)),
                );
            }
            _ => {}
        }
        // Before it ends: then nothing is kept of it.
        let hint = match self.session_of(seen).await {
            Some(session) if self.config.logout_at_provider => {
                Some(self.sessions.id_token(&session))
            }
            _ => None,
        };
        let by_cookie = cookie::values(seen.headers, &self.config.session_cookie).take(MAX_VALUES);
        for value in by_cookie.chain(header_sessions(seen)) {
            if let Err(error) = self.sessions.end(value).await {
                tracing::error!(%error, "session could not be ended");
                return reply::failed();
            }
        }
        let cookies = [self.session_cookie(seen).clear()];
        let to = seen
            .parameter("rd")
            .ok()
            .flatten()
            .and_then(|target| LocalPath::parse(&target))
            .map_or_else(
                || self.config.after_logout_url.clone(),
                |path| path.as_str().to_owned(),
            );
        let to = match hint {
            Some(hint) => self.end_of_provider(seen, hint).await.unwrap_or(to),
            None => to,
        };
        if !post {
            return reply::redirect(StatusCode::FOUND, &to, cookies);
        }
        if seen
            .parameter("confirmed")
            .is_ok_and(|value| value.is_some())
        {
            return reply::redirect(StatusCode::SEE_OTHER, &to, cookies);
        }
        let answer = reply::json(StatusCode::CREATED, &json!({"afterLogoutURL": to}));
        reply::with_cookies(answer, cookies)
    }

    /// Where the provider ends its session (OpenID Connect RP-Initiated Logout 1.0 §2);
    /// `None` if that cannot be known.
    async fn end_of_provider(&self, seen: &Seen<'_>, hint: Option<Secret>) -> Option<String> {
        let known = match self.provider.known().await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%error, "a logout does not go on at the login provider");
                return None;
            }
        };
        let endpoint = known.end_session_endpoint.as_deref()?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", &self.config.client_id);
        let token = hint.as_ref().map(Secret::expose);
        if let Some(token) = token.filter(|token| token.len() <= MAX_HINT) {
            query.append_pair("id_token_hint", token);
        }
        let back = &self.config.after_logout_url;
        let back = match back.starts_with('/') {
            true => format!("{}{back}", self.origin(seen)),
            false => back.clone(),
        };
        query.append_pair("post_logout_redirect_uri", &back);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Some(format!("{endpoint}{joint}{}", query.finish()))
    }

    /// The live session of the request's cookie.
    pub(crate) async fn session_of(&self, seen: &Seen<'_>) -> Option<Arc<Session>> {
        if self.sessions.has_replicas() {
            Box::pin(self.meet_sessions(seen)).await;
        }
        self.find_session(seen)
    }

    /// Makes sure that sessions of the request's cookies which another replica has begun are known.
    pub(crate) async fn meet_sessions(&self, seen: &Seen<'_>) {
        for value in cookie::values(seen.headers, &self.config.session_cookie).take(MAX_VALUES) {
            self.sessions.meet(value).await;
        }
    }

    /// The live session of the request's cookies that was made here. Cookies of
    /// different people are none: one of them was planted, from a sibling domain
    /// for example.
    pub(crate) fn find_session(&self, seen: &Seen<'_>) -> Option<Arc<Session>> {
        let mut live = cookie::values(seen.headers, &self.config.session_cookie)
            .take(MAX_VALUES)
            .filter_map(|value| self.find(value));
        let first = live.next()?;
        let same = |other: Arc<Session>| {
            other.person.email == first.person.email && other.person.subject == first.person.subject
        };
        live.all(same).then_some(first)
    }

    /// The live session of an id, if it was made here.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.find(id).filter(|session| self.made(session))
    }
}

/// Session ids in `authorization` and `x-auth-token`, as oidc-authservice
/// takes them. No other site can send these.
pub(crate) fn header_sessions<'a>(seen: &Seen<'a>) -> impl Iterator<Item = &'a str> {
    let headers = seen.headers;
    [header::AUTHORIZATION.as_str(), "x-auth-token"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .filter_map(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token)
        .filter(|token| token.len() == 43)
}

/// Fetch metadata first; over plain http browsers send none, then `Origin`,
/// then `Referer`.
fn cause(seen: &Seen<'_>) -> Cause {
    if let Some(site) = seen.header("sec-fetch-site") {
        return match site {
            "same-origin" | "none" => Cause::Ourselves,
            _ => Cause::Others,
        };
    }
    for name in ["origin", "referer"] {
        if let Some(value) = seen.headers.get(name) {
            let same = value
                .to_str()
                .is_ok_and(|value| is_origin_of(value, seen.authority));
            return if same {
                Cause::Ourselves
            } else {
                Cause::Others
            };
        }
    }
    Cause::Unknown
}

/// Whether a URL is on `authority`. Schemes may differ: TLS may end in front.
fn is_origin_of(url: &str, authority: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else {
        return false;
    };
    if !matches!(url.scheme(), "http" | "https") {
        return false;
    }
    let Ok(ours) = url::Url::parse(&format!("{}://{authority}/", url.scheme())) else {
        return false;
    };
    let plain = |port: Option<u16>| port.filter(|port| *port != 80 && *port != 443);
    url.host_str().is_some()
        && url.host_str() == ours.host_str()
        && plain(url.port()) == plain(ours.port())
}
