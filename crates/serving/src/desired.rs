//! What should be served, read out of the cluster's InferenceServices.

use crate::Format;
use resources::kserve::{InferenceService, ModelSpec};
use resources::{Cluster, Object};

/// One model that should be served. Two values that are equal need no reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DesiredModel {
    /// Namespace of the InferenceService.
    pub namespace: String,
    /// Name of the InferenceService, and of the model in its protocols.
    pub name: String,
    /// Format name as written, such as `sklearn`; empty if the predictor has no
    /// model block that is understood.
    pub format: String,
    /// Where the model file is.
    pub storage_uri: Option<String>,
    /// What predict returns.
    pub output: Output,
    /// Why this cannot be served whatever its file holds.
    pub refused: Option<String>,
}

/// What predict returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Output {
    /// What the estimator's `predict` returns.
    #[default]
    Prediction,
    /// What `predict_proba` returns, where the estimator has it (environment
    /// `PREDICT_PROBA=true` of KServe's sklearnserver).
    Probabilities,
}

impl DesiredModel {
    /// Every InferenceService of a cluster. One that cannot be served is listed
    /// too, with the reason in [`DesiredModel::refused`], so that its callers
    /// and its owner get to read it.
    pub fn from_cluster(cluster: &Cluster) -> Vec<Self> {
        cluster
            .inference_services
            .iter()
            .map(Self::from_object)
            .collect()
    }

    fn from_object(object: &Object<InferenceService>) -> Self {
        let (format, spec) = match object.spec.predictor.model() {
            Some((format, spec)) => (format, Some(spec)),
            None => ("", None),
        };
        Self {
            namespace: object.meta.namespace.clone(),
            name: object.meta.name.clone(),
            format: format.to_owned(),
            storage_uri: spec.and_then(|spec| spec.storage_uri.clone()),
            output: spec.map(output).unwrap_or_default(),
            refused: refusal(format, spec),
        }
    }
}

fn refusal(format: &str, spec: Option<&ModelSpec>) -> Option<String> {
    let Some(spec) = spec else {
        return Some(format!(
            "`spec.predictor` has no model block that is understood: expected `model`, {}",
            Format::names()
        ));
    };
    if format.is_empty() {
        return Some(format!(
            "`spec.predictor.model.modelFormat.name` is missing: expected {}",
            Format::names()
        ));
    }
    // KServe's InferenceService has both forms and refuses their mixture
    // (`pkg/credentials/service_account_credentials.go`).
    match (&spec.storage_uri, &spec.storage) {
        (Some(_), None) => None,
        (None, Some(_)) => Some("`storage` is not supported: expected `storageUri`".into()),
        (Some(_), Some(_)) => {
            Some("`storageUri` and `storage` are both set: expected `storageUri` alone".into())
        }
        (None, None) => Some("`storageUri` is missing".into()),
    }
}

/// Python's `strtobool`, as KServe reads the variable: anything else is false.
fn output(spec: &ModelSpec) -> Output {
    let wanted = spec
        .env
        .iter()
        .rev()
        .find(|v| v.name == "PREDICT_PROBA")
        .is_some_and(|v| {
            v.value
                .as_deref()
                .is_some_and(|v| v.eq_ignore_ascii_case("true"))
        });
    if wanted {
        Output::Probabilities
    } else {
        Output::Prediction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one InferenceService with this `spec.predictor` comes to: format,
    /// URI, output and refusal.
    fn check(predictor: serde_json::Value, expected: (&str, Option<&str>, Output, Option<&str>)) {
        let object = Object {
            kind: "InferenceService".into(),
            meta: resources::Metadata {
                name: "iris".into(),
                namespace: "ns".into(),
                ..resources::Metadata::default()
            },
            spec: serde_json::from_value(serde_json::json!({ "predictor": predictor })).unwrap(),
            source: resources::Source {
                file: "x.yaml".into(),
                line: 1,
                generated_from: None,
            },
        };
        let cluster = Cluster {
            inference_services: vec![object],
            ..Cluster::default()
        };
        let desired = DesiredModel::from_cluster(&cluster).pop().unwrap();
        let (format, uri, output, refused) = expected;
        assert_eq!(
            desired,
            DesiredModel {
                namespace: "ns".into(),
                name: "iris".into(),
                format: format.into(),
                storage_uri: uri.map(str::to_owned),
                output,
                refused: refused.map(str::to_owned),
            }
        );
    }

    #[test]
    fn both_forms_of_a_predictor_are_read() {
        let uri = "gs://b/iris";
        let plain = ("sklearn", Some(uri), Output::Prediction, None);
        check(serde_json::json!({"sklearn": {"storageUri": uri}}), plain);
        let model = |env: serde_json::Value| serde_json::json!({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri, "env": env}});
        check(model(serde_json::json!([])), plain);
        let proba = |value: &str| serde_json::json!([{"name": "PREDICT_PROBA", "value": value}]);
        check(
            model(proba("True")),
            ("sklearn", Some(uri), Output::Probabilities, None),
        );
        check(model(proba("no")), plain);
        check(
            serde_json::json!({"model": {"modelFormat": {"name": "pytorch"}, "storageUri": uri}}),
            ("pytorch", Some(uri), Output::Prediction, None),
        );
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let refused = |format, uri, why| (format, uri, Output::Prediction, Some(why));
        check(
            serde_json::json!({"containers": []}),
            refused(
                "",
                None,
                "`spec.predictor` has no model block that is understood: expected `model`, `sklearn`, `xgboost`, `lightgbm`, `catboost` or `onnx`",
            ),
        );
        check(
            serde_json::json!({"model": {"storageUri": "gs://b/x"}}),
            refused(
                "",
                Some("gs://b/x"),
                "`spec.predictor.model.modelFormat.name` is missing: expected `sklearn`, `xgboost`, `lightgbm`, `catboost` or `onnx`",
            ),
        );
        check(
            serde_json::json!({"sklearn": {}}),
            refused("sklearn", None, "`storageUri` is missing"),
        );
        check(
            serde_json::json!({"sklearn": {"storage": {"key": "k"}}}),
            refused(
                "sklearn",
                None,
                "`storage` is not supported: expected `storageUri`",
            ),
        );
        check(
            serde_json::json!({"sklearn": {"storageUri": "gs://b/x", "storage": {"key": "k"}}}),
            refused(
                "sklearn",
                Some("gs://b/x"),
                "`storageUri` and `storage` are both set: expected `storageUri` alone",
            ),
        );
    }
}
