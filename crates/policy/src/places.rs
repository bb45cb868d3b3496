//! Whether a patch of an EnvoyFilter means a listener, and the names by which
//! it says so (istio `listenerMatch`, `filterChainMatch`, `networkFilterMatch`).

use crate::chain::Chain;
use crate::envoyfilter::Patch;
use crate::httpfilter::present_name;
use crate::proto::{field, number, text};
use crate::settings::IstioVersion;
use crate::tls::TlsServer;

use serde_json::Value;

const HCM: &str = "envoy.filters.network.http_connection_manager";

/// A listener, as patches match it.
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) server_ports: &'a [u16],
    /// The server, where it is one that terminates TLS.
    pub(crate) https: Option<Https<'a>>,
}

/// A server that terminates TLS, and the parts of its route configuration's name.
pub(crate) struct Https<'a> {
    pub(crate) tls: &'a TlsServer,
    /// `namespace/name`.
    pub(crate) gateway: String,
    pub(crate) port_name: &'a str,
}

impl Place<'_> {
    /// Whether a patch means this listener and its connection manager.
    pub(crate) fn listener(&self, patch: &Patch, version: IstioVersion) -> Result<(), String> {
        let matching = patch.matching("listener");
        let name = text(matching, &["name"]);
        if !name.is_empty() && name != format!("0.0.0.0_{}", self.port) {
            return Err(format!(
                "match.listener.name: no listener is called `{name}`, they are called `0.0.0.0_PORT`"
            ));
        }
        if let Some(port) = number(matching, &["portNumber"]).filter(|port| *port != 0)
            && port != u64::from(self.port)
        {
            let server = self.server_ports.iter().any(|p| u64::from(*p) == port);
            let hint = if server {
                format!(
                    "; {port} is the port of a Gateway server, its listener port is {}",
                    self.port
                )
            } else {
                String::new()
            };
            return Err(format!(
                "match.listener.portNumber: no listener of these pods has port {port}{hint}"
            ));
        }
        let chain = field(matching, "filterChain").unwrap_or(&Value::Null);
        for key in ["name", "transportProtocol", "applicationProtocols"] {
            if !text(chain, &[key]).is_empty() {
                return Err(format!(
                    "match.listener.filterChain.{key}: a gateway's filter chain has none"
                ));
            }
        }
        let sni = text(chain, &["sni"]);
        let names = self
            .https
            .as_ref()
            .map_or(&[][..], |https| &https.tls.names);
        if !sni.is_empty() && !names.iter().any(|name| name == sni) {
            return Err(format!(
                "match.listener.filterChain.sni: no server that terminates TLS has the host `{sni}`, or it has `*` beside it"
            ));
        }
        if number(chain, &["destinationPort"]).is_some_and(|port| port != 0) {
            return Err(
                "match.listener.filterChain.destinationPort: a gateway's filter chain has none"
                    .to_owned(),
            );
        }
        if matches!(patch.apply_to.as_str(), "HTTP_FILTER" | "NETWORK_FILTER")
            && let Some(filter) = field(chain, "filter")
        {
            let name = text(filter, &["name"]);
            let read = translated(name, version);
            // Inserting a network filter beside another one is not ours to order.
            if read != HCM {
                return Err(match present_name(name) {
                    Some(present) => old_name(name, present, version),
                    None => format!(
                        "match.listener.filterChain.filter.name: no network filter is called `{name}`, expected `{HCM}`"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// A filter's name as Istio reads it: old ones are translated up to 1.18.
pub(crate) fn translated(name: &str, version: IstioVersion) -> &str {
    if version < IstioVersion::DEPRECATED_NAMES_DEAD {
        present_name(name).unwrap_or(name)
    } else {
        name
    }
}

pub(crate) fn unknown_filter(name: &str, chain: &Chain, version: IstioVersion) -> String {
    match present_name(name) {
        Some(present) if version >= IstioVersion::DEPRECATED_NAMES_DEAD => {
            old_name(name, present, version)
        }
        _ => {
            let filters = chain.filters.iter();
            let known: Vec<String> = filters.map(|filter| format!("`{}`", filter.name)).collect();
            format!(
                "no HTTP filter is called `{name}`, there are {}",
                known.join(", ")
            )
        }
    }
}

fn old_name(name: &str, present: &str, version: IstioVersion) -> String {
    let dead = IstioVersion::DEPRECATED_NAMES_DEAD;
    format!(
        "`{name}` is a name that Istio {dead} (Envoy {}) and newer no longer translate, this is Istio {version}: \
         the patch matches nothing: the filter is not installed and what it protected is open; expected `{present}`",
        dead.envoy()
    )
}
