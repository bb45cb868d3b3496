//! KServe's InferenceService and its ConfigMap.

use serde::{Deserialize, Serialize};

/// `serving.kserve.io/v1beta1` InferenceService.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceService {
    /// The predictor.
    pub predictor: Predictor,
    /// Runs before and after the predictor; its own Service.
    pub transformer: Option<serde_json::Value>,
    /// Answers `:explain`; its own Service.
    pub explainer: Option<serde_json::Value>,
}

/// The `deploy` key of ConfigMap `inferenceservice-config` (DeployConfig).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeployConfig {
    /// Mode of an InferenceService that names none.
    pub default_deployment_mode: Option<String>,
}

/// The predictor, old form (`sklearn: {…}`) or new form (`model: {…}`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Predictor {
    /// New form.
    pub model: Option<ModelSpec>,
    /// Old form.
    pub sklearn: Option<ModelSpec>,
    /// Old form.
    pub xgboost: Option<ModelSpec>,
    /// Old form.
    pub lightgbm: Option<ModelSpec>,
    /// Old form.
    pub onnx: Option<ModelSpec>,
    /// Part of the name of its Service, from KServe 0.20 on.
    pub name: Option<String>,
    /// ServiceAccount of the predictor pod.
    pub service_account_name: Option<String>,
    /// Time limit of a request, in seconds.
    pub timeout: Option<i64>,
}

/// Model location and format.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelSpec {
    /// Format, in the new form.
    pub model_format: Option<ModelFormat>,
    /// `gs://`, `s3://`, `pvc://`, `http(s)://`, `file://`.
    pub storage_uri: Option<String>,
    /// Newer location form.
    pub storage: Option<serde_json::Value>,
    /// `v1` or `v2`.
    pub protocol_version: Option<String>,
    /// Serving runtime by name.
    pub runtime: Option<String>,
    /// Environment.
    pub env: Vec<crate::core::EnvVar>,
    /// Arguments.
    pub args: Vec<String>,
}

/// Format of a model file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelFormat {
    /// `sklearn`, `xgboost`, `lightgbm`, `onnx`, …
    pub name: String,
    /// Version.
    pub version: Option<String>,
}

impl Predictor {
    /// Format name and model spec, whichever form was used.
    pub fn model(&self) -> Option<(&str, &ModelSpec)> {
        if let Some(model) = &self.model {
            return Some((
                model.model_format.as_ref().map_or("", |f| f.name.as_str()),
                model,
            ));
        }
        [
            ("sklearn", &self.sklearn),
            ("xgboost", &self.xgboost),
            ("lightgbm", &self.lightgbm),
            ("onnx", &self.onnx),
        ]
        .into_iter()
        .find_map(|(format, spec)| spec.as_ref().map(|spec| (format, spec)))
    }
}

/// The `ingress` key of ConfigMap `inferenceservice-config`
/// (`pkg/apis/serving/v1beta1/configmap.go`, IngressConfig).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressConfig {
    /// Gateway for outside traffic, `ns/name`.
    pub ingress_gateway: String,
    /// Gateway for in-cluster traffic, `ns/name`.
    pub local_gateway: String,
    /// Service host of the in-cluster gateway.
    pub local_gateway_service: String,
    /// Service host of Knative's local gateway; the former if empty.
    pub knative_local_gateway_service: String,
    /// Domain of outside hosts.
    pub ingress_domain: String,
    /// Go template of outside hosts.
    pub domain_template: String,
    /// Go template of outside paths.
    pub path_template: String,
    /// Further domains.
    pub additional_ingress_domains: Vec<String>,
    /// `http` or `https`.
    pub url_scheme: String,
    /// Models answer under the names of their components alone.
    pub disable_istio_virtual_host: bool,
    /// Without Knative: HTTPRoutes instead of an Ingress.
    pub enable_gateway_api: bool,
    /// Gateway of those, `ns/name`.
    pub kserve_ingress_gateway: String,
    /// Class of Ingresses.
    pub ingress_class_name: Option<String>,
    /// Without Knative: neither Ingress nor HTTPRoute.
    pub disable_ingress_creation: bool,
    /// HTTPRoutes without time limits.
    #[serde(rename = "disableHTTPRouteTimeout")]
    pub disable_http_route_timeout: bool,
}

impl Default for IngressConfig {
    fn default() -> Self {
        Self {
            ingress_gateway: "knative-serving/knative-ingress-gateway".into(),
            local_gateway: "knative-serving/knative-local-gateway".into(),
            local_gateway_service: "knative-local-gateway.istio-system.svc.cluster.local".into(),
            knative_local_gateway_service: String::new(),
            ingress_domain: "example.com".into(),
            domain_template: "{{ .Name }}.{{ .Namespace }}.{{ .IngressDomain }}".into(),
            path_template: String::new(),
            additional_ingress_domains: Vec::new(),
            url_scheme: "http".into(),
            disable_istio_virtual_host: false,
            enable_gateway_api: false,
            kserve_ingress_gateway: String::new(),
            ingress_class_name: None,
            disable_ingress_creation: false,
            disable_http_route_timeout: false,
        }
    }
}
