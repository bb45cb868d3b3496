//! Answers: JSON, redirects, and the headers that all of them carry.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use serde_json::json;
use url::form_urlencoded::Serializer;

use crate::keys::CACHE_SECONDS;

pub(crate) type Reply = Response<Bytes>;

/// An answer that no cache keeps.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    reply
}

/// Keys and discovery may be kept for as long as Dex lets them ([`CACHE_SECONDS`]).
pub(crate) fn cached(content_type: &'static str, body: Bytes) -> Reply {
    const _: () = assert!(CACHE_SECONDS == 600);
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("max-age=600, must-revalidate"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// There is no key yet, and there should be one soon.
pub(crate) fn not_yet() -> Reply {
    let mut reply = oauth_error(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "the identity provider has no signing key yet",
    );
    let headers = reply.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    reply
}

pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    reply(status, "application/json", value.to_string())
}

/// What an application is told that something is wrong with its request, on the way to the log.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) error: String,
    pub(crate) description: String,
}

/// Has the log tell of a refusal.
pub(crate) fn refused(mut reply: Reply, error: &str, description: &str) -> Reply {
    reply.extensions_mut().insert(Refused {
        error: error.to_owned(),
        description: description.to_owned(),
    });
    reply
}

/// An error of the token endpoint (RFC 6749 section 5.2).
pub(crate) fn oauth_error(status: StatusCode, error: &str, description: &str) -> Reply {
    let description = description_text(description);
    let body = json!({"error": error, "error_description": description});
    refused(json(status, &body), error, &description)
}

/// A 401 with its challenge.
pub(crate) fn challenge(error: &str, description: &str, challenge: &'static str) -> Reply {
    let mut reply = oauth_error(StatusCode::UNAUTHORIZED, error, description);
    reply
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    reply
}

/// A redirect to `uri` with `params` added to its query; `uri` was checked when configured.
pub(crate) fn redirect(status: StatusCode, uri: &str, params: &[(&str, &str)]) -> Reply {
    let separator = if uri.contains('?') { "&" } else { "?" };
    redirect_behind(separator, status, uri, params)
}

/// The same behind a `#`, which browsers keep to themselves.
pub(crate) fn redirect_fragment(status: StatusCode, uri: &str, params: &[(&str, &str)]) -> Reply {
    redirect_behind("#", status, uri, params)
}

fn redirect_behind(
    separator: &str,
    status: StatusCode,
    uri: &str,
    params: &[(&str, &str)],
) -> Reply {
    let mut serializer = Serializer::new(String::new());
    serializer.extend_pairs(params);
    let query = serializer.finish();
    let separator = if query.is_empty() { "" } else { separator };
    let Ok(location) = HeaderValue::try_from(format!("{uri}{separator}{query}")) else {
        return internal();
    };
    let mut reply = reply(status, "text/plain; charset=utf-8", Bytes::new());
    reply.headers_mut().insert(LOCATION, location);
    reply
}

/// Something of ours failed; the log says what.
pub(crate) fn internal() -> Reply {
    oauth_error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "server_error",
        "the identity provider could not complete the request",
    )
}

/// Descriptions allow printable ASCII without `"` and `\` (RFC 6749 section 5.2).
pub(crate) fn description_text(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => c,
            _ => '?',
        })
        .take(300)
        .collect()
}
