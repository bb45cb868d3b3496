//! EnvoyFilters that put an external authorizer in front of a gateway, as
//! Kubeflow up to 1.8 does (`authn-filter`).

use resources::istio::EnvoyFilter;
use resources::mesh::ExtAuthzHttp;
use resources::{Cluster, Object};
use serde_json::Value;

use crate::providers::Authorizer;
use crate::settings::{IstioVersion, Problem};
use crate::workloads::{GatewayPods, selects};

const HCM: &str = "envoy.filters.network.http_connection_manager";
const DEPRECATED_HCM: &str = "envoy.http_connection_manager";

/// What a patch turned out to be.
enum Patch {
    Authorizer(Box<ExtAuthzHttp>),
    /// Nothing, for this reason; worth a warning.
    Dead(String),
    /// Does not concern this listener.
    Elsewhere,
    /// Not understood: may change the answer.
    Unknown(String),
}

/// The authorizers that EnvoyFilters insert on one listener, first asked first.
pub(crate) fn authorizers(
    cluster: &Cluster,
    pods: &GatewayPods,
    listener: u16,
    version: IstioVersion,
    problems: &mut Vec<Problem>,
) -> Vec<Authorizer> {
    let mut found = Vec::new();
    for filter in applicable(cluster, pods) {
        for (index, patch) in filter.spec.config_patches.iter().enumerate() {
            match read(patch, listener, version) {
                // INSERT_BEFORE without a subFilter prepends: the later patch is asked first.
                Patch::Authorizer(settings) => found.insert(
                    0,
                    Authorizer::http(&filter.meta.name, *settings, filter.reference(), filter.source.clone()),
                ),
                Patch::Elsewhere => {}
                Patch::Dead(why) => problems.push(Problem::of(filter, format!("spec.configPatches[{index}]: {why}"))),
                Patch::Unknown(what) => problems.push(Problem::of(
                    filter,
                    format!("spec.configPatches[{index}]: {what} is not understood and may change the answer"),
                )),
            }
        }
    }
    found
}

/// The EnvoyFilters of these pods, in the order they are applied.
pub(crate) fn applicable<'c>(
    cluster: &'c Cluster,
    pods: &GatewayPods,
) -> Vec<&'c Object<EnvoyFilter>> {
    let root = cluster
        .mesh
        .root_namespace
        .as_deref()
        .unwrap_or("istio-system");
    let mut filters: Vec<&Object<EnvoyFilter>> = cluster
        .envoy_filters
        .iter()
        .filter(|f| f.meta.namespace == root || *f.meta.namespace == *pods.namespace)
        .filter(|f| {
            f.spec
                .workload_selector
                .as_ref()
                .is_none_or(|s| selects(&s.labels, &pods.labels))
        })
        .collect();
    filters.sort_by(|a, b| {
        let rank = |f: &Object<EnvoyFilter>| (f.spec.priority, f.meta.namespace != root);
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.age_order().cmp(&b.age_order()))
    });
    filters
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn read(patch: &Value, listener: u16, version: IstioVersion) -> Patch {
    let context = text(patch, "/match/context");
    if !matches!(context, "GATEWAY" | "ANY" | "") {
        return Patch::Elsewhere;
    }
    let apply_to = text(patch, "/applyTo");
    if matches!(
        apply_to,
        "HTTP_ROUTE" | "VIRTUAL_HOST" | "ROUTE_CONFIGURATION"
    ) {
        return Patch::Elsewhere;
    }
    if apply_to != "HTTP_FILTER" {
        return Patch::Unknown(format!("a patch of `{apply_to}`"));
    }
    if patch
        .pointer("/match/listener/portNumber")
        .and_then(Value::as_u64)
        .is_some_and(|p| p != u64::from(listener))
    {
        return Patch::Elsewhere;
    }
    let operation = text(patch, "/patch/operation");
    let sub_filter = text(patch, "/match/listener/filterChain/filter/subFilter/name");
    let filter_type = text(patch, "/patch/value/typed_config/@type");
    if operation == "REMOVE"
        && matches!(
            sub_filter,
            "istio.alpn" | "istio.stats" | "istio.metadata_exchange"
        )
    {
        return Patch::Elsewhere;
    }
    let authorizer = filter_type.ends_with("ext_authz.v3.ExtAuthz");
    if !authorizer || !operation.starts_with("INSERT") {
        let name = text(patch, "/patch/value/name");
        return Patch::Unknown(format!("`{operation}` of HTTP filter `{name}`"));
    }
    match text(patch, "/match/listener/filterChain/filter/name") {
        HCM | "" => {}
        DEPRECATED_HCM if version < IstioVersion::DEPRECATED_NAMES_DEAD => {}
        DEPRECATED_HCM => {
            return Patch::Dead(format!(
                "matches `{DEPRECATED_HCM}`, a name that Istio {} and newer no longer translate \
                 (this is {version}): the filter is not installed and what it protected is open; expected `{HCM}`",
                IstioVersion::DEPRECATED_NAMES_DEAD
            ));
        }
        _ => return Patch::Elsewhere,
    }
    match settings(
        patch
            .pointer("/patch/value/typed_config")
            .unwrap_or(&Value::Null),
    ) {
        Some(settings) => Patch::Authorizer(Box::new(settings)),
        None => Patch::Unknown("an ext_authz filter without http_service".to_owned()),
    }
}

/// Reads Envoy's own configuration into the provider's form.
fn settings(config: &Value) -> Option<ExtAuthzHttp> {
    let service = config.get("http_service")?;
    let cluster = text(service, "/server_uri/cluster");
    // `outbound|8080||authservice.istio-system.svc.cluster.local`
    let mut parts = cluster.split('|').skip(1);
    let port = parts.next()?.parse().ok()?;
    let host = parts.nth(1)?.to_owned();
    let patterns = |pointer: &str| -> Vec<String> {
        let list = service.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(pattern).collect()
    };
    Some(ExtAuthzHttp {
        service: host,
        port,
        timeout: service
            .pointer("/server_uri/timeout")
            .and_then(Value::as_str)
            .map(str::to_owned),
        fail_open: config
            .get("failure_mode_allow")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        path_prefix: text(service, "/path_prefix").to_owned(),
        include_request_headers_in_check: patterns(
            "/authorization_request/allowed_headers/patterns",
        ),
        headers_to_upstream_on_allow: patterns(
            "/authorization_response/allowed_upstream_headers/patterns",
        ),
        headers_to_downstream_on_deny: patterns(
            "/authorization_response/allowed_client_headers/patterns",
        ),
        ..ExtAuthzHttp::default()
    })
}

fn pattern(value: &Value) -> Option<String> {
    let get = |key: &str| value.get(key).and_then(Value::as_str);
    get("exact")
        .map(str::to_owned)
        .or_else(|| get("prefix").map(|p| format!("{p}*")))
        .or_else(|| get("suffix").map(|s| format!("*{s}")))
}
