//! `deploy/`: what KServe starts by it starts, and answers.

use testkit::curl;

use super::runtime::Server;

const RUNTIMES: &str = include_str!("../../../../deploy/runtimes.yaml");

/// The arguments of each ClusterServingRuntime, for a model of that name, but for those that the test gives.
fn arguments() -> Vec<Vec<String>> {
    let documents = RUNTIMES.split("\n---\n").skip(1);
    let arguments = documents.map(|document| {
        let (_, rest) = document.split_once("      args:\n").unwrap();
        let lines = rest
            .lines()
            .map_while(|line| line.strip_prefix("        - "));
        let own = |line: &&str| {
            !["runtime", "--model_dir=/mnt/models", "--http_port=8080"].contains(line)
        };
        let lines = lines.filter(own);
        lines
            .map(|line| line.replace("{{.Name}}", "iris"))
            .collect()
    });
    arguments.collect()
}

#[test]
fn each_serving_runtime_serves_a_model_of_its_format() {
    let all = arguments();
    let mut formats = Vec::new();
    for arguments in &all {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let format = arguments
            .iter()
            .find_map(|a| a.strip_prefix("--framework="));
        let format = format.unwrap();
        let (name, bytes): (&str, &[u8]) = match format {
            "sklearn" => (
                "model.joblib",
                include_bytes!("../../../../examples/models/sklearn-iris/model.joblib"),
            ),
            "xgboost" => (
                "model.ubj",
                include_bytes!("../../../inference/tests/models/booster.ubj"),
            ),
            "lightgbm" => (
                "model.bst",
                include_bytes!("../../../inference/tests/models/colours.bst"),
            ),
            "catboost" => (
                "model.cbm",
                include_bytes!("../../../inference/tests/models/colours.cbm"),
            ),
            "onnx" => (
                "model.onnx",
                include_bytes!("../../../inference/tests/models/iris.onnx"),
            ),
            other => panic!("no model of `{other}` here"),
        };
        formats.push(format.to_owned());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let server = Server::start_in(
            folder.path(),
            &[&["--model_dir=."], &arguments[..]].concat(),
        );
        let told = curl([&server.url("/v1/models/iris")]).unwrap();
        assert_eq!(told.body, r#"{"name":"iris","ready":true}"#, "{format}");
        // What KServe is told of the format.
        assert!(
            RUNTIMES.contains(&format!("    - name: {format}\n")),
            "{format}"
        );
    }
    let known: Vec<String> = serving::Format::ALL
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(formats, known);
}
