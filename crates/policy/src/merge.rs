//! Which servers of several Gateways are served on a port (istio
//! `mergeGateways`, `buildGatewayListeners`).

use std::collections::{HashMap, HashSet};

use resources::Object;
use resources::istio::{Gateway, Server};

use crate::opaquehosts::Taken;
use crate::settings::Problem;
use crate::tables::{Builder, sanitized_hosts};
use crate::tls::TlsServer;
use crate::vhosts::VirtualHosts;

/// A server and the Gateway it is in.
pub(crate) type ServerOf<'c> = (&'c Object<Gateway>, &'c Server);

/// One filter chain of a listener: all plain HTTP servers of a port, or one
/// server that terminates TLS.
pub(crate) struct Planned<'c> {
    pub(crate) port: u16,
    /// Address to listen on; all of them if empty.
    pub(crate) bind: &'c str,
    pub(crate) servers: Vec<ServerOf<'c>>,
    pub(crate) tls: Option<TlsServer>,
    /// The connections are not read, requests are not looked at.
    pub(crate) opaque: Option<VirtualHosts>,
}

/// The filter chains of all servers, in the order of their ports.
pub(crate) fn planned<'c>(
    gateways: &[&'c Object<Gateway>],
    builder: &Builder<'_, '_>,
    warnings: &mut Vec<Problem>,
    unserved: &mut Vec<Problem>,
) -> Vec<Planned<'c>> {
    let pods = builder.pods;
    let mut taken = Taken::default();
    let mut merge = Merge::default();
    for &gateway in gateways {
        for server in &gateway.spec.servers {
            let mut note = |message: String| warnings.push(Problem::of(gateway, message));
            let number = server.port.number;
            if gateway.spec.attached.is_none()
                && let Some(ambiguity) = pods.ambiguity(number)
            {
                note(ambiguity);
            }
            for port in pods.listener_ports(gateway, number) {
                if let Err(why) = merge.add(port, gateway, server) {
                    note(format!("server `{}`: {why}", server.port.name));
                } else if !is_http(&server.port.protocol) {
                    let message = format!(
                        "server `{}` ({}) is not served: only plain HTTP servers are",
                        server.port.name, server.port.protocol
                    );
                    unserved.push(Problem::of(gateway, message));
                }
            }
        }
    }
    let mut planned = Vec::new();
    for (key, servers) in merge.merged {
        if is_http(&key.protocol) {
            planned.push(Planned {
                port: key.port,
                bind: key.bind,
                servers,
                tls: None,
                opaque: None,
            });
            continue;
        }
        for (gateway, server) in servers {
            let chain = |tls, opaque| Planned {
                port: key.port,
                bind: key.bind,
                servers: vec![(gateway, server)],
                tls,
                opaque,
            };
            if let Some(tls) = TlsServer::terminating(server) {
                planned.push(chain(Some(tls), None));
                continue;
            }
            for found in builder.opaque(gateway, server, key.port, &mut taken, warnings) {
                planned.push(chain(found.tls, Some(found.hosts)));
            }
        }
    }
    refused(&mut planned, warnings);
    planned
}

/// Takes out listeners that Envoy does not take: two of their filter chains
/// match the same server name, or one cannot be set up.
fn refused(planned: &mut Vec<Planned<'_>>, warnings: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    let mut bad = HashSet::new();
    for chain in planned.iter() {
        for (gateway, server) in &chain.servers {
            if let Some(why) = TlsServer::refused(server) {
                bad.insert((chain.port, chain.bind));
                let message = format!(
                    "server `{}`: {why}, and Envoy refuses the whole listener",
                    server.port.name
                );
                warnings.push(Problem::of(gateway, message));
            }
        }
        let names = chain.tls.as_ref().map_or(&[][..], |tls| &tls.names);
        let listener = (chain.port, chain.bind);
        let mut names: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        if names.is_empty() {
            names.push(None);
        }
        for name in names {
            if !seen.insert((listener, name)) && bad.insert(listener) {
                let name = name.unwrap_or("*");
                let message = format!(
                    "port {}: two servers are for the server name `{name}`, and Envoy refuses the whole listener",
                    chain.port
                );
                let gateway = chain.servers.first().map(|(gateway, _)| *gateway);
                warnings.extend(gateway.map(|gateway| Problem::of(gateway, message)));
            }
        }
    }
    let bad: HashSet<(u16, String)> = bad
        .into_iter()
        .map(|(port, bind)| (port, bind.to_owned()))
        .collect();
    planned.retain(|chain| !bad.contains(&(chain.port, chain.bind.to_owned())));
}

/// What servers are gathered by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key<'c> {
    port: u16,
    protocol: String,
    bind: &'c str,
}

/// What is served already.
#[derive(Default)]
struct Merge<'c> {
    merged: Vec<(Key<'c>, Vec<ServerOf<'c>>)>,
    ports: HashSet<u16>,
    /// The latest plain server's key of a port.
    plain: HashMap<u16, Key<'c>>,
    /// Address by port and host of servers with TLS settings.
    tls: HashMap<(u16, String), &'c str>,
    /// Route configurations of HTTPS servers.
    routes: HashSet<(u16, &'c str, &'c str, &'c str)>,
}

impl<'c> Merge<'c> {
    fn add(
        &mut self,
        port: u16,
        gateway: &'c Object<Gateway>,
        server: &'c Server,
    ) -> Result<(), String> {
        let bind = server.bind.as_str();
        if server.tls.is_some() {
            let hosts = sanitized_hosts(gateway, server);
            let taken = |host: &&String| self.tls.get(&(port, (*host).clone())) == Some(&bind);
            if let Some(taken) = hosts.iter().find(taken) {
                return Err(format!(
                    "host `{taken}` of port {port} is an older server's with TLS settings: the whole server is left out"
                ));
            }
            let keys = hosts.into_iter().map(|host| ((port, host), bind));
            self.tls.extend(keys);
        }
        let key = Key {
            port,
            protocol: server.port.protocol.to_ascii_uppercase(),
            bind,
        };
        let terminates = TlsServer::terminating(server).is_some();
        let plain = is_http(&key.protocol) || server.tls.is_none();
        if !self.ports.insert(port) {
            if let Some(first) = self.plain.get(&port).cloned() {
                if first.bind == bind {
                    if !(is_http(&first.protocol) && is_http(&key.protocol)) {
                        return Err(format!(
                            "port {port} is an older server's for {}: this one for {} is left out",
                            first.protocol, key.protocol
                        ));
                    }
                    self.push(first, gateway, server);
                    return Ok(());
                }
            } else if terminates {
                let (name, meta) = (server.port.name.as_str(), &gateway.meta);
                let route = (server.port.number, name, &*meta.name, &*meta.namespace);
                if !self.routes.insert(route) {
                    return Err(format!(
                        "port name `{name}` is another HTTPS server's: this one is left out"
                    ));
                }
            }
        } else if terminates {
            let (name, meta) = (server.port.name.as_str(), &gateway.meta);
            self.routes
                .insert((server.port.number, name, &meta.name, &meta.namespace));
        }
        if plain {
            self.plain.insert(port, key.clone());
        }
        self.push(key, gateway, server);
        Ok(())
    }

    fn push(&mut self, key: Key<'c>, gateway: &'c Object<Gateway>, server: &'c Server) {
        match self.merged.iter_mut().find(|(known, _)| *known == key) {
            Some((_, servers)) => servers.push((gateway, server)),
            None => self.merged.push((key, vec![(gateway, server)])),
        }
    }
}

pub(crate) fn is_http(protocol: &str) -> bool {
    matches!(
        protocol.to_ascii_uppercase().as_str(),
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB"
    )
}
