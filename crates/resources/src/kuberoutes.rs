//! HTTPRoutes and GRPCRoutes as Istio's controller represents them: a
//! VirtualService for each listener and host, with the rules of all routes
//! there in the order that the Gateway API wants (istio
//! `pilot/pkg/config/kube/gateway/{route_collections,conversion}.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attach::{Parent, origin_of};
use crate::cluster::Cluster;
use crate::gateway_api::{BackendRef, ParentRef, Route, RouteMatch, RouteRule, TypedValue};
use crate::istio::{
    Destination, DirectResponse, Headers, HttpRoute, Mirror, Origin, PortSelector,
    RouteDestination, VirtualService,
};
use crate::kubefilters::{self, header_operations};
use crate::kubematch;
use crate::meta::{Object, ServiceName, Source};

/// Adds what routes make of the listeners they attach to.
pub(crate) fn routes(cluster: &mut Cluster, parents: &[Parent]) {
    let mut found: BTreeMap<(String, String), Vec<Attachment>> = BTreeMap::new();
    let all = cluster.http_routes.iter().chain(&cluster.grpc_routes);
    for route in all {
        let bound = bindings(route, parents);
        if bound.is_empty() {
            continue;
        }
        let Some(http) = rules(cluster, route) else {
            continue;
        };
        for (gateway, host, port) in bound {
            let mut http = http.clone();
            if let Some(port) = port {
                only_on(&mut http, port);
            }
            found.entry((gateway, host)).or_default().push(Attachment {
                age: (
                    route.meta.creation_timestamp.clone(),
                    route.meta.namespace.clone(),
                    route.meta.name.clone(),
                ),
                object: origin_of(route),
                http,
            });
        }
    }
    for ((gateway, host), mut attached) in found {
        attached.sort_by(|a, b| a.age.cmp(&b.age));
        let Some(oldest) = attached.first().map(|a| a.object.clone()) else {
            continue;
        };
        let mut http: Vec<HttpRoute> = attached.into_iter().flat_map(|a| a.http).collect();
        http.sort_by_key(kubematch::precedence);
        let mut meta = oldest.meta.clone();
        meta.name = format!("{gateway}~{host}").replace('/', "~");
        cluster.virtual_services.push(Object {
            kind: "VirtualService".into(),
            meta,
            spec: VirtualService {
                hosts: vec![host],
                gateways: vec![gateway],
                http,
                export_to: Vec::new(),
                ..VirtualService::default()
            },
            source: Source {
                generated_from: Some(oldest.reference()),
                ..oldest.source.clone()
            },
        });
    }
}

struct Attachment {
    age: (Option<String>, String, String),
    object: Object<()>,
    http: Vec<HttpRoute>,
}

fn only_on(routes: &mut [HttpRoute], port: u16) {
    for route in routes {
        if route.matches.is_empty() {
            route.matches.push(Default::default());
        }
        for one in &mut route.matches {
            one.port = Some(port);
        }
    }
}

/// Gateway (`mesh` for a Service) and host of each attachment, with the port
/// that calls of a Service are limited to.
fn bindings(route: &Object<Route>, parents: &[Parent]) -> Vec<(String, String, Option<u16>)> {
    let mut bound = Vec::new();
    let any = vec!["*".to_owned()];
    let hosts = match route.spec.hostnames.as_slice() {
        [] => &any,
        _ => &route.spec.hostnames,
    };
    for reference in &route.spec.parent_refs {
        let namespace = reference
            .namespace
            .as_deref()
            .unwrap_or(&route.meta.namespace);
        if is_service(reference) {
            let host = format!("{}.{namespace}.svc.cluster.local", reference.name);
            bound.push(("mesh".to_owned(), host, reference.port));
            continue;
        }
        if !is_gateway(reference) {
            continue;
        }
        let candidates: Vec<&Parent> = parents
            .iter()
            .filter(|p| *p.gateway.namespace == *namespace && *p.gateway.name == *reference.name)
            .collect();
        for parent in &candidates {
            if !accepts(parent, reference, route, hosts) {
                continue;
            }
            for host in hosts {
                let entry = (parent.internal_name.clone(), host.clone(), None);
                if is_ours(parent, &candidates, host) && !bound.contains(&entry) {
                    bound.push(entry);
                }
            }
        }
    }
    bound
}

fn is_gateway(reference: &ParentRef) -> bool {
    reference.kind.as_deref().is_none_or(|k| k == "Gateway")
        && reference
            .group
            .as_deref()
            .is_none_or(|g| g == "gateway.networking.k8s.io")
}

fn is_service(reference: &ParentRef) -> bool {
    reference.kind.as_deref() == Some("Service")
        && reference.group.as_deref().is_none_or(str::is_empty)
}

/// `referenceAllowed`: port, section, host, namespace, kind.
fn accepts(
    parent: &Parent,
    reference: &ParentRef,
    route: &Object<Route>,
    hosts: &[String],
) -> bool {
    let named = reference.port.is_none_or(|port| port == parent.port)
        && reference
            .section_name
            .as_ref()
            .is_none_or(|section| *section == parent.section);
    let host = hosts.iter().any(|host| {
        parent.hosts.iter().any(|(namespace, ours)| {
            overlaps(ours, host) && (namespace == "*" || *namespace == route.meta.namespace)
        })
    });
    named && host && parent.kinds.contains(&&*route.kind)
}

/// Listener isolation: a host belongs to the most specific listener of the
/// Gateway's port.
fn is_ours(parent: &Parent, all: &[&Parent], host: &str) -> bool {
    let ours = parent.hostname.as_str();
    if !ours.is_empty() && !ours.starts_with('*') {
        return true;
    }
    if !ours.is_empty() && !overlaps(host, ours) {
        return false;
    }
    all.iter().all(|other| {
        other.port != parent.port
            || other.protocol != parent.protocol
            || other.hostname == ours
            || ours.len() > other.hostname.len()
            || !is_within(host, &other.hostname)
    })
}

/// Whether two hosts have a name in common (istio `host.Name.Matches`).
fn overlaps(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(a), None) => b.ends_with(a),
        (None, Some(b)) => a.ends_with(b),
        (None, None) => a == b,
    }
}

/// Whether every name of `a` is one of `b` (istio `host.Name.SubsetOf`).
fn is_within(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.len() >= b.len() && a.ends_with(b),
        (Some(_), None) => false,
        (None, Some(b)) => a.ends_with(b),
        (None, None) => a == b,
    }
}

/// The rules, each split by its matches; `None` when one of them makes Istio
/// refuse the whole route.
fn rules(cluster: &Cluster, route: &Object<Route>) -> Option<Vec<HttpRoute>> {
    let http = &*route.kind == "HTTPRoute";
    let any = RouteMatch {
        path: Some(TypedValue::default()),
        ..RouteMatch::default()
    };
    let one = vec![RouteRule::default()];
    let rules = match &route.spec.rules {
        Some(rules) => rules,
        None if http => &one,
        None => return Some(Vec::new()),
    };
    let mut out = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut matches: Vec<Option<&RouteMatch>> = rule.matches.iter().map(Some).collect();
        if matches.is_empty() {
            matches.push(http.then_some(&any));
        }
        for (position, one) in matches.into_iter().enumerate() {
            let place = match rule.matches.len() {
                0 | 1 => format!("rules[{index}]"),
                _ => format!("rules[{index}].matches[{position}]"),
            };
            let mut made = convert(cluster, route, rule, index)?;
            if let Some(one) = one {
                made.matches = vec![kubematch::convert(one, http)?];
            }
            made.origin = Some(Arc::new(Origin {
                object: origin_of(route),
                place,
            }));
            out.push(made);
        }
    }
    Some(out)
}

fn convert(
    cluster: &Cluster,
    route: &Object<Route>,
    rule: &RouteRule,
    index: usize,
) -> Option<HttpRoute> {
    let mut made = HttpRoute {
        name: rule
            .name
            .clone()
            .unwrap_or_else(|| format!("{}.{}.{index}", route.meta.namespace, route.meta.name)),
        gateway_api: true,
        timeout: rule
            .timeouts
            .backend_request
            .clone()
            .or_else(|| rule.timeouts.request.clone()),
        ..HttpRoute::default()
    };
    for filter in &rule.filters {
        kubefilters::apply(filter, &mut made)?;
        if let Some(mirror) = filter.request_mirror.as_ref()
            && let Some(Backend::Found(destination)) = backend(cluster, route, &mirror.backend_ref)
        {
            made.mirrors.push(Mirror { destination });
        }
    }
    let weights: u64 = rule
        .backend_refs
        .iter()
        .map(|b| u64::from(b.weight.unwrap_or(1)))
        .sum();
    if weights == 0 {
        if made.redirect.is_none() {
            made.direct_response = Some(DirectResponse {
                status: 500,
                body: None,
            });
        }
        return Some(made);
    }
    for reference in &rule.backend_refs {
        let weight = reference.weight.unwrap_or(1);
        if weight == 0 {
            continue;
        }
        // A backend that is not there or not granted is an empty host: 500.
        let destination = match backend(cluster, route, reference)? {
            Backend::Found(destination) => destination,
            Backend::Invalid => Destination::default(),
        };
        let mut headers: Option<Headers> = None;
        for filter in &reference.filters {
            let modifier = match filter.kind.as_str() {
                "RequestHeaderModifier" => (&filter.request_header_modifier, true),
                "ResponseHeaderModifier" => (&filter.response_header_modifier, false),
                _ => return None,
            };
            if let (Some(modifier), request) = modifier {
                let headers = headers.get_or_insert_default();
                let operations = header_operations(modifier);
                if request {
                    headers.request = operations;
                } else {
                    headers.response = operations;
                }
            }
        }
        made.route.push(RouteDestination {
            destination,
            weight,
            headers,
        });
    }
    Some(made)
}

enum Backend {
    Found(Destination),
    Invalid,
}

/// Where a backend is; `None` when it makes Istio refuse the whole route.
fn backend(cluster: &Cluster, route: &Object<Route>, to: &BackendRef) -> Option<Backend> {
    let namespace = to.namespace.as_deref().unwrap_or(&route.meta.namespace);
    let group = to.group.as_deref().unwrap_or_default();
    let kind = to.kind.as_deref().unwrap_or("Service");
    if namespace != route.meta.namespace && !is_granted(cluster, route, to, namespace) {
        return Some(Backend::Invalid);
    }
    let (host, there) = match (group, kind) {
        ("", "Service") => {
            if to.name.contains('.') {
                return None;
            }
            let name = ServiceName {
                namespace: namespace.into(),
                name: to.name.as_str().into(),
            };
            (name.host(), cluster.service(&name).is_some())
        }
        ("networking.istio.io", "Hostname") => {
            if to.namespace.is_some() {
                return None;
            }
            let service = ServiceName::from_host(&to.name, namespace);
            let there = service.is_some_and(|name| cluster.service(&name).is_some())
                || cluster.endpoints.iter().any(|e| e.spec.host == to.name);
            (to.name.clone(), there)
        }
        _ => return Some(Backend::Invalid),
    };
    let port = to.port?;
    if !there {
        return Some(Backend::Invalid);
    }
    Some(Backend::Found(Destination {
        host,
        port: Some(PortSelector { number: port }),
        subset: String::new(),
    }))
}

fn is_granted(cluster: &Cluster, route: &Object<Route>, to: &BackendRef, namespace: &str) -> bool {
    const GROUP: &str = "gateway.networking.k8s.io";
    let group = to.group.as_deref().unwrap_or_default();
    let kind = to.kind.as_deref().unwrap_or("Service");
    cluster
        .reference_grants
        .iter()
        .filter(|grant| grant.meta.namespace == namespace)
        .any(|grant| {
            let from = grant.spec.from.iter().any(|from| {
                from.group == GROUP
                    && from.kind == *route.kind
                    && from.namespace == route.meta.namespace
            });
            let to = grant.spec.to.iter().any(|granted| {
                (granted.group == group || granted.group == "core" && group.is_empty())
                    && granted.kind == kind
                    && granted.name.as_ref().is_none_or(|name| *name == to.name)
            });
            from && to
        })
}

#[cfg(test)]
mod tests;
