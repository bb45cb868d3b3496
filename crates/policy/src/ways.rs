//! Ways into the platform: Services and addresses that lead to its pods.

use std::collections::{BTreeMap, HashMap, HashSet};

use resources::core::{Endpoints, Service};
use resources::{Cluster, Object, ServiceName};

use crate::traffic::external_name;
use crate::workloads::selects;

/// Services and addresses of the platform, and other names for them.
pub(crate) struct Ways<'c> {
    namespaces: HashSet<String>,
    services: HashMap<(&'c str, &'c str), &'c Object<Service>>,
    /// Selectors of Gateways: their Services lead to the next crossing.
    gateways: Vec<&'c BTreeMap<String, String>>,
    /// Hosts that are gateways by KServe's configuration.
    gateway_hosts: [&'c str; 2],
    endpoints: HashMap<&'c str, Vec<&'c Endpoints>>,
    /// Addresses of the platform's pods and Services.
    addresses: HashSet<&'c str>,
}

/// Names of names of names are not followed further.
const DEPTH: u8 = 4;

impl<'c> Ways<'c> {
    pub(crate) fn new(cluster: &'c Cluster, namespaces: &[String]) -> Self {
        let services = cluster.services.iter();
        let selectors: HashSet<_> = cluster
            .gateways
            .iter()
            .map(|g| &g.spec.selector)
            .filter(|selector| !selector.is_empty())
            .collect();
        let mut ways = Self {
            namespaces: namespaces.iter().cloned().collect(),
            services: services
                .map(|s| ((s.meta.namespace.as_str(), s.meta.name.as_str()), s))
                .collect(),
            gateways: selectors.into_iter().collect(),
            gateway_hosts: [
                &cluster.ingress.local_gateway_service,
                &cluster.ingress.knative_local_gateway_service,
            ],
            endpoints: HashMap::new(),
            addresses: HashSet::new(),
        };
        for endpoints in &cluster.endpoints {
            let host = endpoints.spec.host.as_str();
            let of_host = ways.endpoints.entry(host).or_default();
            of_host.push(&endpoints.spec);
            let name = ServiceName::from_host(host, &endpoints.meta.namespace);
            if name.is_some_and(|name| ways.is_inside(&name)) {
                let addresses = endpoints.spec.addresses.iter();
                ways.addresses.extend(addresses.map(String::as_str));
            }
        }
        for service in &cluster.services {
            let name = ServiceName {
                namespace: service.meta.namespace.as_str().into(),
                name: service.meta.name.as_str().into(),
            };
            if ways.is_inside(&name) {
                let ip = service.spec.cluster_ip.as_deref();
                ways.addresses
                    .extend(ip.filter(|ip| *ip != "None" && !ip.is_empty()));
            }
        }
        ways
    }

    /// Whether a host, as an object of that namespace writes it, leads to the
    /// platform: by its namespace, as another name, or by its addresses.
    pub(crate) fn lead_inside(&self, host: &str, namespace: &str, depth: u8) -> bool {
        if depth > DEPTH {
            return false;
        }
        if self.addresses.contains(host) {
            return true;
        }
        let name = ServiceName::from_host(host, namespace);
        let full = name.as_ref().map(ServiceName::host);
        let host = full.as_deref().unwrap_or(host);
        if let Some(name) = &name {
            if self.namespaces.contains(&*name.namespace) {
                return self.is_inside(name);
            }
            let service = self.services.get(&(&*name.namespace, &*name.name));
            let alias = service.and_then(|service| external_name(service));
            if alias.is_some_and(|alias| self.lead_inside(alias, &name.namespace, depth + 1)) {
                return true;
            }
        }
        let endpoints = self.endpoints.get(host).into_iter().flatten();
        let mut addresses = endpoints.flat_map(|endpoints| &endpoints.addresses);
        addresses.any(|address| {
            self.addresses.contains(address.as_str())
                || address.parse::<std::net::IpAddr>().is_err()
                    && address != host
                    && self.lead_inside(address, namespace, depth + 1)
        })
    }

    /// The Service that a host leads to without another crossing, whatever it is called.
    pub(crate) fn service_behind(
        &self,
        host: &str,
        namespace: &str,
        depth: u8,
    ) -> Option<(ServiceName, Option<&'c Object<Service>>)> {
        let name = ServiceName::from_host(host, namespace)?;
        if depth > DEPTH || self.is_gateway(&name) {
            return None;
        }
        let service = self.services.get(&(&*name.namespace, &*name.name)).copied();
        match service.and_then(external_name) {
            Some(alias) => self.service_behind(alias, &name.namespace, depth + 1),
            None => Some((name, service)),
        }
    }

    /// A Service of the platform that is not a gateway's.
    fn is_inside(&self, name: &ServiceName) -> bool {
        self.namespaces.contains(&*name.namespace) && !self.is_gateway(name)
    }

    /// Whether a Service stands in front of gateway pods.
    fn is_gateway(&self, name: &ServiceName) -> bool {
        if self.gateway_hosts.contains(&name.host().as_str()) {
            return true;
        }
        let service = self.services.get(&(&*name.namespace, &*name.name));
        service.is_some_and(|service| {
            let mut gateways = self.gateways.iter();
            gateways.any(|selector| selects(selector, &service.spec.selector))
        })
    }
}
