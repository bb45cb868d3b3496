//! The pages that people see, and the policy that browsers enforce on them.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_FRAME_OPTIONS};
use sha2::{Digest, Sha256};

use crate::reply::{Reply, internal, reply};

/// One stylesheet for every page of the product, then what is particular here.
const STYLE: &str = concat!(
    include_str!("../../console/style/base.css"),
    include_str!("../style/login.css"),
);

/// No `form-action`: browsers apply it to the redirects after the form as well, and those lead to
/// the application, then wherever it sends the person. Without scripts and with everything
/// escaped, nothing can add a form to these pages.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         frame-ancestors 'none'"
    ))
    .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage<'a> {
    pub(crate) client: &'a str,
    /// What was typed before.
    pub(crate) login: &'a str,
    pub(crate) problem: Option<&'a str>,
    pub(crate) hint: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "approval.html")]
pub(crate) struct ApprovalPage<'a> {
    pub(crate) client: &'a str,
    pub(crate) email: &'a str,
    pub(crate) asks: &'a [&'a str],
}

/// A page that says what happened and what to do.
#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage<'a> {
    pub(crate) title: &'a str,
    pub(crate) text: &'a str,
    /// What the operator of the application may need.
    pub(crate) detail: &'a str,
    /// Where to begin again.
    pub(crate) restart: Option<&'a str>,
}

/// Renders `page`; its template includes [`STYLE`] through `layout.html`.
pub(crate) fn page(status: StatusCode, page: &impl Template) -> Reply {
    let Ok(html) = page.render() else {
        return internal();
    };
    let html = html.replacen("/*style*/", STYLE, 1);
    let mut reply = reply(status, "text/html; charset=utf-8", html);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    reply
}

/// A problem without a way to begin again here.
pub(crate) fn problem(status: StatusCode, title: &str, text: &str, detail: &str) -> Reply {
    page(
        status,
        &ProblemPage {
            title,
            text,
            detail,
            restart: None,
        },
    )
}
