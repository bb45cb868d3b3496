//! Requests replayed that KServe's servers for XGBoost and LightGBM were asked, and their answers. `examples/models/train.py`
//! makes the boosters.

use crate::capture::{Differences, probes, replay, the_page_counts};
use crate::requests::send;
use inference::{Model, Options};
use std::sync::Arc;

/// Answers that differ on purpose, by the reason that docs/runtime.md gives.
const DIFFERENCES: &Differences = &[
    (
        "A client's mistake is 400 where the servers for boosters answer 500",
        &[
            (
                "xgb v1 1d",
                400,
                r#"{"error":"Expected 2D array, got 1D array instead: …"#,
            ),
            (
                "xgb v1 5 feats",
                400,
                r#"{"error":"X has 5 features, but Booster is expecting 4 features as input."}"#,
            ),
            (
                "xgb v1 empty",
                400,
                r#"{"error":"Found array with 0 sample(s) while a minimum of 1 is required by Booster."}"#,
            ),
            (
                "xgb v1 dict extra col",
                400,
                r#"{"error":"X has 5 features, but Booster is expecting 4 features as input."}"#,
            ),
            (
                "lgb v1 1d",
                400,
                r#"{"error":"Expected 2D array, got 1D array instead: …"#,
            ),
            (
                "lgb v1 3 feats",
                400,
                r#"{"error":"X has 3 features, but Booster is expecting 4 features as input."}"#,
            ),
            (
                "lgb v1 5 feats",
                400,
                r#"{"error":"X has 5 features, but Booster is expecting 4 features as input."}"#,
            ),
            (
                "lgb v1 empty",
                400,
                r#"{"error":"Found array with 0 sample(s) while a minimum of 1 is required by Booster."}"#,
            ),
            (
                "lgb v1 dict missing col",
                400,
                r#"{"error":"The feature names should match those that were passed during fit: `petal_width_(cm)` is missing"}"#,
            ),
        ],
    ),
    (
        "Numbers in strings are read for XGBoost, too",
        &[(
            "xgb v1 strings",
            200,
            r#"{"predictions":[[0.22427067160606384,0.5513063669204712,0.22442293167114258]]}"#,
        )],
    ),
];

#[test]
fn answers_are_those_of_kserve() {
    let load = |name: &str, file: &str, bytes: &[u8]| {
        Arc::new(Model::load(name, file, bytes, &Options::default()).unwrap())
    };
    let xgb = load("xgb", "model.ubj", include_bytes!("../models/iris.ubj"));
    let lgb = load("lgb", "model.bst", include_bytes!("../models/iris.bst"));
    let probes = probes(include_str!("../golden/boosters.txt"));
    assert_eq!(probes.len(), 38);
    replay(
        &probes,
        DIFFERENCES,
        &["xgb v2 bin out", "lgb v2 bin out"],
        |probe| {
            let model = if probe.title.starts_with("xgb") {
                &xgb
            } else {
                &lgb
            };
            send(model, probe.method, probe.path, &probe.headers, &probe.body)
        },
    );
}

#[test]
fn the_page_gives_every_reason() {
    the_page_counts(DIFFERENCES);
}
