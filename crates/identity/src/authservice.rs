//! In oidc-authservice's place: the answers it gives Envoy's external
//! authorization check (arrikto/oidc-authservice, `server.go`).

use http::{HeaderName, HeaderValue, StatusCode, header};
use policy::{Check, CheckResponse, Person, Reply, TokenHolder};

use crate::bearer::{Authorization, authorization};
use crate::identity::Identity;
use crate::oauth2_proxy::Admitted;
use crate::rp::header_sessions;
use crate::seen::Seen;

/// Settings of oidc-authservice, by the names of its environment.
#[derive(Clone, Debug)]
pub struct AuthserviceConfig {
    /// `SKIP_AUTH_URLS` (before 2021 `SKIP_AUTH_URI`): paths below these are
    /// allowed unasked. Unlike there, `/dex` is not a prefix of `/dexter`, and
    /// a path with an encoded separator or dot segment is below nothing.
    pub skip_auth_urls: Vec<String>,
    /// `USERID_HEADER`.
    pub userid_header: HeaderName,
    /// `USERID_PREFIX`.
    pub userid_prefix: String,
    /// `GROUPS_HEADER`.
    pub groups_header: HeaderName,
    /// `GROUPS_ALLOWLIST`.
    pub admitted: Admitted,
}

impl Default for AuthserviceConfig {
    fn default() -> Self {
        Self {
            skip_auth_urls: vec!["/dex".to_owned()],
            userid_header: HeaderName::from_static("kubeflow-userid"),
            userid_prefix: String::new(),
            groups_header: HeaderName::from_static("kubeflow-groups"),
            admitted: Admitted::default(),
        }
    }
}

/// A user as a header can carry it.
pub(crate) struct User {
    id: String,
    groups: Vec<String>,
    method: &'static str,
}

impl Identity {
    /// Answers a check as oidc-authservice does: 200 with user headers, the
    /// callback and logout, or else 302 to the provider, whatever the client is.
    /// Sees of the request only what the check was given.
    pub async fn authservice_check(&self, check: &Check) -> CheckResponse {
        let seen = Seen::from(check);
        let config = &self.parts.authservice;
        let Some(login) = self.login_of(&seen) else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "OIDC Setup is not complete yet.",
            );
        };
        if let Some(reply) = login.serve_own(&seen).await {
            return never_allows(reply);
        }
        if config
            .skip_auth_urls
            .iter()
            .any(|prefix| is_below(seen.path, prefix))
        {
            return text(StatusCode::OK, "OK");
        }
        match self.user(&seen).await {
            Some(user) if !config.admitted.in_group(&user.groups) => text(
                StatusCode::FORBIDDEN,
                "User doesn't belong to any of the allowed groups.",
            ),
            Some(user) => match config.headers(&user) {
                Some(headers) => CheckResponse {
                    status: StatusCode::OK,
                    headers,
                    body: bytes::Bytes::new(),
                },
                None => text(
                    StatusCode::FORBIDDEN,
                    "the user's name does not fit into a header",
                ),
            },
            None => never_allows(login.begin(&seen, &seen.path_and_query())),
        }
    }

    /// By session cookie, then by header: a session id, or a token. A wrong
    /// one counts as none.
    async fn user(&self, seen: &Seen<'_>) -> Option<User> {
        if let Some(session) = self.session(seen).await {
            return Some(User::person(&session.person, "cookie"));
        }
        for id in header_sessions(seen) {
            self.parts.sessions.meet(id).await;
            let Some(login) = self.login_of(seen) else {
                break;
            };
            if let Some(session) = login.find(id)
                && let Some(session) = login.renewed(session).await
            {
                return Some(User::person(&session.person, "header"));
            }
        }
        let Authorization::Bearer(token) = authorization(seen.headers) else {
            return None;
        };
        match self.bearer(token, self.login_of(seen)).await.ok()? {
            TokenHolder::Person(person) => Some(User::person(&person, "header")),
            TokenHolder::Service(service) => Some(User {
                id: service.user_name(),
                groups: service.groups.iter().map(ToString::to_string).collect(),
                method: "header",
            }),
            TokenHolder::ServiceAccount(account) => Some(User {
                id: account.user_name(),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{}", account.namespace),
                    "system:authenticated".to_owned(),
                ],
                method: "header",
            }),
        }
    }
}

impl User {
    fn person(person: &Person, method: &'static str) -> Self {
        Self {
            id: person.email.to_string(),
            groups: person.groups.iter().map(ToString::to_string).collect(),
            method,
        }
    }
}

impl AuthserviceConfig {
    fn headers(&self, user: &User) -> Option<Vec<(HeaderName, HeaderValue)>> {
        Some(vec![
            (
                self.userid_header.clone(),
                value(&format!("{}{}", self.userid_prefix, user.id))?,
            ),
            (self.groups_header.clone(), value(&user.groups.join(","))?),
            (
                HeaderName::from_static("auth-method"),
                HeaderValue::from_static(user.method),
            ),
        ])
    }
}

/// A header value of UTF-8 text.
pub(crate) fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// Whether `path` is `prefix` or below it, in every reading of it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let Some(rest) = path.strip_prefix(prefix) else {
        return false;
    };
    if !(rest.is_empty() || rest.starts_with('/')) {
        return false;
    }
    let decoded = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
    let ambiguous = decoded.contains(['\\', ';', '%', '#', '?', '\0'])
        || decoded.contains("//")
        || decoded.matches('/').count() != rest.matches('/').count()
        || decoded
            .split('/')
            .any(|segment| matches!(segment, "." | ".."));
    !ambiguous
}

/// An answer for the client, given in place of a decision: 200 would be read
/// as leave, so a page that has it becomes 203, which browsers show alike.
pub(crate) fn never_allows(reply: Reply) -> CheckResponse {
    CheckResponse {
        status: match reply.status {
            StatusCode::OK => StatusCode::NON_AUTHORITATIVE_INFORMATION,
            status => status,
        },
        headers: reply.headers,
        body: reply.body,
    }
}

pub(crate) fn text(status: StatusCode, body: &'static str) -> CheckResponse {
    CheckResponse {
        status,
        headers: vec![(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        )],
        body: bytes::Bytes::from_static(body.as_bytes()),
    }
}
