//! VirtualServices: bindings that do not hold, routes that are never reached.

use std::collections::BTreeSet;

use policy::{Owner, RouteView};
use resources::istio::{HttpMatch, VirtualService};
use resources::{Object, ObjectRef};

use crate::context::Context;
use crate::finding::{Finding, Lint, Severity};

const BINDING: Lint = Lint(
    "M5",
    Severity::Medium,
    "VirtualService that is not where it seems to be",
);
const UNREACHABLE: Lint = Lint("R1", Severity::Medium, "route that is never reached");
const DUPLICATE: Lint = Lint("R2", Severity::Medium, "match that an earlier one covers");
const HIDDEN: Lint = Lint(
    "R3",
    Severity::Medium,
    "route hidden by an older VirtualService",
);
const WILDCARD: Lint = Lint(
    "R4",
    Severity::Medium,
    "specific host that takes requests from a wildcard",
);
const FOREIGN: Lint = Lint("R5", Severity::High, "mesh route for somebody else's host");

const TAKEN: Lint = Lint(
    "R6",
    Severity::High,
    "somebody else's routes on a host of the platform",
);

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for service in &context.cluster.virtual_services {
        if service.source.generated_from.is_some() {
            continue;
        }
        binding(context, service, found);
        unreachable(service, found);
        foreign(service, found);
    }
    hidden(context, found);
    wildcard(context, found);
    taken(context, found);
}

/// The Gateways it is bound to as `ns/name`, `mesh` as it is.
fn gateways(service: &Object<VirtualService>) -> Vec<String> {
    if service.spec.gateways.is_empty() {
        return vec!["mesh".to_owned()];
    }
    let full = |name: &String| {
        if name == "mesh" || name.contains('/') {
            name.clone()
        } else {
            format!("{}/{name}", service.meta.namespace)
        }
    };
    service.spec.gateways.iter().map(full).collect()
}

fn binding(context: &Context<'_>, service: &Object<VirtualService>, found: &mut Vec<Finding>) {
    let namespace = &service.meta.namespace;
    let exists = |full: &str| {
        context
            .cluster
            .gateways
            .iter()
            .any(|g| format!("{}/{}", g.meta.namespace, g.meta.name) == full)
    };
    for (i, (written, full)) in service
        .spec
        .gateways
        .iter()
        .zip(gateways(service))
        .enumerate()
    {
        if full == "mesh" || exists(&full) || context.cluster.gateways.is_empty() {
            continue;
        }
        let other = context
            .cluster
            .gateways
            .iter()
            .find(|g| g.meta.name == *written);
        let advice = other.map_or_else(
            || "name an existing one as `namespace/name`".to_owned(),
            |g| format!("write `{}/{written}`", g.meta.namespace),
        );
        let message = format!(
            "there is no Gateway `{full}`: the routes are not on any gateway and answer 404; {advice}"
        );
        let mut finding = BINDING.on(service, format!("spec.gateways[{i}]"), message);
        if let Some(gateway) = other {
            finding = finding.fix(format!("{}/{written}", gateway.meta.namespace));
        }
        found.push(finding);
    }
    for (i, host) in service.spec.hosts.iter().enumerate() {
        let field = format!("spec.hosts[{i}]");
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            let message = format!(
                "`{host}` has upper-case letters and is compared with the Gateway's hosts as written; write `{}`",
                host.to_ascii_lowercase()
            );
            found.push(
                BINDING
                    .on(service, field, message)
                    .fix(host.to_ascii_lowercase()),
            );
        } else if host != "*"
            && !host.contains('.')
            && gateways(service).iter().any(|g| g != "mesh")
        {
            let message = format!(
                "`{host}` has no dot and becomes `{host}.{namespace}.svc.cluster.local`: a gateway never sees that host from outside; write the whole host"
            );
            found.push(BINDING.on(service, field, message));
        }
    }
    let private = service
        .spec
        .export_to
        .iter()
        .any(|e| e == "." || e == namespace)
        && service.spec.export_to.len() == 1;
    let away = context.pods.iter().any(|p| {
        p.namespace != *namespace
            && p.gateways.iter().any(|g| {
                gateways(service).contains(&format!("{}/{}", g.meta.namespace, g.meta.name))
            })
    });
    if private && away {
        let message = format!(
            "it is visible in namespace `{namespace}` alone and the gateway's pods are elsewhere: the routes answer 404; add the gateway pods' namespace to exportTo"
        );
        found.push(BINDING.on(service, "spec.exportTo", message));
    }
}

/// Whether a match holds for every request (istio `isCatchAllRoute`).
fn catches_all(m: &HttpMatch) -> bool {
    let path = m
        .uri
        .as_ref()
        .is_none_or(|u| u.prefix.as_deref() == Some("/") || u.regex.as_deref() == Some(".*"));
    path && narrows_nothing(m)
}

/// Whether a match looks at the path alone.
fn narrows_nothing(m: &HttpMatch) -> bool {
    m.headers.is_empty()
        && m.without_headers.is_empty()
        && m.query_params.is_empty()
        && m.method.is_none()
        && m.scheme.is_none()
        && m.authority.is_none()
        && m.port.is_none()
        && m.gateways.is_empty()
        && m.source_labels.is_empty()
        && m.source_namespace.is_empty()
}

/// Whether everything that `late` matches is matched by `early`.
fn covers(early: &HttpMatch, late: &HttpMatch) -> bool {
    if catches_all(early) {
        return true;
    }
    let (Some(a), Some(b)) = (&early.uri, &late.uri) else {
        return false;
    };
    if early.ignore_uri_case || late.ignore_uri_case {
        return false;
    }
    let path = match (&a.prefix, &a.exact) {
        (Some(prefix), None) => b
            .prefix
            .as_ref()
            .or(b.exact.as_ref())
            .is_some_and(|p| p.starts_with(prefix)),
        (None, Some(exact)) => b.exact.as_ref() == Some(exact),
        _ => a == b,
    };
    path && (narrows_nothing(early) || rest(early) == rest(late))
}

/// A match without its path, as text.
fn rest(m: &HttpMatch) -> String {
    let bare = HttpMatch {
        uri: None,
        name: String::new(),
        ..m.clone()
    };
    serde_json::to_string(&bare).unwrap_or_default()
}

fn unreachable(service: &Object<VirtualService>, found: &mut Vec<Finding>) {
    let mut seen: Vec<(String, &HttpMatch)> = Vec::new();
    let mut end: Option<String> = None;
    for (i, route) in service.spec.http.iter().enumerate() {
        if let Some(end) = &end {
            let message =
                format!("{end} matches every request: this route is dead; move it before");
            found.push(UNREACHABLE.on(service, format!("spec.http[{i}]"), message));
            continue;
        }
        if route.matches.is_empty() {
            end = Some(format!("http[{i}]"));
        }
        for (j, m) in route.matches.iter().enumerate() {
            let field = format!("spec.http[{i}].match[{j}]");
            if let Some(end) = &end {
                let message =
                    format!("{end} matches every request: this match is dead; move it before");
                found.push(UNREACHABLE.on(service, field, message));
            } else if let Some((place, _)) = seen.iter().find(|(_, early)| covers(early, m)) {
                let message = format!(
                    "{place} matches everything that this one does: it is dead; put the longer path first"
                );
                found.push(DUPLICATE.on(service, field, message));
            } else if catches_all(m) {
                end = Some(format!("http[{i}].match[{j}]"));
            }
            seen.push((format!("http[{i}].match[{j}]"), m));
        }
    }
}

fn foreign(service: &Object<VirtualService>, found: &mut Vec<Finding>) {
    if !gateways(service).iter().any(|g| g == "mesh")
        || service.spec.export_to.iter().any(|e| e == ".")
    {
        return;
    }
    for (i, host) in service.spec.hosts.iter().enumerate() {
        let inside = host
            .strip_suffix(".svc.cluster.local")
            .and_then(|h| h.split_once('.'));
        if let Some((_, namespace)) =
            inside.filter(|(_, ns)| *ns != service.meta.namespace && !ns.contains('*'))
        {
            let message = format!(
                "it sits in the whole mesh and takes over `{host}`, a Service of namespace `{namespace}`: all pods' calls to it go where this object says; set `exportTo: [\".\"]`, or let `{namespace}` own it"
            );
            found.push(FOREIGN.on(service, format!("spec.hosts[{i}]"), message));
        }
    }
}

fn share_gateway(a: &Object<VirtualService>, b: &Object<VirtualService>) -> bool {
    let theirs = gateways(b);
    gateways(a)
        .iter()
        .any(|g| g != "mesh" && theirs.contains(g))
}

/// Two objects on one host: the older one's routes come first, catch-alls last.
fn hidden(context: &Context<'_>, found: &mut Vec<Finding>) {
    let mut all: Vec<&Object<VirtualService>> = context
        .cluster
        .virtual_services
        .iter()
        .filter(|v| v.source.generated_from.is_none())
        .collect();
    all.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
    for (n, young) in all.iter().enumerate() {
        for old in all.iter().take(n) {
            let host = young
                .spec
                .hosts
                .iter()
                .find(|h| old.spec.hosts.iter().any(|o| o.eq_ignore_ascii_case(h)));
            let Some(host) = host.filter(|_| share_gateway(old, young)) else {
                continue;
            };
            let open = |v: &VirtualService| {
                v.http
                    .iter()
                    .any(|r| r.matches.is_empty() || r.matches.iter().any(catches_all))
            };
            for (i, route) in young.spec.http.iter().enumerate() {
                let dead = if route.matches.is_empty() || route.matches.iter().any(catches_all) {
                    open(&old.spec)
                } else {
                    route.matches.iter().all(|m| {
                        old.spec
                            .http
                            .iter()
                            .flat_map(|r| &r.matches)
                            .any(|e| !catches_all(e) && covers(e, m))
                    })
                };
                if dead {
                    let message = format!(
                        "{} is on host `{host}` of the same gateway, older (or first by name), and matches everything that this route does: it is dead; give one of them another host or path",
                        old.reference()
                    );
                    found.push(HIDDEN.on(young, format!("spec.http[{i}]"), message));
                }
            }
        }
    }
}

/// A host of its own is a virtual host of its own: what the wildcard routes is
/// not there (envoy picks one virtual host and never falls through).
fn wildcard(context: &Context<'_>, found: &mut Vec<Finding>) {
    let all = &context.cluster.virtual_services;
    for wide in all
        .iter()
        .filter(|v| v.spec.hosts.iter().any(|h| h.starts_with('*')))
    {
        let names: Vec<&Object<VirtualService>> = all
            .iter()
            .filter(|v| v.source.generated_from.is_none() && share_gateway(wide, v))
            .filter(|v| {
                v.spec.hosts.iter().any(|h| {
                    wide.spec.hosts.iter().any(|w| {
                        w.strip_prefix('*')
                            .is_some_and(|end| h != w && h.ends_with(end))
                    })
                })
            })
            .collect();
        if let Some(first) = names.first() {
            let hosts: Vec<String> = names
                .iter()
                .flat_map(|v| &v.spec.hosts)
                .map(|h| format!("`{h}`"))
                .collect();
            let message = format!(
                "{} and its like have hosts of their own ({}): there its routes do not exist, paths that they leave out answer 404; put them under these hosts too where they are needed",
                first.reference(),
                hosts.join(", ")
            );
            let mut finding = Lint("R4", Severity::Low, WILDCARD.2).on(wide, "spec.hosts", message);
            finding.count = names.len();
            found.push(finding);
        }
    }
}

/// Routes of others in a virtual host of the platform: what they match goes to
/// them, session cookies included (ISTIO-SECURITY-2026-002).
fn taken(context: &Context<'_>, found: &mut Vec<Finding>) {
    let mut said: BTreeSet<&ObjectRef> = BTreeSet::new();
    for listener in context.snapshot.listeners() {
        for host in listener.hosts() {
            let routes: Vec<RouteView<'_>> = host.routes().collect();
            let is_tenant = |route: &RouteView<'_>| is_tenant(context, &route.object().namespace);
            let mut own = routes.iter().filter(|route| {
                matches!(
                    route.access().owner,
                    Owner::Platform | Owner::LoginMachinery
                ) && !is_tenant(route)
            });
            let Some(platform) = own.next() else { continue };
            for route in &routes {
                let object = route.object();
                let services = &context.cluster.virtual_services;
                let Some(service) = services.iter().find(|v| v.reference() == *object) else {
                    continue;
                };
                let intrudes = match route.access().owner {
                    Owner::Foreign => true,
                    Owner::Platform => is_tenant(route) && leaves_its_paths(service),
                    Owner::Model | Owner::LoginMachinery => false,
                };
                let written = service.source.generated_from.is_none();
                if !intrudes || !written || !said.insert(object) {
                    continue;
                }
                let message = format!(
                    "on {} host `{}` is the platform's ({}): what this object's routes match there goes to it, with the cookies of people who are logged in, before or after the platform's own by age; let the Gateway take that host from the platform's namespaces alone (`hosts: [\"{}/{}\"]`), or give this object another host",
                    listener.describe(),
                    host.name(),
                    platform.object(),
                    platform.object().namespace,
                    host.name()
                );
                found.push(TAKEN.on(service, "spec.hosts", message));
            }
        }
    }
}

/// A namespace that Kubeflow makes for a user.
fn is_tenant(context: &Context<'_>, namespace: &str) -> bool {
    let mut all = context.cluster.namespaces.iter();
    all.any(|n| {
        let part_of = n.meta.labels.get("app.kubernetes.io/part-of");
        n.meta.name == namespace && part_of.is_some_and(|v| v == "kubeflow-profile")
    })
}

/// Whether a tenant's object serves paths without its namespace in them; those
/// of notebooks have it.
fn leaves_its_paths(service: &Object<VirtualService>) -> bool {
    let own = format!("/{}/", service.meta.namespace);
    let inside = |m: &HttpMatch| {
        m.uri.as_ref().is_some_and(|uri| {
            let path = uri.prefix.as_ref().or(uri.exact.as_ref());
            path.is_some_and(|path| path.contains(&own))
        })
    };
    let mut routes = service.spec.http.iter();
    !routes.all(|route| !route.matches.is_empty() && route.matches.iter().all(inside))
}
