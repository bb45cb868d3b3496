//! Which pages of other origins may call the endpoints for programs: `web.allowedOrigins` and
//! `web.allowedHeaders` (the CORS protocol of the Fetch standard).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, StatusCode};

use crate::config::ConfigError;
use crate::reply::{Reply, reply};

/// Endpoints that hold nothing of a browser: no cookie is looked at, so none is ever allowed.
const SHARED: [&str; 5] = [
    "/.well-known/openid-configuration",
    "/keys",
    "/token",
    "/token/revoke",
    "/userinfo",
];

/// Origins whose pages may read answers. Never with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
    headers: HeaderValue,
}

impl Cors {
    /// `web.allowedOrigins`, whole or `*`; `headers` are `authorization` unless given, as in Dex.
    pub(crate) fn parse(origins: Vec<String>, headers: Vec<String>) -> Result<Self, ConfigError> {
        let mut any = false;
        let mut known = Vec::new();
        for (index, origin) in origins.into_iter().enumerate() {
            any |= origin == "*";
            if origin == "*" {
                continue;
            }
            match HeaderValue::try_from(&origin) {
                Ok(value) if is_origin(&origin) => known.push(value),
                _ => {
                    return Err(ConfigError::Invalid {
                        field: format!("web.allowedOrigins[{index}]"),
                        value: origin,
                        expected: "an origin as browsers send it, such as `https://app.example`, or `*`",
                    });
                }
            }
        }
        for (index, name) in headers.iter().enumerate() {
            if HeaderName::try_from(name).is_err() || name == "*" {
                return Err(ConfigError::Invalid {
                    field: format!("web.allowedHeaders[{index}]"),
                    value: name.clone(),
                    expected: "the name of a header",
                });
            }
        }
        let listed = HeaderValue::try_from(headers.join(", ").to_lowercase());
        Ok(Self {
            any,
            origins: known,
            headers: match listed {
                Ok(listed) if !headers.is_empty() => listed,
                _ => HeaderValue::from_static("authorization"),
            },
        })
    }

    /// Lets nobody in, unless something is configured.
    fn is_off(&self) -> bool {
        !self.any && self.origins.is_empty()
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.any || self.origins.contains(origin)
    }

    /// The answer to a question that a browser asks ahead.
    pub(crate) fn preflight(&self, path: &str, request: &Request<Bytes>) -> Option<Reply> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && SHARED.contains(&path);
        let origin = headers.get(ORIGIN).filter(|_| asks)?;
        if !self.allows(origin) {
            return None;
        }
        let mut reply = reply(StatusCode::NO_CONTENT, "text/plain", Bytes::new());
        let headers = reply.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST"),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(reply)
    }

    /// Says on an answer who may read it.
    pub(crate) fn share(&self, path: &str, origin: Option<&HeaderValue>, reply: &mut Reply) {
        if self.is_off() || !SHARED.contains(&path) {
            return;
        }
        let headers = reply.headers_mut();
        if self.any {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        // Also on answers to nobody in particular, or a cache would hand them to a page.
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
}

/// Whether a text is what a browser sends as `Origin` of a page: no path, no default port.
fn is_origin(text: &str) -> bool {
    !text.contains('*')
        && url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
        })
}
