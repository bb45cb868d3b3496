//! Models of gradient boosting libraries: the same answers as theirs, and files that are damaged.

use crate::archive::{Case, boosted};
use crate::replay::{DOUBLE, Measured, SINGLE, document, replay, replay_all};
use models::{Limits, Matrix, Precision, load};
use std::collections::BTreeMap;

/// Units in the last place of the largest number of a case. Sums are exact; exponentials and logarithms are the system's.
/// XGBoost 1.0, and with `dart` 1.3, added the base score last; since then it comes first, of their files too.
fn bound(case: &Case, precision: Precision) -> f64 {
    let added_last = ["xgboost-1.0", "xgboost-1.3"];
    match precision {
        Precision::Double => DOUBLE,
        Precision::Single if added_last.iter().any(|v| case.version.starts_with(v)) => 8.0,
        Precision::Single => SINGLE,
    }
}

#[test]
fn boosted_models_are_answered_as_by_their_libraries() {
    let mut cases = boosted();
    cases.retain(|case| case.writing != "refused");
    let distances = replay_all(&cases, |case| Ok(replay(case, bound)?.1));
    let mut libraries: BTreeMap<&str, Measured> = BTreeMap::new();
    for (case, distance) in cases.iter().zip(distances) {
        let (library, version) = case.version.split_once('-').unwrap();
        let measured = libraries.entry(library).or_default();
        measured.enter(case.kind(), version, distance);
    }
    for (library, measured) in &libraries {
        let count = measured.models;
        assert!(count >= 50, "only {count} models of {library}");
        let what = match *library {
            "wrapped" => "estimator",
            _ => "objective",
        };
        document(&format!("measured {library}"), what, measured);
    }
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let mut cases = boosted();
    cases.retain(|case| case.writing == "refused");
    assert!(cases.len() >= 2, "only {} files", cases.len());
    for case in cases {
        let what = match case.name.as_str() {
            "text" => "features of text or embeddings, which are not supported: serve",
            "threshold" => "a threshold of one's own for the second class is not supported",
            other => panic!("{other}"),
        };
        let found = load(&case.bytes, &Limits::default())
            .unwrap_err()
            .to_string();
        assert!(
            found.contains(what),
            "{} {}: {found}",
            case.version,
            case.name
        );
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        file_bytes: 1 << 20,
        decompressed_bytes: 1 << 20,
        objects: 20_000,
        depth: 8,
        compiled_bytes: 4 << 20,
        ..Limits::default()
    }
}

fn survive(bytes: &[u8]) {
    let Ok(model) = load(bytes, &limits()) else {
        return;
    };
    for value in [0.0, 1e30, -3.5, f64::NAN, f64::INFINITY] {
        let rows = Matrix::new(vec![value; 4], 2, 2, Precision::Double).unwrap();
        let _ = (model.predict(&rows), model.predict_proba(&rows));
    }
}

/// Every seventh model is enough for a test that anyone runs.
fn some() -> impl Iterator<Item = Case> {
    boosted().into_iter().step_by(7)
}

#[test]
fn a_truncated_boosted_model_is_an_error_or_the_same() {
    for case in some() {
        // Behind the model the old binary format has attributes that change nothing; LightGBM's text has parameters and
        // categories, without which text in a request is refused.
        let tail = matches!(case.writing.as_str(), "deprecated" | "text");
        // All bytes of small files.
        // Pickles are truncated in `hostile`.
        if case.version.starts_with("wrapped") {
            continue;
        }
        let step = if case.bytes.len() < 2500 {
            1
        } else {
            case.bytes.len() / 200
        };
        for length in (0..case.bytes.len()).step_by(step) {
            let truncated = Case {
                bytes: case.bytes[..length].to_vec(),
                ..case.clone()
            };
            if load(&truncated.bytes, &limits()).is_err() {
                continue;
            }
            assert!(tail, "{} at {length}", case.name);
            if let Err(error) = replay(&truncated, bound) {
                let refused = error.contains("could not convert string to float");
                assert!(refused, "{} at {length}: {error}", case.name);
            }
        }
    }
}

#[test]
fn flipped_bits_of_a_boosted_model_do_no_harm() {
    for (number, case) in some().enumerate() {
        let mut bytes = case.bytes;
        let step = 1 + bytes.len() / 400;
        for at in (number % step..bytes.len()).step_by(step) {
            let bit = 1 << ((at / step + number) % 8);
            bytes[at] ^= bit;
            survive(&bytes);
            bytes[at] ^= bit;
        }
    }
}

pub(crate) fn refusal(bytes: &[u8]) -> String {
    load(bytes, &limits()).unwrap_err().to_string()
}

/// A model of one tree in JSON, with these children and columns of three nodes.
fn stump(left: &str, right: &str, column: &str) -> String {
    format!(
        r#"{{"learner":{{"gradient_booster":{{"model":{{"tree_info":[0],"trees":[{{"default_left":[0,0,0],"left_children":{left},
        "right_children":{right},"split_conditions":[1,2,3],"split_indices":{column},"tree_param":{{"size_leaf_vector":"1"}}}}]}},
        "name":"gbtree"}},"learner_model_param":{{"base_score":"5E-1","num_class":"0","num_feature":"2"}},
        "objective":{{"name":"reg:squarederror"}}}},"version":[2,1,4]}}"#
    )
}

#[test]
fn trees_are_validated() {
    assert!(
        load(
            stump("[1,-1,-1]", "[2,-1,-1]", "[1,0,0]").as_bytes(),
            &limits()
        )
        .is_ok()
    );
    let check = |left: &str, right: &str, column: &str, what: &str| {
        let found = refusal(stump(left, right, column).as_bytes());
        assert_eq!(
            found,
            format!("not a readable XGBoost model in JSON: tree 0: {what}")
        );
    };
    let cycle = "node 0 is in a cycle or has no children";
    check("[1,-1,-1]", "[3,-1,-1]", "[0,0,0]", cycle);
    check(
        "[0,-1,-1]",
        "[0,-1,-1]",
        "[0,0,0]",
        "node 0 is in a cycle or has no children",
    );
    check(
        "[1,0,-1]",
        "[2,0,-1]",
        "[0,0,0]",
        "node 1 is in a cycle or has no children",
    );
    check(
        "[1,-1,-1]",
        "[2,-1,-1]",
        "[2,0,0]",
        "node 0 looks at a feature that does not exist",
    );
    check("[1,-1,-1]", "[]", "[0,0,0]", "node 0 does not exist");
    check("[]", "[2,-1,-1]", "[0,0,0]", "node 0 does not exist");
}

#[test]
fn formats_are_bounded() {
    let check = |bytes: &[u8], what: &str| {
        let found = refusal(bytes);
        assert!(found.contains(what), "{found}");
    };
    check(
        &[b"{\"a\":".as_slice(), &b"[".repeat(5000)].concat(),
        "too deeply nested",
    );
    let wide = stump("[1,-1,-1]", "[2,-1,-1]", "[1,0,0]");
    let wide = wide.replace(r#""num_feature":"2""#, r#""num_feature":"4000000000""#);
    check(wide.as_bytes(), "more features than the limit of objects");
    let many = format!("{{\"a\":[{}\"\"]}}", "\"\",".repeat(30_000));
    check(many.as_bytes(), "more values than the limit of objects");
    check(
        b"{L\0\0\0\0\0\0\0\x01a[$d#L\x7f\0\0\0\0\0\0\0",
        "expected a length",
    );
    check(
        b"{L\0\0\0\0\0\0\0\x01a[$Z#L\0\0\0\x7f\0\0\0\0",
        "longer than the file",
    );
    check(
        b"{L\0\0\0\0\0\0\0\x01a[#L\0\0\0\x7f\0\0\0\0",
        "the file ends early",
    );
    check(
        b"{\"learner\":1}",
        "expected a member `learner_model_param`",
    );
}
