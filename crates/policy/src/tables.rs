//! The route table of one listener (istio `buildGatewayHTTPRouteConfig`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use resources::istio::{Gateway, HttpMatch, HttpRoute, Server};
use resources::{Object, ObjectRef, Source};

use crate::access::RouteAccess;
use crate::opaque::{NotUnderstood, Scope};
use crate::routes::{Route, Surroundings};
use crate::settings::Problem;
use crate::traffic::{Bound, MESH, Traffic, gateway_key, gateway_name};
use crate::vhosts::{VirtualHost, VirtualHosts};
use crate::workloads::{GatewayPods, selects};

/// Builds the virtual hosts of one listener port from the servers merged there.
pub(crate) struct Builder<'a, 'c> {
    pub(crate) traffic: &'a Traffic<'c>,
    pub(crate) pods: &'a GatewayPods,
    /// Routes that a proxy refuses, and with them the whole table.
    pub(crate) refused: RefCell<Vec<NotUnderstood>>,
}

/// Virtual hosts in the order in which they appeared.
#[derive(Default)]
struct Table {
    hosts: Vec<VirtualHost>,
    positions: HashMap<String, usize>,
}

impl Table {
    fn at(&mut self, host: &str, server_port: u16) -> Option<&mut VirtualHost> {
        let key = host.to_ascii_lowercase();
        let next = self.hosts.len();
        let index = *self.positions.entry(key.clone()).or_insert(next);
        if index == next {
            self.hosts.push(VirtualHost {
                name: key,
                server_port,
                ..VirtualHost::default()
            });
        }
        self.hosts.get_mut(index)
    }
}

impl<'a, 'c> Builder<'a, 'c> {
    pub(crate) fn new(traffic: &'a Traffic<'c>, pods: &'a GatewayPods) -> Self {
        Self {
            traffic,
            pods,
            refused: RefCell::default(),
        }
    }

    pub(crate) fn build(
        &self,
        servers: &[(&Object<Gateway>, &Server)],
        problems: &mut Vec<Problem>,
    ) -> VirtualHosts {
        let mut table = Table::default();
        let mut bound = HashMap::new();
        // Built once for each gateway, with the port of its first server here.
        let mut cache: HashMap<(String, usize), Vec<Arc<Route>>> = HashMap::new();
        for (gateway, server) in servers {
            let key = gateway_key(gateway);
            let redirect = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
            let hosts = sanitized_hosts(gateway, server);
            let services = bound
                .entry(key.clone())
                .or_insert_with(|| self.traffic.bound(&key, &self.pods.namespace));
            for (position, service) in services.iter().enumerate() {
                let visible = hosts_for(&hosts, &service.object.meta.namespace);
                let hosts = intersection(&visible, &service.hosts);
                if hosts.is_empty() {
                    continue;
                }
                let place = (key.clone(), position);
                let routes = match cache.get(&place) {
                    Some(routes) => routes,
                    None => {
                        let routes = self.routes(service, &key, server, problems);
                        if routes.is_empty() {
                            continue;
                        }
                        cache.entry(place).or_insert(routes)
                    }
                };
                for host in hosts {
                    if let Some(vh) = table.at(host, server.port.number) {
                        vh.routes.extend(routes.iter().cloned());
                        vh.require_tls |= redirect;
                    }
                }
            }
            for host in hosts.iter().filter(|_| redirect) {
                if let Some(vh) = table.at(host, server.port.number) {
                    vh.require_tls = true;
                }
            }
        }
        VirtualHosts::from(table.hosts)
    }

    /// The routes that callers inside the mesh take, by host; of several
    /// objects on a host the oldest serves.
    pub(crate) fn mesh(traffic: &Traffic<'_>, problems: &mut Vec<Problem>) -> VirtualHosts {
        let pods = GatewayPods::nowhere();
        let builder = Builder::new(traffic, &pods);
        let server = Server {
            port: resources::istio::Port {
                number: 80,
                ..Default::default()
            },
            ..Server::default()
        };
        let mut table = Table::default();
        for service in traffic.bound(MESH, &pods.namespace) {
            let routes = builder.routes(service, MESH, &server, problems);
            for host in &service.hosts {
                if let Some(vh) = table.at(host, 80).filter(|vh| vh.routes.is_empty()) {
                    vh.routes.extend(routes.iter().cloned());
                }
            }
        }
        table.hosts.retain(|vh| !vh.routes.is_empty());
        VirtualHosts::from(table.hosts)
    }

    /// The routes of a VirtualService on a gateway; what follows a route that
    /// matches everything is cut.
    fn routes(
        &self,
        service: &Bound<'_>,
        gateway: &str,
        server: &Server,
        problems: &mut Vec<Problem>,
    ) -> Vec<Arc<Route>> {
        let mut origins = Origins::default();
        let mut out = Vec::new();
        for (index, http) in service.http.iter().enumerate() {
            if http.matches.is_empty() {
                out.extend(self.route(
                    service,
                    gateway,
                    server,
                    (index, http),
                    None,
                    &mut origins,
                    problems,
                ));
                return out;
            }
            for spec in &http.matches {
                if !self.applies(service, gateway, server.port.number, spec) {
                    continue;
                }
                let made = self.route(
                    service,
                    gateway,
                    server,
                    (index, http),
                    Some(spec),
                    &mut origins,
                    problems,
                );
                if let Some(route) = made {
                    let last = route.condition.is_catch_all();
                    out.push(route);
                    if last {
                        return out;
                    }
                }
            }
        }
        out
    }

    /// A route of connections, as one that every request takes.
    pub(crate) fn connection_route(
        &self,
        service: &Bound<'_>,
        gateway: &str,
        server: &Server,
        http: &HttpRoute,
        place: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Route>> {
        let at = (0, http);
        let origins = &mut Origins::default();
        let made = self.route(service, gateway, server, at, None, origins, problems)?;
        let mut route = Arc::unwrap_or_clone(made);
        route.place = place.into();
        Some(Arc::new(route))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is part of where a route is"
    )]
    fn route(
        &self,
        service: &Bound<'_>,
        gateway: &str,
        server: &Server,
        (index, http): (usize, &HttpRoute),
        spec: Option<&HttpMatch>,
        origins: &mut Origins,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Route>> {
        let origin = origins.of(self.traffic, service, gateway, (index, http), problems);
        let namespace = http
            .origin
            .as_ref()
            .map_or(&service.object.meta.namespace, |origin| {
                &origin.object.meta.namespace
            });
        let resolve = |written: &resources::istio::Destination| {
            self.traffic
                .resolve(written, namespace, server.port.number, http.gateway_api)
        };
        let around = Surroundings {
            object: &origin.object,
            source: &origin.source,
            place: Arc::clone(&origin.place),
            label: Arc::clone(&origin.label),
            access: Arc::clone(&origin.access),
            port: server.port.number,
            tls: server.tls.is_some(),
            resolve: &resolve,
        };
        let mut notes = Vec::new();
        let http = self.traffic.kept(http);
        let made = Route::compile(&http, spec, &around, &mut notes);
        let place = format!("spec.{}", origin.place);
        let problem = |place: &str, message: &str| Problem {
            object: Some(origin.object.clone()),
            source: Some(origin.source.clone()),
            message: format!("{place}: {message}"),
        };
        problems.extend(notes.iter().map(|note| problem(&place, note)));
        match made {
            Ok(route) => Some(Arc::new(route)),
            Err(message) => {
                let (place, message) = match message.split_once(": ") {
                    Some((field, why)) if field.starts_with("match[") => {
                        (format!("{place}.{field}"), why.to_owned())
                    }
                    _ => (place, message),
                };
                let told = format!("{message}; the route is left out");
                problems.push(problem(&place, &told));
                let refused = NotUnderstood {
                    object: origin.object.clone(),
                    source: origin.source.clone(),
                    place,
                    why: message,
                    scope: Scope::Listener,
                };
                let mut known = self.refused.borrow_mut();
                if !known.contains(&refused) {
                    known.push(refused);
                }
                None
            }
        }
    }

    fn applies(&self, vs: &Bound<'_>, gateway: &str, port: u16, m: &HttpMatch) -> bool {
        if m.port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        if m.gateways.is_empty() {
            return gateway == MESH
                || selects(&m.source_labels, &self.pods.labels)
                    && (m.source_namespace.is_empty()
                        || *m.source_namespace == *self.pods.namespace);
        }
        let namespace = &vs.object.meta.namespace;
        let mut names = m.gateways.iter();
        names.any(|name| gateway_name(name, namespace) == gateway)
    }
}

/// Objects that routes of one VirtualService were written in, with what they
/// give to their routes.
#[derive(Default)]
struct Origins {
    access: HashMap<ObjectRef, Arc<RouteAccess>>,
    /// Of routes that lead to models, by their names.
    of_models: HashMap<(ObjectRef, String), Arc<RouteAccess>>,
    /// The last one, by the route's position.
    current: Option<(usize, Origin)>,
}

#[derive(Clone)]
struct Origin {
    object: ObjectRef,
    source: Source,
    place: Arc<str>,
    label: Arc<str>,
    access: Arc<RouteAccess>,
}

impl Origins {
    fn of(
        &mut self,
        traffic: &Traffic<'_>,
        service: &Bound<'_>,
        gateway: &str,
        (index, http): (usize, &HttpRoute),
        problems: &mut Vec<Problem>,
    ) -> Origin {
        if let Some((known, origin)) = &self.current
            && *known == index
        {
            return origin.clone();
        }
        let (object, source) = match &http.origin {
            Some(origin) => (origin.object.reference(), origin.object.source.clone()),
            None => (service.object.reference(), service.object.source.clone()),
        };
        let access = match self.access.get(&object) {
            Some(access) => Arc::clone(access),
            None => {
                let access =
                    traffic
                        .owners
                        .access(service, http.origin.as_deref(), gateway, problems);
                let access = Arc::new(access);
                self.access.insert(object.clone(), Arc::clone(&access));
                access
            }
        };
        let writer = (service, http.origin.as_deref(), gateway);
        let models = traffic.owners.led_to(writer, http, &access);
        let access = match models.as_slice() {
            [] => access,
            models => {
                let names = models
                    .iter()
                    .map(|model| format!("{:?} ", model.key()))
                    .collect();
                let known = self.of_models.entry((object.clone(), names));
                let made = || Arc::new(traffic.owners.access_of_models(writer, models));
                Arc::clone(known.or_insert_with(made))
            }
        };
        let place = match &http.origin {
            Some(origin) => origin.place.clone(),
            None if http.name.is_empty() => format!("http[{index}]"),
            None => format!("http[{index}] `{}`", http.name),
        };
        let origin = Origin {
            label: format!("{}/{} {place}", object.namespace, object.name).into(),
            object,
            source,
            place: place.into(),
            access,
        };
        self.current = Some((index, origin.clone()));
        origin
    }
}

/// Hosts of a server: `./h` becomes `namespace/h`, `*/h` becomes `h`, and
/// `*/*` is everything (istio `sanitizeServerHostNamespace`).
pub(crate) fn sanitized_hosts(gateway: &Object<Gateway>, server: &Server) -> Vec<String> {
    let mut out = Vec::with_capacity(server.hosts.len());
    for host in &server.hosts {
        match host.split_once('/') {
            Some((".", host)) => out.push(format!("{}/{host}", gateway.meta.namespace)),
            Some(("*", "*")) => return vec!["*".to_owned()],
            Some(("*", host)) => out.push(host.to_owned()),
            _ => out.push(host.clone()),
        }
    }
    out
}

/// Sanitized hosts as seen from a namespace.
pub(crate) fn hosts_for<'h>(hosts: &'h [String], namespace: &str) -> Vec<&'h str> {
    let visible = hosts.iter().filter_map(|host| match host.split_once('/') {
        None => Some(host.as_str()),
        Some((of, host)) => (of == "*" || of == namespace).then_some(host),
    });
    visible.collect()
}

/// Case-sensitive, as in Istio.
fn intersection<'h>(server: &[&'h str], service: &'h [String]) -> Vec<&'h str> {
    let mut out: Vec<&str> = Vec::new();
    for a in server {
        for b in service {
            let host = if contains(b, a) {
                a
            } else if contains(a, b) {
                b.as_str()
            } else {
                continue;
            };
            if !out.contains(&host) {
                out.push(host);
            }
        }
    }
    out
}

pub(crate) fn contains(wide: &str, narrow: &str) -> bool {
    match wide.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => narrow.len() > suffix.len() && narrow.ends_with(suffix) || wide == narrow,
        None => wide == narrow,
    }
}
