//! Istio's traffic and security objects, as far as decisions read them.
//! Field names and meaning: istio.io/api `networking/v1`, `security/v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `networking.istio.io` Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Labels of the gateway pods, in any namespace.
    pub selector: BTreeMap<String, String>,
    /// Servers.
    pub servers: Vec<Server>,
}

/// One server of a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Port and protocol.
    pub port: Port,
    /// Hosts, each `host`, `ns/host`, `./host` or `*/host`.
    pub hosts: Vec<String>,
    /// TLS settings.
    pub tls: Option<ServerTls>,
}

/// Port of a Gateway server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Port number: a Service port, see semantics of server port → listener port.
    pub number: u16,
    /// Name.
    pub name: String,
    /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `TLS`, `TCP`, …
    pub protocol: String,
}

/// TLS settings of a Gateway server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// Plain HTTP is answered by a redirect to https.
    pub https_redirect: bool,
    /// `SIMPLE`, `MUTUAL`, `PASSTHROUGH`, …
    pub mode: Option<String>,
}

/// `networking.istio.io` VirtualService.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// Hosts.
    pub hosts: Vec<String>,
    /// Gateways: `mesh`, `name` or `ns/name`; empty means `mesh`.
    pub gateways: Vec<String>,
    /// HTTP routes, first match wins.
    pub http: Vec<HttpRoute>,
    /// Namespaces the object is visible to.
    pub export_to: Vec<String>,
}

/// One HTTP route of a VirtualService.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// Name.
    pub name: String,
    /// Alternatives; empty matches everything.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
    /// Redirect.
    pub redirect: Option<Redirect>,
    /// Fixed answer.
    pub direct_response: Option<DirectResponse>,
    /// Another VirtualService to continue in.
    pub delegate: Option<Delegate>,
    /// Path and authority rewrite.
    pub rewrite: Option<Rewrite>,
    /// Header operations.
    pub headers: Option<Headers>,
    /// Time limit, a duration like `10s`.
    pub timeout: Option<String>,
    /// CORS.
    pub cors_policy: Option<CorsPolicy>,
}

/// One match; all fields given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// Name.
    pub name: String,
    /// Path.
    pub uri: Option<StringMatch>,
    /// Scheme.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Authority, with port, case-sensitive.
    pub authority: Option<StringMatch>,
    /// Headers.
    pub headers: BTreeMap<String, StringMatch>,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Query parameters.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Gateway server port.
    pub port: Option<u16>,
    /// Gateways this match is limited to.
    pub gateways: Vec<String>,
    /// Labels of the calling workload (the gateway pod on gateways).
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the calling workload.
    pub source_namespace: String,
    /// Case-insensitive `uri` (exact and prefix).
    pub ignore_uri_case: bool,
}

/// Istio's StringMatch. No field set means presence.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// Equal.
    pub exact: Option<String>,
    /// Byte prefix.
    pub prefix: Option<String>,
    /// RE2, full match.
    pub regex: Option<String>,
}

/// Where a route sends to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// The Service.
    pub destination: Destination,
    /// Share of requests.
    pub weight: u32,
    /// Header operations.
    pub headers: Option<Headers>,
}

/// A Service host and port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Host, short names resolve in the VirtualService's namespace.
    pub host: String,
    /// Service port; may be left out when the Service has just one.
    pub port: Option<PortSelector>,
    /// Subset of a DestinationRule.
    pub subset: String,
}

/// A port number.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PortSelector {
    /// Number.
    pub number: u16,
}

/// Redirect answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirect {
    /// New path, replacing the whole path.
    pub uri: String,
    /// New authority.
    pub authority: String,
    /// New scheme.
    pub scheme: String,
    /// New port.
    pub port: Option<u16>,
    /// Status, 301 by default.
    pub redirect_code: Option<u16>,
}

/// Fixed answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: Option<DirectBody>,
}

/// Body of a fixed answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectBody {
    /// Text.
    pub string: Option<String>,
}

/// Reference to a delegate VirtualService.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Name.
    pub name: String,
    /// Namespace, the root's by default.
    pub namespace: String,
}

/// Rewrite before forwarding.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rewrite {
    /// Replaces the matched prefix, or the whole path for exact and regex.
    pub uri: Option<String>,
    /// New authority.
    pub authority: Option<String>,
    /// Regex rewrite of the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// Regex rewrite.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// RE2.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Replacement with `\1` groups.
    pub rewrite: String,
}

/// Header operations.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Headers {
    /// On the request.
    pub request: HeaderOperations,
    /// On the response.
    pub response: HeaderOperations,
}

/// Set, add, remove.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HeaderOperations {
    /// Overwrite; the name `Host` or `:authority` sets the authority.
    pub set: BTreeMap<String, String>,
    /// Append.
    pub add: BTreeMap<String, String>,
    /// Remove.
    pub remove: Vec<String>,
}

/// CORS of a route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Origins.
    pub allow_origins: Vec<StringMatch>,
    /// Methods.
    pub allow_methods: Vec<String>,
    /// Headers.
    pub allow_headers: Vec<String>,
    /// Exposed headers.
    pub expose_headers: Vec<String>,
    /// Duration like `24h`.
    pub max_age: Option<String>,
    /// Credentials.
    pub allow_credentials: Option<bool>,
}

/// `security.istio.io` AuthorizationPolicy.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// Workloads; absent selects all in the namespace.
    pub selector: Option<Selector>,
    /// Gateway API attachment.
    pub target_refs: Vec<TargetRef>,
    /// Gateway API attachment, older single form.
    pub target_ref: Option<TargetRef>,
    /// `ALLOW` (default), `DENY`, `AUDIT`, `CUSTOM`.
    pub action: Option<String>,
    /// Provider of a CUSTOM policy.
    pub provider: Option<Provider>,
    /// Rules; `null` entries and empty ones match everything.
    pub rules: Option<Vec<Option<Rule>>>,
}

/// Label selector of a policy.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// Labels.
    pub match_labels: BTreeMap<String, String>,
}

/// Reference to a Gateway API object.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; only the policy's own works.
    pub namespace: String,
}

/// Name of an extension provider.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Provider {
    /// Name in the mesh config.
    pub name: String,
}

/// One rule: (any of `from`) and (any of `to`) and (all of `when`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Rule {
    /// Sources.
    pub from: Vec<From>,
    /// Operations.
    pub to: Vec<To>,
    /// Conditions.
    pub when: Vec<Condition>,
}

/// Wrapper of a source.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct From {
    /// Source.
    pub source: Option<SourceMatch>,
}

/// Wrapper of an operation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct To {
    /// Operation.
    pub operation: Option<Operation>,
}

/// Source fields; all given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    missing_docs,
    reason = "field names are Istio's own, istio.io/api security/v1 Source"
)]
pub struct SourceMatch {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    pub ip_blocks: Vec<String>,
    pub not_ip_blocks: Vec<String>,
    pub remote_ip_blocks: Vec<String>,
    pub not_remote_ip_blocks: Vec<String>,
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
}

/// Operation fields; all given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    missing_docs,
    reason = "field names are Istio's own, istio.io/api security/v1 Operation"
)]
pub struct Operation {
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub ports: Vec<String>,
    pub not_ports: Vec<String>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

/// One `when` condition.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Attribute, for example `request.headers[authorization]`.
    pub key: String,
    /// Any of these.
    pub values: Vec<String>,
    /// None of these.
    pub not_values: Vec<String>,
}

/// `security.istio.io` RequestAuthentication.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// Workloads.
    pub selector: Option<Selector>,
    /// Gateway API attachment.
    pub target_refs: Vec<TargetRef>,
    /// Issuers.
    pub jwt_rules: Vec<JwtRule>,
}

/// One issuer whose tokens are checked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// Exact `iss`.
    pub issuer: String,
    /// Accepted audiences.
    pub audiences: Vec<String>,
    /// Key set by URL.
    pub jwks_uri: String,
    /// Inline key set.
    pub jwks: String,
    /// Keep the token on the request.
    pub forward_original_token: bool,
}

/// `networking.istio.io` EnvoyFilter. Patches stay untyped: their value is
/// Envoy configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    /// Workloads.
    pub workload_selector: Option<WorkloadSelector>,
    /// Gateway API attachment.
    pub target_refs: Vec<TargetRef>,
    /// The form before Istio 1.4, which no version reads any more.
    pub filters: Vec<serde_json::Value>,
    /// Patches.
    pub config_patches: Vec<serde_json::Value>,
    /// Order among filters.
    pub priority: i32,
}

/// Label selector of an EnvoyFilter.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// `extensions.istio.io` WasmPlugin, as far as where it runs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    /// Workloads; absent selects all in the namespace.
    pub selector: Option<Selector>,
    /// Gateway API attachment.
    pub target_refs: Vec<TargetRef>,
    /// Gateway API attachment, older single form.
    pub target_ref: Option<TargetRef>,
    /// Where the module comes from.
    pub url: String,
    /// `AUTHN`, `AUTHZ`, `STATS` or unspecified.
    pub phase: Option<String>,
}

impl WasmPlugin {
    /// Whether it selects by labels, not by target.
    pub fn targets_none(&self) -> bool {
        self.target_refs.is_empty() && self.target_ref.is_none()
    }

    /// Whether it is attached to a Gateway of its namespace.
    pub fn targets(&self, namespace: &str, gateway: Option<&str>) -> bool {
        let mut all = self.target_refs.iter().chain(&self.target_ref);
        all.any(|target| {
            target.kind == "Gateway"
                && (target.namespace.is_empty() || target.namespace == namespace)
                && Some(target.name.as_str()) == gateway
        })
    }
}
