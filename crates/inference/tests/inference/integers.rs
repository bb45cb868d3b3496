//! Whole numbers beyond 2^53, of which double precision holds every second one at most: they keep their digits on the way into
//! graphs (`crates/models/corpus/onnx/served.py`) and to categories (`examples/models/train.py`).

use crate::requests::{post, send};
use bytes::Bytes;
use inference::grpc::call;
use inference::grpc::wire::Encoder;
use inference::{Manner, Model, Options};
use std::sync::Arc;

/// Answers the number before each.
fn graph() -> Arc<Model> {
    let file = include_bytes!("../models/ids.onnx");
    Arc::new(Model::load("ids", "model.onnx", file, &Options::default()).unwrap())
}

/// Knows the eight numbers from 2^53 on as categories.
fn categories() -> Arc<Model> {
    let file = include_bytes!("../models/ids.joblib");
    Arc::new(Model::load("ids", "model.joblib", file, &Options::default()).unwrap())
}

const IDS: [i64; 5] = [
    9_007_199_254_740_993,
    -9_007_199_254_740_993,
    i64::MAX,
    i64::MIN + 1,
    7,
];

fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(",")
}

fn before() -> impl Iterator<Item = i64> {
    IDS.into_iter().map(|id| id - 1)
}

#[test]
fn v1_keeps_digits() {
    let expected = list(before().map(|id| format!("[{id}]")));
    let expected = (200, format!("{{\"predictions\":[{expected}]}}"));
    let ask = |row: fn(i64) -> String| {
        let body = format!("{{\"instances\":[{}]}}", list(IDS.map(row)));
        post(&graph(), "/v1/models/ids:predict", &body)
    };
    assert_eq!(ask(|id| format!("[{id}]")), expected);
    assert_eq!(ask(|id| format!("{{\"id\":{id}}}")), expected);
    // A float that is whole counts as one; what 64 bits do not hold is refused and not cut off.
    let one = |id: &str| {
        let body = format!("{{\"instances\":[[{id}]]}}");
        post(&graph(), "/v1/models/ids:predict", &body)
    };
    assert_eq!(
        one("1e18"),
        (200, "{\"predictions\":[[999999999999999999]]}".to_owned())
    );
    for beyond in ["9223372036854775808", "9223372036854775808.0", "1e300"] {
        let (status, text) = one(beyond);
        assert_eq!(status, 400);
        assert!(text.contains("takes values of int64"), "{beyond}: {text}");
    }
}

#[test]
fn v2_keeps_digits_in_lists_and_in_bytes() {
    let path = "/v2/models/ids/infer";
    let head = |more: &str| {
        let input = r#""name":"id","shape":[5,1],"datatype":"INT64""#;
        format!(r#"{{"id":"1","inputs":[{{{input},{more}}}]}}"#)
    };
    let expected = format!(r#""data":[{}]"#, list(before()));
    let (status, text) = post(&graph(), path, &head(&format!(r#""data":[{}]"#, list(IDS))));
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(&expected), "{text}");
    let mut body = head(r#""parameters":{"binary_data_size":40}"#).into_bytes();
    let length = body.len().to_string();
    body.extend(IDS.iter().flat_map(|id| id.to_le_bytes()));
    let headers = [("inference-header-content-length".to_owned(), length)];
    let response = send(&graph(), "POST", path, &headers, &body);
    let text = String::from_utf8_lossy(response.body());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn grpc_keeps_digits_in_both_forms() {
    let tensor = || {
        Encoder::default()
            .bytes(1, b"id")
            .bytes(2, b"INT64")
            .numbers(3, [5, 1])
    };
    let ask = |request: Encoder| {
        let message = Bytes::from(request.finish());
        call(&graph(), &Manner::default(), "ModelInfer", message).unwrap()
    };
    let request = || Encoder::default().bytes(1, b"ids");
    let contents = Encoder::default().numbers(3, IDS.map(i64::cast_unsigned));
    let typed = tensor().always(5, &contents.finish());
    let typed = ask(request().always(5, &typed.finish()));
    let expected = Encoder::default().numbers(3, before().map(i64::cast_unsigned));
    let expected = expected.finish();
    assert!(
        typed.windows(expected.len()).any(|part| part == expected),
        "{typed:?}"
    );
    let bytes: Vec<u8> = IDS.iter().flat_map(|id| id.to_le_bytes()).collect();
    let raw = ask(request().always(5, &tensor().finish()).always(7, &bytes));
    let expected: Vec<u8> = before().flat_map(i64::to_le_bytes).collect();
    assert!(
        raw.windows(expected.len()).any(|part| part == expected),
        "{raw:?}"
    );
}

#[test]
fn categories_keep_digits() {
    let ids = || (0..8).map(|more| (1_i64 << 53) + more);
    let answers = list(["\"even\"", "\"odd\""].into_iter().cycle().take(8));
    let expected = format!("[{answers}]");
    let rows = list(ids().map(|id| format!("[{id}]")));
    let (status, text) = post(
        &categories(),
        "/v1/models/ids:predict",
        &format!("{{\"instances\":[{rows}]}}"),
    );
    assert_eq!(
        (status, text),
        (200, format!("{{\"predictions\":{expected}}}"))
    );
    for datatype in ["INT64", "UINT64"] {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","shape":[8,1],"datatype":"{datatype}","data":[{}]}}]}}"#,
            list(ids())
        );
        let (status, text) = post(&categories(), "/v2/models/ids/infer", &body);
        assert_eq!(status, 200, "{text}");
        assert!(text.contains(&expected), "{text}");
    }
    // As floats they are rounded, as in Python.
    let body = format!(
        r#"{{"inputs":[{{"name":"x","shape":[1,1],"datatype":"FP64","data":[{}]}}]}}"#,
        (1_i64 << 53) + 1
    );
    let (_, text) = post(&categories(), "/v2/models/ids/infer", &body);
    assert!(text.contains(r#""data":["even"]"#), "{text}");
}
