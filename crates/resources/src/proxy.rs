//! Settings of a proxy: `meshConfig.defaultConfig`, and on top of it what a
//! pod's annotation `proxy.istio.io/config` says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;
use yaml::{one_line, options};

/// Annotation of a pod (template) with settings of its proxy, in YAML.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";

/// `ProxyConfig`, as far as decisions read it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// What stands in front of a gateway.
    pub gateway_topology: GatewayTopology,
    /// Limits and normalisation of connections.
    pub connection_settings: ConnectionSettings,
}

/// `gatewayTopology`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTopology {
    /// Proxies before the gateway that add to `x-forwarded-for` and are trusted.
    pub num_trusted_proxies: u32,
    /// `SANITIZE_SET` (default), `SANITIZE`, `FORWARD_ONLY`, `APPEND_FORWARD`,
    /// `ALWAYS_FORWARD_ONLY`: what becomes of `x-forwarded-client-cert`.
    pub forward_client_cert_details: Option<String>,
    /// Set where connections begin with a PROXY protocol header.
    pub proxy_protocol: Option<Value>,
}

/// `connectionSettings` (Istio 1.31), as far as decisions read it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionSettings {
    /// `SIDECAR` (default) or `EDGE`: what is not set below.
    pub profile: Option<String>,
    /// `HEADERS_WITH_UNDERSCORES_ALLOW`, `…_REJECT_REQUEST`, `…_DROP_HEADER`.
    pub http_headers_with_underscores_action: Option<String>,
    /// Runs of `/` become one.
    pub http_merge_slashes: Option<bool>,
    /// `KEEP_UNCHANGED`, `REJECT_REQUEST`, `UNESCAPE_AND_REDIRECT`, `UNESCAPE_AND_FORWARD`.
    pub http_path_with_escaped_slashes_action: Option<String>,
}

impl ProxyConfig {
    /// These settings with a pod's annotation on top, each field that it names
    /// in place of the whole one here (istio `MergeProxyConfig`).
    ///
    /// # Errors
    /// An annotation that cannot be read.
    pub fn with(&self, annotation: &str) -> Result<Self, String> {
        let mut own: Value = serde_saphyr::from_str_with_options(annotation, options())
            .map_err(|error| one_line(&error.to_string()))?;
        // What is unknown of it is told when the pod is loaded.
        schema::check_settings(&mut own, schema::PROXY);
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        if let (Some(all), Value::Object(own)) = (all.as_object_mut(), own) {
            all.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
        }
        serde_json::from_value(all).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_changes_what_it_names() {
        let mesh = ProxyConfig::default()
            .with("connectionSettings: {profile: EDGE}\nconcurrency: 2")
            .unwrap();
        let pod = mesh
            .with("gatewayTopology:\n  numTrustedProxies: 2\n")
            .unwrap();
        assert_eq!(pod.gateway_topology.num_trusted_proxies, 2);
        assert_eq!(pod.connection_settings.profile.as_deref(), Some("EDGE"));
        let pod = mesh.with("connectionSettings: {httpMergeSlashes: true}");
        assert_eq!(pod.unwrap().connection_settings.profile, None);
        assert!(mesh.with("gatewayTopology: 5").is_err());
        assert!(mesh.with("{").is_err());
    }
}
