//! Gateways, VirtualServices and Services of a configuration, indexed once:
//! what the route tables of all listeners are built from.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use http::StatusCode;
use resources::core::Service;
use resources::istio::{Destination as Written, Gateway, HttpRoute, VirtualService};
use resources::{Cluster, Object, ServiceName};

use crate::delegates::{self, Delegates};
use crate::owners::Owners;
use crate::permit::Destination;
use crate::settings::{IstioVersion, Problem};

/// The index.
pub(crate) struct Traffic<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) owners: Owners<'c>,
    version: IstioVersion,
    services: HashMap<(&'c str, &'c str), &'c Object<Service>>,
    /// Hosts of ServiceEntries.
    entries: HashSet<&'c str>,
    /// Hosts and names that DestinationRules define.
    subsets: HashSet<(String, &'c str)>,
    bound: Vec<Bound<'c>>,
    /// Positions in `bound` by gateway, oldest object first.
    by_gateway: HashMap<String, Vec<usize>>,
}

/// A VirtualService with its names written out and its delegates in place.
pub(crate) struct Bound<'c> {
    pub(crate) object: &'c Object<VirtualService>,
    pub(crate) hosts: Vec<String>,
    pub(crate) http: Cow<'c, [HttpRoute]>,
    /// Made of the Gateway API's routes.
    pub(crate) gateway_api: bool,
}

impl<'c> Traffic<'c> {
    pub(crate) fn new(
        cluster: &'c Cluster,
        version: IstioVersion,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let services = cluster.services.iter();
        let entries = cluster.endpoints.iter().map(|e| e.spec.host.as_str());
        let mut traffic = Self {
            cluster,
            owners: Owners::new(cluster),
            version,
            services: services
                .map(|s| ((s.meta.namespace.as_str(), s.meta.name.as_str()), s))
                .collect(),
            entries: entries.collect(),
            subsets: subsets(cluster),
            bound: Vec::new(),
            by_gateway: HashMap::new(),
        };
        traffic.bind(problems);
        traffic
    }

    /// A route as the API server of this version keeps it.
    pub(crate) fn kept<'h>(&self, http: &'h HttpRoute) -> Cow<'h, HttpRoute> {
        let redirect = http.redirect.as_ref();
        let to = redirect.and_then(|redirect| redirect.prefix_rewrite.as_deref());
        let dropped =
            to.is_some_and(|to| to.is_empty() || self.version < IstioVersion::PREFIX_REWRITE);
        if !dropped || http.gateway_api {
            return Cow::Borrowed(http);
        }
        let mut kept = http.clone();
        if let Some(redirect) = &mut kept.redirect {
            redirect.prefix_rewrite = None;
        }
        Cow::Owned(kept)
    }

    fn bind(&mut self, problems: &mut Vec<Problem>) {
        let delegates: Delegates<'c> = self
            .cluster
            .virtual_services
            .iter()
            .filter(|vs| vs.spec.hosts.is_empty())
            .map(|vs| ((vs.meta.namespace.as_str(), vs.meta.name.as_str()), vs))
            .collect();
        let mut roots: Vec<&'c Object<VirtualService>> = self
            .cluster
            .virtual_services
            .iter()
            .filter(|vs| !vs.spec.hosts.is_empty())
            .collect();
        roots.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        for object in roots {
            let gateway_api = object.spec.http.iter().any(|http| http.gateway_api);
            let namespace = &object.meta.namespace;
            let http = if object.spec.http.iter().any(|http| http.delegate.is_some()) {
                Cow::Owned(delegates::resolve(
                    self.cluster,
                    object,
                    &delegates,
                    problems,
                ))
            } else {
                Cow::Borrowed(object.spec.http.as_slice())
            };
            let hosts = object.spec.hosts.iter();
            let hosts = if gateway_api {
                hosts.cloned().collect()
            } else {
                hosts.map(|host| full_host(host, namespace)).collect()
            };
            let mut gateways: Vec<String> = object
                .spec
                .gateways
                .iter()
                .map(|gateway| gateway_name(gateway, namespace))
                .collect();
            if gateways.is_empty() {
                gateways.push(MESH.to_owned());
            }
            gateways.sort();
            gateways.dedup();
            let index = self.bound.len();
            for gateway in gateways {
                self.by_gateway.entry(gateway).or_default().push(index);
            }
            self.bound.push(Bound {
                object,
                hosts,
                http,
                gateway_api,
            });
        }
    }

    /// VirtualServices on a gateway that pods of a namespace may see: private
    /// ones, those exported there, public ones; of these the Gateway API's of
    /// the same namespace first; oldest first in each.
    pub(crate) fn bound(&self, gateway: &str, namespace: &str) -> Vec<&Bound<'c>> {
        let positions = self.by_gateway.get(gateway).into_iter().flatten();
        let all = positions.filter_map(|index| self.bound.get(*index));
        let mut ranked: Vec<(u8, &Bound<'c>)> = all
            .filter_map(|bound| {
                let rank = match visibility(self.cluster, bound.object, namespace)? {
                    2 if bound.gateway_api && bound.object.meta.namespace == namespace => 2,
                    2 => 3,
                    nearer => nearer,
                };
                Some((rank, bound))
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, bound)| bound).collect()
    }

    /// Where a written destination leads, and what is answered if the control
    /// plane knows no such place (istio `GetDestinationCluster`).
    pub(crate) fn resolve(
        &self,
        written: &Written,
        namespace: &str,
        server_port: u16,
        gateway_api: bool,
    ) -> (Destination, Option<StatusCode>) {
        let (to, missing) = self.place(written, namespace, server_port, gateway_api);
        let host = full_host(&written.host, namespace);
        let named =
            written.subset.is_empty() || self.subsets.contains(&(host, written.subset.as_str()));
        let unnamed = (!named).then_some(StatusCode::SERVICE_UNAVAILABLE);
        (to, missing.or(unnamed))
    }

    fn place(
        &self,
        written: &Written,
        namespace: &str,
        server_port: u16,
        gateway_api: bool,
    ) -> (Destination, Option<StatusCode>) {
        let missing = Some(if gateway_api {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        });
        let host = full_host(&written.host, namespace);
        let given = written.port.as_ref().map(|port| port.number);
        let outside = |host: &str, port: u16| Destination::Host {
            host: host.into(),
            port,
        };
        let Some(name) = ServiceName::from_host(&host, namespace) else {
            let known = self.entries.contains(host.as_str());
            let to = outside(&host, given.unwrap_or(server_port));
            return (to, if known { None } else { missing });
        };
        let found = self.services.get(&(&*name.namespace, &*name.name)).copied();
        let only = found.and_then(|service| match service.spec.ports.as_slice() {
            [only] => Some(only.port),
            _ => None,
        });
        let port = given.or(only).unwrap_or(server_port);
        let Some(service) = found.filter(|_| host == name.host()) else {
            let known = self.entries.contains(host.as_str());
            let to = Destination::Service {
                service: name,
                port,
            };
            return (to, if known { None } else { missing });
        };
        let has = |service: &Object<Service>| service.spec.ports.iter().any(|p| p.port == port);
        // An ExternalName Service is another name of what it points to.
        if let Some(alias) = external_name(service) {
            let target = ServiceName::from_host(alias, namespace)
                .filter(|target| target.host() == alias)
                .and_then(|target| {
                    let service = self.services.get(&(&*target.namespace, &*target.name));
                    let service = service.copied()?;
                    Some((target, service))
                });
            return match target {
                Some((target, service)) => {
                    let known = has(service) || self.entries.contains(alias);
                    let to = Destination::Service {
                        service: target,
                        port,
                    };
                    (to, if known { None } else { missing })
                }
                None => {
                    let known = self.entries.contains(alias)
                        || self.version < IstioVersion::EXTERNAL_NAME_ALIAS;
                    (outside(alias, port), if known { None } else { missing })
                }
            };
        }
        let known = has(service);
        let to = Destination::Service {
            service: name,
            port,
        };
        (to, if known { None } else { missing })
    }
}

fn subsets(cluster: &Cluster) -> HashSet<(String, &str)> {
    let mut found = HashSet::new();
    for rule in &cluster.destination_rules {
        let host = full_host(&rule.spec.host, &rule.meta.namespace);
        for subset in &rule.spec.subsets {
            found.insert((host.clone(), subset.name.as_str()));
        }
    }
    found
}

/// The gateway of callers inside the mesh.
pub(crate) const MESH: &str = "mesh";

pub(crate) fn external_name(service: &Object<Service>) -> Option<&str> {
    let is_external = service.spec.kind.as_deref() == Some("ExternalName");
    let name = service
        .spec
        .external_name
        .as_deref()
        .filter(|_| is_external);
    name.map(|name| name.strip_suffix('.').unwrap_or(name))
}

/// A host without a dot is a Service of the namespace; `*` and addresses stay
/// (istio `ResolveShortnameToFQDN`).
pub(crate) fn full_host(host: &str, namespace: &str) -> String {
    if host.is_empty() || host == "*" || host.contains('.') || host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// `namespace/name` of a gateway as a VirtualService names it; `mesh` stays.
pub(crate) fn gateway_name(name: &str, namespace: &str) -> String {
    match name
        .strip_suffix(".svc.cluster.local")
        .and_then(|n| n.split_once('.'))
    {
        Some((gateway, namespace)) => format!("{namespace}/{gateway}"),
        None if name.contains('/') || name == MESH => name.to_owned(),
        None => format!("{namespace}/{name}"),
    }
}

/// What routes bind to: `namespace/name`, for the Gateway API one per listener.
pub(crate) fn gateway_key(gateway: &Object<Gateway>) -> String {
    let name = match &gateway.spec.attached {
        Some(attached) => &attached.internal_name,
        None => &gateway.meta.name,
    };
    format!("{}/{name}", gateway.meta.namespace)
}

/// Whether a VirtualService is exported to a namespace.
pub(crate) fn is_visible(cluster: &Cluster, vs: &Object<VirtualService>, namespace: &str) -> bool {
    visibility(cluster, vs, namespace).is_some()
}

/// How a namespace sees a VirtualService: 0 as its own private one, 1 exported
/// there, 2 public.
fn visibility(cluster: &Cluster, vs: &Object<VirtualService>, namespace: &str) -> Option<u8> {
    let export_to = if vs.spec.export_to.is_empty() {
        &cluster.mesh.default_virtual_service_export_to
    } else {
        &vs.spec.export_to
    };
    if export_to.is_empty() || export_to.iter().any(|e| e == "*") {
        return Some(2);
    }
    let own = vs.meta.namespace == namespace;
    let private = |e: &String| e == "." || *e == vs.meta.namespace;
    if own && export_to.iter().any(private) {
        return Some(0);
    }
    export_to.iter().any(|e| e == namespace).then_some(1)
}
