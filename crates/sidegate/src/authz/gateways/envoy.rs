//! Envoy by itself, Envoy Gateway and Contour.

use policy::Entrance;
use serde_json::{Value, json};

use super::{Asking, word};
use crate::authz::manifests::{NAME, PORT, filter_over_http, prefix, yaml};

/// Filters and the cluster, as files.
pub(super) fn files(asking: &Asking<'_>) -> Value {
    let mut files = Vec::new();
    for side in asking.sides() {
        let filter = match asking.http {
            true => filter_over_http(side, &asking.host(), NAME),
            false => over_grpc(asking, side),
        };
        files.push((format!("{}.yaml", word(side)), text(&json!([filter]))));
    }
    files.push(("cluster.yaml".to_owned(), text(&json!([cluster(asking)]))));
    asking.config_map("sidegate-envoy", files)
}

fn over_grpc(asking: &Asking<'_>, side: Entrance) -> Value {
    // The ending says which side asks, where both have listeners on one port.
    let authority = format!("{NAME}-{}.{}", word(side), asking.namespace);
    json!({"name": "envoy.filters.http.ext_authz", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "status_on_error": {"code": 403},
        "grpc_service": {"envoy_grpc": {"cluster_name": NAME, "authority": authority},
            "timeout": "2s"},
    }})
}

fn cluster(asking: &Asking<'_>) -> Value {
    let endpoint = json!({"endpoint": {"address": {"socket_address":
        {"address": asking.host(), "port_value": PORT}}}});
    let mut cluster = json!({
        "name": NAME,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": NAME, "endpoints": [{"lb_endpoints": [endpoint]}]},
    });
    if let (false, Some(members)) = (asking.http, cluster.as_object_mut()) {
        let options = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
        members.insert("typed_extension_protocol_options".to_owned(), options);
    }
    cluster
}

/// A policy for each Gateway. Envoy's ports are not the Gateway's there, so it asks over HTTP.
pub(super) fn gateway(asking: &Asking<'_>) -> Vec<Value> {
    let mut objects = Vec::new();
    let mut namespaces = std::collections::BTreeSet::new();
    let mut known = std::collections::BTreeSet::new();
    let listeners = asking.snapshot.listeners();
    for listener in listeners.filter(|listener| !listener.is_opaque()) {
        for (gateway, _) in listener.gateways() {
            let (namespace, name) = (gateway.namespace.to_string(), gateway.name.to_string());
            if !known.insert((namespace.clone(), name.clone(), word(listener.side()))) {
                continue;
            }
            objects.push(json!({
                "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "SecurityPolicy",
                "metadata": {"name": format!("sidegate-{name}"), "namespace": namespace},
                "spec": {
                    "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway",
                        "name": name}],
                    "extAuth": {
                        "failOpen": false,
                        "headersToExtAuth": exactly_seen(),
                        "http": {
                            "backendRefs": [{"name": NAME, "namespace": asking.namespace, "port": PORT}],
                            "path": prefix(listener.side()),
                            "headersToBackend": ext_authz::handed().collect::<Vec<_>>(),
                        },
                    },
                },
            }));
            namespaces.insert(namespace);
        }
    }
    let from: Vec<Value> = namespaces
        .iter()
        .map(|namespace| {
            json!({"group": "gateway.envoyproxy.io", "kind": "SecurityPolicy",
                "namespace": namespace})
        })
        .collect();
    objects.push(json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": NAME, "namespace": asking.namespace},
        "spec": {"from": from, "to": [{"group": "", "kind": "Service", "name": NAME}]},
    }));
    objects
}

/// Names of headers that a check has to see, where no patterns can be given.
fn exactly_seen() -> Vec<String> {
    let plain = ext_authz::seen()
        .into_iter()
        .filter(|name| !name.ends_with('*'));
    let mut all: std::collections::BTreeSet<String> = plain.collect();
    let named = ext_authz::handed().chain(policy::KNATIVE_HEADERS);
    all.extend(named.map(str::to_owned));
    all.into_iter().collect()
}

/// The service that HTTPProxies name.
pub(super) fn contour(asking: &Asking<'_>) -> Value {
    json!({
        "apiVersion": "projectcontour.io/v1alpha1", "kind": "ExtensionService",
        "metadata": {"name": NAME, "namespace": asking.namespace},
        "spec": {
            "protocol": "h2c",
            "services": [{"name": NAME, "port": PORT}],
            "timeoutPolicy": {"response": "2s"},
        },
    })
}

/// What HTTPProxies have in `spec.virtualhost`: its context says which side it is, whatever port Envoy has.
pub(super) fn contour_notes(asking: &Asking<'_>) -> Vec<String> {
    let mut notes = vec!["Each HTTPProxy has in `spec.virtualhost`, by its side:".to_owned()];
    for side in asking.sides() {
        notes.push(format!(
            "  authorization: {{extensionRef: {{name: {NAME}, namespace: {}}}, failOpen: false, \
             authPolicy: {{context: {{sidegate-place: {}}}}}}}",
            asking.namespace,
            word(side)
        ));
    }
    notes
}

fn text(value: &Value) -> String {
    // Nothing of it cannot be written.
    yaml(value).unwrap_or_default()
}
