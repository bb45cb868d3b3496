//! EnvoyFilters that switch external authorizers off for some routes
//! (istio `envoyfilter/rc_patch.go`, envoy `ExtAuthzPerRoute`).

use resources::istio::EnvoyFilter;
use resources::{Cluster, Object};
use serde_json::Value;

use crate::envoyfilter::{applicable, text};
use crate::settings::Problem;
use crate::vhosts::VirtualHosts;
use crate::workloads::GatewayPods;

/// Per-route configuration is found by the filter's name in the chain; Istio's
/// is this one.
const FILTER: &str = "envoy.filters.http.ext_authz";

/// Which routes a patch means.
#[derive(Debug, Default)]
pub(crate) struct RouteMatch<'v> {
    server_port: Option<u64>,
    configuration: &'v str,
    host: &'v str,
    domain: &'v str,
    /// `None` for a patch of whole virtual hosts.
    route: Option<&'v str>,
}

/// A listener's route table, as EnvoyFilters name it.
pub(crate) struct Table<'a> {
    pub(crate) port: u16,
    pub(crate) server_ports: &'a [u16],
}

/// Applies every patch to the virtual hosts of one listener.
pub(crate) fn apply(
    cluster: &Cluster,
    pods: &GatewayPods,
    table: &Table<'_>,
    hosts: &mut VirtualHosts,
    problems: &mut Vec<Problem>,
) {
    for filter in applicable(cluster, pods) {
        for (index, patch) in filter.spec.config_patches.iter().enumerate() {
            if let Err(message) = apply_one(patch, table, hosts) {
                problems.push(problem(filter, index, &message));
            }
        }
    }
}

fn problem(filter: &Object<EnvoyFilter>, index: usize, message: &str) -> Problem {
    Problem::of(filter, format!("spec.configPatches[{index}]: {message}"))
}

fn apply_one(patch: &Value, table: &Table<'_>, hosts: &mut VirtualHosts) -> Result<(), String> {
    let apply_to = text(patch, "/applyTo");
    if !matches!(
        apply_to,
        "HTTP_ROUTE" | "VIRTUAL_HOST" | "ROUTE_CONFIGURATION"
    ) || !matches!(text(patch, "/match/context"), "GATEWAY" | "ANY" | "")
    {
        return Ok(());
    }
    let operation = text(patch, "/patch/operation");
    let Some(configs) = patch
        .pointer("/patch/value/typed_per_filter_config")
        .and_then(Value::as_object)
    else {
        return Err(format!(
            "`{operation}` of {apply_to} is not understood and may change the answer"
        ));
    };
    if operation != "MERGE" {
        return Err(format!(
            "`{operation}` of {apply_to} is not understood and may change the answer"
        ));
    }
    for (key, config) in configs {
        if key == "envoy.ext_authz" {
            return Err(format!(
                "per-route key `{key}` names no filter and has no effect; expected `{FILTER}`"
            ));
        }
        let kind = text(config, "/@type");
        let disables = config.get("disabled").and_then(Value::as_bool) == Some(true)
            && (kind.ends_with("ext_authz.v3.ExtAuthzPerRoute")
                || kind.ends_with("route.v3.FilterConfig"));
        if key != FILTER || !disables {
            return Err(format!(
                "per-route configuration of `{key}` is not understood and may change the answer"
            ));
        }
    }
    let at = RouteMatch::read(patch, apply_to);
    let text = |pointer: &str| text(patch, pointer);
    if !text("/match/routeConfiguration/gateway").is_empty()
        || !text("/match/routeConfiguration/portName").is_empty()
    {
        return Err("`gateway` and `portName` of a route configuration are known on HTTPS listeners only: no effect here".into());
    }
    if !at.means(table) || hosts.leave_unchecked(&at) == 0 {
        return Err(format!(
            "matches no route of port {} (servers {:?}, virtual hosts are called `host:server-port`): no effect there",
            table.port, table.server_ports
        ));
    }
    Ok(())
}

impl<'v> RouteMatch<'v> {
    fn read(patch: &'v Value, apply_to: &str) -> Self {
        let at = |pointer: &str| text(patch, pointer);
        Self {
            server_port: patch
                .pointer("/match/routeConfiguration/portNumber")
                .and_then(Value::as_u64),
            configuration: at("/match/routeConfiguration/name"),
            host: at("/match/routeConfiguration/vhost/name"),
            domain: at("/match/routeConfiguration/vhost/domainName"),
            route: (apply_to == "HTTP_ROUTE")
                .then(|| at("/match/routeConfiguration/vhost/route/name")),
        }
    }

    fn means(&self, table: &Table<'_>) -> bool {
        let port = self
            .server_port
            .is_none_or(|port| table.server_ports.iter().any(|p| u64::from(*p) == port));
        port && (self.configuration.is_empty()
            || self.configuration == format!("http.{}", table.port))
    }

    /// Whether a virtual host is meant: by its name `host:server-port`, by its domain, or all.
    pub(crate) fn means_host(&self, host: &str, server_port: u16) -> bool {
        (self.host.is_empty() || self.host == format!("{host}:{server_port}"))
            && (self.domain.is_empty() || self.domain == host)
    }

    /// Whether a route is meant: by name; a route without one can only be meant with all others.
    pub(crate) fn means_route(&self, name: &str) -> bool {
        self.route
            .is_none_or(|wanted| wanted.is_empty() || wanted == name)
    }
}
