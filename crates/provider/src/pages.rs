//! The pages that people see, and the policy that browsers enforce on them.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_FRAME_OPTIONS};
use sha2::{Digest, Sha256};

use crate::reply::{Reply, internal, reply};
use crate::seal::random_token;

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
    /// The code on the screen of the device that this is for.
    pub(crate) device: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "select.html")]
pub(crate) struct SelectPage<'a> {
    pub(crate) client: &'a str,
    pub(crate) email: &'a str,
}

#[derive(Template)]
#[template(path = "device.html")]
pub(crate) struct DevicePage<'a> {
    pub(crate) code: &'a str,
    pub(crate) action: &'a str,
    pub(crate) problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "logout.html")]
pub(crate) struct LogoutPage<'a> {
    pub(crate) email: &'a str,
    pub(crate) action: &'a str,
}

/// A page that says what happened and what to do.
#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage<'a> {
    pub(crate) title: &'a str,
    pub(crate) text: &'a str,
    /// What the operator of the application may need.
    pub(crate) detail: &'a str,
    /// What the line in the log is called.
    pub(crate) reference: &'a str,
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

/// A problem without a way to begin again here. The log says under the page's reference what it
/// was; both without anything that the request carries beside what `detail` quotes.
pub(crate) fn problem(status: StatusCode, title: &str, text: &str, detail: &str) -> Reply {
    let reference = random_token::<6>().unwrap_or_default();
    tracing::info!(
        reference,
        status = status.as_u16(),
        detail,
        "page shown: {title}"
    );
    let body = ProblemPage {
        title,
        text,
        detail,
        reference: &reference,
        restart: None,
    };
    page(status, &body)
}

/// Something of ours failed while a person looks on; the lines before it in the log say what.
pub(crate) fn failed() -> Reply {
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something went wrong here",
        "The identity provider could not do what you asked for. Go back and try again in a \
         moment.",
        "",
    )
}

/// Something that a person should know, and that is as it should be.
pub(crate) fn notice(title: &str, text: &str) -> Reply {
    let body = ProblemPage {
        title,
        text,
        detail: "",
        reference: "",
        restart: None,
    };
    page(StatusCode::OK, &body)
}
