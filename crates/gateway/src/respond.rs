//! The one place where refusals and faults become answers.
#![doc = concat!("\n", include_str!("respond.md"))]

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use policy::{Denial, Entrance, Refusal, Reply, RequestHead};

use crate::body::{Body, BodyFault};
use crate::host::Host;
use crate::hygiene::Unfit;

/// Something other than a refusal that keeps a request from being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unfit(Unfit),
    Body(BodyFault),
    /// Nothing serves the destination.
    Missing(String),
    /// An upstream could not be reached.
    Unreachable(&'static str),
    /// An upstream broke off, or answered in a way that cannot be passed on.
    Broken(&'static str),
    /// The route's time is over.
    Timeout,
    /// A question of the decision was not answered.
    Undecided,
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unfit(unfit) => match unfit {
                Unfit::Bad(_) => StatusCode::BAD_REQUEST,
                Unfit::Connect => StatusCode::METHOD_NOT_ALLOWED,
                Unfit::Workload => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                Unfit::Expectation => StatusCode::EXPECTATION_FAILED,
                Unfit::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            },
            Self::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyFault::Stalled) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyFault::Broken) => StatusCode::BAD_REQUEST,
            Self::Missing(_) | Self::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Undecided => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn texts(&self) -> (&'static str, &str) {
        match self {
            Self::Unfit(Unfit::Bad(reason)) => ("bad request", reason),
            Self::Unfit(Unfit::Connect) => (
                "method not allowed",
                "this is not a forward proxy: CONNECT is refused",
            ),
            Self::Unfit(Unfit::Workload) => (
                "proxy authentication required",
                "the proxy credentials belong to no workload",
            ),
            Self::Unfit(Unfit::Expectation) => {
                ("expectation failed", "only `100-continue` can be expected")
            }
            Self::Unfit(Unfit::TooManyHeaders) => {
                ("request header fields too large", "too many headers")
            }
            Self::Body(BodyFault::TooLarge) => (
                "payload too large",
                "the request body is longer than the limit",
            ),
            Self::Body(BodyFault::Stalled) => {
                ("request timeout", "the request body did not arrive")
            }
            Self::Body(BodyFault::Broken) => ("bad request", "the request body broke off"),
            Self::Missing(reason) => ("nothing serves this", reason),
            Self::Unreachable(reason) => ("upstream unavailable", reason),
            Self::Broken(reason) => ("bad gateway", reason),
            Self::Timeout => (
                "upstream timeout",
                "the upstream did not answer within the time of the route",
            ),
            Self::Undecided => ("internal error", "the decision could not be completed"),
        }
    }
}

/// Answers a fault. `head` is absent when the request never had one.
pub(crate) fn fault(fault: &Fault, grpc: bool) -> Response<Body> {
    let (error, reason) = fault.texts();
    if grpc {
        return grpc_status(from_http(fault.status()), &format!("{error}: {reason}"));
    }
    let mut response = json(fault.status(), error, Some(reason));
    match fault {
        Fault::Unfit(Unfit::Workload) => {
            set(
                &mut response,
                header::PROXY_AUTHENTICATE,
                "Basic realm=\"sidegate\"",
            );
        }
        Fault::Unfit(Unfit::Connect) => {
            set(
                &mut response,
                header::ALLOW,
                "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
            );
        }
        _ => {}
    }
    response
}

/// Answers a denial.
pub(crate) fn denial(
    denial: &Denial,
    head: &RequestHead,
    enforces: bool,
    host: &dyn Host,
) -> Response<Body> {
    if head.is_grpc() {
        return grpc_denial(&denial.refusal);
    }
    match &denial.refusal {
        Refusal::Login => {
            if head.entrance == Entrance::External && head.is_navigation() {
                let mut response = reply(host.login(head));
                set(&mut response, header::CACHE_CONTROL, "no-store");
                return response;
            }
            challenge("authentication required", None)
        }
        Refusal::Token { invalid: None } => challenge("authentication required", None),
        Refusal::Token { invalid: Some(why) } => challenge("invalid token", Some(why)),
        Refusal::Forbidden(why) => json(StatusCode::FORBIDDEN, "forbidden", Some(why)),
        Refusal::Scope(why) => {
            let mut response = json(StatusCode::FORBIDDEN, "insufficient scope", Some(why));
            let value = bearer_error("insufficient_scope", why);
            set(&mut response, header::WWW_AUTHENTICATE, &value);
            response
        }
        Refusal::Rbac => {
            let mut response = Response::new(Body::from(&b"RBAC: access denied"[..]));
            *response.status_mut() = StatusCode::FORBIDDEN;
            set(&mut response, header::CONTENT_TYPE, "text/plain");
            response
        }
        Refusal::NoRoute if enforces => json(
            StatusCode::NOT_FOUND,
            "no route",
            Some("nothing is served under this host and path"),
        ),
        Refusal::NoRoute => status_only(StatusCode::NOT_FOUND),
        Refusal::Answer(answer) => reply(answer.clone()),
        Refusal::CheckFailed(status) => status_only(*status),
        Refusal::Closed => status_only(StatusCode::MISDIRECTED_REQUEST),
        Refusal::Unreachable => status_only(StatusCode::SERVICE_UNAVAILABLE),
        Refusal::Loop => json(
            StatusCode::LOOP_DETECTED,
            "the routes lead in a circle",
            None,
        ),
    }
}

/// An answer made elsewhere. Its framing is ours.
pub(crate) fn reply(reply: Reply) -> Response<Body> {
    // 101 and other interim answers are not for replies to give.
    let status = match reply.status.is_informational() {
        true => StatusCode::BAD_GATEWAY,
        false => reply.status,
    };
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    for (name, value) in reply.headers {
        if !crate::names::is_hop_by_hop(&name) && name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn grpc_denial(refusal: &Refusal) -> Response<Body> {
    match refusal {
        Refusal::Login | Refusal::Token { invalid: None } => {
            grpc_status(16, "authentication required")
        }
        Refusal::Token { invalid: Some(why) } => grpc_status(16, &format!("invalid token: {why}")),
        Refusal::Forbidden(why) | Refusal::Scope(why) => grpc_status(7, why),
        Refusal::Rbac => grpc_status(7, "RBAC: access denied"),
        Refusal::NoRoute => grpc_status(12, ""),
        Refusal::Answer(answer) => {
            let text = std::str::from_utf8(&answer.body).unwrap_or_default();
            let mut response = grpc_status(from_http(answer.status), text);
            for (name, value) in &answer.headers {
                let about_body =
                    name.as_str().starts_with("content-") || name.as_str().starts_with("grpc-");
                if !about_body && !crate::names::is_hop_by_hop(name) {
                    response.headers_mut().append(name.clone(), value.clone());
                }
            }
            response
        }
        Refusal::CheckFailed(status) => grpc_status(from_http(*status), ""),
        Refusal::Loop => grpc_status(2, "the routes lead in a circle"),
        Refusal::Closed | Refusal::Unreachable => grpc_status(14, ""),
    }
}

/// Envoy `source/common/grpc/status.cc`, `httpToGrpcStatus`.
fn from_http(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// A response that consists of trailers only (gRPC over HTTP/2, "Responses").
fn grpc_status(status: u8, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    set(&mut response, header::CONTENT_TYPE, "application/grpc");
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("grpc-status"),
        u16::from(status).into(),
    );
    if let Some(message) = grpc_message(message) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    response
}

/// Percent-encodes as the gRPC protocol asks: everything but space to `~`, and `%`.
fn grpc_message(text: &str) -> Option<HeaderValue> {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes().take(1024) {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").ok()?,
        }
    }
    HeaderValue::try_from(out).ok().filter(|v| !v.is_empty())
}

fn challenge(error: &str, invalid: Option<&str>) -> Response<Body> {
    let mut response = json(StatusCode::UNAUTHORIZED, error, invalid);
    let value = match invalid {
        None => "Bearer".to_owned(),
        Some(why) => bearer_error("invalid_token", why),
    };
    set(&mut response, header::WWW_AUTHENTICATE, &value);
    response
}

/// A challenge of RFC 6750 §3.
fn bearer_error(error: &str, description: &str) -> String {
    let quoted: String = description
        .chars()
        .map(|c| {
            if (' '..='~').contains(&c) && c != '"' && c != '\\' {
                c
            } else {
                '\''
            }
        })
        .collect();
    format!("Bearer error=\"{error}\", error_description=\"{quoted}\"")
}

fn json(status: StatusCode, error: &str, reason: Option<&str>) -> Response<Body> {
    let mut value = serde_json::json!({ "error": error });
    if let (Some(reason), Some(object)) = (reason, value.as_object_mut()) {
        object.insert("reason".to_owned(), reason.into());
    }
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}

fn status_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
