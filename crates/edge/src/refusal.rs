//! The one place where refusals become answers.
#![doc = concat!("\n", include_str!("refusal.md"))]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use policy::{Denial, Entrance, Refusal, Reply, RequestHead};
use wire::framing::percent;

/// Answers a denial. `login` sends a browser to the login; it is asked only
/// about pages and forms on the external listener.
pub fn denial(
    denial: &Denial,
    head: &RequestHead,
    enforces: bool,
    login: impl FnOnce() -> Reply,
) -> Reply {
    if head.is_grpc() {
        return grpc_denial(&denial.refusal);
    }
    match &denial.refusal {
        Refusal::Login => {
            let outside = head.entrance == Entrance::External;
            let mut reply = if outside && head.is_navigation() {
                login()
            } else if outside && head.is_form() {
                not_taken(login())
            } else {
                return challenge("authentication required", None);
            };
            set(&mut reply, header::CACHE_CONTROL, "no-store");
            reply
        }
        Refusal::Token { invalid: None } => challenge("authentication required", None),
        Refusal::Unknown(why) => {
            // No error code where there was no credential (RFC 6750 §3.1).
            let mut reply = json(
                StatusCode::UNAUTHORIZED,
                "authentication required",
                Some(why),
            );
            set(&mut reply, header::WWW_AUTHENTICATE, "Bearer");
            reply
        }
        Refusal::Token { invalid: Some(why) } if has_several_credentials(head) => {
            let mut reply = json(StatusCode::BAD_REQUEST, "invalid request", Some(why));
            let value = bearer_error("invalid_request", why);
            set(&mut reply, header::WWW_AUTHENTICATE, &value);
            reply
        }
        Refusal::Token { invalid: Some(why) } => challenge("invalid token", Some(why)),
        Refusal::Forbidden(why) => json(StatusCode::FORBIDDEN, "forbidden", Some(why)),
        Refusal::Scope(why) => {
            let mut reply = json(StatusCode::FORBIDDEN, "insufficient scope", Some(why));
            let value = bearer_error("insufficient_scope", why);
            set(&mut reply, header::WWW_AUTHENTICATE, &value);
            reply
        }
        Refusal::Rbac => {
            let mut reply = status_only(StatusCode::FORBIDDEN);
            reply.body = Bytes::from_static(b"RBAC: access denied");
            set(&mut reply, header::CONTENT_TYPE, "text/plain");
            reply
        }
        Refusal::NoRoute if enforces => json(
            StatusCode::NOT_FOUND,
            "no route",
            Some("nothing is served under this host and path"),
        ),
        Refusal::NoRoute => status_only(StatusCode::NOT_FOUND),
        Refusal::Answer(answer) => answer.clone(),
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

/// Whether a request is refused for what it has beside a credential that may well be right: RFC 6750
/// §3.1 calls that another error than a wrong token.
fn has_several_credentials(head: &RequestHead) -> bool {
    let sent = head.headers.get_all(header::AUTHORIZATION);
    // Envoy makes one line of several where it asks over HTTP, and no token has a comma.
    let joined = sent.iter().any(|value| {
        let is_bearer = value
            .as_bytes()
            .get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        is_bearer && value.as_bytes().contains(&b',')
    });
    let tokens = sent.iter().count();
    let keys = head.headers.get_all(&policy::KEY_HEADER);
    let has_key = keys
        .iter()
        .any(|value| policy::is_api_key(&policy::KEY_HEADER, value));
    joined || tokens > 1 || has_key && (keys.iter().count() > 1 || tokens > 0)
}

fn grpc_denial(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Login | Refusal::Token { invalid: None } => {
            grpc_status(16, "authentication required")
        }
        Refusal::Token { invalid: Some(why) } => grpc_status(16, &format!("invalid token: {why}")),
        Refusal::Unknown(why) => grpc_status(16, why),
        Refusal::Forbidden(why) | Refusal::Scope(why) => grpc_status(7, why),
        Refusal::Rbac => grpc_status(7, "RBAC: access denied"),
        Refusal::NoRoute => grpc_status(12, ""),
        Refusal::Answer(answer) => {
            let text = std::str::from_utf8(&answer.body).unwrap_or_default();
            let mut reply = grpc_status(from_http(answer.status), text);
            for (name, value) in &answer.headers {
                let about_body =
                    name.as_str().starts_with("content-") || name.as_str().starts_with("grpc-");
                if !about_body && !crate::names::is_hop_by_hop(name) {
                    reply.headers.push((name.clone(), value.clone()));
                }
            }
            reply
        }
        Refusal::CheckFailed(status) => grpc_status(from_http(*status), ""),
        Refusal::Loop => grpc_status(2, "the routes lead in a circle"),
        Refusal::Closed | Refusal::Unreachable => grpc_status(14, ""),
    }
}

/// Envoy `source/common/grpc/status.cc`, `httpToGrpcStatus`.
pub fn from_http(status: StatusCode) -> u8 {
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
pub fn grpc_status(status: u8, message: &str) -> Reply {
    let mut reply = status_only(StatusCode::OK);
    set(&mut reply, header::CONTENT_TYPE, "application/grpc");
    let status = (
        HeaderName::from_static("grpc-status"),
        u16::from(status).into(),
    );
    reply.headers.push(status);
    if let Some(message) = grpc_message(message) {
        let message = (HeaderName::from_static("grpc-message"), message);
        reply.headers.push(message);
    }
    reply
}

/// As the gRPC protocol writes it, of a bounded length.
fn grpc_message(text: &str) -> Option<HeaderValue> {
    let end = text.floor_char_boundary(1024);
    let out = percent(text.get(..end)?);
    HeaderValue::try_from(out).ok().filter(|v| !v.is_empty())
}

fn challenge(error: &str, invalid: Option<&str>) -> Reply {
    let mut reply = json(StatusCode::UNAUTHORIZED, error, invalid);
    let value = match invalid {
        None => "Bearer".to_owned(),
        Some(why) => bearer_error("invalid_token", why),
    };
    set(&mut reply, header::WWW_AUTHENTICATE, &value);
    reply
}

/// A page with a link to where a redirect to the login leads: after that one
/// nobody would see that the form they sent was not taken.
fn not_taken(login: Reply) -> Reply {
    let to = login
        .headers
        .iter()
        .find(|(name, _)| *name == header::LOCATION)
        .and_then(|(_, to)| to.to_str().ok());
    let Some(to) = to else { return login };
    let to = to
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;");
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not logged in</title>\
        <p>You are not logged in any more, and what you sent was not taken.\
        <p><a href=\"{to}\">Log in</a>, then send it again.\n"
    );
    let mut reply = status_only(StatusCode::UNAUTHORIZED);
    // The login that the link begins is this browser's.
    let own = login.headers.into_iter();
    reply.headers = own
        .filter(|(name, _)| *name == header::SET_COOKIE)
        .collect();
    reply.body = body.into();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::WWW_AUTHENTICATE, "Bearer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        set(&mut reply, name, value);
    }
    reply
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

/// `{"error": …, "reason": …}`.
pub fn json(status: StatusCode, error: &str, reason: Option<&str>) -> Reply {
    let mut value = serde_json::json!({ "error": error });
    if let (Some(reason), Some(object)) = (reason, value.as_object_mut()) {
        object.insert("reason".to_owned(), reason.into());
    }
    let mut reply = status_only(status);
    reply.body = value.to_string().into();
    set(&mut reply, header::CONTENT_TYPE, "application/json");
    reply
}

/// A status without a body.
pub fn status_only(status: StatusCode) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

/// Replaces a header by one value.
pub fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        reply.headers.retain(|(known, _)| *known != name);
        reply.headers.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_statuses_become_grpc_ones_as_in_envoy() {
        for (http, grpc) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (302, 2),
            (500, 2),
        ] {
            let status = StatusCode::from_u16(http).unwrap();
            assert_eq!(from_http(status), grpc, "{http}");
        }
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        for (text, expected) in [
            ("plain text", Some("plain text")),
            ("100%", Some("100%25")),
            ("a\nb", Some("a%0Ab")),
            ("é", Some("%C3%A9")),
            ("", None),
        ] {
            let message = grpc_message(text);
            let message = message.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(message, expected, "{text}");
        }
        assert_eq!(grpc_message(&"é".repeat(4000)).unwrap().len(), 6 * 512);
    }

    #[test]
    fn a_form_that_was_not_taken_is_told_so_and_the_link_is_no_markup() {
        let login = Reply {
            status: StatusCode::FOUND,
            headers: vec![
                (
                    header::LOCATION,
                    HeaderValue::from_static("/a?b=c&d=\"><script>"),
                ),
                (header::SET_COOKIE, HeaderValue::from_static("begun=1")),
                (header::ETAG, HeaderValue::from_static("x")),
            ],
            body: Bytes::new(),
        };
        let page = not_taken(login);
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        let has = |name: HeaderName| page.headers.iter().any(|(known, _)| *known == name);
        assert!(has(header::SET_COOKIE) && !has(header::LOCATION) && !has(header::ETAG));
        let body = std::str::from_utf8(&page.body).unwrap();
        assert!(
            body.contains("href=\"/a?b=c&amp;d=&quot;>&lt;script>\""),
            "{body}"
        );
        let elsewhere = status_only(StatusCode::FORBIDDEN);
        assert_eq!(not_taken(elsewhere).status, StatusCode::FORBIDDEN);
    }

    #[test]
    fn an_authorizers_answer_to_grpc_keeps_its_headers_and_not_its_framing() {
        let made = grpc_denial(&Refusal::Answer(Reply {
            status: StatusCode::FORBIDDEN,
            headers: vec![
                (header::CONTENT_TYPE, HeaderValue::from_static("text/html")),
                (
                    HeaderName::from_static("grpc-status"),
                    HeaderValue::from_static("0"),
                ),
                (
                    HeaderName::from_static("x-reason"),
                    HeaderValue::from_static("r"),
                ),
            ],
            body: bytes::Bytes::from_static(b"no"),
        }));
        assert_eq!(made.status, StatusCode::OK);
        let all = |wanted: &str| {
            let headers = made.headers.iter().filter(|(name, _)| name == wanted);
            headers.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(all("grpc-status"), ["7"]);
        assert_eq!(all("grpc-message"), ["no"]);
        assert_eq!(all("content-type"), ["application/grpc"]);
        assert_eq!(all("x-reason"), ["r"]);
    }
}
