//! Matches of HTTPRoutes and GRPCRoutes, and their precedence.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::gateway_api::{GrpcMethod, Method, NamedMatch, RouteMatch};
use crate::istio::{HttpMatch, HttpRoute, StringMatch};

/// Exact before prefix before regex, longer before shorter, with a method
/// before without, more headers, more query parameters; a route without match
/// comes last. Sorting with it must be stable: older routes come first
/// otherwise (istio `sortHTTPRoutes`).
pub(crate) fn precedence(route: &HttpRoute) -> impl Ord + use<> {
    let one = route.matches.first();
    let uri = one.and_then(|m| m.uri.as_ref());
    let (rank, length) = uri.map_or((0, 0), |uri| match uri {
        StringMatch { exact: Some(v), .. } => (3, v.len()),
        StringMatch {
            prefix: Some(v), ..
        } => (2, v.len()),
        StringMatch { regex: Some(v), .. } => (1, v.len()),
        _ => (0, 0),
    });
    (
        one.is_none(),
        Reverse(rank),
        Reverse(length),
        Reverse(one.is_some_and(|m| m.method.is_some())),
        Reverse(one.map_or(0, |m| m.headers.len())),
        Reverse(one.map_or(0, |m| m.query_params.len())),
    )
}

/// A match; `None` for one that Istio refuses.
pub(crate) fn convert(from: &RouteMatch, http: bool) -> Option<HttpMatch> {
    let mut made = HttpMatch {
        headers: named(&from.headers)?,
        query_params: named(&from.query_params)?,
        ..HttpMatch::default()
    };
    match &from.method {
        Some(Method::Http(method)) if http => made.method = Some(exact(method.clone())),
        Some(Method::Grpc(method)) if !http => made.uri = Some(grpc(method)?),
        Some(_) => return None,
        None => {}
    }
    if http {
        let path = from.path.clone().unwrap_or_default();
        let value = path.value.unwrap_or_else(|| "/".to_owned());
        made.uri = Some(match path.kind.as_deref() {
            None | Some("PathPrefix") => match value.strip_suffix('/') {
                Some(without) if value != "/" => prefix(without.to_owned()),
                _ => prefix(value),
            },
            Some("Exact") => exact(value),
            Some("RegularExpression") => regex(value),
            Some(_) => return None,
        });
    }
    Some(made)
}

fn named(list: &[NamedMatch]) -> Option<BTreeMap<String, StringMatch>> {
    let mut map = BTreeMap::new();
    for one in list {
        let value = match one.kind.as_deref() {
            None | Some("Exact") => exact(one.value.clone()),
            Some("RegularExpression") => regex(one.value.clone()),
            Some(_) => return None,
        };
        map.insert(one.name.clone(), value);
    }
    Some(map)
}

/// gRPC calls are `/service/method`.
fn grpc(from: &GrpcMethod) -> Option<StringMatch> {
    let is_regex = match from.kind.as_deref() {
        None | Some("Exact") => false,
        Some("RegularExpression") => true,
        Some(_) => return None,
    };
    Some(match (&from.service, &from.method) {
        (None, None) => return None,
        (None, Some(method)) => regex(format!("/[^/]+/{method}")),
        (Some(service), None) if is_regex => regex(format!("/{service}/.+")),
        (Some(service), None) => prefix(format!("/{service}/")),
        (Some(service), Some(method)) if is_regex => regex(format!("/{service}/{method}")),
        (Some(service), Some(method)) => exact(format!("/{service}/{method}")),
    })
}

pub(crate) fn exact(value: String) -> StringMatch {
    StringMatch {
        exact: Some(value),
        ..StringMatch::default()
    }
}

pub(crate) fn prefix(value: String) -> StringMatch {
    StringMatch {
        prefix: Some(value),
        ..StringMatch::default()
    }
}

pub(crate) fn regex(value: String) -> StringMatch {
    StringMatch {
        regex: Some(value),
        ..StringMatch::default()
    }
}
