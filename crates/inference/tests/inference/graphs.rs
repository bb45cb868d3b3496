//! Graphs of ONNX with their own names, types and several inputs and outputs; `crates/models/corpus/onnx/served.py` makes them,
//! and the answers are ONNX Runtime's.

use crate::requests::{post, send, send_as};
use bytes::Bytes;
use inference::grpc::wire::{Decode, Encoder, Malformed, Value};
use inference::grpc::{Code, call};
use inference::{Batching, Compat, Manner, Model, Options, example_input};
use std::sync::Arc;
use std::time::Duration;

fn iris() -> Arc<Model> {
    let file = include_bytes!("../models/iris.onnx");
    Arc::new(Model::load("iris", "model.onnx", file, &Options::default()).unwrap())
}

fn get(model: &Arc<Model>, path: &str) -> String {
    let response = send(model, "GET", path, &[], b"");
    String::from_utf8_lossy(response.body()).into_owned()
}

/// One input for each column, of text, whole numbers and floats.
fn rooms() -> Arc<Model> {
    let file = include_bytes!("../models/rooms.onnx");
    Arc::new(Model::load("rooms", "model.onnx", file, &Options::default()).unwrap())
}

#[test]
fn rows_are_answered_with_every_output() {
    let ask = |body: &str| post(&iris(), "/v1/models/iris:predict", body);
    let expected = r#"{"predictions":[{"output_label":"versicolor","output_probability":{"setosa":0.0,"versicolor":1.0,"virginica":0.0}},{"output_label":"setosa","output_probability":{"setosa":1.0,"versicolor":0.0,"virginica":0.0}}]}"#;
    assert_eq!(
        ask(r#"{"instances":[[6.8,2.8,4.8,1.4],[5.1,3.5,1.4,0.2]]}"#),
        (200, expected.to_owned())
    );
    let (status, text) = ask(r#"{"instances":[[6.8,2.8,4.8]]}"#);
    assert_eq!(status, 400);
    assert!(
        text.contains("the input `X` is float of shape [1,3]: expected float of shape [-1,4]"),
        "{text}"
    );
    assert_eq!(ask(&example_input(&iris())).0, 200);
}

#[test]
fn columns_are_found_by_the_names_of_inputs() {
    let ask = |instances: &str| {
        let body = format!("{{\"instances\":{instances}}}");
        post(&rooms(), "/v1/models/rooms:predict", &body)
    };
    let one = r#"{"predictions":[{"label":2,"probabilities":["#;
    let row = r#"{"city":"Ulm","kind":"a","rooms":3,"area":80.5,"price":0.25}"#;
    // An object for each row as in TensorFlow Serving, records and columns as in KServe; the order of members does not count.
    for instances in [
        format!("[{row}]"),
        format!("[[{row}]]"),
        r#"[{"price":[0.25],"rooms":[3],"area":[80.5],"kind":["a"],"city":["Ulm"]}]"#.to_owned(),
    ] {
        let (status, text) = ask(&instances);
        assert_eq!(status, 200, "{instances}: {text}");
        assert!(text.starts_with(one), "{text}");
    }
    let (status, text) = ask(r#"[{"city":"Ulm","kind":"a","rooms":3,"area":80.5}]"#);
    assert_eq!(status, 400);
    assert!(text.contains("`price`"), "{text}");
    let (status, text) = ask(r#"[{"city":7,"kind":"a","rooms":3,"area":80.5,"price":0}]"#);
    assert_eq!(status, 400);
    assert!(text.contains("the input `city` takes text"), "{text}");
    let (status, text) = ask(r#"[{"city":"Ulm","kind":"a","rooms":3.5,"area":80.5,"price":0}]"#);
    assert_eq!(status, 400);
    assert!(
        text.contains("the input `rooms` takes values of int64"),
        "{text}"
    );
    let body = example_input(&rooms());
    let (status, text) = post(&rooms(), "/v1/models/rooms:predict", &body);
    assert_eq!(status, 200, "{body}: {text}");
}

fn inputs(rows: usize) -> String {
    let input = |name: &str, datatype: &str, values: [&str; 2]| {
        format!(
            r#"{{"name":"{name}","shape":[{rows},1],"datatype":"{datatype}","data":[{}]}}"#,
            values[..rows].join(",")
        )
    };
    [
        input("price", "FP64", ["0.25", "-1"]),
        input("city", "BYTES", ["\"Ulm\"", "\"Rom\""]),
        input("kind", "BYTES", ["\"a\"", "\"c\""]),
        input("rooms", "INT64", ["3", "1"]),
        input("area", "FP32", ["80.5", "20.0"]),
    ]
    .join(",")
}

#[test]
fn tensors_are_found_by_name() {
    let ask = |body: &str| post(&rooms(), "/v2/models/rooms/infer", body);
    let (status, text) = ask(&format!(r#"{{"id":"1","inputs":[{}]}}"#, inputs(2)));
    assert_eq!(status, 200, "{text}");
    assert!(
        text.starts_with(r#"{"model_name":"rooms","model_version":null,"id":"1","parameters":null,"outputs":[{"name":"label","shape":[2],"datatype":"INT64","parameters":null,"data":[2,0]},{"name":"probabilities","shape":[2,3],"datatype":"FP32","parameters":null,"data":["#),
        "{text}"
    );
    let chosen = r#""outputs":[{"name":"label"}]"#;
    let (_, text) = ask(&format!(
        r#"{{"id":"1","inputs":[{}],{chosen}}}"#,
        inputs(1)
    ));
    assert!(
        text.ends_with(
            r#"[{"name":"label","shape":[1],"datatype":"INT64","parameters":null,"data":[2]}]}"#
        ),
        "{text}"
    );
    let refused = |body: String, what: &str| {
        let (status, text) = ask(&body);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(what), "{text}");
    };
    let all = inputs(1);
    refused(
        format!(r#"{{"inputs":[{all}],"outputs":[{{"name":"x"}}]}}"#),
        "Unexpected inference output 'x' for model 'rooms'",
    );
    refused(
        format!(r#"{{"inputs":[{}]}}"#, all.replace("\"city\"", "\"town\"")),
        "the input `city` is missing",
    );
    refused(
        format!(
            r#"{{"inputs":[{all},{{"name":"more","shape":[1],"datatype":"FP32","data":[1]}}]}}"#
        ),
        "the model has no input `more`: expected `city`, `kind`, `rooms`, `area`, `price`",
    );
    refused(
        format!(
            r#"{{"inputs":[{}]}}"#,
            all.replace(r#""FP32","data":[80.5]"#, r#""BYTES","data":["x"]"#)
        ),
        "the input `area` takes numbers",
    );
}

#[test]
fn metadata_is_that_of_the_graph() {
    let told = get(&rooms(), "/v2/models/rooms");
    assert_eq!(
        told,
        r#"{"name":"rooms","versions":null,"platform":"onnx","inputs":[{"name":"city","datatype":"BYTES","shape":[-1,1]},{"name":"kind","datatype":"BYTES","shape":[-1,1]},{"name":"rooms","datatype":"INT64","shape":[-1,1]},{"name":"area","datatype":"FP32","shape":[-1,1]},{"name":"price","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"label","datatype":"INT64","shape":[-1]},{"name":"probabilities","datatype":"FP32","shape":[-1,3]}]}"#
    );
    let told = get(&iris(), "/v2/models/iris");
    assert!(
        told.contains(r#"{"name":"output_probability","datatype":"FP32","shape":[-1,3],"parameters":{"classes":["setosa","versicolor","virginica"]}}"#),
        "{told}"
    );
}

#[derive(Debug, Default)]
struct Reply {
    names: Vec<String>,
    raw: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Name(String);

impl Decode for Reply {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            5 => self.names.push(value.message::<Name>()?.0),
            6 => self.raw.push(value.bytes()?.to_vec()),
            _ => {}
        }
        Ok(())
    }
}

impl Decode for Name {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            self.0 = value.text()?;
        }
        Ok(())
    }
}

#[test]
fn grpc_takes_text_in_both_forms() {
    let tensor = |name: &str, datatype: &str, contents: Option<Encoder>| {
        let tensor = Encoder::default()
            .bytes(1, name.as_bytes())
            .bytes(2, datatype.as_bytes())
            .numbers(3, [1, 1]);
        match contents {
            Some(contents) => tensor.always(5, &contents.finish()).finish(),
            None => tensor.finish(),
        }
    };
    let names = [
        ("city", "BYTES"),
        ("kind", "BYTES"),
        ("rooms", "INT64"),
        ("area", "FP32"),
        ("price", "FP32"),
    ];
    let request = || Encoder::default().bytes(1, b"rooms");
    let ask = |message: Encoder| {
        let reply = call(
            &rooms(),
            &Manner::default(),
            "ModelInfer",
            Bytes::from(message.finish()),
        )
        .unwrap();
        Reply::decode(Bytes::from(reply)).unwrap()
    };
    let contents = [
        Encoder::default().always(8, b"Ulm"),
        Encoder::default().always(8, b"a"),
        Encoder::default().numbers(3, [3]),
        Encoder::default().floats(6, &[80.5]),
        Encoder::default().floats(6, &[0.25]),
    ];
    let typed = names
        .iter()
        .zip(contents)
        .fold(request(), |all, ((name, kind), contents)| {
            all.always(5, &tensor(name, kind, Some(contents)))
        });
    let reply = ask(typed);
    assert_eq!(reply.names, ["label", "probabilities"]);
    assert!(reply.raw.is_empty());
    let raw = names.iter().fold(request(), |all, (name, kind)| {
        all.always(5, &tensor(name, kind, None))
    });
    let values: [&[u8]; 5] = [
        b"\x03\0\0\0Ulm",
        b"\x01\0\0\0a",
        &3_i64.to_le_bytes(),
        &80.5_f32.to_le_bytes(),
        &0.25_f32.to_le_bytes(),
    ];
    let raw = values.iter().fold(raw, |all, bytes| all.always(7, bytes));
    let reply = ask(raw);
    assert_eq!(reply.raw[0], 2_i64.to_le_bytes());
    let first = f32::from_le_bytes(reply.raw[1][..4].try_into().unwrap());
    assert!((first - 1.790_646_8e-4).abs() < 1e-10, "{first}");
}

#[test]
fn what_is_no_graph_is_refused() {
    let load = |bytes: &[u8]| Model::load("x", "model.onnx", bytes, &Options::default());
    let error = load(b"\x08\x08").unwrap_err().to_string();
    assert_eq!(
        error,
        "`model.onnx`: not a readable ONNX model: expected a graph"
    );
    let file = include_bytes!("../models/iris.onnx");
    for length in 0..file.len() {
        assert!(load(&file[..length]).is_err(), "{length}");
    }
}

#[test]
fn graphs_are_not_answered_in_the_way_of_mlserver() {
    let manner = Manner {
        compat: Compat::Mlserver,
        ..Manner::default()
    };
    let message = "graphs of ONNX are not answered in MLServer's way";
    let body =
        br#"{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}"#;
    let response = send_as(&manner, &iris(), "POST", "/v2/models/iris/infer", &[], body);
    let text = String::from_utf8_lossy(response.body());
    assert_eq!(response.status(), 400);
    assert!(text.contains(message), "{text}");
    let request = Encoder::default().bytes(1, b"iris").finish();
    let status = call(&iris(), &manner, "ModelInfer", Bytes::from(request)).unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.message.contains(message), "{}", status.message);
}

#[test]
fn requests_for_graphs_wait_for_no_others() {
    let options = Options {
        batching: Some(Batching {
            rows: 8,
            wait: Duration::from_secs(600),
        }),
        ..Options::default()
    };
    let file = include_bytes!("../models/iris.onnx");
    let model = Arc::new(Model::load("iris", "model.onnx", file, &options).unwrap());
    assert!(!model.waits());
    let body = r#"{"instances":[[6.8,2.8,4.8,1.4]]}"#;
    let path = "/v1/models/iris:predict";
    assert_eq!(post(&model, path, body), post(&iris(), path, body));
}
