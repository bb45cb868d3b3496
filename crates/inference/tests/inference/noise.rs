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

/// As for Python, whose last of equal keys counts, whatever is wrong with those before.
#[test]
fn the_last_of_equal_keys_counts() {
    let model = iris();
    let right = r#"{"name":"x","shape":[1,4],"datatype":"FP32","data":[6.8,2.8,4.8,1.4]}"#;
    let ask = |body: &str| post(&model, "/v2/models/iris/infer", body);
    let answer = r#"{"model_name":"iris","model_version":null,"id":"b","parameters":null,"outputs":[{"name":"output-0","shape":[1],"datatype":"INT64","parameters":null,"data":[1]}]}"#;
    for body in [
        format!(r#"{{"inputs":[],"id":"a","id":"b","inputs":[{right}]}}"#),
        format!(r#"{{"inputs":5,"id":7,"id":"b","inputs":[{right}]}}"#),
        format!(r#"{{"inputs":[{{"name":1,"shape":"x"}}],"id":"b","inputs":[{right}]}}"#),
        format!(
            r#"{{"id":"b","outputs":[{{"name":"nope"}}],"outputs":null,"parameters":{{"a":{{}}}},"parameters":null,"inputs":[{right}]}}"#
        ),
        format!(
            r#"{{"id":"b","parameters":{{"content_type":"pd","content_type":"np"}},"inputs":[{right}]}}"#
        ),
        r#"{"id":"b","inputs":[{"name":1,"name":"x","shape":[9],"shape":[1,4],"datatype":"BYTES","datatype":"FP32","data":"x","data":[1],"data":[6.8,2.8,4.8,1.4],"parameters":{"a":[],"a":1}}]}"#
            .to_owned(),
        format!(
            r#"{{"id":"b","outputs":[{{"name":5,"name":"output-0","parameters":{{"binary_data":true,"binary_data":false}}}}],"inputs":[{right}]}}"#
        ),
    ] {
        assert_eq!(ask(&body), (200, answer.to_owned()), "{body}");
    }
    // And the other way round: a last one that is wrong.
    for (body, place) in [
        (
            format!(r#"{{"id":"b","inputs":[{right}],"inputs":5}}"#),
            r#""inputs"]"#,
        ),
        (
            format!(r#"{{"id":"b","id":7,"inputs":[{right}]}}"#),
            r#""id"]"#,
        ),
    ] {
        let (status, text) = ask(&body);
        assert!(status == 422 && text.contains(place), "{status} {text}");
    }
    let tensors =
        format!(r#"{{"inputs":[{{"shape":[1,3],"data":5}}],"inputs":[{right}],"id":"b"}}"#);
    assert_eq!(ask(&tensors).0, 200);
    let v1 = r#"{"instances":[["a"]],"instances":[[1,2]],"instances":[[6.8,2.8,4.8,1.4]]}"#;
    let answer = post(&model, "/v1/models/iris:predict", v1);
    assert_eq!(answer, (200, r#"{"predictions":[1]}"#.to_owned()));
}
