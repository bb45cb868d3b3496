//! What EnvoyFilters, WebAssembly modules and Sidecar objects do to sidecars:
//! nothing that can change an answer, or something that is not understood.

use resources::Cluster;
use resources::istio::EnvoyFilter;
use serde_json::Value;

use crate::chain::FilterStep;
use crate::envoyfilter::applicable;
use crate::harmless;
use crate::httpfilter::{self, Context, Kind};
use crate::opaque::{NotUnderstood, Scope};
use crate::proto::{at, text};
use crate::settings::IstioVersion;
use crate::workloads::{GatewayPods, selects};

/// What may change answers of the sidecars of these pods.
pub(crate) fn of_sidecar(
    cluster: &Cluster,
    pods: &GatewayPods,
    version: IstioVersion,
) -> Vec<NotUnderstood> {
    let mut found = Vec::new();
    for object in applicable(cluster, pods) {
        for (index, entry) in object.spec.config_patches.iter().enumerate() {
            if let Some(why) = effect(object, entry, version) {
                found.push(NotUnderstood {
                    object: object.reference(),
                    source: object.source.clone(),
                    place: format!("spec.configPatches[{index}]"),
                    why,
                    scope: Scope::Listener,
                });
            }
        }
    }
    let root = cluster.mesh.root_namespace.as_deref();
    for plugin in &cluster.wasm_plugins {
        let namespace = &plugin.meta.namespace;
        let here = namespace == root.unwrap_or("istio-system") || **namespace == *pods.namespace;
        let selector = plugin.spec.selector.as_ref();
        if here
            && plugin.spec.targets_none()
            && selector.is_none_or(|s| selects(&s.match_labels, &pods.labels))
        {
            found.push(NotUnderstood {
                object: plugin.reference(),
                source: plugin.source.clone(),
                place: "spec.url".to_owned(),
                why: "a WebAssembly module".to_owned(),
                scope: Scope::Listener,
            });
        }
    }
    for sidecar in cluster
        .sidecars
        .iter()
        .filter(|s| !s.spec.ingress.is_empty())
    {
        let selector = sidecar.spec.workload_selector.as_ref();
        let namespace = &sidecar.meta.namespace;
        let for_all = namespace == root.unwrap_or("istio-system") && selector.is_none();
        if (for_all || **namespace == *pods.namespace)
            && selector.is_none_or(|s| selects(&s.labels, &pods.labels))
        {
            found.push(NotUnderstood {
                object: sidecar.reference(),
                source: sidecar.source.clone(),
                place: "spec.ingress".to_owned(),
                why: "a listener in place of the pods' port".to_owned(),
                scope: Scope::Listener,
            });
        }
    }
    found
}

fn effect(
    object: &resources::Object<EnvoyFilter>,
    entry: &Value,
    version: IstioVersion,
) -> Option<String> {
    let context = text(entry, &["match", "context"]);
    if !matches!(context, "" | "ANY" | "SIDECAR_INBOUND") {
        return None;
    }
    let apply_to = text(entry, &["applyTo"]);
    let operation = text(entry, &["patch", "operation"]);
    let value = at(entry, &["patch", "value"]).unwrap_or(&Value::Null);
    if apply_to != "HTTP_FILTER" {
        return harmless::effect(apply_to, operation, value);
    }
    if !operation.starts_with("INSERT") && operation != "ADD" {
        return Some(format!("`{operation}` of a sidecar's filter"));
    }
    let context = Context {
        object: &object.reference(),
        source: &object.source,
        version,
        cluster: &|_| None,
    };
    match httpfilter::read(value, &context).kind {
        Kind::Step(FilterStep::Other) | Kind::Refused(_) => None,
        Kind::Opaque(why) => Some(why),
        Kind::Step(_) | Kind::Authorizer(_) => Some("a filter in a sidecar".to_owned()),
    }
}
