//! The mesh configuration: ConfigMap `istio`, key `mesh`.

use serde::{Deserialize, Deserializer, Serialize};

use crate::proxy::ProxyConfig;

/// `meshConfig`, as far as decisions read it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// External authorizers by name.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Namespace whose policies reach every workload; `istio-system` if empty.
    pub root_namespace: Option<String>,
    /// Trust domain; `cluster.local` if absent.
    pub trust_domain: Option<String>,
    /// Trust domains that count as that one.
    pub trust_domain_aliases: Vec<String>,
    /// How proxies are set up that say nothing of their own.
    pub default_config: ProxyConfig,
    /// Path normalisation.
    pub path_normalization: PathNormalization,
    /// Proxies speak mutual TLS with pods that have a sidecar; on unless
    /// switched off.
    pub enable_auto_mtls: Option<bool>,
    /// Default of `exportTo` for VirtualServices.
    pub default_virtual_service_export_to: Vec<String>,
    /// Which Ingresses are read.
    pub ingress_controller_mode: IngressControllerMode,
    /// Class of Istio's Ingresses; `istio` if absent.
    pub ingress_class: Option<String>,
    /// Value of the label `istio` of the pods that serve Ingresses.
    pub ingress_selector: String,
    /// Their Service; the same value where the former is empty, unless it is
    /// `istio-ingressgateway`.
    pub ingress_service: String,
}

/// `meshConfig.ingressControllerMode`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IngressControllerMode {
    /// None; Istio takes it so.
    Unspecified,
    /// None.
    Off,
    /// Those of Istio's class, and those without a class.
    Default,
    /// Those of Istio's class.
    #[default]
    Strict,
}

/// `meshConfig.pathNormalization`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PathNormalization {
    /// Mode; unset means `DEFAULT`, which is `BASE`.
    pub normalization: Normalization,
}

/// Path normalisation modes of Istio.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Normalization {
    /// The path as it came.
    None,
    /// RFC 3986 normalisation; `//` and `%2F` stay.
    #[default]
    #[serde(alias = "DEFAULT")]
    Base,
    /// `BASE`, and runs of `/` become one.
    MergeSlashes,
    /// `MERGE_SLASHES` after decoding `%2F` and `%5C`.
    DecodeAndMergeSlashes,
}

/// One extension provider.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Name.
    pub name: String,
    /// HTTP external authorizer.
    pub envoy_ext_authz_http: Option<ExtAuthzHttp>,
    /// gRPC external authorizer.
    pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
}

/// `envoyExtAuthzHttp`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzHttp {
    /// Service host, may be prefixed `ns/`.
    pub service: String,
    /// Service port, number or quoted number.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// Duration like `5s`; 600 s if absent.
    pub timeout: Option<String>,
    /// Continue on error.
    pub fail_open: bool,
    /// Status on error, 403 by default.
    pub status_on_error: Option<String>,
    /// Prepended to the path of the check request.
    pub path_prefix: String,
    /// Request headers the authorizer sees.
    pub include_request_headers_in_check: Vec<String>,
    /// Deprecated spelling, used only if the former is empty.
    pub include_headers_in_check: Vec<String>,
    /// Fixed headers added to the check request.
    pub include_additional_headers_in_check: std::collections::BTreeMap<String, String>,
    /// Response headers copied onto the request when allowed.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Response headers passed to the client when denied; empty means all.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// Response headers added to the client's response when allowed.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// `envoyExtAuthzGrpc`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzGrpc {
    /// Service host.
    pub service: String,
    /// Service port.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// Duration like `5s`; 600 s if absent.
    pub timeout: Option<String>,
    /// Continue on error.
    pub fail_open: bool,
    /// Status on error, 403 by default.
    pub status_on_error: Option<String>,
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    use serde::de::Error as _;

    match crate::core::PortRef::deserialize(deserializer)? {
        crate::core::PortRef::Number(port) => Ok(port),
        crate::core::PortRef::Name(text) => text.parse().map_err(|_| {
            D::Error::custom(format!("`{text}` is not a port number, expected 1-65535"))
        }),
    }
}
