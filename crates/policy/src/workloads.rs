//! Gateway pods, and which listener ports their Gateways open.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use resources::core::{Pod, PortRef, Service, ServicePort, Workload};
use resources::istio::Gateway;
use resources::proxy::{PROXY_CONFIG, ProxyConfig};
use resources::{Cluster, Object, ServiceName};

/// The pods of one gateway deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPods {
    /// Namespace and name of the workload; where the YAML holds none, namespace
    /// and labels.
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Settings of their proxies.
    pub(crate) proxy: ProxyConfig,
    /// Service ports in front of the pods, those of the oldest Service first.
    pub(crate) ports: Vec<ExposedPort>,
    /// May not open ports below 1024.
    unprivileged: bool,
    /// Only Gateways of the own namespace count (`PILOT_SCOPE_GATEWAY_TO_NAMESPACE`).
    scoped: bool,
}

/// A Service port that leads to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPort {
    /// The Service.
    pub service: ServiceName,
    /// Its port.
    pub port: u16,
    /// The port of the pods behind it.
    pub listener: u16,
    /// Gateway ports are translated through it.
    pub translates: bool,
}

/// Label that keeps Istio from translating Gateway ports through a Service.
const NO_TRANSLATION: &str = "experimental.istio.io/disable-gateway-port-translation";

/// Whether every entry of `selector` is among `labels`.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

impl GatewayPods {
    /// All gateway pods of a cluster. Where the YAML holds no Deployment that a
    /// Gateway selects, its pods are taken to be in the namespace of the
    /// Services that select them, with the labels those Services expect.
    pub(crate) fn all(cluster: &Cluster) -> Vec<Self> {
        let scoped = istiod_flag(cluster, "PILOT_SCOPE_GATEWAY_TO_NAMESPACE") == Some(true);
        let mut all: Vec<Self> = Vec::new();
        let mut known = HashSet::new();
        for gateway in &cluster.gateways {
            if let Some(attached) = &gateway.spec.attached {
                for name in &attached.services {
                    if known.insert((Some(name.clone()), BTreeMap::new()))
                        && let Some(service) = cluster.service(name)
                    {
                        Self::behind(cluster, service, scoped, &mut all);
                    }
                }
                continue;
            }
            let selector = &gateway.spec.selector;
            if selector.is_empty() || !known.insert((None, selector.clone())) {
                continue;
            }
            if all.iter().any(|pods| selects(selector, &pods.labels)) {
                continue;
            }
            let found: Vec<_> = cluster
                .workloads
                .iter()
                .filter(|w| selects(selector, &w.spec.labels))
                .collect();
            if found.is_empty() {
                add(&mut all, Self::assumed(cluster, selector, scoped));
            }
            for workload in found {
                add(&mut all, Self::of(cluster, workload, scoped));
            }
        }
        all
    }

    /// The pods of a namespace that have these labels.
    pub fn with_labels(
        cluster: &Cluster,
        namespace: &str,
        labels: BTreeMap<String, String>,
    ) -> Self {
        let scoped = istiod_flag(cluster, "PILOT_SCOPE_GATEWAY_TO_NAMESPACE") == Some(true);
        let mut workloads = cluster.workloads.iter();
        let found = workloads.find(|w| w.meta.namespace == namespace && w.spec.labels == labels);
        match found {
            Some(workload) => Self::of(cluster, workload, scoped),
            None => Self::unnamed(cluster, namespace, labels, scoped),
        }
    }

    /// Service ports in front of the pods, those of the oldest Service first.
    pub fn exposed(&self) -> &[ExposedPort] {
        &self.ports
    }

    /// No pods: what callers inside the mesh are to a route.
    pub(crate) fn nowhere() -> Self {
        Self {
            name: "".into(),
            namespace: "".into(),
            labels: BTreeMap::new(),
            proxy: ProxyConfig::default(),
            ports: Vec::new(),
            unprivileged: false,
            scoped: false,
        }
    }

    /// The pods behind the Service of a Kubernetes Gateway.
    fn behind(cluster: &Cluster, service: &Object<Service>, scoped: bool, all: &mut Vec<Self>) {
        let selector = &service.spec.selector;
        if selector.is_empty() {
            return;
        }
        let namespace = &service.meta.namespace;
        let found: Vec<_> = cluster
            .workloads
            .iter()
            .filter(|w| w.meta.namespace == *namespace && selects(selector, &w.spec.labels))
            .collect();
        if found.is_empty() {
            add(
                all,
                Self::unnamed(cluster, namespace.as_str(), selector.clone(), scoped),
            );
        }
        for workload in found {
            add(all, Self::of(cluster, workload, scoped));
        }
    }

    pub(crate) fn of(cluster: &Cluster, workload: &Object<Workload>, scoped: bool) -> Self {
        Self::new(
            cluster,
            format!("{}/{}", workload.meta.namespace, workload.meta.name).into(),
            workload.meta.namespace.as_str().into(),
            workload.spec.labels.clone(),
            Some(&workload.spec),
            scoped,
        )
    }

    pub(crate) fn unnamed(
        cluster: &Cluster,
        namespace: &str,
        labels: BTreeMap<String, String>,
        scoped: bool,
    ) -> Self {
        let texts: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let name = format!("{namespace}/{}", texts.join(",")).into();
        Self::new(cluster, name, namespace.into(), labels, None, scoped)
    }

    fn assumed(cluster: &Cluster, selector: &BTreeMap<String, String>, scoped: bool) -> Self {
        let mut labels = selector.clone();
        let mut namespace = "istio-system";
        for service in cluster
            .services
            .iter()
            .filter(|s| selects(selector, &s.spec.selector))
        {
            labels.extend(service.spec.selector.clone());
            namespace = &service.meta.namespace;
        }
        Self::unnamed(cluster, namespace, labels, scoped)
    }

    fn new(
        cluster: &Cluster,
        name: Arc<str>,
        namespace: Arc<str>,
        labels: BTreeMap<String, String>,
        workload: Option<&Workload>,
        scoped: bool,
    ) -> Self {
        let pod = workload.map(|workload| &workload.pod);
        let own = workload.and_then(|workload| workload.annotations.get(PROXY_CONFIG));
        let mesh = &cluster.mesh.default_config;
        // What cannot be read is as if it were not there, as for Istio's injector.
        let proxy = own.and_then(|own| mesh.with(own).ok());
        let proxy = proxy.unwrap_or_else(|| mesh.clone());
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
                    listener: target_port(port, pod),
                    translates,
                })
            })
            .collect();
        Self {
            name,
            namespace,
            labels,
            proxy,
            ports,
            unprivileged: pod
                .is_some_and(|pod| env(pod, "ISTIO_META_UNPRIVILEGED_POD") == Some("true")),
            scoped,
        }
    }

    /// Gateways of these pods, oldest first (istio `mergeGateways`).
    pub fn gateways<'c>(&self, cluster: &'c Cluster) -> Vec<&'c Object<Gateway>> {
        let mut gateways: Vec<_> = cluster
            .gateways
            .iter()
            .filter(|g| match &g.spec.attached {
                Some(attached) => self
                    .ports
                    .iter()
                    .any(|exposed| attached.services.contains(&exposed.service)),
                None => {
                    selects(&g.spec.selector, &self.labels)
                        && (!self.scoped || *g.meta.namespace == *self.namespace)
                }
            })
            .collect();
        gateways.sort_by(|a, b| {
            let internal = |g: &Object<Gateway>| g.spec.attached.clone().map(|a| a.internal_name);
            let age = a.age_order().cmp(&b.age_order());
            age.then_with(|| internal(a).cmp(&internal(b)))
        });
        gateways
    }

    /// The listener ports of a Gateway's server (istio `resolvePorts`): through
    /// the oldest Service that has its port and does not opt out, else the
    /// number itself; of a Kubernetes Gateway through its own Services only.
    /// Pods without privileges do not open low ports.
    pub fn listener_ports(&self, gateway: &Object<Gateway>, number: u16) -> Vec<u16> {
        let mut ports: Vec<u16> = match &gateway.spec.attached {
            Some(attached) => self
                .ports
                .iter()
                .filter(|exposed| exposed.port == number)
                .filter(|exposed| attached.services.contains(&exposed.service))
                .map(|exposed| exposed.listener)
                .collect(),
            None => vec![
                self.translating(number)
                    .next()
                    .map_or(number, |exposed| exposed.listener),
            ],
        };
        ports.sort_unstable();
        ports.dedup();
        ports.retain(|port| !self.unprivileged || *port >= 1024);
        ports
    }

    /// Says so when the listener of a server port depends on which of two
    /// Services is older.
    pub(crate) fn ambiguity(&self, number: u16) -> Option<String> {
        let mut all = self.translating(number);
        let first = all.next()?;
        let other = all.find(|exposed| exposed.listener != first.listener)?;
        Some(format!(
            "port {number} is {} through Service {} and {} through Service {}: the older one counts, and making it anew moves the listener",
            first.listener, first.service, other.listener, other.service
        ))
    }

    fn translating(&self, number: u16) -> impl Iterator<Item = &ExposedPort> {
        self.ports
            .iter()
            .filter(move |exposed| exposed.translates && exposed.port == number)
    }
}

/// Pods that differ by name alone are the same gateway, by its first name.
fn add(all: &mut Vec<GatewayPods>, pods: GatewayPods) {
    let same = |known: &GatewayPods| {
        GatewayPods {
            name: Arc::clone(&pods.name),
            ..known.clone()
        } == pods
    };
    if !all.iter().any(same) {
        all.push(pods);
    }
}

/// A named target port is looked up in the pod's containers.
fn target_port(port: &ServicePort, pod: Option<&Pod>) -> u16 {
    let name = match &port.target_port {
        Some(PortRef::Number(number)) => return *number,
        Some(PortRef::Name(name)) => name,
        None => return port.port,
    };
    if let Ok(number) = name.parse() {
        return number;
    }
    let containers = pod.into_iter().flat_map(|pod| &pod.containers);
    let mut ports = containers.flat_map(|container| &container.ports);
    ports
        .find(|p| p.name.as_ref() == Some(name))
        .map_or(port.port, |p| p.container_port)
}

fn env<'p>(pod: &'p Pod, name: &str) -> Option<&'p str> {
    let mut env = pod.containers.iter().flat_map(|container| &container.env);
    env.find(|e| e.name == name)?.value.as_deref()
}

/// What Go reads as a boolean (`strconv.ParseBool`).
pub(crate) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A setting of Istio's control plane, where the YAML holds its Deployment.
pub(crate) fn istiod_flag(cluster: &Cluster, name: &str) -> Option<bool> {
    let workloads = cluster.workloads.iter();
    workloads
        .filter(|w| w.spec.labels.get("app").is_some_and(|app| app == "istiod"))
        .find_map(|w| go_bool(env(&w.spec.pod, name)?))
}
