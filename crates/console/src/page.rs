//! The pages, and the policy that browsers enforce on them.

use std::sync::LazyLock;
use std::time::Duration;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::keys::KeysView;
use crate::view::{FormToken, Mode, ModelState, ModelView, PageView};

const STYLE: &str = concat!(
    include_str!("../style/base.css"),
    include_str!("../style/console.css"),
);
/// How much of an answer is shown.
const MAX_SHOWN: usize = 64 * 1024;

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'self'"
    ))
    .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    view: &'a PageView,
}

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage<'a> {
    view: &'a PageView,
    model: &'a ModelView,
    request: &'a str,
    status: StatusCode,
    response: &'a str,
    cut: bool,
    elapsed: String,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys<'a> {
    view: &'a PageView,
    keys: &'a KeysView,
    token: &'a str,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    view: &'a PageView,
    title: &'a str,
    text: &'a str,
}

pub(crate) fn home(view: &PageView) -> Response<Bytes> {
    page(StatusCode::OK, &Home { view })
}

pub(crate) fn keys(view: &PageView, status: StatusCode, keys: &KeysView) -> Response<Bytes> {
    let token = view.token().unwrap_or_default();
    page(status, &Keys { view, keys, token })
}

pub(crate) fn problem(
    view: &PageView,
    status: StatusCode,
    title: &str,
    text: &str,
) -> Response<Bytes> {
    page(status, &Problem { view, title, text })
}

pub(crate) fn result(
    view: &PageView,
    model: &ModelView,
    request: &str,
    status: StatusCode,
    response: &[u8],
    elapsed: Duration,
) -> Response<Bytes> {
    let shown = response.get(..MAX_SHOWN).unwrap_or(response);
    let body = ResultPage {
        view,
        model,
        request,
        status,
        response: &String::from_utf8_lossy(shown),
        cut: shown.len() < response.len(),
        elapsed: milliseconds(elapsed),
    };
    page(StatusCode::OK, &body)
}

fn page(status: StatusCode, template: &impl Template) -> Response<Bytes> {
    let (status, html) = match template.render() {
        Ok(html) => (status, html.replacen("/*style*/", STYLE, 1)),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    };
    let mut reply = Response::new(html.into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "SAMEORIGIN"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    reply
}

fn milliseconds(elapsed: Duration) -> String {
    let value = elapsed.as_secs_f64() * 1000.0;
    if value < 10.0 {
        format!("{value:.2} ms")
    } else {
        format!("{value:.0} ms")
    }
}

impl PageView {
    fn enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }

    fn has_keys(&self) -> bool {
        self.enforced() && self.form_token.is_some()
    }

    /// The number of models and how many are ready, loading, failed.
    fn summary(&self) -> String {
        let count = |wanted: fn(&ModelState) -> bool| {
            self.models
                .iter()
                .filter(|model| wanted(&model.state))
                .count()
        };
        let parts = [
            (count(|state| *state == ModelState::Ready), "ready"),
            (count(|state| *state == ModelState::Loading), "loading"),
            (
                count(|state| matches!(state, ModelState::Failed(_))),
                "failed",
            ),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        parts.join(" · ")
    }

    fn token(&self) -> Option<&str> {
        self.form_token.as_ref().map(FormToken::expose)
    }
}
