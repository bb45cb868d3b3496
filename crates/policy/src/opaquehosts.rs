//! Servers of connections that a gateway does not read: TCP, and TLS that it
//! terminates or passes through (istio `buildGatewayNetworkFiltersFromTCPRoutes`,
//! `buildGatewayNetworkFiltersFromTLSRoutes`).

use std::collections::HashMap;

use resources::Object;
use resources::istio::{Gateway, HttpRoute, Server};
use resources::l4::{ConnectionMatch, ConnectionRoute};

use crate::settings::Problem;
use crate::tables::{Builder, contains, hosts_for, sanitized_hosts};
use crate::tls::{ClientCertificates, TlsServer};
use crate::traffic::{Bound, gateway_key, gateway_name};
use crate::vhosts::{VirtualHost, VirtualHosts};

/// A filter chain of such a server: the connections it takes, and one route.
pub(crate) struct OpaqueChain {
    pub(crate) tls: Option<TlsServer>,
    pub(crate) hosts: VirtualHosts,
}

/// Server names that routes of a listener have taken, with the address.
pub(crate) type Taken = HashMap<(u16, String), String>;

impl Builder<'_, '_> {
    /// The filter chains of a server; none where no route leads on.
    pub(crate) fn opaque(
        &self,
        gateway: &Object<Gateway>,
        server: &Server,
        port: u16,
        taken: &mut Taken,
        problems: &mut Vec<Problem>,
    ) -> Vec<OpaqueChain> {
        let mode = server.tls.as_ref().map(|tls| tls.mode.as_deref());
        let passes = matches!(mode, Some(None | Some("PASSTHROUGH")));
        let key = gateway_key(gateway);
        let hosts = sanitized_hosts(gateway, server);
        if mode == Some(Some("AUTO_PASSTHROUGH")) {
            // Where these lead is not followed, and said so for every listener.
            return vec![OpaqueChain {
                tls: Some(TlsServer::passing(&names_of_services(server))),
                hosts: VirtualHosts::from(Vec::new()),
            }];
        }
        let mut chains = Vec::new();
        for bound in self.traffic.bound(&key, &self.pods.namespace) {
            let visible = hosts_for(&hosts, &bound.object.meta.namespace);
            let meets = |host: &String| {
                let mut own = visible.iter();
                own.any(|own| contains(own, host) || contains(host, own))
            };
            if !bound.hosts.iter().any(meets) {
                continue;
            }
            let here = |m: &ConnectionMatch| is_here(m, bound, &key, server.port.number);
            if !passes {
                let spec = &bound.object.spec;
                let mut routes = spec.tcp.iter().enumerate();
                let found = routes.find(|(_, route)| {
                    !route.route.is_empty()
                        && (route.matches.is_empty() || route.matches.iter().any(here))
                });
                if let Some((index, route)) = found {
                    let place = format!("tcp[{index}]");
                    let hosts = self.one_route(bound, &key, server, route, &place, problems);
                    let tls = TlsServer::of_connections(server);
                    chains.push(OpaqueChain { tls, hosts });
                    return chains;
                }
                continue;
            }
            for (index, route) in bound.object.spec.tls.iter().enumerate() {
                for m in route.matches.iter().filter(|m| here(m)) {
                    let name = |sni: &String| (port, sni.clone());
                    let mut names = m.sni_hosts.iter();
                    if route.route.is_empty()
                        || names.any(|sni| taken.get(&name(sni)) == Some(&server.bind))
                    {
                        continue;
                    }
                    let own = m
                        .sni_hosts
                        .iter()
                        .map(|sni| (name(sni), server.bind.clone()));
                    taken.extend(own);
                    let place = format!("tls[{index}]");
                    let hosts = self.one_route(bound, &key, server, route, &place, problems);
                    let tls = Some(TlsServer::passing(&m.sni_hosts));
                    chains.push(OpaqueChain { tls, hosts });
                }
            }
        }
        chains
    }

    fn one_route(
        &self,
        bound: &Bound<'_>,
        gateway: &str,
        server: &Server,
        route: &ConnectionRoute,
        place: &str,
        problems: &mut Vec<Problem>,
    ) -> VirtualHosts {
        let http = HttpRoute {
            route: route.route.clone(),
            ..HttpRoute::default()
        };
        let made = self.connection_route(bound, gateway, server, &http, place, problems);
        VirtualHosts::from(vec![VirtualHost {
            name: "*".to_owned(),
            server_port: server.port.number,
            routes: made.into_iter().collect(),
            ..VirtualHost::default()
        }])
    }
}

/// The server names that clients of the mesh ask for when they mean Services of
/// a server's hosts, `outbound_.80_._.` and the Service's (istio
/// `builtAutoPassthroughFilterChains`).
fn names_of_services(server: &Server) -> Vec<String> {
    let hosts = server.hosts.iter();
    let hosts = hosts.map(|host| host.rsplit('/').next().unwrap_or(host));
    let names = hosts.map(|host| match host.starts_with('*') {
        true => host.to_owned(),
        false => format!("*.{host}"),
    });
    names.collect()
}

fn is_here(m: &ConnectionMatch, bound: &Bound<'_>, gateway: &str, port: u16) -> bool {
    let namespace = &bound.object.meta.namespace;
    let mut gateways = m.gateways.iter();
    m.port.is_none_or(|wanted| wanted == 0 || wanted == port)
        && (m.gateways.is_empty() || gateways.any(|name| gateway_name(name, namespace) == gateway))
}

impl TlsServer {
    /// A server that terminates TLS of connections it does not read.
    fn of_connections(server: &Server) -> Option<Self> {
        let tls = server.tls.as_ref()?;
        Some(Self::with(server, tls))
    }

    /// Connections that are passed through by their server name.
    fn passing(names: &[String]) -> Self {
        let mut names = names.to_vec();
        if names.iter().any(|name| name == "*") {
            names.clear();
        }
        Self {
            names,
            terminates: false,
            clients: ClientCertificates::Ignored,
            accepted: Vec::new(),
            speaks_none: false,
        }
    }
}
