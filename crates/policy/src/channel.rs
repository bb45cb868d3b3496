//! How pods come to others, straight and past every gateway.

use resources::core::{Service, Workload};
use resources::{Cluster, Object, ServiceName};

use crate::backing::{Backing, Backings};
use crate::injection::Injected;
use crate::mutual::{Link, PeerModes, Target};
use crate::peer::TrustDomains;

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
            Injected::Unknown(_) => return Channel::Unknown,
            Injected::Yes => {}
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
