//! What a route matches (istio `TranslateRouteMatch`, envoy `config_impl.cc`).

use std::borrow::Cow;

use resources::istio::HttpMatch;

use crate::matcher::Matcher;
use crate::request::{RequestHead, Scheme};

/// What a request must look like; all parts given hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteCondition {
    pub(crate) path: Option<PathMatch>,
    pub(crate) scheme: Option<Matcher>,
    pub(crate) method: Option<Matcher>,
    pub(crate) authority: Option<Matcher>,
    /// Name, value, and whether it is to match or not to match.
    pub(crate) headers: Vec<(String, Matcher, bool)>,
    pub(crate) query: Vec<(String, Matcher)>,
    /// Claims of a token are compared, which is not done here: no request
    /// matches.
    pub(crate) never: bool,
}

/// A condition on the path.
#[derive(Clone, Debug)]
pub(crate) struct PathMatch {
    pub(crate) matcher: Matcher,
    pub(crate) ignore_case: bool,
}

/// Header names that stand for claims of the caller's token.
const CLAIMS: &str = "@request.auth.claims";

impl RouteCondition {
    /// `by_segment` makes prefixes end where a segment ends, as the Gateway
    /// API wants them.
    pub(crate) fn compile(spec: &HttpMatch, by_segment: bool) -> Result<Self, String> {
        let matcher = |m: &Option<resources::istio::StringMatch>| {
            m.as_ref().map(Matcher::of_route).transpose()
        };
        let mut condition = Self {
            scheme: matcher(&spec.scheme)?,
            method: matcher(&spec.method)?,
            authority: matcher(&spec.authority)?,
            ..Self::default()
        };
        for (name, value) in &spec.headers {
            condition.header(name, Matcher::of_route(value)?, true);
        }
        for (name, value) in &spec.without_headers {
            condition.header(name, Matcher::of_route(value)?, false);
        }
        for (name, value) in &spec.query_params {
            condition
                .query
                .push((name.clone(), Matcher::of_route(value)?));
        }
        condition.path = matcher(&spec.uri)?.map(|matcher| {
            let matcher = match matcher {
                Matcher::Prefix(prefix) if by_segment && prefix != "/" => {
                    let prefix = prefix.strip_suffix('/').unwrap_or(&prefix);
                    Matcher::PathPrefix(prefix.to_owned())
                }
                other => other,
            };
            let folds = matches!(
                matcher,
                Matcher::Exact(_) | Matcher::Prefix(_) | Matcher::PathPrefix(_)
            );
            PathMatch {
                ignore_case: spec.ignore_uri_case && folds,
                matcher,
            }
        });
        Ok(condition)
    }

    fn header(&mut self, name: &str, matcher: Matcher, wanted: bool) {
        if name.starts_with(CLAIMS) {
            self.never = true;
            return;
        }
        let name = name.to_ascii_lowercase();
        // A missing header counts as empty where it must not match
        // (`treat_missing_header_as_empty`).
        if !wanted && !matches!(matcher, Matcher::Present) && matcher.matches("") {
            self.headers.push((name.clone(), Matcher::Present, true));
        }
        self.headers.push((name, matcher, wanted));
    }

    pub(crate) fn matches(&self, head: &RequestHead) -> bool {
        let holds = |m: &Option<Matcher>, value: &str| m.as_ref().is_none_or(|m| m.matches(value));
        !self.never
            && self
                .path
                .as_ref()
                .is_none_or(|path| path.matches(&head.path))
            && holds(&self.scheme, scheme(head))
            && holds(&self.method, head.method.as_str())
            && holds(&self.authority, &head.authority)
            && self
                .headers
                .iter()
                .all(|(name, matcher, wanted)| header_matches(head, name, matcher) == *wanted)
            && self.query.iter().all(|(name, matcher)| {
                query_value(head.query.as_deref().unwrap_or_default(), name)
                    .is_some_and(|v| matcher.matches(v))
            })
    }

    /// Matches every request: such routes sink to the end of a virtual host
    /// (istio `IsCatchAllRoute`).
    pub(crate) fn is_catch_all(&self) -> bool {
        let any_path = match self.path.as_ref().map(|path| &path.matcher) {
            None | Some(Matcher::Present) => true,
            Some(Matcher::Prefix(prefix)) => prefix == "/",
            Some(Matcher::Regex(regex)) => regex.as_str() == "^(?:.*)$",
            Some(_) => false,
        };
        any_path
            && !self.never
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

pub(crate) fn scheme(head: &RequestHead) -> &'static str {
    match head.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// Each value of a repeated header on its own (Envoy with the fix of
/// CVE-2026-26308).
fn header_matches(head: &RequestHead, name: &str, matcher: &Matcher) -> bool {
    match name {
        ":path" => matcher.matches(&head.path_and_query()),
        ":method" => matcher.matches(head.method.as_str()),
        ":scheme" => matcher.matches(scheme(head)),
        ":authority" | "host" => matcher.matches(&head.authority),
        _ => head
            .headers
            .get_all(name)
            .iter()
            .any(|value| matcher.matches(&text(value))),
    }
}

fn text(value: &http::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// The first value of a parameter, as it is written.
fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}
