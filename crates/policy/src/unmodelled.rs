//! What Gateways and the settings of their proxies do to connections that is
//! not decided here.

use resources::Object;
use resources::istio::Gateway;

use crate::opaque::{NotUnderstood, Scope};
use crate::workloads::GatewayPods;

/// The parts that may change answers on every listener of the pods.
pub(crate) fn unmodelled(gateways: &[&Object<Gateway>], pods: &GatewayPods) -> Vec<NotUnderstood> {
    let note = |gateway: &Object<Gateway>, place: String, why: &str| NotUnderstood {
        object: gateway.reference(),
        source: gateway.source.clone(),
        place,
        why: why.to_owned(),
        scope: Scope::Listener,
    };
    let mut found = Vec::new();
    for gateway in gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let tls = server.tls.as_ref();
            if tls.and_then(|tls| tls.mode.as_deref()) == Some("AUTO_PASSTHROUGH") {
                let place = format!("spec.servers[{index}].tls.mode");
                let why = "AUTO_PASSTHROUGH, which leads to any Service by its server name,";
                found.push(note(gateway, place, why));
            }
        }
    }
    if let Some(first) = gateways.first()
        && pods.proxy.gateway_topology.proxy_protocol.is_some()
    {
        let place = "gatewayTopology.proxyProtocol of its pods".to_owned();
        found.push(note(first, place, "a client's address in a PROXY header"));
    }
    found
}
