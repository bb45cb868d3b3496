//! `sidegate runtime --framework`: the formats of gradient boosting libraries, and ONNX.

use super::runtime::Server;
use super::{sidegate, stderr};

macro_rules! model {
    ($name:literal) => {
        include_bytes!(concat!("../../../inference/tests/models/", $name)).as_slice()
    };
}

#[test]
fn models_are_served_as_the_framework_says() {
    for (framework, name, file, instances, expected) in [
        (
            "xgboost",
            "model.ubj",
            model!("booster.ubj"),
            "[[0.5,-1.0,0.25,2.0]]",
            "[[0.19654859602451324,0.6076110005378723,0.19584043323993683]]",
        ),
        (
            "lightgbm",
            "model.bst",
            model!("colours.bst"),
            "[[0.5,1.0]]",
            "[0.6532545215469816]",
        ),
        (
            "catboost",
            "model.cbm",
            model!("colours.cbm"),
            r#"[[{"size":0.5,"colour":"red"}]]"#,
            r#"["big"]"#,
        ),
        (
            "onnx",
            "model.onnx",
            model!("iris.onnx"),
            "[[6.8,2.8,4.8,1.4]]",
            r#"[{"output_label":"versicolor","output_probability":{"setosa":0.0,"versicolor":1.0,"virginica":0.0}}]"#,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), file).unwrap();
        let server = Server::start(folder.path(), &["--framework", framework]);
        let body = format!("{{\"instances\":{instances}}}");
        let answer = server.post("/v1/models/iris:predict", &body);
        let expected = format!("{{\"predictions\":{expected}}}");
        assert_eq!((answer.status, answer.body), (200, expected), "{framework}");
        let told = server.get("/v2/models/iris").body;
        assert!(
            told.contains(&format!("\"platform\":\"{framework}\"")),
            "{told}"
        );
    }
    let output = sidegate(&["runtime", "--model_dir=.", "--framework=tensorflow"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("expected `sklearn`, `xgboost`, `lightgbm`, `catboost` or `onnx`")
    );
}
