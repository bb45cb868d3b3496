//! PeerAuthentication (istio.io/api `security/v1`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::Selector;

/// `security.istio.io` PeerAuthentication: whether pods with a sidecar are
/// spoken to with mutual TLS.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Workloads; absent selects all in the namespace.
    pub selector: Option<Selector>,
    /// For all ports.
    pub mtls: Option<MutualTls>,
    /// For single ports of the pods.
    pub port_level_mtls: BTreeMap<u16, MutualTls>,
}

/// Mutual TLS of a PeerAuthentication.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default)]
pub struct MutualTls {
    /// What connections are taken.
    pub mode: MutualTlsMode,
}

/// What connections are taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum MutualTlsMode {
    /// What the next wider scope says.
    #[default]
    Unset,
    /// Plain text only.
    Disable,
    /// Plain text and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
