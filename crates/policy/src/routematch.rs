//! What a route matches (istio `TranslateRouteMatch`, envoy `config_impl.cc`).

use std::borrow::Cow;

use resources::istio::{HttpMatch, StringMatch};

use crate::claims::{self, ClaimPath, Claims};
use crate::looked::{self, Comparison};
use crate::matcher::Matcher;
use crate::request::{RequestHead, Scheme};
use crate::trace::Trace;

/// What a request must look like; all parts given hold.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(crate) struct RouteCondition {
    pub(crate) path: Option<PathMatch>,
    pub(crate) scheme: Option<Matcher>,
    pub(crate) method: Option<Matcher>,
    pub(crate) authority: Option<Matcher>,
    /// Name, value, and whether it is to match or not to match.
    pub(crate) headers: Vec<(String, Matcher, bool)>,
    pub(crate) query: Vec<(String, Matcher)>,
    /// Claims of the caller's token, and whether they are to match or not.
    pub(crate) claims: Vec<(ClaimPath, Matcher, bool)>,
    /// Envoy refuses what is written: no request matches.
    pub(crate) never: bool,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct PathMatch {
    pub(crate) matcher: Matcher,
    pub(crate) ignore_case: bool,
}

impl RouteCondition {
    /// `by_segment` makes prefixes end where a segment ends, as the Gateway
    /// API wants them. An error begins with the field, `uri.regex: `.
    pub(crate) fn compile(spec: &HttpMatch, by_segment: bool) -> Result<Self, String> {
        let of = |field: &str, value: &StringMatch| {
            Matcher::of_route(value).map_err(|why| format!("{field}.regex: {why}"))
        };
        let matcher = |field: &str, value: &Option<StringMatch>| {
            let value = value.as_ref();
            value.map(|value| of(field, value)).transpose()
        };
        let mut condition = Self {
            scheme: matcher("scheme", &spec.scheme)?,
            method: matcher("method", &spec.method)?,
            authority: matcher("authority", &spec.authority)?,
            ..Self::default()
        };
        for (name, value) in &spec.headers {
            let matcher = of(&format!("headers.{name}"), value)?;
            condition.header(name, matcher, true);
        }
        for (name, value) in &spec.without_headers {
            let matcher = of(&format!("withoutHeaders.{name}"), value)?;
            condition.header(name, matcher, false);
        }
        for (name, value) in &spec.query_params {
            let matcher = of(&format!("queryParams.{name}"), value)?;
            condition.query.push((name.clone(), matcher));
        }
        condition.path = matcher("uri", &spec.uri)?.map(|matcher| {
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
        if let Some(path) = claims::of_header_name(name) {
            // Istio makes no matcher of presence or of nothing that Envoy takes.
            self.never |= match &matcher {
                Matcher::Present => true,
                Matcher::Prefix(prefix) => prefix.is_empty(),
                _ => false,
            };
            self.claims.push((path, matcher, wanted));
            return;
        }
        // No header can be called like this: Envoy refuses it.
        self.never |= name.starts_with('@');
        let name = name.to_ascii_lowercase();
        // A missing header counts as empty where it must not match
        // (`treat_missing_header_as_empty`).
        if !wanted && !matches!(matcher, Matcher::Present) && matcher.matches("") {
            self.headers.push((name.clone(), Matcher::Present, true));
        }
        self.headers.push((name, matcher, wanted));
    }

    /// Whether a request matches; what was compared is told.
    pub(crate) fn matches<T: Trace>(
        &self,
        head: &RequestHead,
        claims: Option<&Claims>,
        compared: &mut Vec<Comparison>,
    ) -> bool {
        let tests = self.tests().map(|test| {
            let holds = test.holds(head, claims);
            if T::LOOKED {
                compared.push(test.compared_with(head, claims, holds));
            }
            holds
        });
        looked::all::<T>(tests) && !self.never
    }

    /// What is asked of a request, a text for each part.
    pub(crate) fn describe(&self) -> Vec<String> {
        let tests = self.tests();
        tests
            .map(|test| format!("{} {}", test.field(), test.matcher))
            .collect()
    }

    fn tests(&self) -> impl Iterator<Item = Test<'_>> {
        let test = |part, matcher| Test {
            part,
            matcher,
            wanted: true,
        };
        let path = self.path.iter();
        let path = path.map(move |path| test(Part::Path(path.ignore_case), &path.matcher));
        let scheme = self.scheme.iter().map(move |m| test(Part::Scheme, m));
        let method = self.method.iter().map(move |m| test(Part::Method, m));
        let authority = self.authority.iter();
        let authority = authority.map(move |m| test(Part::Authority, m));
        let headers = self.headers.iter().map(|(name, matcher, wanted)| Test {
            part: Part::Header(name),
            matcher,
            wanted: *wanted,
        });
        let claims = self.claims.iter().map(|(path, matcher, wanted)| Test {
            part: Part::Claim(path),
            matcher,
            wanted: *wanted,
        });
        let query = self.query.iter();
        let query = query.map(move |(name, m)| test(Part::Query(name), m));
        path.chain(scheme)
            .chain(method)
            .chain(authority)
            .chain(headers)
            .chain(claims)
            .chain(query)
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
            && self.claims.is_empty()
            && self.method.is_none()
            && self.authority.is_none()
            && self.scheme.is_none()
    }
}

/// One part of a request compared with one value.
struct Test<'r> {
    part: Part<'r>,
    matcher: &'r Matcher,
    wanted: bool,
}

enum Part<'r> {
    /// Whether case is ignored.
    Path(bool),
    Scheme,
    Method,
    Authority,
    Header(&'r str),
    Claim(&'r [String]),
    Query(&'r str),
}

impl Test<'_> {
    fn holds(&self, head: &RequestHead, claims: Option<&Claims>) -> bool {
        let matcher = self.matcher;
        let matches = match self.part {
            Part::Path(true) => matcher.matches_ignoring_case(&head.path),
            Part::Path(false) => matcher.matches(&head.path),
            Part::Scheme => matcher.matches(scheme(head)),
            Part::Method => matcher.matches(head.method.as_str()),
            Part::Authority => matcher.matches(&head.authority),
            Part::Header(name) => header_matches(head, name, matcher),
            Part::Claim(path) => claims.is_some_and(|c| c.matches(path, matcher)),
            Part::Query(name) => query_of(head, name).is_some_and(|v| matcher.matches(v)),
        };
        matches == self.wanted
    }

    /// The field as it is written.
    fn field(&self) -> String {
        match self.part {
            Part::Path(true) => "uri (ignoring case)".to_owned(),
            Part::Path(false) => "uri".to_owned(),
            Part::Scheme => "scheme".to_owned(),
            Part::Method => "method".to_owned(),
            Part::Authority => "authority".to_owned(),
            Part::Claim(path) if self.wanted => format!("headers[claim {}]", path.join(".")),
            Part::Claim(path) => format!("withoutHeaders[claim {}]", path.join(".")),
            Part::Header(name) if self.wanted => format!("headers[{name}]"),
            Part::Header(name) => format!("withoutHeaders[{name}]"),
            Part::Query(name) => format!("queryParams[{name}]"),
        }
    }

    /// How it came out, to read.
    fn compared_with(
        &self,
        head: &RequestHead,
        claims: Option<&Claims>,
        holds: bool,
    ) -> Comparison {
        let one = |value: &str| vec![value.to_owned()];
        let got = match self.part {
            Part::Path(_) => one(&head.path),
            Part::Scheme => one(scheme(head)),
            Part::Method => one(head.method.as_str()),
            Part::Authority => one(&head.authority),
            Part::Header(name) => looked::header(head, name),
            Part::Claim(path) => claims.map(|c| c.shown(path)).unwrap_or_default(),
            Part::Query(name) => query_of(head, name)
                .map(str::to_owned)
                .into_iter()
                .collect(),
        };
        Comparison {
            field: self.field().into(),
            negated: !self.wanted,
            wanted: vec![self.matcher.to_string()],
            got,
            holds,
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
/// CVE-2026-26308); pseudo headers work, `:path` with its query.
pub(crate) fn header_matches(head: &RequestHead, name: &str, matcher: &Matcher) -> bool {
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

fn query_of<'h>(head: &'h RequestHead, name: &str) -> Option<&'h str> {
    query_value(head.query.as_deref().unwrap_or_default(), name)
}

/// The first value of a parameter, as it is written.
fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}
