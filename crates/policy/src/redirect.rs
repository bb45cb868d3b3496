//! Redirects (istio `ApplyRedirect`, envoy `Http::Utility::newUri`).

use http::{HeaderValue, StatusCode, header};
use resources::istio;

use crate::matcher::Matcher;
use crate::permit::{Destination, Reply};
use crate::request::RequestHead;
use crate::routematch::{RouteCondition, scheme};

/// A redirect.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Redirect {
    status: StatusCode,
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    path: NewPath,
}

#[derive(Clone, Debug, PartialEq, Hash)]
enum NewPath {
    Same,
    Whole(String),
    Prefix { length: usize, to: String },
}

impl Redirect {
    /// `port` is the Gateway server's, `tls` says how it is reached.
    pub(crate) fn compile(
        spec: &istio::Redirect,
        condition: &RouteCondition,
        port: u16,
        tls: bool,
    ) -> Result<Self, String> {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        let code = spec.redirect_code.filter(|code| *code != 0).unwrap_or(301);
        if ![301, 302, 303, 307, 308].contains(&code) {
            return Err(format!(
                "redirectCode `{code}`: expected 301, 302, 303, 307 or 308"
            ));
        }
        let status = StatusCode::from_u16(code).map_err(|error| error.to_string())?;
        let scheme = given(&spec.scheme);
        let port = match spec.derive_port.as_deref() {
            Some("FROM_REQUEST_PORT") => Some(port),
            _ => spec.port,
        };
        let https = scheme.as_deref().map_or(tls, |scheme| scheme == "https");
        let port = port.filter(|port| *port != if https { 443 } else { 80 });
        Ok(Self {
            status,
            scheme,
            host: given(&spec.authority),
            port,
            path: match (spec.prefix_rewrite.as_ref(), given(&spec.uri)) {
                (Some(to), _) => NewPath::Prefix {
                    length: match condition.path.as_ref().map(|path| &path.matcher) {
                        Some(Matcher::Prefix(from) | Matcher::PathPrefix(from)) => from.len(),
                        None => 1,
                        Some(_) => usize::MAX,
                    },
                    to: to.clone(),
                },
                (None, Some(uri)) => NewPath::Whole(uri),
                (None, None) => NewPath::Same,
            },
        })
    }

    /// The answer.
    pub(crate) fn reply(&self, head: &RequestHead) -> Destination {
        let path = match &self.path {
            NewPath::Same => head.path_and_query(),
            NewPath::Whole(uri) if uri.contains('?') => uri.clone(),
            NewPath::Whole(uri) => with_query(uri.clone(), head),
            NewPath::Prefix { length, to } => {
                let rest = head.path.split_at_checked(*length);
                with_query(format!("{to}{}", rest.map_or("", |(_, rest)| rest)), head)
            }
        };
        let scheme = self.scheme.as_deref();
        location(
            self.status,
            scheme,
            self.host.as_deref(),
            self.port,
            &path,
            head,
        )
    }
}

/// The answer of a virtual host that wants TLS: the host as it was sent, with
/// its port (envoy `createSslRedirectPath`).
pub(crate) fn to_https(head: &RequestHead) -> Destination {
    let location = format!("https://{}{}", head.authority, head.path_and_query());
    reply(StatusCode::MOVED_PERMANENTLY, location)
}

fn with_query(path: String, head: &RequestHead) -> String {
    match &head.query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn location(
    status: StatusCode,
    new_scheme: Option<&str>,
    host: Option<&str>,
    port: Option<u16>,
    path: &str,
    head: &RequestHead,
) -> Destination {
    let scheme = new_scheme.unwrap_or(scheme(head));
    let host = host.unwrap_or_else(|| {
        let authority = head.authority.as_str();
        match authority.rsplit_once(':') {
            // The port goes when there is a new one, and the default one of
            // what a proxy says the client spoke, where that changes.
            Some((host, old)) if !old.ends_with(']') => {
                let was = head.header("x-forwarded-proto").unwrap_or_default();
                let is_default = matches!((was, old), ("https", "443") | ("http", "80"));
                if port.is_some() || (scheme != was && is_default) {
                    host
                } else {
                    authority
                }
            }
            _ => authority,
        }
    });
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    reply(status, format!("{scheme}://{host}{port}{path}"))
}

fn reply(status: StatusCode, location: String) -> Destination {
    let headers = HeaderValue::try_from(location)
        .map(|location| vec![(header::LOCATION, location)])
        .unwrap_or_default();
    Destination::Reply(Reply {
        status,
        headers,
        body: bytes::Bytes::new(),
    })
}
