//! Ready answers of the login machinery.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use policy::Reply;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

fn reply(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Reply {
    Reply {
        status,
        headers: vec![(CONTENT_TYPE, content_type), (CACHE_CONTROL, NO_STORE)],
        body: body.into(),
    }
}

/// A redirect with the small page that Go's `http.Redirect` writes; an
/// unusable target becomes an error page.
pub(crate) fn redirect(
    status: StatusCode,
    to: &str,
    cookies: impl IntoIterator<Item = Option<HeaderValue>>,
) -> Reply {
    let Ok(location) = HeaderValue::from_str(to) else {
        return failed();
    };
    let body = format!("<a href=\"{}\">Found</a>.\n\n", escape(to));
    let mut reply = reply(status, HTML, body);
    reply.headers.push((LOCATION, location));
    reply
        .headers
        .push((REFERRER_POLICY, HeaderValue::from_static("no-referrer")));
    with_cookies(reply, cookies)
}

pub(crate) fn with_cookies(
    mut reply: Reply,
    cookies: impl IntoIterator<Item = Option<HeaderValue>>,
) -> Reply {
    let cookies = cookies.into_iter().flatten();
    reply
        .headers
        .extend(cookies.map(|value| (SET_COOKIE, value)));
    reply
}

pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    reply(status, JSON, value.to_string())
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    Reply {
        status,
        headers: vec![(CACHE_CONTROL, NO_STORE)],
        body: Bytes::new(),
    }
}

/// What a page offers to do.
pub(crate) enum Action<'a> {
    /// Follow a link.
    Link(&'a str, &'a str),
    /// Post a form without fields.
    Post(&'a str, &'a str),
}

/// A small page: what happened and what to do. All text is escaped here.
pub(crate) fn page(status: StatusCode, title: &str, text: &str, action: &Action<'_>) -> Reply {
    let action = match action {
        Action::Link(label, to) => {
            format!("<p><a href=\"{}\">{}</a></p>", escape(to), escape(label))
        }
        Action::Post(label, to) => format!(
            "<form method=\"post\" action=\"{}\"><button>{}</button></form>",
            escape(to),
            escape(label)
        ),
    };
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1em}}</style>\
         <h1>{title}</h1><p>{text}</p>{action}</html>\n",
        title = escape(title),
        text = escape(text),
    );
    let mut reply = reply(status, HTML, body);
    let hardening: [(HeaderName, &'static str); 4] = [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
    ];
    reply
        .headers
        .extend(hardening.map(|(name, value)| (name, HeaderValue::from_static(value))));
    reply
}

/// Something of ours failed; the log says what.
pub(crate) fn failed() -> Reply {
    page(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Login is not possible just now",
        "Sidegate could not complete this step. Try again in a moment; if it stays so, its log says why.",
        &Action::Link("Try again", "/"),
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
