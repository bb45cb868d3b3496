//! What the API server of Kubeflow Pipelines answers its SDK (`backend/api/v2beta1`).

use serde_json::{Value, json};

/// Where its API is, below any path.
const API: &str = "/apis/v2beta1/";

/// The status and the answer, if this is for it. It knows whoever a header or a token says is calling.
pub(super) fn answer(method: &str, target: &str, known: bool) -> Option<(u16, Value)> {
    let (_, call) = target.split_once(API)?;
    let (call, query) = call.split_once('?').unwrap_or((call, ""));
    if !known {
        let error = "Request header error: there is no user identity header.";
        return Some((401, json!({"error": error, "code": 16, "message": error})));
    }
    let experiment =
        json!({"experiment_id": "default", "display_name": "Default", "namespace": "team-a"});
    let pipeline = json!({"pipeline_id": "iris", "display_name": "iris"});
    Some((
        200,
        match (method, call) {
            ("GET", "healthz") => json!({"multi_user": true}),
            // Experiments are looked for by name before they are made.
            ("GET", "experiments") if query.contains("filter=%7B") => json!({}),
            ("GET", "experiments") => json!({"experiments": [experiment], "total_size": 1}),
            ("POST", "experiments") => json!({"experiment_id": "made", "display_name": "new"}),
            ("GET", "pipelines") => json!({"pipelines": [pipeline], "total_size": 1}),
            ("POST", "pipelines/upload") => json!({"pipeline_id": "sent", "display_name": "sum"}),
            ("POST", "runs") => json!({"run_id": "begun", "display_name": "first"}),
            _ => return Some((404, json!({"error": format!("{method} {call}"), "code": 5}))),
        },
    ))
}
