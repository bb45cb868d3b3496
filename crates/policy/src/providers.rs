//! External authorizers: which a listener has, what they are sent, what their
//! answers mean (istio `extauthz.go`, envoy `ext_authz`).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use resources::mesh::ExtAuthzHttp;
use resources::{ObjectRef, ServiceName, Source};

use crate::answers::{Check, CheckAnswer, CheckId, CheckResponse};
use crate::denial::Refusal;
use crate::permit::{HeaderChange, Reply};
use crate::request::RequestHead;

/// One external authorizer in front of a listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Authorizer {
    pub(crate) name: Arc<str>,
    pub(crate) kind: AuthorizerKind,
    pub(crate) object: ObjectRef,
    pub(crate) source: Source,
    /// Its Service is a login service that Sidegate stands in for.
    pub(crate) login: bool,
    /// It is asked over gRPC.
    pub(crate) grpc: bool,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AuthorizerKind {
    /// Over HTTP.
    Http(Arc<ExtAuthzHttp>),
    /// Cannot be asked; whatever needs it is denied. The reason is for people.
    Broken(String),
}

/// What an answer means.
pub(crate) enum Outcome {
    Allow {
        request: Vec<HeaderChange>,
        response: Vec<HeaderChange>,
    },
    Deny(Refusal),
}

impl Authorizer {
    pub(crate) fn http(
        name: &str,
        settings: ExtAuthzHttp,
        object: ObjectRef,
        source: Source,
    ) -> Self {
        let host = settings.service.rsplit('/').next().unwrap_or_default();
        let login = ServiceName::from_host(host, "istio-system")
            .is_some_and(|s| crate::owners::is_login_service(&s));
        Self {
            name: name.into(),
            kind: AuthorizerKind::Http(Arc::new(settings)),
            object,
            source,
            login,
            grpc: false,
        }
    }
}

/// The check request for a request: same method, path before any rewrite, and
/// only the headers that the configuration lists.
pub(crate) fn check(
    id: CheckId,
    name: &Arc<str>,
    settings: &Arc<ExtAuthzHttp>,
    grpc: bool,
    head: &RequestHead,
) -> Check {
    let listed = if settings.include_request_headers_in_check.is_empty() {
        &settings.include_headers_in_check
    } else {
        &settings.include_request_headers_in_check
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        if *name == http::header::AUTHORIZATION || is_listed(listed, name.as_str()) {
            // Repeated headers travel as one.
            let joined = headers
                .get(name)
                .map(|known: &HeaderValue| [known.as_bytes(), value.as_bytes()].join(&b','));
            let joined = joined.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
            headers.insert(name.clone(), joined.unwrap_or_else(|| value.clone()));
        }
    }
    for (name, value) in &settings.include_additional_headers_in_check {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.insert(name, value);
        }
    }
    Check {
        id,
        provider: name.clone(),
        settings: settings.clone(),
        grpc,
        method: head.method.clone(),
        authority: head.authority.clone(),
        path_and_query: format!("{}{}", settings.path_prefix, head.path_and_query()),
        headers,
    }
}

/// Header lists of a provider: exact, `x*` or `*x`, names in any case.
pub(crate) fn is_listed<'l>(list: impl IntoIterator<Item = &'l String>, name: &str) -> bool {
    list.into_iter().any(|entry| {
        let entry = entry.to_ascii_lowercase();
        match (entry.strip_suffix('*'), entry.strip_prefix('*')) {
            (Some(prefix), _) => name.starts_with(prefix),
            (_, Some(suffix)) => name.ends_with(suffix),
            _ => entry == name,
        }
    })
}

/// Reads an answer as Envoy does: exactly 200 allows, a server error over HTTP
/// or no answer is a failure, anything else is a denial that is passed on.
pub(crate) fn interpret(settings: &ExtAuthzHttp, grpc: bool, answer: &CheckAnswer) -> Outcome {
    match answer {
        CheckAnswer::Response(response) if response.status == StatusCode::OK => {
            allow(settings, response)
        }
        CheckAnswer::Response(response) if grpc || !response.status.is_server_error() => {
            Outcome::Deny(Refusal::Answer(denied(settings, response)))
        }
        CheckAnswer::Response(_) | CheckAnswer::Failed(_) if settings.fail_open => Outcome::Allow {
            request: Vec::new(),
            response: Vec::new(),
        },
        CheckAnswer::Response(_) | CheckAnswer::Failed(_) => {
            let status = settings
                .status_on_error
                .as_deref()
                .and_then(|s| s.parse().ok());
            Outcome::Deny(Refusal::CheckFailed(
                status.unwrap_or(StatusCode::FORBIDDEN),
            ))
        }
    }
}

fn allow(settings: &ExtAuthzHttp, response: &CheckResponse) -> Outcome {
    let mut request = Vec::new();
    let mut downstream = Vec::new();
    for (name, value) in &response.headers {
        let removes = name.as_str() == "x-envoy-auth-headers-to-remove";
        let all = settings
            .headers_to_upstream_on_allow
            .iter()
            .any(|entry| entry == "*");
        if is_listed(&settings.headers_to_upstream_on_allow, name.as_str()) && !(removes && all) {
            request.push(HeaderChange::Set(name.clone(), value.clone()));
        }
        if is_listed(&settings.headers_to_downstream_on_allow, name.as_str()) {
            downstream.push(HeaderChange::Add(name.clone(), value.clone()));
        }
        if removes {
            let names = value.to_str().unwrap_or_default().split(',');
            request.extend(
                names
                    .filter_map(|n| HeaderName::from_bytes(n.trim().as_bytes()).ok())
                    .map(HeaderChange::Remove),
            );
        }
    }
    Outcome::Allow {
        request,
        response: downstream,
    }
}

fn denied(settings: &ExtAuthzHttp, response: &CheckResponse) -> Reply {
    let listed = &settings.headers_to_downstream_on_deny;
    let always = ["www-authenticate", "location", "content-length"];
    let mut headers: Vec<(HeaderName, HeaderValue)> = response
        .headers
        .iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "host" | "content-length" | "transfer-encoding" | "connection"
            )
        })
        .filter(|(name, _)| {
            listed.is_empty() || always.contains(&name.as_str()) || is_listed(listed, name.as_str())
        })
        .cloned()
        .collect();
    if !listed.is_empty()
        && !headers
            .iter()
            .any(|(name, _)| *name == http::header::CONTENT_TYPE)
    {
        headers.push((
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain"),
        ));
    }
    Reply {
        status: response.status,
        headers,
        body: response.body.clone(),
    }
}
