//! EnvoyFilters that do nothing, or not what they seem to.

use policy::IstioVersion;
use resources::Object;
use resources::istio::EnvoyFilter;
use serde_json::Value;

use policy::selects;

use crate::context::Context;
use crate::finding::{Finding, Lint, Severity};

const DEPRECATED: Lint = Lint(
    "C1",
    Severity::Critical,
    "EnvoyFilter that matches a filter name Istio no longer knows",
);
const NOWHERE: Lint = Lint("M3", Severity::Medium, "EnvoyFilter that matches nothing");
const WRONG_KEY: Lint = Lint(
    "M4",
    Severity::Medium,
    "per-route configuration under a name that is not the filter's",
);

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for filter in &context.cluster.envoy_filters {
        other_namespace(context, filter, found);
        for (index, patch) in filter.spec.config_patches.iter().enumerate() {
            let place = format!("spec.configPatches[{index}]");
            deprecated_name(context, filter, patch, &place, found);
            no_such_port(context, filter, patch, &place, found);
            no_such_virtual_host(filter, patch, &place, found);
            wrong_key(filter, patch, &place, found);
        }
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Who dropped the old names, and when.
const DROPPED: &str =
    "Istio 1.19, which comes with Envoy 1.27, was the first to match nothing by it";

/// Names that Istio translated up to 1.18 and that match nothing since
/// (istio commit c2225561517).
fn renamed(name: &str) -> Option<&'static str> {
    Some(match name {
        "envoy.http_connection_manager" => "envoy.filters.network.http_connection_manager",
        "envoy.tcp_proxy" => "envoy.filters.network.tcp_proxy",
        "envoy.router" => "envoy.filters.http.router",
        "envoy.ext_authz" => "envoy.filters.http.ext_authz",
        "envoy.cors" => "envoy.filters.http.cors",
        "envoy.fault" => "envoy.filters.http.fault",
        "envoy.lua" => "envoy.filters.http.lua",
        "envoy.filters.http.rbac.istio" | "envoy.rbac" => "envoy.filters.http.rbac",
        _ => return None,
    })
}

fn deprecated_name(
    context: &Context<'_>,
    filter: &Object<EnvoyFilter>,
    patch: &Value,
    place: &str,
    found: &mut Vec<Finding>,
) {
    for at in ["filter", "filter/subFilter"] {
        let name = text(patch, &format!("/match/listener/filterChain/{at}/name"));
        let Some(new) = renamed(name) else { continue };
        let effect = if context.version >= IstioVersion::DEPRECATED_NAMES_DEAD {
            format!(
                "Istio {} (Envoy {}) matches nothing by it, without an error: the patch is not installed and what it protected is open; {DROPPED}",
                context.version,
                context.version.envoy()
            )
        } else {
            format!(
                "Istio {} (Envoy {}) still translates it: the upgrade opens what the patch protects; {DROPPED}",
                context.version,
                context.version.envoy()
            )
        };
        let field = format!(
            "{place}.match.listener.filterChain.{}.name",
            at.replace('/', ".")
        );
        let message = format!(
            "`{name}` is an old name of `{new}`: {effect}; write `{new}`, or use a CUSTOM policy"
        );
        found.push(DEPRECATED.on(filter, field, message).fix(new));
    }
}

fn other_namespace(context: &Context<'_>, filter: &Object<EnvoyFilter>, found: &mut Vec<Finding>) {
    let namespace = &filter.meta.namespace;
    let labels = filter.spec.workload_selector.as_ref().map(|s| &s.labels);
    let reaches = context.pods.iter().any(|pods| {
        (namespace == context.root || *namespace == pods.namespace)
            && labels.is_none_or(|l| selects(l, &pods.labels))
    });
    let Some(elsewhere) = context
        .pods
        .iter()
        .find(|pods| labels.is_some_and(|l| !l.is_empty() && selects(l, &pods.labels)))
    else {
        return;
    };
    if !reaches {
        let message = format!(
            "it selects pods of namespace `{}`, but an EnvoyFilter reaches only pods of its own namespace `{namespace}`; move it to `{}` or to `{}`",
            elsewhere.namespace, elsewhere.namespace, context.root
        );
        found.push(
            NOWHERE
                .on(filter, "metadata.namespace", message)
                .fix(elsewhere.namespace.clone()),
        );
    }
}

fn port(patch: &Value, pointer: &str) -> Option<u16> {
    patch
        .pointer(pointer)
        .and_then(Value::as_u64)
        .and_then(|p| u16::try_from(p).ok())
}

fn no_such_port(
    context: &Context<'_>,
    filter: &Object<EnvoyFilter>,
    patch: &Value,
    place: &str,
    found: &mut Vec<Finding>,
) {
    let labels = filter.spec.workload_selector.as_ref().map(|s| &s.labels);
    let gateways = || {
        context
            .pods
            .iter()
            .filter(|p| p.is_gateway() && labels.is_none_or(|l| selects(l, &p.labels)))
    };
    if gateways().next().is_none() {
        return;
    }
    let servers: Vec<(u16, u16)> = gateways()
        .flat_map(|pods| {
            let all = pods.gateways.iter().flat_map(|gateway| {
                let servers = gateway.spec.servers.iter();
                servers.map(move |server| (gateway, server.port.number))
            });
            all.flat_map(|(gateway, number)| {
                let listeners = pods.listener_ports(gateway, number).into_iter();
                listeners.map(move |listener| (number, listener))
            })
        })
        .collect();
    if let Some(number) = port(patch, "/match/listener/portNumber")
        && !servers.iter().any(|(_, listener)| *listener == number)
        && let Some((_, listener)) = servers.iter().find(|(server, _)| *server == number)
    {
        let message = format!(
            "`{number}` is the port of a Gateway server, its listener is `{listener}`: the patch matches nothing; write `{listener}`"
        );
        found.push(
            NOWHERE
                .on(
                    filter,
                    format!("{place}.match.listener.portNumber"),
                    message,
                )
                .fix(listener.to_string()),
        );
    }
    if let Some(number) = port(patch, "/match/routeConfiguration/portNumber")
        && !servers.iter().any(|(server, _)| *server == number)
        && let Some((server, _)) = servers.iter().find(|(_, listener)| *listener == number)
    {
        let message = format!(
            "`{number}` is a listener port, route configurations are found by the Gateway's server port `{server}`: the patch matches nothing; write `{server}`"
        );
        found.push(
            NOWHERE
                .on(
                    filter,
                    format!("{place}.match.routeConfiguration.portNumber"),
                    message,
                )
                .fix(server.to_string()),
        );
    }
}

fn no_such_virtual_host(
    filter: &Object<EnvoyFilter>,
    patch: &Value,
    place: &str,
    found: &mut Vec<Finding>,
) {
    let name = text(patch, "/match/routeConfiguration/vhost/name");
    let bad = name == "*"
        || name.ends_with(":8080")
        || name.ends_with(":8443")
        || (!name.is_empty() && !name.contains(':'));
    if bad {
        let host = name.split(':').next().unwrap_or(name);
        let message = format!(
            "no virtual host is called `{name}`: on gateways the name is host and server port, for example `{host}:80`; the patch matches nothing"
        );
        found.push(
            NOWHERE
                .on(
                    filter,
                    format!("{place}.match.routeConfiguration.vhost.name"),
                    message,
                )
                .fix(format!("{host}:80")),
        );
    }
}

fn wrong_key(filter: &Object<EnvoyFilter>, patch: &Value, place: &str, found: &mut Vec<Finding>) {
    if !matches!(
        text(patch, "/applyTo"),
        "HTTP_ROUTE" | "VIRTUAL_HOST" | "ROUTE_CONFIGURATION"
    ) {
        return;
    }
    let keys = patch
        .pointer("/patch/value/typed_per_filter_config")
        .and_then(Value::as_object);
    for key in keys.into_iter().flatten().map(|(key, _)| key) {
        if let Some(new) = renamed(key) {
            let message = format!(
                "`{key}` is not the name of a filter here: Envoy 1.32 and newer (and 1.29 by default) ignore it, nothing is switched off; write `{new}`"
            );
            found.push(
                WRONG_KEY
                    .on(
                        filter,
                        format!("{place}.patch.value.typed_per_filter_config"),
                        message,
                    )
                    .fix(new),
            );
        }
    }
    let name = text(patch, "/patch/value/name");
    if !name.is_empty() && text(patch, "/patch/operation") == "MERGE" {
        let message = format!(
            "`{name}` does not choose a filter: it renames the route or virtual host, and other patches that match the old name stop; leave it out"
        );
        found.push(WRONG_KEY.on(filter, format!("{place}.patch.value.name"), message));
    }
}
