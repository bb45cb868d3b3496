//! DestinationRules: what destinations of routes may name as subsets, and how
//! connections to them are made.

use serde::{Deserialize, Serialize};

use crate::istio::PortSelector;

/// Traffic policy of a host; only its subsets and its TLS are looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// Host, short names resolve in the object's namespace.
    pub host: String,
    /// For all of the host.
    pub traffic_policy: Option<TrafficPolicy>,
    /// What destinations may name.
    pub subsets: Vec<Subset>,
    /// Namespaces it is for; `*` or none is all, `.` is its own.
    pub export_to: Vec<String>,
    /// Clients it is for, in its own namespace; none is all.
    pub workload_selector: Option<crate::istio::Selector>,
}

/// A subset of a host's pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// In place of the host's.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How connections are made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// TLS of all ports.
    pub tls: Option<ClientTlsSettings>,
    /// Single ports of the Service.
    pub port_level_settings: Vec<PortTrafficPolicy>,
}

/// How connections to one port are made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PortTrafficPolicy {
    /// The port.
    pub port: PortSelector,
    /// Its TLS.
    pub tls: Option<ClientTlsSettings>,
}

/// TLS of a client.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ClientTlsSettings {
    /// `DISABLE` (what is not set), `SIMPLE`, `MUTUAL` or `ISTIO_MUTUAL`.
    pub mode: Option<String>,
    /// Server name to ask for; empty for one that follows from the Service.
    pub sni: String,
}

impl ClientTlsSettings {
    /// The mode, as it is taken.
    pub fn mode(&self) -> &str {
        self.mode.as_deref().unwrap_or("DISABLE")
    }
}

impl TrafficPolicy {
    /// The TLS for a port of the Service, where it is set.
    pub fn tls_of(&self, port: u16) -> Option<&ClientTlsSettings> {
        let mut ports = self.port_level_settings.iter();
        let of_port = ports.find(|p| p.port.number == port && p.tls.is_some());
        of_port.and_then(|p| p.tls.as_ref()).or(self.tls.as_ref())
    }
}
