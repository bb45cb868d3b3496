//! `/openapi.json` against what is answered.

use crate::requests::{iris, send};
use serde_json::Value;

/// All paths of KServe's server (`protocol/rest/server.py`), and Triton's index.
const PATHS: [(&str, &str); 19] = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_name}"),
    ("POST", "/v1/models/{model_name}:explain"),
    ("POST", "/v1/models/{model_name}:predict"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models"),
    ("GET", "/v2/models/{model_name}"),
    ("POST", "/v2/models/{model_name}/infer"),
    ("GET", "/v2/models/{model_name}/ready"),
    ("GET", "/v2/models/{model_name}/versions/{model_version}"),
    (
        "POST",
        "/v2/models/{model_name}/versions/{model_version}/infer",
    ),
    (
        "GET",
        "/v2/models/{model_name}/versions/{model_version}/ready",
    ),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/{model_name}/load"),
    ("POST", "/v2/repository/models/{model_name}/unload"),
];

#[test]
fn what_is_described_is_what_is_answered() {
    let model = iris();
    let ask = |method: &str, path: &str| {
        let path = path.replace("{model_name}", "iris");
        let path = path.replace("{model_version}", "1");
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        send(&model, method, &path, &headers, b"{}")
    };
    let text = ask("GET", "/openapi.json");
    let text: Value = serde_json::from_slice(text.body()).unwrap();
    let described = text["paths"].as_object().unwrap();
    let mut found = Vec::new();
    for (path, methods) in described {
        for (method, operation) in methods.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let method = method.to_uppercase();
            let status = ask(&method, path).status().as_u16();
            assert!(status != 404 && status != 405, "{method} {path}: {status}");
            let responses = operation["responses"].as_object().unwrap();
            let known = responses.contains_key(&status.to_string());
            assert!(
                known || responses.contains_key("default"),
                "{method} {path}: {status}"
            );
            // Whatever is in a path is described.
            let parameters = operation
                .get("parameters")
                .or_else(|| methods.get("parameters"));
            let parameters = parameters.and_then(Value::as_array);
            let count = parameters.map_or(0, Vec::len);
            assert_eq!(count, path.matches('{').count(), "{path}");
            let other = if method == "GET" { "POST" } else { "DELETE" };
            assert_eq!(ask(other, path).status(), 405, "{other} {path}");
            found.push((method, path.clone()));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    let mut expected = PATHS.map(|(method, path)| (method.to_owned(), path.to_owned()));
    expected.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(found, expected);
    // Every schema that is referred to is there.
    let shown = text.to_string();
    for reference in shown.split("#/components/schemas/").skip(1) {
        let (name, _) = reference.split_once('"').unwrap();
        assert!(text["components"]["schemas"].get(name).is_some(), "{name}");
    }
}
