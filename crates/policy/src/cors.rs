//! CORS of routes (envoy `cors_filter.cc`).

use http::{HeaderName, HeaderValue, StatusCode, header};
use resources::istio::{CorsPolicy, StringMatch};

use crate::duration::duration;
use crate::matcher::Matcher;
use crate::permit::{Destination, Reply};
use crate::request::RequestHead;

/// A CORS policy.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct RouteCors {
    origins: Vec<Matcher>,
    /// What a preflight is answered with, besides its origin.
    preflight: Vec<(HeaderName, HeaderValue)>,
    /// Preflights of other origins are answered too, without leave.
    answers_all: bool,
}

impl RouteCors {
    pub(crate) fn compile(spec: &CorsPolicy) -> Result<Self, String> {
        let older = spec.allow_origin.iter().map(|exact| StringMatch {
            exact: Some(exact.clone()),
            ..StringMatch::default()
        });
        let origins: Vec<StringMatch> = if spec.allow_origins.is_empty() {
            older.collect()
        } else {
            spec.allow_origins.clone()
        };
        let mut preflight = Vec::new();
        let mut add = |name: HeaderName, value: String| {
            if value.is_empty() {
                return Ok(());
            }
            let value = HeaderValue::try_from(value.as_str())
                .map_err(|_| format!("corsPolicy: `{value}` is not a header value"))?;
            preflight.push((name, value));
            Ok::<(), String>(())
        };
        if spec.allow_credentials == Some(true) {
            add(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".into())?;
        }
        add(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            spec.allow_methods.join(","),
        )?;
        add(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            spec.allow_headers.join(","),
        )?;
        if let Some(age) = spec.max_age.as_deref().and_then(duration) {
            add(header::ACCESS_CONTROL_MAX_AGE, age.as_secs().to_string())?;
        }
        Ok(Self {
            origins: origins
                .iter()
                .filter(|m| **m != StringMatch::default())
                .map(Matcher::of_route)
                .collect::<Result<_, _>>()?,
            preflight,
            answers_all: spec.unmatched_preflights.as_deref() == Some("IGNORE"),
        })
    }

    /// The origin that may read the answer. A matcher that matches `*` stands
    /// for all origins.
    pub(crate) fn allowed_origin(&self, head: &RequestHead) -> Option<HeaderValue> {
        let origin = head.headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok().filter(|text| !text.is_empty())?;
        let allowed = self
            .origins
            .iter()
            .any(|m| m.matches("*") || m.matches(text));
        allowed.then(|| origin.clone())
    }

    /// The answer to a preflight, if it is given here.
    pub(crate) fn preflight(&self, head: &RequestHead) -> Option<Destination> {
        if !head.is_preflight() {
            return None;
        }
        let headers = match self.allowed_origin(head) {
            Some(origin) => {
                let mut headers = vec![(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)];
                headers.extend(self.preflight.iter().cloned());
                headers
            }
            None if self.answers_all => Vec::new(),
            None => return None,
        };
        Some(Destination::Reply(Reply {
            status: StatusCode::OK,
            headers,
            body: bytes::Bytes::new(),
        }))
    }
}
