//! Compiled routes of a VirtualService (istio `route.go`, envoy `config_impl.cc`).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use resources::istio::{
    CorsPolicy, HeaderOperations, Headers, HttpMatch, HttpRoute, Redirect, Rewrite, VirtualService,
};
use resources::{Object, ObjectRef, ServiceName, Source};

use crate::access::RouteAccess;
use crate::chain::Overrides;
use crate::duration::duration;
use crate::matcher::Matcher;
use crate::permit::{Destination, HeaderChange};
use crate::re2;
use crate::request::{RequestHead, Scheme};

/// One route of a virtual host.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) condition: RouteCondition,
    pub(crate) action: RouteAction,
    pub(crate) request_headers: Vec<HeaderChange>,
    pub(crate) response_headers: Vec<HeaderChange>,
    /// Authority set by a rewrite or by a `Host` header operation.
    pub(crate) authority: Option<String>,
    pub(crate) rewrite: Option<PathRewrite>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cors: Option<Arc<CorsPolicy>>,
    pub(crate) access: Arc<RouteAccess>,
    pub(crate) object: ObjectRef,
    pub(crate) source: Source,
    /// `http[].name`, joined with the match's by a dot.
    pub(crate) name: String,
    /// What EnvoyFilters configure for HTTP filters here.
    pub(crate) overrides: Overrides,
    /// `http[i]`, with the route's name if it has one.
    pub(crate) place: Arc<str>,
}

/// What a request must look like; all parts given hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteCondition {
    pub(crate) path: Option<PathMatch>,
    pub(crate) scheme: Option<Matcher>,
    pub(crate) method: Option<Matcher>,
    pub(crate) authority: Option<Matcher>,
    pub(crate) headers: Vec<(String, Matcher, bool)>,
    pub(crate) query: Vec<(String, Matcher)>,
}

#[derive(Clone, Debug)]
pub(crate) struct PathMatch {
    pub(crate) matcher: Matcher,
    pub(crate) ignore_case: bool,
}

/// What a matching route does.
#[derive(Clone, Debug)]
pub(crate) enum RouteAction {
    Forward(Vec<Weighted>),
    Redirect {
        status: StatusCode,
        scheme: Option<String>,
        authority: Option<String>,
        path: Option<String>,
    },
    Direct {
        status: StatusCode,
        body: String,
    },
}

/// One of several destinations.
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    pub(crate) destination: Destination,
    pub(crate) weight: u32,
    pub(crate) request_headers: Vec<HeaderChange>,
    pub(crate) response_headers: Vec<HeaderChange>,
    pub(crate) authority: Option<String>,
}

/// How the path changes before forwarding.
#[derive(Clone, Debug)]
pub(crate) enum PathRewrite {
    Prefix {
        from: String,
        to: String,
    },
    Whole(String),
    Regex {
        pattern: regex::Regex,
        replacement: String,
    },
}

impl RouteCondition {
    fn compile(spec: &HttpMatch) -> Result<Self, String> {
        let matcher = |m: &Option<resources::istio::StringMatch>| {
            m.as_ref().map(Matcher::of_route).transpose()
        };
        let mut headers = Vec::new();
        for (list, wanted) in [(&spec.headers, true), (&spec.without_headers, false)] {
            for (name, value) in list {
                headers.push((name.to_ascii_lowercase(), Matcher::of_route(value)?, wanted));
            }
        }
        let mut query = Vec::new();
        for (name, value) in &spec.query_params {
            query.push((name.clone(), Matcher::of_route(value)?));
        }
        Ok(Self {
            path: matcher(&spec.uri)?.map(|matcher| PathMatch {
                matcher,
                ignore_case: spec.ignore_uri_case,
            }),
            scheme: matcher(&spec.scheme)?,
            method: matcher(&spec.method)?,
            authority: matcher(&spec.authority)?,
            headers,
            query,
        })
    }

    pub(crate) fn matches(&self, head: &RequestHead) -> bool {
        let scheme = match head.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let holds = |m: &Option<Matcher>, value: &str| m.as_ref().is_none_or(|m| m.matches(value));
        self.path
            .as_ref()
            .is_none_or(|path| path.matches(&head.path))
            && holds(&self.scheme, scheme)
            && holds(&self.method, head.method.as_str())
            && holds(&self.authority, &head.authority)
            && self.headers.iter().all(|(name, matcher, wanted)| {
                let mut values = head.headers.get_all(name).iter();
                values.any(|v| matcher.matches(&String::from_utf8_lossy(v.as_bytes()))) == *wanted
            })
            && self.query.iter().all(|(name, matcher)| {
                query_value(head.query.as_deref().unwrap_or_default(), name)
                    .is_some_and(|v| matcher.matches(v))
            })
    }

    /// Matches every request: such routes sink to the end of a virtual host.
    pub(crate) fn is_catch_all(&self) -> bool {
        let any_path = match self.path.as_ref().map(|path| &path.matcher) {
            None | Some(Matcher::Present) => true,
            Some(Matcher::Prefix(prefix)) => prefix == "/",
            Some(Matcher::Regex(regex)) => regex.as_str() == "^(?:.*)$",
            Some(Matcher::Exact(_) | Matcher::Suffix(_)) => false,
        };
        any_path
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.method.is_none()
            && self.authority.is_none()
            && self.scheme.is_none()
    }
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        if self.ignore_case {
            self.matcher.matches_ignoring_case(path)
        } else {
            self.matcher.matches(path)
        }
    }
}

fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

impl Route {
    /// Compiles the routes one `http` entry makes for one of its matches.
    pub(crate) fn compile(
        service: &Object<VirtualService>,
        index: usize,
        http: &HttpRoute,
        spec: Option<&HttpMatch>,
        access: Arc<RouteAccess>,
        default_port: &dyn Fn(&ServiceName) -> u16,
    ) -> Result<Self, String> {
        let condition = spec
            .map(RouteCondition::compile)
            .transpose()?
            .unwrap_or_default();
        let (request_headers, mut authority) = request_changes(http.headers.as_ref())?;
        if let Some(rewritten) = http.rewrite.as_ref().and_then(|r| r.authority.clone()) {
            authority = Some(rewritten);
        }
        let name = if http.name.is_empty() {
            String::new()
        } else {
            format!(" `{}`", http.name)
        };
        Ok(Self {
            rewrite: http
                .rewrite
                .as_ref()
                .map(|r| PathRewrite::compile(r, &condition))
                .transpose()?
                .flatten(),
            condition,
            action: RouteAction::compile(http, &service.meta.namespace, default_port)?,
            request_headers,
            response_headers: changes(http.headers.as_ref().map(|h| &h.response))?,
            authority,
            timeout: http.timeout.as_deref().and_then(duration),
            cors: http.cors_policy.clone().map(Arc::new),
            access,
            object: service.reference(),
            source: service.source.clone(),
            name: match spec.map(|m| m.name.as_str()).filter(|m| !m.is_empty()) {
                Some(of_match) => format!("{}.{of_match}", http.name),
                None => http.name.clone(),
            },
            overrides: Overrides::default(),
            place: format!("http[{index}]{name}").into(),
        })
    }
}

impl RouteAction {
    fn compile(
        http: &HttpRoute,
        namespace: &str,
        default_port: &dyn Fn(&ServiceName) -> u16,
    ) -> Result<Self, String> {
        let status = |code: u16| {
            StatusCode::from_u16(code)
                .map_err(|_| format!("`{code}` is not a status, expected 100-599"))
        };
        if let Some(Redirect {
            uri,
            authority,
            scheme,
            port,
            redirect_code,
        }) = &http.redirect
        {
            let given = |text: &String| (!text.is_empty()).then(|| text.clone());
            let authority =
                given(authority).map(|a| port.map_or(a.clone(), |p| format!("{a}:{p}")));
            return Ok(Self::Redirect {
                status: status(redirect_code.unwrap_or(301))?,
                scheme: given(scheme),
                authority,
                path: given(uri),
            });
        }
        if let Some(direct) = &http.direct_response {
            let body = direct
                .body
                .as_ref()
                .and_then(|b| b.string.clone())
                .unwrap_or_default();
            return Ok(Self::Direct {
                status: status(direct.status)?,
                body,
            });
        }
        let mut all = Vec::new();
        for route in &http.route {
            let host = &route.destination.host;
            let port = route.destination.port.as_ref().map(|p| p.number);
            let destination = match ServiceName::from_host(host, namespace) {
                Some(service) => Destination::Service {
                    port: port.unwrap_or_else(|| default_port(&service)),
                    service,
                },
                None => Destination::Host {
                    host: host.as_str().into(),
                    port: port.unwrap_or(80),
                },
            };
            let (request_headers, authority) = request_changes(route.headers.as_ref())?;
            all.push(Weighted {
                destination,
                weight: if http.route.len() == 1 {
                    1
                } else {
                    route.weight
                },
                request_headers,
                response_headers: changes(route.headers.as_ref().map(|h| &h.response))?,
                authority,
            });
        }
        if all.iter().all(|w| w.weight == 0) {
            return Err(
                "expected a destination with a weight, a redirect or a direct response".into(),
            );
        }
        Ok(Self::Forward(all))
    }
}

impl PathRewrite {
    fn compile(rewrite: &Rewrite, condition: &RouteCondition) -> Result<Option<Self>, String> {
        if let Some(regex) = &rewrite.uri_regex_rewrite {
            let pattern = re2::search(&regex.pattern)?;
            let replacement = regex.rewrite.replace('$', "$$").replace('\\', "$");
            return Ok(Some(Self::Regex {
                pattern,
                replacement,
            }));
        }
        let Some(to) = rewrite.uri.clone() else {
            return Ok(None);
        };
        Ok(Some(
            match condition.path.as_ref().map(|path| &path.matcher) {
                Some(Matcher::Prefix(from)) => Self::Prefix {
                    from: from.clone(),
                    to,
                },
                None => Self::Prefix {
                    from: "/".into(),
                    to,
                },
                Some(_) => Self::Whole(to),
            },
        ))
    }

    /// The new path.
    pub(crate) fn apply(&self, path: &str) -> String {
        match self {
            Self::Prefix { from, to } => {
                let rest = path
                    .split_at_checked(from.len())
                    .map_or("", |(_, rest)| rest);
                format!("{to}{rest}")
            }
            Self::Whole(to) => to.clone(),
            Self::Regex {
                pattern,
                replacement,
            } => pattern.replace_all(path, replacement.as_str()).into_owned(),
        }
    }
}

fn request_changes(
    headers: Option<&Headers>,
) -> Result<(Vec<HeaderChange>, Option<String>), String> {
    let mut all = changes(headers.map(|h| &h.request))?;
    all.retain(|change| !matches!(change, HeaderChange::Set(name, _) | HeaderChange::Add(name, _) if name == http::header::HOST));
    let authority = headers.and_then(|h| {
        h.request
            .set
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("host") || *name == ":authority")
    });
    Ok((all, authority.map(|(_, value)| value.clone())))
}

fn changes(operations: Option<&HeaderOperations>) -> Result<Vec<HeaderChange>, String> {
    let name = |text: &str| {
        HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| format!("`{text}` is not a header name"))
    };
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| format!("`{text}` is not a header value"))
    };
    let mut all = Vec::new();
    let Some(operations) = operations else {
        return Ok(all);
    };
    for (n, v) in operations.set.iter().filter(|(n, _)| !n.starts_with(':')) {
        all.push(HeaderChange::Set(name(n)?, value(v)?));
    }
    for (n, v) in operations.add.iter().filter(|(n, _)| !n.starts_with(':')) {
        all.push(HeaderChange::Add(name(n)?, value(v)?));
    }
    for n in &operations.remove {
        all.push(HeaderChange::Remove(name(n)?));
    }
    Ok(all)
}
