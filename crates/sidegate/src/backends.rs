//! Where the requests of a Service go on this machine.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway::{Embedded, Endpoint};
use policy::Destination;
use resources::core::{PortRef, Service, ServicePort};
use resources::{Cluster, Object, ServiceName};
use runtime::Bodies;

use crate::embedded::{Echo, LoginService, ModelService, ProviderService};
use crate::login::Login;
use crate::output::BadInput;

/// Annotation of a Service that something inside this process stands for.
const EMBEDDED: &str = "sidegate.dev/embedded";

/// Addresses by Service and port.
#[derive(Default)]
pub(crate) struct Backends {
    table: HashMap<(ServiceName, u16), Target>,
    login: Option<Arc<dyn Embedded>>,
    /// ServiceEntry hosts and `ExternalName` targets.
    hosts: HashMap<String, Vec<Arc<str>>>,
}

enum Target {
    Embedded(Arc<dyn Embedded>),
    /// Taken in turn.
    Tcp {
        addresses: Vec<Arc<str>>,
        next: AtomicUsize,
        http2: bool,
    },
}

/// What can stand for a Service inside this process.
pub(crate) struct Inside {
    pub(crate) lasting: Lasting,
    pub(crate) login: Arc<Login>,
}

/// What of it is the same in every configuration.
#[derive(Clone)]
pub(crate) struct Lasting {
    pub(crate) models: serving::Models,
    /// What the bodies of requests for models may take.
    pub(crate) bodies: Bodies,
    pub(crate) console: Arc<dyn Embedded>,
}

/// `--backend NS/SERVICE[:PORT]=HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    service: ServiceName,
    port: Option<u16>,
    address: Arc<str>,
}

impl Override {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let bad = || {
            BadInput(vec![format!(
                "`--backend {text}`: expected NAMESPACE/SERVICE[:PORT]=HOST:PORT"
            )])
        };
        let (service, address) = text.split_once('=').ok_or_else(bad)?;
        let address = address
            .strip_prefix("http://")
            .unwrap_or(address)
            .trim_end_matches('/');
        let (service, port) = match service.split_once(':') {
            Some((service, port)) => (service, Some(port.parse().map_err(|_| bad())?)),
            None => (service, None),
        };
        let (namespace, name) = service
            .split_once('/')
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
            .ok_or_else(bad)?;
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(host, p)| !host.is_empty() && p.parse::<u16>().is_ok());
        if !has_port {
            return Err(bad().into());
        }
        Ok(Self {
            service: ServiceName {
                namespace: namespace.into(),
                name: name.into(),
            },
            port,
            address: address.into(),
        })
    }
}

impl Backends {
    /// Everything the YAML, the command line and this process offer; what is
    /// named on the command line comes first.
    pub(crate) fn new(cluster: &Cluster, inside: &Inside, overrides: &[Override]) -> Self {
        let mut backends = Self {
            login: (!inside.login.logins.is_empty()).then(|| login_service(&inside.login)),
            ..Self::default()
        };
        for entry in &cluster.endpoints {
            let (_, port) = entry.spec.ports.first().cloned().unwrap_or_default();
            let addresses = entry.spec.addresses.iter().map(|a| join(a, port)).collect();
            backends.hosts.insert(entry.spec.host.clone(), addresses);
        }
        for service in &cluster.services {
            let name = name_of(service);
            let ports: Vec<ServicePort> = if service.spec.ports.is_empty() {
                vec![ServicePort {
                    port: 80,
                    ..ServicePort::default()
                }]
            } else {
                service.spec.ports.clone()
            };
            for port in ports {
                let target = overridden(overrides, &name, port.port)
                    .or_else(|| in_yaml(cluster, service, &port))
                    .or_else(|| embedded(cluster, service, &name, inside));
                if let Some(target) = target {
                    backends.table.insert((name.clone(), port.port), target);
                }
            }
        }
        for extra in overrides {
            let port = extra.port.unwrap_or(80);
            backends
                .table
                .entry((extra.service.clone(), port))
                .or_insert_with(|| Target::tcp(vec![extra.address.clone()], false));
        }
        backends
    }

    /// Where a destination is.
    pub(crate) fn endpoint(&self, destination: &Destination) -> Endpoint {
        match destination {
            Destination::Service { service, port } => {
                match self.table.get(&(service.clone(), *port)) {
                    Some(target) => target.endpoint(),
                    None => Endpoint::Missing(format!(
                        "Service {service}:{port} has no address on this machine; name one with \
                     `--backend {service}:{port}=HOST:PORT`, or in an EndpointSlice"
                    )),
                }
            }
            Destination::Host { host, port } => {
                match self.hosts.get(&**host).and_then(|a| a.first()) {
                    Some(address) => Endpoint::Tcp {
                        authority: address.clone(),
                        http2: false,
                    },
                    None => Endpoint::Missing(format!(
                        "no ServiceEntry with addresses for host `{host}:{port}`"
                    )),
                }
            }
            Destination::Login => match &self.login {
                Some(login) => Endpoint::Embedded(login.clone()),
                None => Endpoint::Missing(
                    "no login provider: there is no ConfigMap `dex` with a `config.yaml`".into(),
                ),
            },
            Destination::Reply(_) => Endpoint::Missing("the route answers by itself".into()),
        }
    }
}

impl Target {
    fn tcp(addresses: Vec<Arc<str>>, http2: bool) -> Self {
        Self::Tcp {
            addresses,
            next: AtomicUsize::new(0),
            http2,
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Self::Embedded(service) => Endpoint::Embedded(service.clone()),
            Self::Tcp {
                addresses,
                next,
                http2,
            } => {
                let turn = next
                    .fetch_add(1, Ordering::Relaxed)
                    .checked_rem(addresses.len())
                    .unwrap_or(0);
                match addresses.get(turn) {
                    Some(address) => Endpoint::Tcp {
                        authority: address.clone(),
                        http2: *http2,
                    },
                    None => Endpoint::Missing("the Service has no ready address".into()),
                }
            }
        }
    }
}

pub(crate) fn name_of(service: &Object<Service>) -> ServiceName {
    ServiceName {
        namespace: service.meta.namespace.as_str().into(),
        name: service.meta.name.as_str().into(),
    }
}

fn overridden(overrides: &[Override], name: &ServiceName, port: u16) -> Option<Target> {
    let found = overrides
        .iter()
        .find(|o| o.service == *name && o.port.is_none_or(|p| p == port))?;
    Some(Target::tcp(vec![found.address.clone()], false))
}

/// Addresses of EndpointSlice and Endpoints objects: the port of the same
/// name, else of the same number, else the only one.
fn in_yaml(cluster: &Cluster, service: &Object<Service>, port: &ServicePort) -> Option<Target> {
    let host = name_of(service).host();
    let mut addresses = Vec::new();
    for entry in cluster.endpoints.iter().filter(|e| e.spec.host == host) {
        let ports = &entry.spec.ports;
        let number = match &port.target_port {
            Some(PortRef::Number(number)) => *number,
            Some(PortRef::Name(_)) | None => port.port,
        };
        let by_name = ports
            .iter()
            .find(|(name, _)| !name.is_empty() && Some(name.as_str()) == port.name.as_deref());
        let by_number = || ports.iter().find(|(_, n)| *n == number);
        let only = || ports.first().filter(|_| ports.len() == 1);
        if let Some((_, number)) = by_name.or_else(by_number).or_else(only) {
            addresses.extend(entry.spec.addresses.iter().map(|a| join(a, *number)));
        }
    }
    let http2 = port
        .name
        .as_deref()
        .is_some_and(|n| n.starts_with("grpc") || n.starts_with("h2c"));
    (!addresses.is_empty()).then(|| Target::tcp(addresses, http2))
}

fn embedded(
    cluster: &Cluster,
    service: &Object<Service>,
    name: &ServiceName,
    inside: &Inside,
) -> Option<Target> {
    if let Some(predictor) = cluster.predictors.iter().find(|p| p.service == *name) {
        return Some(Target::Embedded(Arc::new(ModelService {
            models: inside.lasting.models.clone(),
            bodies: inside.lasting.bodies.clone(),
            namespace: predictor.model.namespace.clone(),
            name: predictor.model.name.clone(),
        })));
    }
    match service.meta.annotations.get(EMBEDDED).map(String::as_str) {
        Some("echo") => return Some(Target::Embedded(Arc::new(Echo))),
        Some("login") => return Some(Target::Embedded(login_service(&inside.login))),
        Some("console") => return Some(Target::Embedded(inside.lasting.console.clone())),
        _ => {}
    }
    let login = &inside.login;
    if let Some(provider) = login
        .provider
        .as_ref()
        .filter(|_| login.provider_service.as_ref() == Some(name))
    {
        return Some(Target::Embedded(Arc::new(ProviderService(
            provider.clone(),
        ))));
    }
    policy::is_login_service(name).then(|| Target::Embedded(login_service(login)))
}

fn login_service(login: &Arc<Login>) -> Arc<dyn Embedded> {
    Arc::new(LoginService(Arc::clone(login)))
}

fn join(host: &str, port: u16) -> Arc<str> {
    if host.contains(':') {
        format!("[{host}]:{port}").into()
    } else {
        format!("{host}:{port}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides() {
        for (text, expected) in [
            (
                "shop/web:80=127.0.0.1:3000",
                Some(("shop/web", Some(80), "127.0.0.1:3000")),
            ),
            (
                "shop/web=http://localhost:3000/",
                Some(("shop/web", None, "localhost:3000")),
            ),
            ("web=127.0.0.1:3000", None),
            ("shop/web:x=127.0.0.1:3000", None),
            ("shop/web=127.0.0.1", None),
        ] {
            let parsed = Override::parse(text).ok();
            let parsed = parsed
                .as_ref()
                .map(|o| (o.service.to_string(), o.port, o.address.to_string()));
            assert_eq!(
                parsed,
                expected.map(|(s, p, a)| (s.to_owned(), p, a.to_owned())),
                "{text}"
            );
        }
    }
}
