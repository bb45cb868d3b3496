//! Objects of the Kubernetes Gateway API, as far as decisions read them
//! (gateway-api.sigs.k8s.io, v1). What the API server fills in is filled in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// GatewayClass.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClass {
    /// Controller, for example `istio.io/gateway-controller`.
    pub controller_name: String,
}

/// Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeGateway {
    /// Class.
    pub gateway_class_name: String,
    /// Addresses; one of type `Hostname` names the Service of pods that exist.
    pub addresses: Vec<Address>,
    /// Listeners.
    pub listeners: Vec<Listener>,
    /// TLS of all listeners, not read.
    pub tls: Option<serde_json::Value>,
}

/// Address of a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Address {
    /// `IPAddress` (default) or `Hostname`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Address.
    pub value: String,
}

/// One listener of a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listener {
    /// Name, the `sectionName` of references.
    pub name: String,
    /// Host; any if absent.
    pub hostname: Option<String>,
    /// Port of the Service.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`.
    pub protocol: String,
    /// TLS settings.
    pub tls: Option<ListenerTls>,
    /// Which routes may attach.
    pub allowed_routes: AllowedRoutes,
}

/// TLS settings of a listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTls {
    /// `Terminate` (default) or `Passthrough`.
    pub mode: Option<String>,
    /// Settings of the implementation by name.
    pub options: BTreeMap<String, String>,
}

/// Which routes may attach.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AllowedRoutes {
    /// Of which namespaces.
    pub namespaces: RouteNamespaces,
    /// Of which kinds; those of the protocol if empty.
    pub kinds: Vec<RouteKind>,
}

/// Namespaces that routes may be in.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteNamespaces {
    /// `Same` (default), `All` or `Selector`.
    pub from: Option<String>,
    /// Labels of the namespaces.
    pub selector: Option<LabelSelector>,
}

/// A kind of routes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteKind {
    /// API group; the Gateway API's if absent.
    pub group: Option<String>,
    /// Kind.
    pub kind: String,
}

/// Kubernetes' label selector.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that are equal.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on one label.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LabelExpression {
    /// Label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether these labels are selected; an unknown operator selects nothing.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self
            .match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value));
        equal
            && self.match_expressions.iter().all(|e| {
                let found = labels.get(&e.key);
                match e.operator.as_str() {
                    "In" => found.is_some_and(|v| e.values.contains(v)),
                    "NotIn" => found.is_none_or(|v| !e.values.contains(v)),
                    "Exists" => found.is_some(),
                    "DoesNotExist" => found.is_none(),
                    _ => false,
                }
            })
    }
}

/// HTTPRoute and GRPCRoute.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Route {
    /// What it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Hosts; those of the listener if empty.
    pub hostnames: Vec<String>,
    /// Rules.
    pub rules: Option<Vec<RouteRule>>,
}

/// Reference to a Gateway, a listener of one, or a Service.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// API group; the Gateway API's if absent.
    pub group: Option<String>,
    /// Kind; `Gateway` if absent.
    pub kind: Option<String>,
    /// Namespace; the route's if absent.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Listener.
    pub section_name: Option<String>,
    /// Port of listeners.
    pub port: Option<u16>,
}

/// A rule: any of `matches`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteRule {
    /// Name.
    pub name: Option<String>,
    /// Alternatives.
    pub matches: Vec<RouteMatch>,
    /// What is done to requests and responses.
    pub filters: Vec<RouteFilter>,
    /// Where to.
    pub backend_refs: Vec<BackendRef>,
    /// Time limits.
    pub timeouts: Timeouts,
}

/// A match; all given fields hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// Path (HTTPRoute).
    pub path: Option<TypedValue>,
    /// Headers.
    pub headers: Vec<NamedMatch>,
    /// Query parameters (HTTPRoute).
    pub query_params: Vec<NamedMatch>,
    /// Method: a name (HTTPRoute) or a gRPC method.
    pub method: Option<Method>,
}

/// A value and how it is compared.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TypedValue {
    /// `PathPrefix` (default), `Exact`, `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Value.
    pub value: Option<String>,
}

/// A header or query parameter and how it is compared.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NamedMatch {
    /// `Exact` (default) or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A method.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Method {
    /// HTTP method.
    Http(String),
    /// gRPC service and method.
    Grpc(GrpcMethod),
}

/// gRPC service and method.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct GrpcMethod {
    /// `Exact` (default) or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Service.
    pub service: Option<String>,
    /// Method.
    pub method: Option<String>,
}

/// A filter.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteFilter {
    /// Which of the other fields counts.
    #[serde(rename = "type")]
    pub kind: String,
    /// Changes of request headers.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes of response headers.
    pub response_header_modifier: Option<HeaderModifier>,
    /// Redirect.
    pub request_redirect: Option<RequestRedirect>,
    /// Rewrite.
    pub url_rewrite: Option<UrlRewrite>,
    /// Copy.
    pub request_mirror: Option<RequestMirror>,
    /// CORS.
    pub cors: Option<Cors>,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HeaderModifier {
    /// Overwrite.
    pub set: Vec<Header>,
    /// Append.
    pub add: Vec<Header>,
    /// Remove.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Redirect.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRedirect {
    /// New scheme.
    pub scheme: Option<String>,
    /// New host.
    pub hostname: Option<String>,
    /// New path.
    pub path: Option<PathModifier>,
    /// New port.
    pub port: Option<u16>,
    /// Status, 302 by default.
    pub status_code: Option<u16>,
}

/// New path.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathModifier {
    /// `ReplaceFullPath` or `ReplacePrefixMatch`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The whole path.
    pub replace_full_path: Option<String>,
    /// The matched prefix.
    pub replace_prefix_match: Option<String>,
}

/// Rewrite.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UrlRewrite {
    /// New host.
    pub hostname: Option<String>,
    /// New path.
    pub path: Option<PathModifier>,
}

/// Copy of requests.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestMirror {
    /// Where to.
    pub backend_ref: BackendRef,
}

/// CORS.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "field names are those of HTTPCORSFilter")]
pub struct Cors {
    pub allow_origins: Vec<String>,
    pub allow_credentials: Option<bool>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub max_age: Option<u32>,
}

/// Where requests go.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BackendRef {
    /// API group; core if absent.
    pub group: Option<String>,
    /// Kind; `Service` if absent.
    pub kind: Option<String>,
    /// Namespace; the route's if absent.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Port.
    pub port: Option<u16>,
    /// Share, 1 if absent.
    pub weight: Option<u32>,
    /// Filters for this share only.
    pub filters: Vec<RouteFilter>,
}

/// Time limits.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// Of the whole request.
    pub request: Option<String>,
    /// Of one attempt.
    pub backend_request: Option<String>,
}

/// ReferenceGrant: leave for references from other namespaces.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ReferenceGrant {
    /// Who may refer.
    pub from: Vec<GrantFrom>,
    /// To what.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct GrantFrom {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
}

/// To what.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct GrantTo {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name; all if absent.
    pub name: Option<String>,
}
