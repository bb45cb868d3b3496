//! Routes of connections that no gateway reads: `tcp` and `tls` of a
//! VirtualService.

use serde::{Deserialize, Serialize};

use crate::istio::RouteDestination;

/// One entry of `tcp` or `tls`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConnectionRoute {
    /// Alternatives; empty matches everything in `tcp` and nothing in `tls`.
    #[serde(rename = "match")]
    pub matches: Vec<ConnectionMatch>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
}

/// One match, as far as a gateway looks at it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionMatch {
    /// Server names (`tls` only).
    pub sni_hosts: Vec<String>,
    /// Port of the Gateway's server.
    pub port: Option<u16>,
    /// Gateways it is limited to.
    pub gateways: Vec<String>,
}
