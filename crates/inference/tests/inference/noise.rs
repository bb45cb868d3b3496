//! Bodies that no client means: an answer below 500, never a panic.

use crate::requests::{iris, post, send};
use inference::{Model, example_input};
use proptest::prelude::*;
use std::sync::Arc;

const PATHS: [&str; 2] = ["/v1/models/iris:predict", "/v2/models/iris/infer"];

fn survive(model: &Arc<Model>, body: &[u8], headers: &[(String, String)]) {
    for path in PATHS {
        let response = send(model, "POST", path, headers, body);
        assert!(response.status().as_u16() < 500, "{path} {body:?}");
    }
}

/// Pieces of requests, put together in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just(" "),
        Just("\"instances\""),
        Just("\"inputs\""),
        Just("\"data\""),
        Just("\"shape\""),
        Just("\"datatype\""),
        Just("\"FP32\""),
        Just("\"name\""),
        Just("\"parameters\""),
        Just("1"),
        Just("-1.5"),
        Just("2e3"),
        Just("1e999"),
        Just("null"),
        Just("true"),
        Just("\"\\u00e9\""),
        Just("\"x\""),
        Just("{\"a\":[1],\"b\":[2]}"),
        Just("[1,2,3,4]"),
        Just("é"),
        Just("\\"),
        Just("\n"),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes(body in proptest::collection::vec(any::<u8>(), 0..200), length in 0_usize..220) {
        let model = iris();
        survive(&model, &body, &[]);
        survive(&model, &body, &[("inference-header-content-length".to_owned(), length.to_string())]);
    }

    #[test]
    fn any_pieces(body in pieces(), wrapped in pieces()) {
        let model = iris();
        survive(&model, body.as_bytes(), &[("content-type".to_owned(), "application/json".to_owned())]);
        survive(&model, format!("{{\"instances\":[{wrapped}]}}").as_bytes(), &[]);
        survive(&model, format!("{{\"inputs\":[{{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP64\",\"data\":[{wrapped}]}}]}}").as_bytes(), &[]);
    }

    /// Numbers in any notation are read as the nearest float: both protocols agree with Rust's own parser.
    #[test]
    fn numbers_are_exact(value in prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), -1e6..1e6_f64], digits in 0_usize..20) {
        let model = iris();
        for text in [format!("{value:?}"), format!("{value:e}"), format!("{value:.digits$}")] {
            let exact: f64 = text.parse().unwrap();
            let bits = exact.to_le_bytes();
            let rows = [bits, 3.0_f64.to_le_bytes(), 4.0_f64.to_le_bytes(), 1.0_f64.to_le_bytes()].concat();
            let head = r#"{"id":"i","inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","parameters":{"binary_data_size":32}}]}"#;
            let length = [("inference-header-content-length".to_owned(), head.len().to_string())];
            let binary = send(&model, "POST", PATHS[1], &length, &[head.as_bytes(), &rows].concat());
            let json = format!(r#"{{"id":"i","inputs":[{{"name":"x","shape":[1,4],"datatype":"FP64","data":[{text},3,4,1]}}]}}"#);
            let (status, body) = post(&model, PATHS[1], &json);
            prop_assert_eq!(status, 200);
            prop_assert_eq!(body.as_bytes(), binary.body().as_ref());
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let model = iris();
    for open in [
        "[",
        "{\"a\":",
        "{\"instances\":[",
        "{\"inputs\":[{\"data\":[",
    ] {
        survive(&model, open.repeat(100_000).as_bytes(), &[]);
    }
}

#[test]
fn the_example_input_is_answered() {
    let model = iris();
    let input = example_input(&model);
    assert_eq!(input, r#"{"instances":[[0.5,1.0,1.5,2.0]]}"#);
    assert_eq!(post(&model, PATHS[0], &input).0, 200);
    let about = model.describe();
    assert_eq!(
        (about.class.as_str(), about.features),
        ("sklearn.svm._classes.SVC", 4)
    );
    assert_eq!(about.classes.unwrap(), ["0", "1", "2"]);
}
