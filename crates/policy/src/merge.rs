//! Which servers of several Gateways are served on a port (istio
//! `mergeGateways`).

use std::collections::{HashMap, HashSet};

use resources::Object;
use resources::istio::{Gateway, Server};

use crate::settings::Problem;
use crate::tables::sanitized_hosts;
use crate::workloads::GatewayPods;

/// A server and the Gateway it is in.
pub(crate) type ServerOf<'c> = (&'c Object<Gateway>, &'c Server);

/// Servers of plain HTTP, by listener port, in the order in which ports appear.
pub(crate) fn plain_servers<'c>(
    gateways: &[&'c Object<Gateway>],
    pods: &GatewayPods,
    warnings: &mut Vec<Problem>,
) -> Vec<(u16, Vec<ServerOf<'c>>)> {
    let mut ports: Vec<(u16, Vec<ServerOf<'c>>)> = Vec::new();
    let mut positions: HashMap<u16, usize> = HashMap::new();
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
                    continue;
                }
                if !is_http(&server.port.protocol) {
                    note(format!(
                        "server `{}` ({}) is not served: only plain HTTP servers are",
                        server.port.name, server.port.protocol
                    ));
                    continue;
                }
                let next = ports.len();
                let position = *positions.entry(port).or_insert(next);
                if position == next {
                    ports.push((port, Vec::new()));
                }
                if let Some((_, servers)) = ports.get_mut(position) {
                    servers.push((gateway, server));
                }
            }
        }
    }
    ports
}

/// What is served already.
#[derive(Default)]
struct Merge {
    /// Protocol and address of the first plain server of a port.
    plain: HashMap<u16, (String, String)>,
    /// Hosts of servers with TLS settings, by port and address.
    tls: HashSet<(u16, String, String)>,
}

impl Merge {
    fn add(&mut self, port: u16, gateway: &Object<Gateway>, server: &Server) -> Result<(), String> {
        if server.tls.is_some() {
            let key = |host: &String| (port, server.bind.clone(), host.clone());
            let hosts = sanitized_hosts(gateway, server);
            if let Some(taken) = hosts.iter().find(|host| self.tls.contains(&key(host))) {
                return Err(format!(
                    "host `{taken}` of port {port} is an older server's with TLS settings: the whole server is left out"
                ));
            }
            self.tls.extend(hosts.iter().map(key));
        }
        let protocol = server.port.protocol.to_ascii_uppercase();
        if let Some((first, bind)) = self.plain.get(&port) {
            let merges = is_http(first) && is_http(&protocol);
            if !merges && *bind == server.bind {
                return Err(format!(
                    "port {port} is an older server's for {first}: this one for {protocol} is left out"
                ));
            }
        } else if !matches!(protocol.as_str(), "HTTPS" | "TLS") {
            self.plain.insert(port, (protocol, server.bind.clone()));
        }
        Ok(())
    }
}

pub(crate) fn is_http(protocol: &str) -> bool {
    matches!(
        protocol.to_ascii_uppercase().as_str(),
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB"
    )
}
