//! Forms of our own pages, and what keeps other sites from sending them.
//!
//! Browsers say where a form comes from (`Sec-Fetch-Site`, or `Origin` where that is missing). What
//! says neither is told apart by what every form carries: a state or token that is sealed here and
//! bound to a cookie of the browser.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};
use http::{Request, StatusCode};

use crate::login::{cookie_of, is_https};
use crate::pages::problem;
use crate::params::{MAX_LENGTH, Params};
use crate::provider::Inner;
use crate::reply::Reply;
use crate::seal::random_token;

/// One cookie for all tabs of a browser.
const COOKIE_NAME: &str = "sidegate_login";
const COOKIE_LENGTH: usize = 22;

impl Inner {
    /// The form in the body, unless another site posted it.
    pub(crate) fn own_form(&self, request: &Request<Bytes>) -> Result<Params, Reply> {
        if !self.is_from_here(request) {
            return Err(crossed());
        }
        if !is_form(request) || request.body().len() > MAX_LENGTH {
            return Err(bad_form(
                "expected `application/x-www-form-urlencoded` below 16 KiB",
            ));
        }
        Params::parse(request.body()).map_err(|error| bad_form(&error.to_string()))
    }

    /// As [`Self::own_form`], for one that carries a token of [`Self::form_token`].
    pub(crate) fn own_token_form(&self, request: &Request<Bytes>) -> Result<Params, Reply> {
        let form = self.own_form(request)?;
        let bound = self.browser(request).is_some_and(|cookie| {
            let token = form.get("token").ok().flatten().unwrap_or_default();
            self.sealer.same(&self.form_token(&cookie), token)
        });
        if bound { Ok(form) } else { Err(crossed()) }
    }

    /// What ties a form without other state to a browser.
    pub(crate) fn form_token(&self, browser: &str) -> String {
        self.sealer.mac("form", browser)
    }

    /// The value that names the browser to us.
    #[expect(clippy::unused_self, reason = "reads beside its siblings")]
    pub(crate) fn browser(&self, request: &Request<Bytes>) -> Option<String> {
        cookie_of(request, COOKIE_NAME, COOKIE_LENGTH)
    }

    /// The same, or a new one that [`Self::set_browser`] has to give it.
    pub(crate) fn browser_or_new(&self, request: &Request<Bytes>) -> Option<String> {
        self.browser(request).or_else(random_token::<16>)
    }

    /// Sets the cookie on an answer.
    pub(crate) fn set_browser(&self, request: &Request<Bytes>, reply: &mut Reply, browser: &str) {
        let secure = if is_https(request) { "; Secure" } else { "" };
        let path = self.config.issuer.path();
        let scope = if path.is_empty() { "/" } else { path };
        let cookie =
            format!("{COOKIE_NAME}={browser}; Path={scope}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            reply.headers_mut().append(SET_COOKIE, cookie);
        }
    }

    fn is_from_here(&self, request: &Request<Bytes>) -> bool {
        let header = |name: HeaderName| request.headers().get(name);
        if let Some(site) = header(HeaderName::from_static("sec-fetch-site")) {
            // `none`: the person did it, without a page.
            return site == "same-origin" || site == "none";
        }
        // `null` says nothing: pages without a referrer have that origin, too.
        let Some(origin) = header(ORIGIN).filter(|origin| *origin != "null") else {
            return true;
        };
        let Some((_, origin)) = origin.to_str().ok().and_then(|o| o.split_once("://")) else {
            return false;
        };
        let hosts = [HOST, HeaderName::from_static("x-forwarded-host")];
        let issuer = self.config.issuer.url().split_once("://");
        let issuer = issuer.map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        hosts
            .into_iter()
            .filter_map(|name| header(name)?.to_str().ok())
            .chain(issuer)
            .chain(
                request
                    .uri()
                    .authority()
                    .map(|authority| authority.as_str()),
            )
            .any(|host| host.eq_ignore_ascii_case(origin))
    }
}

fn crossed() -> Reply {
    problem(
        StatusCode::FORBIDDEN,
        |w| &w.crossed,
        |w| &w.crossed_text,
        "",
    )
}

pub(crate) fn bad_form(detail: &str) -> Reply {
    problem(
        StatusCode::BAD_REQUEST,
        |w| &w.form_bad,
        |w| &w.form_bad_text,
        detail,
    )
}

pub(crate) fn is_form(request: &Request<Bytes>) -> bool {
    let Some(value) = request.headers().get(CONTENT_TYPE) else {
        return false;
    };
    let kind = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    kind.trim_ascii()
        .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}
