//! Delegation: routes of one VirtualService that continue in another (istio
//! `pilot/pkg/model/virtualservice.go`, `MergeHTTPRoutes`).

use std::collections::HashMap;
use std::sync::Arc;

use resources::istio::{HttpMatch, HttpRoute, Origin, StringMatch, VirtualService};
use resources::{Cluster, Object};

use crate::settings::Problem;
use crate::traffic::{full_host, gateway_name, is_visible};

/// VirtualServices without hosts, by namespace and name.
pub(crate) type Delegates<'c> = HashMap<(&'c str, &'c str), &'c Object<VirtualService>>;

/// The routes of a root with its delegates' in place, names written out.
pub(crate) fn resolve(
    cluster: &Cluster,
    root: &Object<VirtualService>,
    delegates: &Delegates<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<HttpRoute> {
    let mut out = Vec::new();
    for (index, http) in root.spec.http.iter().enumerate() {
        let here = written_out(http, root, index);
        let Some(delegate) = &http.delegate else {
            out.push(here);
            continue;
        };
        let namespace = match delegate.namespace.as_str() {
            "" => root.meta.namespace.as_str(),
            namespace => namespace,
        };
        let mut drop = |why: &str| {
            problems.push(Problem::of(
                root,
                format!(
                    "spec.http[{index}].delegate: {why} `{namespace}/{}`: the route is not there",
                    delegate.name
                ),
            ));
        };
        let Some(found) = delegates.get(&(namespace, delegate.name.as_str())) else {
            drop("no VirtualService without hosts called");
            continue;
        };
        if !is_visible(cluster, found, &root.meta.namespace) {
            drop("not exported to the namespace of the root:");
            continue;
        }
        for (position, child) in found.spec.http.iter().enumerate() {
            let child_here = written_out(child, found, position);
            match merge(&here, child_here) {
                Some(merged) => out.push(merged),
                None => problems.push(Problem::of(
                    *found,
                    format!(
                        "spec.http[{position}]: its matches are not within those of {} http[{index}]: the route is not there",
                        root.reference()
                    ),
                )),
            }
        }
    }
    out
}

/// A route with full names, that knows where it comes from.
fn written_out(http: &HttpRoute, object: &Object<VirtualService>, index: usize) -> HttpRoute {
    let mut out = http.clone();
    let namespace = &object.meta.namespace;
    for one in &mut out.matches {
        for gateway in &mut one.gateways {
            *gateway = gateway_name(gateway, namespace);
        }
    }
    for route in &mut out.route {
        route.destination.host = full_host(&route.destination.host, namespace);
    }
    let name = if http.name.is_empty() {
        String::new()
    } else {
        format!(" `{}`", http.name)
    };
    out.origin = Some(Arc::new(Origin {
        object: Object {
            kind: Arc::clone(&object.kind),
            meta: object.meta.clone(),
            spec: (),
            source: object.source.clone(),
        },
        place: format!("http[{index}]{name}"),
    }));
    out
}

fn merge(root: &HttpRoute, mut child: HttpRoute) -> Option<HttpRoute> {
    child.matches = merge_matches(&root.matches, &child.matches)?;
    child.name = joined(&root.name, &child.name);
    child.rewrite = child.rewrite.or_else(|| root.rewrite.clone());
    child.direct_response = child
        .direct_response
        .or_else(|| root.direct_response.clone());
    child.timeout = child.timeout.or_else(|| root.timeout.clone());
    child.fault = child.fault.or_else(|| root.fault.clone());
    child.mirror = child.mirror.or_else(|| root.mirror.clone());
    child.cors_policy = child.cors_policy.or_else(|| root.cors_policy.clone());
    child.headers = child.headers.or_else(|| root.headers.clone());
    if child.mirrors.is_empty() {
        child.mirrors.clone_from(&root.mirrors);
    }
    Some(child)
}

fn joined(root: &str, child: &str) -> String {
    match (root, child) {
        (_, "") => root.to_owned(),
        ("", _) => child.to_owned(),
        _ => format!("{root}-{child}"),
    }
}

/// Each match of the child with every match of the root that it is within;
/// one that is within none makes the whole route go.
fn merge_matches(root: &[HttpMatch], child: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() {
        return Some(child.to_vec());
    }
    if child.is_empty() {
        return Some(root.to_vec());
    }
    let mut out = Vec::new();
    for leaf in child {
        let before = out.len();
        let within = root.iter().filter(|root| !conflicts(root, leaf));
        out.extend(within.map(|root| merge_match(root, leaf)));
        if out.len() == before {
            return None;
        }
    }
    Some(out)
}

fn merge_match(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let mut out = leaf.clone();
    out.name = joined(&root.name, &leaf.name);
    out.uri = out.uri.or_else(|| root.uri.clone());
    out.scheme = out.scheme.or_else(|| root.scheme.clone());
    out.method = out.method.or_else(|| root.method.clone());
    out.authority = out.authority.or_else(|| root.authority.clone());
    out.port = out.port.or(root.port);
    fill(&mut out.headers, &root.headers);
    fill(&mut out.without_headers, &root.without_headers);
    fill(&mut out.query_params, &root.query_params);
    fill(&mut out.source_labels, &root.source_labels);
    if out.source_namespace.is_empty() {
        out.source_namespace.clone_from(&root.source_namespace);
    }
    if out.gateways.is_empty() {
        out.gateways.clone_from(&root.gateways);
    }
    out
}

type Map<T> = std::collections::BTreeMap<String, T>;

fn fill<T: Clone>(to: &mut Map<T>, from: &Map<T>) {
    for (key, value) in from {
        to.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn conflicts(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let single = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let differs = |a: Option<u16>, b: Option<u16>| a.is_some() && b.is_some() && a != b;
    single
        .iter()
        .any(|(root, leaf)| values_conflict(root.as_ref(), leaf.as_ref()))
        || maps.iter().any(|(root, leaf)| {
            let mut entries = leaf.iter();
            entries.any(|(key, value)| values_conflict(root.get(key), Some(value)))
        })
        || root.ignore_uri_case != leaf.ignore_uri_case
        || differs(root.port, leaf.port)
        || !root.source_namespace.is_empty() && root.source_namespace != leaf.source_namespace
        || leaf
            .source_labels
            .iter()
            .any(|(key, value)| root.source_labels.get(key).is_some_and(|v| v != value))
        || gateways_conflict(&root.gateways, &leaf.gateways)
}

fn gateways_conflict(root: &[String], leaf: &[String]) -> bool {
    !root.is_empty()
        && !leaf.is_empty()
        && (root.len() < leaf.len() || leaf.iter().any(|gateway| !root.contains(gateway)))
}

/// `stringMatchConflict`: empty values count as none given.
fn values_conflict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else {
        return false;
    };
    let given = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    let any = |m: &StringMatch| {
        given(&m.exact).is_some() || given(&m.prefix).is_some() || given(&m.regex).is_some()
    };
    if given(&root.regex).is_some() && any(leaf) || given(&leaf.regex).is_some() && any(root) {
        return true;
    }
    if let Some(exact) = given(&root.exact) {
        return given(&leaf.exact).as_ref() != Some(&exact);
    }
    if let Some(prefix) = given(&root.prefix) {
        let value = given(&leaf.prefix).or_else(|| given(&leaf.exact));
        return value.is_none_or(|value| !value.starts_with(&prefix));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(kind: &str, value: &str) -> HttpMatch {
        let value = Some(value.to_owned());
        let mut uri = StringMatch::default();
        match kind {
            "exact" => uri.exact = value,
            "prefix" => uri.prefix = value,
            _ => uri.regex = value,
        }
        HttpMatch {
            uri: Some(uri),
            ..HttpMatch::default()
        }
    }

    /// Rows of istio's `TestHasConflict`.
    #[test]
    fn a_child_is_within_its_root() {
        for (root, leaf, expected) in [
            (("prefix", "/mobile"), ("prefix", "/mobile/"), false),
            (("prefix", "/mobile/"), ("prefix", "/mobile"), true),
            (("prefix", "/mobile"), ("exact", "/mobile/x"), false),
            (("exact", "/mobile"), ("exact", "/mobile"), false),
            (("exact", "/mobile"), ("prefix", "/mobile"), true),
            (("exact", "/mobile"), ("exact", "/other"), true),
            (("regex", "^/m.*"), ("prefix", "/m"), true),
            (("prefix", "/m"), ("regex", "^/m.*"), true),
        ] {
            let found = conflicts(&path(root.0, root.1), &path(leaf.0, leaf.1));
            assert_eq!(found, expected, "{root:?} {leaf:?}");
        }
    }

    #[test]
    fn one_match_outside_drops_the_route() {
        let root = [path("prefix", "/a"), path("prefix", "/b")];
        let merged = merge_matches(&root, &[path("prefix", "/a/x"), path("exact", "/b/y")]);
        assert_eq!(merged.map(|m| m.len()), Some(2));
        assert!(merge_matches(&root, &[path("prefix", "/a/x"), path("exact", "/c")]).is_none());
    }
}
