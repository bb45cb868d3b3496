//! The same answers as scikit-learn.

use crate::corpus::{Case, Predicted, cases};
use models::{Labels, Limits, Matrix, Output, Precision, Predictor, load};

/// Units in the last place by which a float may differ, of the largest value in the case.
///
/// Trees are exact. These files were recorded on a processor for which OpenBLAS rounds once for each step of a product
/// and not twice, which shows in support vector machines and linear models.
fn tolerance(name: &str) -> f64 {
    if ["tree", "rf", "et"]
        .iter()
        .any(|tree| name.contains(&format!("/{tree}")))
    {
        0.0
    } else if name.contains("svc") {
        16.0
    } else {
        4.0
    }
}

#[test]
fn forests_are_said_to_take_what_is_kept_of_them() {
    let cases = cases().into_iter();
    let forests: Vec<Case> = cases.filter(|case| case.name.contains("/rf.p4")).collect();
    assert!(!forests.is_empty());
    for case in forests {
        let model = load(&case.bytes, &Limits::default()).unwrap();
        let compiled = model.about().compiled_bytes.unwrap();
        // A node of a file has 56 bytes and a count for each class.
        let most = case.bytes.len() / 2;
        assert!(
            (1..most).contains(&compiled),
            "{}: {compiled} of {most}",
            case.name
        );
    }
}

#[test]
fn answers_are_those_of_scikit_learn() {
    let mut exact = 0;
    let mut total = 0;
    for case in cases() {
        let model = load(&case.bytes, &Limits::default())
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let version = case.name.split('/').next();
        assert_eq!(
            model.about().sklearn_version.as_deref(),
            version,
            "{}",
            case.name
        );
        let rows = matrix(&case);
        check_prediction(&case, &model, &rows);
        let probabilities = model.predict_proba(&rows).ok();
        let decisions = model.decision_function(&rows).unwrap();
        for (what, expected, found) in [
            ("predict_proba", &case.expected.predict_proba, probabilities),
            (
                "decision_function",
                &case.expected.decision_function,
                decisions,
            ),
        ] {
            let expected = expected.as_ref().map(|bits| bits.0.as_slice());
            let found = found.as_ref().map(numbers);
            assert_eq!(expected.is_some(), found.is_some(), "{} {what}", case.name);
            let Some((expected, found)) = expected.zip(found) else {
                continue;
            };
            total += found.len();
            exact += expected
                .iter()
                .zip(found)
                .filter(|(a, b)| a.to_bits() == b.to_bits())
                .count();
            close(&format!("{} {what}", case.name), expected, found);
        }
    }
    assert!(
        exact * 2 > total,
        "only {exact} of {total} floats are equal bit for bit"
    );
}

fn matrix(case: &Case) -> Matrix {
    let precision = if case.expected.single {
        Precision::Single
    } else {
        Precision::Double
    };
    let values = case.expected.rows.0.clone();
    let rows = values.len() / case.expected.columns;
    Matrix::new(values, rows, case.expected.columns, precision).unwrap()
}

fn check_prediction(case: &Case, model: &Predictor, rows: &Matrix) {
    match (&case.expected.predict, model.predict(rows).unwrap()) {
        (Predicted::Classes(expected), Output::Classes(found)) => {
            assert_eq!(*expected, found, "{}", case.name)
        }
        (Predicted::Values(expected), Output::Values(found, _)) => {
            close(&case.name, &expected.0, &found)
        }
        (_, found) => panic!("{}: {found:?}", case.name),
    }
    let classes = model.classes().map(|labels| match labels {
        Labels::Integers(values, _) => serde_json::json!(values),
        Labels::Floats(values) => serde_json::json!(values),
        Labels::Strings(values) => serde_json::json!(values),
        Labels::Booleans(values) => serde_json::json!(values),
    });
    assert_eq!(
        case.expected
            .classes
            .as_ref()
            .map(|classes| serde_json::json!(classes)),
        classes,
        "{}",
        case.name
    );
}

fn numbers(output: &Output) -> &[f64] {
    match output {
        Output::Values(values, _) | Output::Table { values, .. } => values,
        Output::Classes(_) | Output::ClassTable { .. } => &[],
    }
}

fn close(name: &str, expected: &[f64], found: &[f64]) {
    assert_eq!(expected.len(), found.len(), "{name}");
    let largest = expected
        .iter()
        .fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let bound = tolerance(name) * (largest.next_up() - largest);
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let ulps = (expected - found).abs() / (largest.next_up() - largest);
        assert!(
            (expected - found).abs() <= bound,
            "{name}: {expected} expected at {index}, {found} found, {ulps} ulp"
        );
    }
}
