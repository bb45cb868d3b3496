//! `sidegate model`: what a file is, whether it answers as recorded, how fast.

use std::path::Path;

use serde_json::Value;

use super::{sidegate, stderr, stdout};

const MIXED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/mixed.joblib"
);
const WORDS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/words.joblib"
);
const BOOSTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/booster.ubj"
);
const COLOURS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/colours.bst"
);
const CATEGORIES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/colours.cbm"
);
const IRIS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/models/sklearn-iris/model.joblib"
);

fn json(args: &[&str]) -> Value {
    let output = sidegate(&[args, &["--output", "json"]].concat());
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)))
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn inspect_says_what_a_file_is() {
    let iris = stdout(&sidegate(&["model", "inspect", IRIS]));
    for part in [
        "sklearn.svm._classes.SVC\n",
        "written by scikit-learn 1.",
        "takes    4 columns\n",
        "answers  predict, decision_function\n",
        "classes  0, 1, 2\n",
        "size     ",
        " on this machine\n",
    ] {
        assert!(iris.contains(part), "no `{part}` in {iris}");
    }
    let mixed = stdout(&sidegate(&["model", "inspect", MIXED]));
    for part in [
        "  steps[0]: ColumnTransformer\n",
        "StandardScaler\n",
        "columns  ",
    ] {
        assert!(mixed.contains(part), "no `{part}` in {mixed}");
    }
    let words = json(&["model", "inspect", WORDS]);
    assert_eq!(words["takesTexts"], true);
    assert!(words["oneRowMicroseconds"].as_f64().unwrap() > 0.0);
    let parts = words["parts"].as_array().unwrap();
    assert!(
        parts.iter().any(|part| part["place"] == "steps[0]"),
        "{words}"
    );
    let booster = json(&["model", "inspect", BOOSTER]);
    assert_eq!(booster["class"], "xgboost.core.Booster");
}

#[test]
fn check_compares_with_recorded_answers() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "a,b,c,d\n6.8,2.8,4.8,1.4\n6.0,3.4,4.5,1.6\n5.1,3.5,1.4,0.2\n";
    let rows = written(folder.path(), "rows.csv", rows);
    let good = written(folder.path(), "good.csv", "class\n1\n1.0\n0\n");
    let output = sidegate(&["model", "check", IRIS, "--data", &rows, "--expect", &good]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "3 rows: labels equal\n");
    let bad = written(folder.path(), "bad.csv", "1\n2\n0\n");
    let args = ["model", "check", IRIS, "--data", &rows, "--expect", &bad];
    let output = sidegate(&args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output),
        "row 1: 1, expected 2\n1 of 3 rows differ\n"
    );
    assert_eq!(json(&args)["different"][0]["row"], 1);
    // What the model itself says, written down and read again.
    let answers = ["--answer", "decision_function"];
    let zeros = written(folder.path(), "zeros.csv", "0,0,0\n0,0,0\n0,0,0\n");
    let asked = ["model", "check", IRIS, "--data", &rows, "--expect", &zeros];
    let told = json(&[&asked[..], &answers].concat());
    let decisions: Vec<String> = told["different"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["what"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(decisions.len(), 3);
    assert!(decisions[0].starts_with("column "), "{decisions:?}");
}

#[test]
fn numbers_are_compared_in_units_of_the_last_place() {
    let folder = tempfile::tempdir().unwrap();
    let rows = written(folder.path(), "rows.csv", "size,colour\n0.5,1.0\n");
    let check = |answer: &str, ulps: &str| {
        let expect = written(folder.path(), "answer.csv", answer);
        let files = ["--data", &rows, "--expect", &expect, "--ulps", ulps];
        let output = sidegate(&[&["model", "check", COLOURS], &files[..]].concat());
        (output.status.code(), stdout(&output))
    };
    let equal = "1 rows: every number equal bit for bit\n".to_owned();
    assert_eq!(check("0.6532545215469816", "0"), (Some(0), equal));
    let near = "1 rows: at most 2 ulps apart (2.220446049250313e-16)\n".to_owned();
    assert_eq!(check("0.6532545215469818", "4"), (Some(0), near));
    let far =
        "row 0: 0.6532545215469816, expected 0.6532545215469818 (2 ulps)\n1 of 1 rows differ\n";
    assert_eq!(check("0.6532545215469818", "1"), (Some(1), far.to_owned()));
}

#[test]
fn what_cannot_be_used_is_said_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = written(folder.path(), "model.joblib", "no model");
    let output = sidegate(&["model", "inspect", &text]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("model.joblib: not a readable"),
        "{}",
        stderr(&output)
    );
    let missing = folder.path().join("none.pkl").display().to_string();
    let output = sidegate(&["model", "bench", &missing]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("none.pkl: "),
        "{}",
        stderr(&output)
    );
    let rows = written(folder.path(), "rows.csv", "1,2,3\n");
    let output = sidegate(&["model", "check", IRIS, "--data", &rows, "--expect", &rows]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("3 features"),
        "{}",
        stderr(&output)
    );
    for command in ["inspect", "bench"] {
        let output = sidegate(&["model", command, IRIS, "--onnxruntime=/nowhere.so"]);
        assert!(!output.status.success());
        assert!(
            stderr(&output).contains("ONNX Runtime"),
            "{}",
            stderr(&output)
        );
    }
    let ragged = written(folder.path(), "ragged.csv", "1,2,3,4\n1,2\n");
    let output = sidegate(&["model", "check", IRIS, "--data", &ragged, "--expect", &rows]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn bench_measures_one_row_and_many() {
    let told = json(&["model", "bench", IRIS, "--seconds", "0.02"]);
    let measured = told["measured"].as_array().unwrap();
    let rows: Vec<u64> = measured
        .iter()
        .map(|m| m["rows"].as_u64().unwrap())
        .collect();
    assert_eq!(rows, [1, 10, 100, 1_000]);
    for m in measured {
        assert!(m["medianMicroseconds"].as_f64().unwrap() > 0.0, "{m}");
        assert!(m["rowsPerSecond"].as_f64().unwrap() > 0.0, "{m}");
    }
    let text = stdout(&sidegate(&["model", "bench", WORDS, "--seconds", "0.02"]));
    assert!(
        text.contains("made-up rows") && text.lines().count() == 6,
        "{text}"
    );
    // Rows that hold what the model was fitted on have to be given.
    let output = sidegate(&["model", "bench", CATEGORIES, "--seconds", "0.02"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("give it rows with `--data FILE`"),
        "{}",
        stderr(&output)
    );
}

const ROOMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/rooms.onnx"
);
const GRAPH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inference/tests/models/iris.onnx"
);

#[test]
fn graphs_of_onnx_are_looked_into() {
    let told = stdout(&sidegate(&["model", "inspect", ROOMS]));
    for part in [
        "graph of ONNX\n",
        "takes    city: string [-1, 1]\n",
        "         rooms: int64 [-1, 1]\n",
        "answers  label: int64 [-1]\n",
        "         probabilities: float [-1, 3]\n",
        "one row  not measured",
    ] {
        assert!(told.contains(part), "no `{part}` in {told}");
    }
    let document = json(&["model", "inspect", GRAPH]);
    assert_eq!(document["inputs"][0]["shape"], serde_json::json!([-1, 4]));
    assert_eq!(document["outputs"][1]["type"], "float");
    assert!(document["oneRowMicroseconds"].as_f64().unwrap() > 0.0);
    let measured = json(&["model", "bench", GRAPH, "--seconds", "0.01"]);
    assert_eq!(measured["measured"].as_array().unwrap().len(), 4);
    let output = sidegate(&["model", "bench", ROOMS]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("give it rows with `--data FILE`"));
}

/// What ONNX Runtime answers for these rows.
#[test]
fn outputs_of_graphs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let rows = written(
        folder.path(),
        "rows.csv",
        "price,rooms,area,kind,city\n0.25,3,80.5,a,Ulm\n2,1,30,b,Bonn\n",
    );
    let labels = written(folder.path(), "labels.csv", "2\n0\n");
    let check = |args: &[&str], code: i32, what: &str| {
        let output = sidegate(&[&["model", "check", ROOMS, "--data", &rows], args].concat());
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let told = format!("{}{}", stdout(&output), stderr(&output));
        assert!(told.contains(what), "{told}");
    };
    check(&["--expect", &labels], 0, "2 rows: labels equal");
    let shares = written(
        folder.path(),
        "shares.csv",
        "0.00017906468,0.2830322,0.7167887\n0.8544697,0.14512606,0.00040426833\n",
    );
    check(
        &["--expect", &shares, "--tensor", "probabilities"],
        0,
        "2 rows: ",
    );
    let others = written(folder.path(), "others.csv", "7\n7\n");
    check(&["--expect", &others], 1, "2 of 2 rows differ");
    check(
        &["--expect", &labels, "--tensor", "none"],
        3,
        "expected label, probabilities",
    );
    check(
        &["--expect", &labels, "--answer", "predict_proba"],
        3,
        "`--tensor NAME`",
    );
    let measured = json(&[
        "model",
        "bench",
        ROOMS,
        "--data",
        &rows,
        "--seconds",
        "0.01",
    ]);
    assert_eq!(measured["class"], "graph of ONNX");
}
