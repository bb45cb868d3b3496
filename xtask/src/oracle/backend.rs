//! A pod with a sidecar behind the gateway: both are Envoy's, and what the one
//! speaks to the other is Istio's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::peers::WaysBack;

type Labels = BTreeMap<String, String>;

/// The pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Backend {
    pub(crate) labels: Labels,
    pub(crate) namespace: String,
    /// Its ServiceAccount.
    pub(crate) account: String,
}

const NAME: &str = "backend";

impl Backend {
    /// As it is written, with its sidecar.
    pub(crate) fn manifest(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": NAME, "namespace": self.namespace, "labels": self.labels},
            "spec": {
                "serviceAccountName": self.account,
                "containers": [{"name": "app"}, {"name": "istio-proxy"}],
            },
        })
    }

    /// As it runs at an address, with what Kubernetes adds to its Services.
    pub(crate) fn running(&self, objects: &[Value], address: Ipv4Addr) -> Vec<Value> {
        let mut pod = self.manifest();
        let mut labels = self.labels.clone();
        // What the injector puts there.
        labels
            .entry("security.istio.io/tlsMode".to_owned())
            .or_insert_with(|| "istio".to_owned());
        super::cases::merge(
            &mut pod,
            &json!({
                "metadata": {"labels": labels},
                "status": {
                    "phase": "Running",
                    "podIP": address.to_string(),
                    "podIPs": [{"ip": address.to_string()}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }),
        );
        let services = selecting(objects, &self.labels, &self.namespace);
        let slices = services.map(|service| {
            let name = service.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            let ports: Vec<Value> = ports(service)
                .map(|(port, _, target)| {
                    json!({"name": port.get("name").cloned().unwrap_or_default(), "port": target, "protocol": "TCP"})
                })
                .collect();
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{name}-1"), "namespace": self.namespace,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": [{
                    "addresses": [address.to_string()],
                    "conditions": {"ready": true},
                    "targetRef": {"kind": "Pod", "name": NAME, "namespace": self.namespace},
                }],
            })
        });
        let slices: Vec<Value> = slices.collect();
        std::iter::once(pod).chain(slices).collect()
    }
}

/// Services in front of a pod, with the addresses of its ports.
pub(crate) fn in_front(
    objects: &[Value],
    labels: &Labels,
    namespace: &str,
    address: Ipv4Addr,
) -> WaysBack {
    let mut found = WaysBack::new();
    for service in selecting(objects, labels, namespace) {
        let name = service.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        for (_, port, target) in ports(service) {
            found.insert(
                format!("{name}.{namespace}.svc.cluster.local:{port}"),
                SocketAddr::from((address, target)),
            );
        }
    }
    found
}

/// The Services of a namespace that select these labels.
fn selecting<'a>(
    objects: &'a [Value],
    labels: &'a Labels,
    namespace: &'a str,
) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let selector = object.pointer("/spec/selector").and_then(Value::as_object);
        text("/kind") == Some("Service")
            && text("/metadata/namespace") == Some(namespace)
            && selector.is_some_and(|selector| {
                let mut wanted = selector.iter();
                let holds = |(name, value): (&String, &Value)| {
                    labels.get(name).map(String::as_str) == value.as_str()
                };
                !selector.is_empty() && wanted.all(holds)
            })
    })
}

/// The ports of a Service: as written, its number, and that of the pods.
fn ports(service: &Value) -> impl Iterator<Item = (&Value, u64, u16)> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    ports.into_iter().flatten().filter_map(|port| {
        let number = |field: &str| port.get(field).and_then(Value::as_u64);
        let target = number("targetPort").or_else(|| number("port"));
        Some((port, number("port")?, u16::try_from(target?).ok()?))
    })
}
