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

#[test]
fn graphs_of_onnx_are_served_and_not_inspected() {
    let graph = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../inference/tests/models/rooms.onnx"
    );
    for command in ["inspect", "bench"] {
        let output = sidegate(&["model", command, graph]);
        assert_eq!(output.status.code(), Some(3));
        let told = stderr(&output);
        assert!(told.contains("graphs of ONNX are served"), "{told}");
    }
}
