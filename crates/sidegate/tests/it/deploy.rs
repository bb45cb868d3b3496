//! `deploy/`: what KServe starts by it starts, and answers.

use testkit::curl;

use super::runtime::Server;

const RUNTIMES: &str = include_str!("../../../../deploy/runtimes.yaml");

/// The arguments of each ClusterServingRuntime, for a model of that name, but for those that the test gives.
fn arguments() -> Vec<Vec<String>> {
    let documents = RUNTIMES.split("\n---\n").skip(1);
    let documents = documents.filter(|document| !document.contains("server-type"));
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

/// As KServe's webhook starts it: the model's name and place, and the class of MLServer that its format has.
#[test]
fn the_runtime_of_mlserver_s_type_serves_what_kserve_tells_it() {
    let mut documents = RUNTIMES.split("\n---\n");
    let document = documents.find(|document| document.contains("server-type: mlserver"));
    let document = document.unwrap();
    let lines: Vec<&str> = document.lines().map(str::trim).collect();
    let told = lines.windows(2).filter_map(|pair| {
        let name = pair[0].strip_prefix("- name: MLSERVER_")?;
        let value = pair[1].strip_prefix("value: ")?.trim_matches('"');
        Some((format!("MLSERVER_{name}"), value))
    });
    let told: Vec<(String, &str)> = told.collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(lines.contains(&"- --compat=mlserver"));
    for (class, name, bytes, columns) in [
        (
            "mlserver_sklearn.SKLearnModel",
            "model.joblib",
            include_bytes!("../../../../examples/models/sklearn-iris/model.joblib").as_slice(),
            4,
        ),
        (
            "mlserver_xgboost.XGBoostModel",
            "model.json",
            include_bytes!("../../../inference/tests/models/mlserver/xgb-three/model.json"),
            4,
        ),
        (
            "mlserver_lightgbm.LightGBMModel",
            "model.bst",
            include_bytes!("../../../inference/tests/models/mlserver/lgb-two/model.bst"),
            4,
        ),
        (
            "mlserver_catboost.CatboostModel",
            "model.bin",
            include_bytes!("../../../inference/tests/models/mlserver/cat-two/model.bin"),
            4,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let place = folder.path().display().to_string();
        let mut environment = vec![
            ("MLSERVER_MODEL_NAME", "flowers"),
            ("MLSERVER_MODEL_URI", place.as_str()),
            ("MODELS_DIR", place.as_str()),
        ];
        environment.extend(told.iter().map(|(name, value)| match *value {
            "{{.Labels.modelClass}}" => (name.as_str(), class),
            // Free ports are those of the test.
            _ => (name.as_str(), "0"),
        }));
        let args = ["--compat=mlserver", "--metrics_port=0"];
        let server = Server::start_with(folder.path(), &args, &environment);
        assert_eq!(
            server.get("/v2/models/flowers/ready").status,
            200,
            "{class}"
        );
        let row = vec!["1"; columns].join(",");
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{columns}],"data":[{row}]}}]}}"#
        );
        let answer = server.post("/v2/models/flowers/infer", &body);
        assert_eq!(answer.status, 200, "{class}: {}", answer.body);
        assert!(
            answer.body.contains(r#""name":"predict","shape":[1,1]"#),
            "{}",
            answer.body
        );
    }
}
