//! Gateway pods, and which listener ports their Gateways open.

use std::collections::BTreeMap;
use std::sync::Arc;

use resources::core::{PortRef, Service};
use resources::istio::Gateway;
use resources::{Cluster, Object, ServiceName};

/// The pods of one gateway deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayPods {
    pub(crate) namespace: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Services in front of the pods: Service, Service port, listener port,
    /// and whether Gateway ports are translated through it.
    pub(crate) ports: Vec<ExposedPort>,
}

/// A Service port that leads to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExposedPort {
    pub(crate) service: ServiceName,
    pub(crate) port: u16,
    pub(crate) listener: u16,
    translates: bool,
}

/// Label that keeps Istio from translating Gateway ports through a Service.
const NO_TRANSLATION: &str = "experimental.istio.io/disable-gateway-port-translation";

/// Whether every entry of `selector` is among `labels`.
pub(crate) fn selects(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

impl GatewayPods {
    /// All gateway pods of a cluster. Where the YAML holds no Deployment that a
    /// Gateway selects, its pods are taken to be in the namespace of the
    /// Services that select them, with the labels those Services expect.
    pub(crate) fn all(cluster: &Cluster) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for gateway in &cluster.gateways {
            let selector = &gateway.spec.selector;
            if selector.is_empty() || all.iter().any(|pods| selects(selector, &pods.labels)) {
                continue;
            }
            let found: Vec<_> = cluster
                .workloads
                .iter()
                .filter(|w| selects(selector, &w.spec.labels))
                .collect();
            if found.is_empty() {
                all.push(Self::assumed(cluster, selector));
            }
            for workload in found {
                let pods = Self::new(
                    cluster,
                    workload.meta.namespace.as_str().into(),
                    workload.spec.labels.clone(),
                );
                if !all.contains(&pods) {
                    all.push(pods);
                }
            }
        }
        all
    }

    fn assumed(cluster: &Cluster, selector: &BTreeMap<String, String>) -> Self {
        let mut labels = selector.clone();
        let mut namespace: Arc<str> = "istio-system".into();
        for service in cluster
            .services
            .iter()
            .filter(|s| selects(selector, &s.spec.selector))
        {
            labels.extend(service.spec.selector.clone());
            namespace = service.meta.namespace.as_str().into();
        }
        Self::new(cluster, namespace, labels)
    }

    fn new(cluster: &Cluster, namespace: Arc<str>, labels: BTreeMap<String, String>) -> Self {
        let mut services: Vec<&Object<Service>> = cluster
            .services
            .iter()
            .filter(|s| *s.meta.namespace == *namespace)
            .filter(|s| !s.spec.selector.is_empty() && selects(&s.spec.selector, &labels))
            .collect();
        services.sort_by_key(|s| (s.meta.creation_timestamp.clone(), s.meta.name.clone()));
        let ports = services
            .iter()
            .flat_map(|service| {
                let name = ServiceName {
                    namespace: namespace.clone(),
                    name: service.meta.name.as_str().into(),
                };
                let translates = !service.meta.labels.contains_key(NO_TRANSLATION);
                service.spec.ports.iter().map(move |port| ExposedPort {
                    service: name.clone(),
                    port: port.port,
                    listener: match &port.target_port {
                        Some(PortRef::Number(number)) => *number,
                        Some(PortRef::Name(text)) => text.parse().unwrap_or(port.port),
                        None => port.port,
                    },
                    translates,
                })
            })
            .collect();
        Self {
            namespace,
            labels,
            ports,
        }
    }

    /// Gateways of these pods, oldest first (istio `mergeGateways`).
    pub(crate) fn gateways<'c>(&self, cluster: &'c Cluster) -> Vec<&'c Object<Gateway>> {
        let mut gateways: Vec<_> = cluster
            .gateways
            .iter()
            .filter(|g| selects(&g.spec.selector, &self.labels))
            .collect();
        gateways.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        gateways
    }

    /// The listener port of a Gateway server port: through the oldest Service
    /// that has it and does not opt out, else the number itself.
    pub(crate) fn listener_port(&self, server_port: u16) -> u16 {
        self.ports
            .iter()
            .find(|exposed| exposed.translates && exposed.port == server_port)
            .map_or(server_port, |exposed| exposed.listener)
    }
}
