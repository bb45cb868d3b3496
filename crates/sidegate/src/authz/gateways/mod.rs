//! What gateways other than Istio's take to ask `sidegate authz`.

mod caddy;
mod envoy;
mod nginx;
mod traefik;

use std::collections::BTreeSet;

use clap::ValueEnum;
use policy::{Entrance, Owner, Snapshot};
use serde_json::{Value, json};

use super::manifests::{NAME, PORT, prefix};

/// Whose configuration is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[expect(
    clippy::enum_variant_names,
    reason = "one of the products is called Envoy Gateway"
)]
pub(crate) enum Gateway {
    /// Istio's gateways
    #[default]
    Istio,
    /// Envoy with a configuration of its own
    Envoy,
    /// Envoy Gateway
    EnvoyGateway,
    /// Contour
    Contour,
    /// nginx, with auth_request
    Nginx,
    /// Traefik, with ForwardAuth
    Traefik,
    /// Caddy, with forward_auth
    Caddy,
}

/// What is asked about, and where.
pub(super) struct Asking<'s> {
    pub(super) snapshot: &'s Snapshot,
    /// Namespace of the authorizer.
    pub(super) namespace: &'s str,
    /// Over HTTP where both is possible.
    pub(super) http: bool,
}

impl Gateway {
    /// Objects of that gateway, beside the authorizer's own.
    pub(super) fn objects(self, asking: &Asking<'_>) -> Vec<Value> {
        match self {
            Self::Istio => Vec::new(),
            Self::Envoy => vec![envoy::files(asking)],
            Self::EnvoyGateway => envoy::gateway(asking),
            Self::Contour => vec![envoy::contour(asking)],
            Self::Nginx => vec![nginx::files(asking)],
            Self::Traefik => traefik::objects(asking),
            Self::Caddy => vec![caddy::file(asking)],
        }
    }

    /// What to do with them, for the head of the output.
    pub(super) fn notes(self, asking: &Asking<'_>) -> Vec<String> {
        let notes: &[&str] = match self {
            Self::Istio => &[],
            Self::Envoy => &[
                "A listener has the filter of its side before all others, and the cluster.",
                "Over gRPC its port is one that a Gateway in the files opens.",
            ],
            Self::EnvoyGateway => &["Headers of clients with `_` are refused, as by default."],
            Self::Contour => return envoy::contour_notes(asking),
            Self::Nginx => &[
                "http.conf goes into `http`, external.conf or local.conf into each `server`,",
                "ask.conf into each `location` with a `proxy_pass` or `grpc_pass`.",
            ],
            Self::Traefik => &[
                "Traefik 3.3 or newer. Each router has the middleware of its side, and none before it",
                "changes path, host or method. An entry point trusts no `forwardedHeaders`.",
            ],
            Self::Caddy => &[
                "Caddy 2.11.2 or newer (CVE-2026-30851). A site imports the snippet of its side in a",
                "`route`, before all else, and trusts no proxies.",
            ],
        };
        notes.iter().map(|note| (*note).to_owned()).collect()
    }
}

impl Asking<'_> {
    /// Sides that something listens on.
    fn sides(&self) -> Vec<Entrance> {
        let all = [Entrance::External, Entrance::Local];
        let listens = |side: &Entrance| {
            let mut listeners = self.snapshot.listeners();
            listeners.any(|listener| !listener.is_opaque() && listener.side() == *side)
        };
        all.into_iter().filter(listens).collect()
    }

    /// Host of the Service.
    fn host(&self) -> String {
        format!("{NAME}.{}.svc.cluster.local", self.namespace)
    }

    /// Host and port of the Service.
    fn authority(&self) -> String {
        format!("{}:{PORT}", self.host())
    }

    /// Hosts of the platform, by exact name; none if one of its hosts is a pattern.
    fn platform_hosts(&self) -> Vec<String> {
        let mut hosts = BTreeSet::new();
        let listeners = self.snapshot.listeners();
        for listener in listeners.filter(|l| l.side() == Entrance::External && !l.is_opaque()) {
            for host in listener.hosts() {
                let mut routes = host.routes();
                if !routes.any(|route| route.access().owner == Owner::Platform) {
                    continue;
                }
                if host.name().contains('*') {
                    return Vec::new();
                }
                hosts.insert(host.name().split(':').next().unwrap_or_default().to_owned());
            }
        }
        hosts.into_iter().collect()
    }

    /// Objects that hold files, by name.
    fn config_map(&self, name: &str, files: Vec<(String, String)>) -> Value {
        let data: serde_json::Map<String, Value> = files
            .into_iter()
            .map(|(name, text)| (name, Value::String(text)))
            .collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace}, "data": data})
    }
}

/// A side by its word.
fn word(side: Entrance) -> &'static str {
    prefix(side).trim_start_matches('/')
}

/// A header as people write it.
fn title(name: &str) -> String {
    let parts = name.split('-').map(|part| {
        let mut letters = part.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    parts.collect::<Vec<_>>().join("-")
}
