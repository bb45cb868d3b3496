//! How pods come to others, straight and past every gateway.

use resources::core::{Service, Workload};
use resources::istio::Sidecar;
use resources::{Cluster, Object, ServiceName};

use crate::backing::{Backing, Backings};
use crate::injection::Injected;
use crate::mutual::{Link, PeerModes, Target};
use crate::peer::TrustDomains;
use crate::workloads::selects;

/// How pods come to a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Over mutual TLS of the mesh, under this name.
    As(String),
    /// Over plain text, as nobody.
    Plain,
    /// Not known: whether they have a sidecar, or what a DestinationRule that
    /// speaks other TLS makes of it.
    Unknown,
}

/// The pods of a configuration, as those see them that are called.
pub struct Channels<'c> {
    cluster: &'c Cluster,
    root: &'c str,
    modes: PeerModes<'c>,
    backings: Backings<'c>,
}

impl<'c> Channels<'c> {
    /// Of all pods of a configuration.
    pub fn new(cluster: &'c Cluster) -> Self {
        let root = cluster.mesh.root_namespace.as_deref();
        let root = root.unwrap_or("istio-system");
        Self {
            cluster,
            root,
            modes: PeerModes::new(cluster, root),
            backings: Backings::new(cluster, root),
        }
    }

    /// How pods of a workload come to a port of a Service whose pods have a
    /// sidecar.
    pub fn of(&self, from: &Object<Workload>, service: &Object<Service>, port: u16) -> Channel {
        let namespace = from.meta.namespace.as_str();
        match self.backings.of_workload(from) {
            Injected::No => return Channel::Plain,
            Injected::Unknown(_) | Injected::Ambient => return Channel::Unknown,
            Injected::Yes => {}
        }
        if !self.knows(from, service) {
            // What is not known goes on as it is, or not at all.
            return Channel::Unknown;
        }
        let name = ServiceName {
            namespace: service.meta.namespace.as_str().into(),
            name: service.meta.name.as_str().into(),
        };
        let found = self.backings.of(service);
        let Some(backing) = found.first() else {
            return Channel::Unknown;
        };
        match self
            .modes
            .link(namespace, &self.target(backing, service, &name, port))
        {
            Link::Plain => Channel::Plain,
            Link::Foreign => Channel::Unknown,
            Link::Mutual(_) => {
                let account = from.spec.pod.service_account_name.as_deref();
                let domain = TrustDomains::of(&self.cluster.mesh);
                Channel::As(domain.identity(namespace, account.unwrap_or("default")))
            }
        }
    }

    /// Whether pods know a Service, for all that Sidecars say of them (istio
    /// `SidecarScope`).
    fn knows(&self, from: &Object<Workload>, service: &Object<Service>) -> bool {
        let of_pods = |sidecar: &&Object<Sidecar>| {
            let selector = sidecar.spec.workload_selector.as_ref();
            let namespace = sidecar.meta.namespace.as_str();
            let for_all = namespace == self.root && selector.is_none();
            for_all
                || namespace == from.meta.namespace
                    && selector.is_none_or(|s| selects(&s.labels, &from.spec.labels))
        };
        let host = format!(
            "{}.{}.svc.cluster.local",
            service.meta.name, service.meta.namespace
        );
        let covers = |pattern: &String, own: &str| {
            let (namespace, name) = pattern.split_once('/').unwrap_or(("*", pattern));
            let namespace = if namespace == "." { own } else { namespace };
            (namespace == "*" || namespace == service.meta.namespace)
                && match name.strip_prefix('*') {
                    Some(suffix) => host.ends_with(suffix),
                    None => name == host,
                }
        };
        let mut sidecars = self.cluster.sidecars.iter().filter(of_pods);
        sidecars.all(|sidecar| {
            let mut hosts = sidecar.spec.egress.iter().flat_map(|egress| &egress.hosts);
            sidecar.spec.egress.is_empty()
                || hosts.any(|pattern| covers(pattern, &from.meta.namespace))
        })
    }

    /// The port of the pods behind a port of a Service.
    pub fn port(&self, service: &Object<Service>, name: &ServiceName, port: u16) -> Option<u16> {
        let found = self.backings.of(service);
        let mut ports = service.spec.ports.iter();
        let written = ports.find(|known| known.port == port)?;
        Some(found.first()?.port(name, written))
    }

    fn target<'t>(
        &self,
        backing: &'t Backing,
        service: &Object<Service>,
        name: &'t ServiceName,
        port: u16,
    ) -> Target<'t> {
        let pods = &backing.pods;
        let number = self.port(service, name, port).unwrap_or(port);
        Target {
            service: name,
            port,
            labels: &pods.labels,
            mode: self.modes.of_port(&pods.namespace, &pods.labels, number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {istio-injection: enabled}}\n---\n\
        apiVersion: v1\nkind: Namespace\nmetadata: {name: batch, labels: {istio-injection: enabled}}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: m, namespace: team}\nspec: {selector: {app: m}, ports: [{name: http, port: 80}]}\n---\n\
        apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m, namespace: team}\nspec: {template: {metadata: {labels: {app: m}}}}\n---\n\
        apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: job, namespace: batch}\nspec: {template: {metadata: {labels: {app: job}}}}\n---\n";

    /// What a Sidecar does not tell pods of they reach in another way, if at all.
    #[test]
    fn pods_that_do_not_know_a_service() {
        let job = Channel::As("spiffe://cluster.local/ns/batch/sa/default".to_owned());
        let sidecar = |namespace: &str, spec: &str| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s, namespace: {namespace}}}\nspec: {spec}\n"
            )
        };
        for (sidecar, known) in [
            (String::new(), true),
            (sidecar("batch", "{}"), true),
            (sidecar("batch", "{egress: [{hosts: ['./*']}]}"), false),
            (
                sidecar("istio-system", "{egress: [{hosts: ['./*']}]}"),
                false,
            ),
            (sidecar("team", "{egress: [{hosts: ['./*']}]}"), true),
            (sidecar("batch", "{egress: [{hosts: ['~/*']}]}"), false),
            (
                sidecar("batch", "{egress: [{hosts: ['./*', 'team/*']}]}"),
                true,
            ),
            (sidecar("batch", "{egress: [{hosts: ['*/*']}]}"), true),
            (
                sidecar(
                    "batch",
                    "{egress: [{hosts: ['team/m.team.svc.cluster.local']}]}",
                ),
                true,
            ),
            (
                sidecar(
                    "batch",
                    "{workloadSelector: {labels: {app: other}}, egress: [{hosts: ['./*']}]}",
                ),
                true,
            ),
        ] {
            let yaml = format!("{PODS}{sidecar}");
            let cluster = resources::parse(&[("pods.yaml".into(), yaml)]).unwrap();
            let channels = Channels::new(&cluster);
            let mut workloads = cluster.workloads.iter();
            let from = workloads.find(|w| w.meta.name == "job").unwrap();
            let found = channels.of(from, &cluster.services[0], 80);
            let expected = if known { job.clone() } else { Channel::Unknown };
            assert_eq!(found, expected, "{sidecar}");
        }
    }
}
