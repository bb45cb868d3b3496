//! Virtual hosts of one listener (istio `buildGatewayHTTPRouteConfig`, envoy
//! `config_impl.cc`).

use std::collections::HashMap;
use std::sync::Arc;

use resources::istio::{Gateway, HttpMatch, Server, VirtualService};
use resources::{Cluster, Object, ServiceName};

use crate::owners::Owners;
use crate::request::RequestHead;
use crate::routes::Route;
use crate::settings::Problem;
use crate::workloads::{GatewayPods, selects};

/// The routes of a listener, by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualHosts {
    exact: HashMap<String, VirtualHost>,
    /// `*.x` hosts as `.x`, longest first.
    suffix: Vec<(String, VirtualHost)>,
    any: Option<VirtualHost>,
}

/// One virtual host.
#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
    /// Port of the Gateway server that made it.
    pub(crate) server_port: u16,
    pub(crate) routes: Vec<Route>,
    /// A server with `httpsRedirect` owns it.
    pub(crate) require_tls: bool,
}

/// Builds the virtual hosts of one listener port from the servers merged there.
pub(crate) struct Builder<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) pods: &'c GatewayPods,
    pub(crate) owners: &'c Owners,
}

impl Builder<'_> {
    pub(crate) fn build(
        &self,
        servers: &[(&Object<Gateway>, &Server)],
        problems: &mut Vec<Problem>,
    ) -> VirtualHosts {
        let mut order: Vec<VirtualHost> = Vec::new();
        let mut cache: HashMap<(String, String, String), Vec<Route>> = HashMap::new();
        let at = |order: &mut Vec<VirtualHost>, host: &str, server_port: u16| {
            let key = host.to_ascii_lowercase();
            order
                .iter()
                .position(|vh| vh.name == key)
                .unwrap_or_else(|| {
                    order.push(VirtualHost {
                        name: key,
                        server_port,
                        ..VirtualHost::default()
                    });
                    order.len() - 1
                })
        };
        for (gateway, server) in servers {
            let gateway_name = format!("{}/{}", gateway.meta.namespace, gateway.meta.name);
            let redirect = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
            for service in self.bound(&gateway_name) {
                let hosts = intersection(
                    &server_hosts(gateway, server, service),
                    &service_hosts(service),
                );
                if hosts.is_empty() {
                    continue;
                }
                let key = (
                    gateway_name.clone(),
                    service.meta.namespace.clone(),
                    service.meta.name.clone(),
                );
                let routes = cache
                    .entry(key)
                    .or_insert_with(|| self.routes(service, gateway, server.port.number, problems));
                if routes.is_empty() {
                    continue;
                }
                for host in hosts {
                    let index = at(&mut order, &host, server.port.number);
                    if let Some(vh) = order.get_mut(index) {
                        vh.routes.extend(routes.iter().cloned());
                        vh.require_tls |= redirect;
                    }
                }
            }
            if redirect {
                for host in &server.hosts {
                    let index = at(&mut order, host, server.port.number);
                    if let Some(vh) = order.get_mut(index) {
                        vh.require_tls = true;
                    }
                }
            }
        }
        VirtualHosts::from(order)
    }

    /// VirtualServices on a gateway that these pods may see: private ones,
    /// those exported here, public ones; oldest first in each.
    fn bound(&self, gateway: &str) -> Vec<&Object<VirtualService>> {
        let mut all: Vec<(u8, &Object<VirtualService>)> = self
            .cluster
            .virtual_services
            .iter()
            .filter(|vs| {
                qualified_gateways(vs, &vs.spec.gateways)
                    .iter()
                    .any(|g| g == gateway)
            })
            .filter_map(|vs| Some((self.visibility(vs)?, vs)))
            .collect();
        all.sort_by(|(va, a), (vb, b)| va.cmp(vb).then_with(|| a.age_order().cmp(&b.age_order())));
        all.into_iter().map(|(_, vs)| vs).collect()
    }

    fn visibility(&self, vs: &Object<VirtualService>) -> Option<u8> {
        let defaults = &self.cluster.mesh.default_virtual_service_export_to;
        let export_to = if vs.spec.export_to.is_empty() {
            defaults
        } else {
            &vs.spec.export_to
        };
        if export_to.is_empty() || export_to.iter().any(|e| e == "*") {
            return Some(2);
        }
        let own = *vs.meta.namespace == *self.pods.namespace;
        if own
            && export_to
                .iter()
                .any(|e| e == "." || *e == vs.meta.namespace)
        {
            return Some(0);
        }
        export_to
            .iter()
            .any(|e| **e == *self.pods.namespace)
            .then_some(1)
    }

    fn routes(
        &self,
        service: &Object<VirtualService>,
        gateway: &Object<Gateway>,
        port: u16,
        problems: &mut Vec<Problem>,
    ) -> Vec<Route> {
        let access = Arc::new(self.owners.access(self.cluster, service, gateway, problems));
        let default_port = |name: &ServiceName| {
            self.cluster
                .service(name)
                .and_then(|s| s.spec.ports.first())
                .map_or(80, |p| p.port)
        };
        let mut out = Vec::new();
        for (index, http) in service.spec.http.iter().enumerate() {
            if http.delegate.is_some() {
                problems.push(Problem::of(
                    service,
                    format!("spec.http[{index}].delegate: delegates are not followed, the route is left out"),
                ));
                continue;
            }
            let matches: Vec<Option<&HttpMatch>> = if http.matches.is_empty() {
                vec![None]
            } else {
                http.matches.iter().map(Some).collect()
            };
            for spec in matches {
                if spec.is_some_and(|m| !self.applies(service, gateway, port, m)) {
                    continue;
                }
                match Route::compile(service, index, http, spec, access.clone(), &default_port) {
                    Ok(route) => {
                        let last = route.condition.is_catch_all();
                        out.push(route);
                        if last {
                            return out;
                        }
                    }
                    Err(message) => {
                        problems.push(Problem::of(
                            service,
                            format!("spec.http[{index}]: {message}; the route is left out"),
                        ));
                    }
                }
            }
        }
        out
    }

    fn applies(
        &self,
        vs: &Object<VirtualService>,
        gateway: &Object<Gateway>,
        port: u16,
        m: &HttpMatch,
    ) -> bool {
        if m.port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        if m.gateways.is_empty() {
            return selects(&m.source_labels, &self.pods.labels)
                && (m.source_namespace.is_empty() || *m.source_namespace == *self.pods.namespace);
        }
        let name = format!("{}/{}", gateway.meta.namespace, gateway.meta.name);
        qualified_gateways(vs, &m.gateways).contains(&name)
    }
}

impl VirtualHosts {
    fn from(order: Vec<VirtualHost>) -> Self {
        let mut hosts = Self::default();
        for mut vh in order {
            let (catch_all, first): (Vec<_>, Vec<_>) = vh
                .routes
                .into_iter()
                .partition(|route| route.condition.is_catch_all());
            vh.routes = first.into_iter().chain(catch_all).collect();
            if vh.name == "*" {
                hosts.any = Some(vh);
            } else if let Some(suffix) = vh.name.strip_prefix('*') {
                hosts.suffix.push((suffix.to_owned(), vh));
            } else {
                hosts.exact.insert(vh.name.clone(), vh);
            }
        }
        hosts
            .suffix
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        hosts
    }

    /// One virtual host only: exact, longest suffix, `*`. No fall-through.
    pub(crate) fn select(&self, head: &RequestHead) -> Option<&VirtualHost> {
        let host = head.host();
        self.exact
            .get(&host)
            .or_else(|| {
                let found = self
                    .suffix
                    .iter()
                    .find(|(s, _)| host.len() > s.len() && host.ends_with(s.as_str()));
                found.map(|(_, vh)| vh)
            })
            .or(self.any.as_ref())
    }

    /// All virtual hosts, to patch.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut VirtualHost> {
        self.exact
            .values_mut()
            .chain(self.suffix.iter_mut().map(|(_, vh)| vh))
            .chain(&mut self.any)
    }

    /// Takes virtual hosts away, by name.
    pub(crate) fn remove(&mut self, names: &[String]) {
        self.exact.retain(|_, host| !names.contains(&host.name));
        self.suffix.retain(|(_, host)| !names.contains(&host.name));
        self.any.take_if(|host| names.contains(&host.name));
    }

    /// All virtual hosts, for summaries.
    pub(crate) fn all(&self) -> impl Iterator<Item = &VirtualHost> {
        self.exact
            .values()
            .chain(self.suffix.iter().map(|(_, vh)| vh))
            .chain(&self.any)
    }
}

impl VirtualHost {
    /// The first route that matches.
    pub(crate) fn route(&self, head: &RequestHead) -> Option<&Route> {
        self.routes
            .iter()
            .find(|route| route.condition.matches(head))
    }
}

fn qualified_gateways(vs: &Object<VirtualService>, names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| {
            match name
                .strip_suffix(".svc.cluster.local")
                .and_then(|n| n.split_once('.'))
            {
                Some((gateway, namespace)) => format!("{namespace}/{gateway}"),
                None if name.contains('/') || name == "mesh" => name.clone(),
                None => format!("{}/{name}", vs.meta.namespace),
            }
        })
        .collect()
}

/// Hosts of a server as seen by a VirtualService of that namespace.
fn server_hosts(
    gateway: &Object<Gateway>,
    server: &Server,
    vs: &Object<VirtualService>,
) -> Vec<String> {
    server
        .hosts
        .iter()
        .filter_map(|host| match host.split_once('/') {
            None => Some(host.clone()),
            Some(("*", host)) => Some(host.to_owned()),
            Some((namespace, host)) => {
                let namespace = if namespace == "." {
                    gateway.meta.namespace.as_str()
                } else {
                    namespace
                };
                (namespace == vs.meta.namespace).then(|| host.to_owned())
            }
        })
        .collect()
}

/// A host without a dot becomes a Service of the object's namespace.
fn service_hosts(vs: &Object<VirtualService>) -> Vec<String> {
    vs.spec
        .hosts
        .iter()
        .map(|host| {
            if host == "*" || host.contains('.') || host.contains(':') {
                host.clone()
            } else {
                format!("{host}.{}.svc.cluster.local", vs.meta.namespace)
            }
        })
        .collect()
}

/// Case-sensitive, as in Istio.
fn intersection(server: &[String], service: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for a in server {
        for b in service {
            let host = if contains(b, a) {
                a
            } else if contains(a, b) {
                b
            } else {
                continue;
            };
            if !out.contains(host) {
                out.push(host.clone());
            }
        }
    }
    out
}

fn contains(wide: &str, narrow: &str) -> bool {
    match wide.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => narrow.len() > suffix.len() && narrow.ends_with(suffix) || wide == narrow,
        None => wide == narrow,
    }
}
