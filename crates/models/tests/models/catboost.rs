//! Models of CatBoost that are damaged, in the export to JSON and in the binary format.

use crate::archive::boosted;
use crate::boosted::{limits, refusal};
use models::{Cell, Column, Matrix, Output, Precision, Table, load};

/// Two trees over a number and a category.
const MODEL: &str = r#"{"features_info":{"categorical_features":[{"feature_id":"b","feature_index":0,"flat_feature_index":1,"values":[-805065478]}],
"float_features":[{"borders":[0.5],"feature_id":"a","feature_index":0,"flat_feature_index":0,"has_nans":true,"nan_value_treatment":"AsTrue"}]},
"model_info":{"params":{"loss_function":{"type":"RMSE"}}},
"oblivious_trees":[{"leaf_values":[1,2,4,8],"splits":[{"border":0.5,"float_feature_index":0,"split_type":"FloatFeature"},
{"cat_feature_index":0,"split_type":"OneHotFeature","value":-805065478}]},{"leaf_values":[16]}],"scale_and_bias":[2,[0.25]]}"#;

fn answer(model: &str, number: f64, category: &str) -> f64 {
    let model = load(model.as_bytes(), &limits()).unwrap();
    let rows = Table::new(vec![
        (
            Some("a".to_owned()),
            Column::Numbers(vec![number], Precision::Double),
        ),
        (
            Some("b".to_owned()),
            Column::Cells(vec![Cell::Text(category.to_owned())]),
        ),
    ]);
    match model.predict(&rows.unwrap()).unwrap() {
        Output::Values(values, Precision::Double) => values[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn tests_are_the_bits_of_a_leaf() {
    let check = |number, category, leaf: f64| {
        assert_eq!(
            answer(MODEL, number, category),
            (leaf + 16.0) * 2.0 + 0.25,
            "{number} {category}"
        );
    };
    check(0.5, "x", 1.0);
    check(0.51, "x", 2.0);
    check(0.5, "a", 4.0);
    check(f64::INFINITY, "a", 8.0);
    // What is missing counts as above, as the feature says.
    check(f64::NAN, "x", 2.0);
    // Borders are of single precision, and so are the numbers that meet them.
    check(0.500_000_01, "x", 1.0);
    let below = MODEL.replace("AsTrue", "AsFalse");
    assert_eq!(answer(&below, f64::NAN, "x"), 34.25);
    // A tree without splits, as the library also writes it.
    let null = MODEL.replace("[16]}", "[16],\"splits\":null}");
    assert_eq!(answer(&null, 0.5, "x"), 34.25);
    let other = MODEL.replace("[1,2,4,8]", "[1,2,4]");
    assert!(refusal(other.as_bytes()).contains("tree 0: expected values for each leaf"));
}

#[test]
fn categories_are_text_or_whole_numbers() {
    let model = load(MODEL.as_bytes(), &limits()).unwrap();
    let rows = |values: Vec<f64>| Matrix::new(values, 1, 2, Precision::Double).unwrap();
    assert!(model.predict(&rows(vec![0.0, 3.0])).is_ok());
    for category in [0.5, f64::NAN, f64::INFINITY, 1e300] {
        let error = model
            .predict(&rows(vec![0.0, category]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected text or a whole number"), "{error}");
    }
    let narrow = Matrix::new(vec![0.0], 1, 1, Precision::Double).unwrap();
    let error = model.predict(&narrow).unwrap_err().to_string();
    assert!(
        error.contains("X has 1 features, but CatBoost is expecting 2"),
        "{error}"
    );
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let check = |part: &str, other: &str, what: &str| {
        assert!(MODEL.contains(part), "{part}");
        let found = refusal(MODEL.replacen(part, other, 1).as_bytes());
        assert!(
            found.starts_with("not a readable CatBoost model in JSON: "),
            "{found}"
        );
        assert!(found.contains(what), "{found}");
    };
    check(
        "\"float_feature_index\":0",
        "\"float_feature_index\":1",
        "a feature that does not exist",
    );
    check(
        "\"cat_feature_index\":0",
        "\"cat_feature_index\":1",
        "a feature that does not exist",
    );
    check(
        "\"border\":0.5",
        "\"border\":NaN",
        "a split without a border",
    );
    check(
        "\"value\":-805065478",
        "\"value\":9e9",
        "no number of 32 bits",
    );
    check(
        "\"flat_feature_index\":1",
        "\"flat_feature_index\":99999999",
        "the limit of objects",
    );
    check(
        "\"split_type\":\"OneHotFeature\"",
        "\"split_type\":\"OnlineCtr\",\"split_index\":2",
        "a feature that does not exist",
    );
    check(
        "OneHotFeature",
        "EstimatedFeature",
        "features of text or embeddings",
    );
    check(
        "\"type\":\"RMSE\"",
        "\"type\":\"PythonUserDefinedPerObject\"",
        "the loss `PythonUserDefinedPerObject` is not supported",
    );
    check(
        "\"type\":\"RMSE\"",
        "\"type\":\"MultiClass\"",
        "1 outputs do not fit the loss",
    );
    check("[2,[0.25]]", "[2]", "expected `scale_and_bias`");
    check("[2,[0.25]]", "[NaN,[0.25]]", "is not finite");
    check(
        "[2,[0.25]]",
        "[2,[0.25,1]]",
        "tree 0: expected values for each leaf",
    );
    check(
        "\"oblivious_trees\"",
        "\"trees\"",
        "tree 0: expected a member `split`",
    );
}

/// The model above with a statistic of its category in place of the category: the share of a class among the rows of training.
fn with_statistic(count: &str) -> String {
    let statistic = r#""ctrs":[{"borders":[0.4],"ctr_type":"Borders","elements":[{"cat_feature_index":0,"combination_element":"cat_feature_value"}],
        "identifier":"x","prior_denomerator":1,"prior_numerator":0.5,"scale":1,"shift":0,"target_border_idx":0}],"float_features"#;
    let split = r#""split_index":2,"split_type":"OnlineCtr""#;
    MODEL
        .replace("\"float_features", statistic)
        .replace(r#""cat_feature_index":0,"split_type":"OneHotFeature""#, split)
        .replacen(
            '{',
            &format!(r#"{{"ctr_data":{{"x":{{"hash_map":[{count}],"hash_stride":3,"counter_denominator":0}}}},"#),
            1,
        )
}

#[test]
fn statistics_are_looked_up_by_category() {
    // The number of `a`, as the library computes the hash of a combination of it alone.
    let category = i64::from(-805_065_478_i32).cast_unsigned();
    let multiplier = 0x4906_ba49_4954_cb65_u64;
    let hash = multiplier.wrapping_mul(multiplier.wrapping_mul(category));
    let check = |counts: &str, category: &str, leaf: f64| {
        let model = with_statistic(&format!("\"{hash}\",{counts}"));
        let expected = (leaf + 16.0) * 2.0 + 0.25;
        assert_eq!(
            answer(&model, 0.0, category),
            expected,
            "{counts} {category}"
        );
    };
    // (1 + 0.5) / (4 + 1) = 0.3 is below the border, (2 + 0.5) / 5 = 0.5 is above.
    check("3,1", "a", 1.0);
    check("2,2", "a", 4.0);
    // One that was not seen has the prior alone, 0.5.
    check("3,1", "b", 4.0);
    let refused = |counts: &str, what: &str| {
        let found = refusal(with_statistic(counts).as_bytes());
        assert!(found.contains(what), "{found}");
    };
    refused("\"1\",2", "counts that do not fit their kind");
    refused("\"1\",2,0.5", "no number of 32 bits");
    refused("\"one\",2,2", "a hash that is no number");
    refused("1,2,2", "expected a list in `hash_map`");
    let other = with_statistic("\"1\",2,2");
    let found = refusal(
        other
            .replace("\"target_border_idx\":0", "\"target_border_idx\":1")
            .as_bytes(),
    );
    assert!(
        found.contains("a statistic whose counts are not there or of another kind"),
        "{found}"
    );
    let found = refusal(other.replace("\"x\":{", "\"y\":{").as_bytes());
    assert!(found.contains("expected a member `x`"), "{found}");
}

/// Every word of a small file in turn is all ones, or leads far away: no offset and no index is taken on trust.
#[test]
fn words_of_a_binary_file_do_no_harm() {
    let cases = boosted().into_iter().filter(|case| case.writing == "cbm");
    let mut cases: Vec<_> = cases.collect();
    cases.sort_by_key(|case| case.bytes.len());
    for case in cases.into_iter().take(3) {
        for at in (0..case.bytes.len() - 4).step_by(4) {
            for word in [u32::MAX, 0x7fff_ffff, 0, 0x0001_0001] {
                let mut bytes = case.bytes.clone();
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
                if let Ok(model) = load(&bytes, &limits()) {
                    for (given, _) in &case.asked {
                        let _ = (
                            model.predict(given.input()),
                            model.predict_proba(given.input()),
                        );
                    }
                }
            }
        }
    }
}
