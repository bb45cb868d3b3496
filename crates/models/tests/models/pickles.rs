//! The example model, and what only one kind of file shows.

use models::{Limits, Matrix, Output, Precision, load};

#[test]
fn iris_answers_as_in_the_documentation_of_kserve() {
    let bytes = include_bytes!("../../../../examples/models/sklearn-iris/model.joblib");
    let model = load(bytes, &Limits::default()).unwrap();
    let rows = Matrix::new(
        vec![6.8, 2.8, 4.8, 1.4, 6.0, 3.4, 4.5, 1.6],
        2,
        4,
        Precision::Double,
    )
    .unwrap();
    assert_eq!(model.predict(&rows), Ok(Output::Classes(vec![1, 1])));
    assert_eq!(model.about().class, "sklearn.svm._classes.SVC");
    assert!(!model.has_probabilities());
    let error = model
        .predict(&Matrix::new(vec![1.0; 3], 1, 3, Precision::Double).unwrap())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "X has 3 features, but SVC is expecting 4 features as input."
    );
    let error = model
        .predict(&Matrix::new(vec![f64::NAN; 4], 1, 4, Precision::Double).unwrap())
        .unwrap_err();
    assert!(
        error.to_string().starts_with("Input X contains NaN."),
        "{error}"
    );
}

#[test]
fn versions_that_were_not_compared_are_refused() {
    let bytes = include_bytes!("../../../../examples/models/sklearn-iris/model.joblib");
    for version in [b"0.9.1", b"0.19.", b"1.99."] {
        let at = bytes.windows(5).position(|window| window == b"1.9.1");
        let mut bytes = bytes.to_vec();
        bytes[at.unwrap()..][..5].copy_from_slice(version);
        let error = load(&bytes, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("outside of 0.20 to 1.9"), "{error}");
    }
}
