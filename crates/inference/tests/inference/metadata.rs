//! What models say of themselves: their inputs, so that clients know what to send, and their outputs.

use crate::requests::{iris, post, send};
use http::HeaderMap;
use inference::grpc::wire::Encoder;
use inference::{Batching, Compat, Head, Manner, Model, Options, Task, Writing, grpc, task};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn load(name: &str, file: &[u8]) -> Arc<Model> {
    load_with(name, file, &Options::default())
}

fn load_with(name: &str, file: &[u8], options: &Options) -> Arc<Model> {
    Arc::new(Model::load("m", name, file, options).unwrap())
}

fn metadata(model: &Arc<Model>) -> String {
    let path = format!("/v2/models/{}", model.name());
    let response = send(model, "GET", &path, &[], b"");
    let text = String::from_utf8_lossy(response.body()).into_owned();
    let (_, tensors) = text.split_once(",\"inputs\":").unwrap();
    tensors.strip_suffix('}').unwrap().to_owned()
}

fn infer(model: &Arc<Model>, inputs: &str) -> (u16, String) {
    let body = format!(r#"{{"id":"1","parameters":{{"content_type":"pd"}},"inputs":[{inputs}]}}"#);
    post(model, "/v2/models/m/infer", &body)
}

#[test]
fn a_model_of_texts_takes_one_for_each_row() {
    let words = load("model.joblib", include_bytes!("../models/words.joblib"));
    assert_eq!(
        metadata(&words),
        r#"[{"name":"input-0","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"output-0","datatype":"BYTES","shape":[-1],"parameters":{"classes":["+","-"]}}]"#
    );
}

/// And what it says can be sent.
#[test]
fn a_model_of_named_columns_with_text_takes_one_tensor_for_each() {
    let mixed = load("model.joblib", include_bytes!("../models/mixed.joblib"));
    assert_eq!(
        metadata(&mixed),
        r#"[{"name":"colour","datatype":"BYTES","shape":[-1,1]},{"name":"size","datatype":"FP64","shape":[-1,1]}],"outputs":[{"name":"output-0","datatype":"BYTES","shape":[-1],"parameters":{"classes":["cold","warm"]}}]"#
    );
    let colour = r#"{"name":"colour","shape":[1,1],"datatype":"BYTES","data":["red"]}"#;
    let size = r#"{"name":"size","shape":[1,1],"datatype":"FP64","data":[2.0]}"#;
    let (status, text) = infer(&mixed, &format!("{colour},{size}"));
    assert!(
        status == 200 && text.contains(r#""data":["warm"]"#),
        "{text}"
    );
}

#[test]
fn categories_of_lightgbm_are_columns_of_text() {
    let colours = load("model.bst", include_bytes!("../models/colours.bst"));
    assert_eq!(
        metadata(&colours),
        r#"[{"name":"size","datatype":"FP64","shape":[-1,1]},{"name":"colour","datatype":"BYTES","shape":[-1,1]}],"outputs":[{"name":"output-0","datatype":"FP64","shape":[-1]}]"#
    );
    let size = r#"{"name":"size","shape":[1,1],"datatype":"FP64","data":[0.5]}"#;
    let colour = r#"{"name":"colour","shape":[1,1],"datatype":"BYTES","data":["red"]}"#;
    let (status, text) = infer(&colours, &format!("{size},{colour}"));
    assert!(
        status == 200 && text.contains("[0.6532545215469816]"),
        "{text}"
    );
}

#[test]
fn categories_of_catboost_are_columns_of_text() {
    let file = include_bytes!("../models/colours.cbm");
    let classes = load("model.cbm", file);
    let inputs = r#"[{"name":"size","datatype":"FP64","shape":[-1,1]},{"name":"colour","datatype":"BYTES","shape":[-1,1]}]"#;
    let outputs = r#","outputs":[{"name":"output-0","datatype":"BYTES","shape":[-1],"parameters":{"classes":["big","small"]}}]"#;
    assert_eq!(metadata(&classes), format!("{inputs}{outputs}"));
    let options = Options {
        predict_proba: true,
        ..Options::default()
    };
    let outputs = r#","outputs":[{"name":"output-0","datatype":"FP64","shape":[-1,2],"parameters":{"classes":["big","small"]}}]"#;
    assert_eq!(
        metadata(&load_with("model.cbm", file, &options)),
        format!("{inputs}{outputs}")
    );
    let size = r#"{"name":"size","shape":[1,1],"datatype":"FP64","data":[0.5]}"#;
    let colour = r#"{"name":"colour","shape":[1,1],"datatype":"BYTES","data":["red"]}"#;
    let (status, text) = infer(&classes, &format!("{size},{colour}"));
    assert!(
        status == 200 && text.contains(r#""data":["big"]"#),
        "{text}"
    );
}

#[test]
fn numbers_are_one_tensor_whose_columns_have_names() {
    let booster = load("model.bst", include_bytes!("../models/iris.bst"));
    assert_eq!(
        metadata(&booster),
        r#"[{"name":"input-0","datatype":"FP64","shape":[-1,4],"parameters":{"columns":["sepal_length_(cm)","sepal_width_(cm)","petal_length_(cm)","petal_width_(cm)"]}}],"outputs":[{"name":"output-0","datatype":"FP64","shape":[-1,3]}]"#
    );
    // XGBoost computes in single precision, and so do its clients.
    let booster = load("model.ubj", include_bytes!("../models/booster.ubj"));
    assert_eq!(
        metadata(&booster),
        r#"[{"name":"input-0","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"output-0","datatype":"FP32","shape":[-1,3]}]"#
    );
    let ids = load("model.joblib", include_bytes!("../models/ids.joblib"));
    assert!(metadata(&ids).starts_with(r#"[{"name":"input-0","datatype":"FP64","shape":[-1,1]}]"#));
}

/// Requests for metadata do not wait for others, and are no row of theirs.
#[test]
fn metadata_is_told_at_once_where_requests_are_answered_together() {
    let file = include_bytes!("../../../../examples/models/sklearn-iris/model.joblib");
    let options = Options {
        batching: Some(Batching {
            rows: 100,
            wait: Duration::from_secs(60),
        }),
        ..Options::default()
    };
    let model = load_with("model.joblib", file, &options);
    let before = Instant::now();
    assert!(metadata(&model).contains(r#""shape":[-1,4]"#));
    let message = Encoder::default().bytes(1, b"m").finish();
    let reply = grpc::call(&model, &Manner::default(), "ModelMetadata", message.into()).unwrap();
    assert!(reply.windows(7).any(|part| part == b"input-0"));
    assert!(before.elapsed() < Duration::from_secs(30));
}

/// By what a request is about it is decided where it is answered.
#[test]
fn a_request_is_about_the_model_that_it_asks() {
    let model = iris();
    let about = |compat, method: &http::Method, path: &str, binary: bool| {
        let mut headers = HeaderMap::new();
        if binary {
            let length = http::HeaderValue::from_static("1");
            headers.insert("inference-header-content-length", length);
        }
        let manner = Manner {
            compat,
            ..Manner::default()
        };
        let head = Head {
            method,
            path,
            headers: &headers,
        };
        match task(&model, &manner, head) {
            Task::Quick => "quick",
            Task::Loads => "loads",
            Task::Asks(asked, Writing::Text) if Arc::ptr_eq(&asked, &model) => "text",
            Task::Asks(asked, Writing::Binary) if Arc::ptr_eq(&asked, &model) => "binary",
            Task::Asks(..) => "another",
        }
    };
    let (get, post) = (http::Method::GET, http::Method::POST);
    use Compat::{Kserve, Mlserver};
    for (compat, method, path, binary, expected) in [
        (Kserve, &post, "/v1/models/iris:predict", false, "text"),
        (Kserve, &post, "/v1/models/nope:predict", false, "quick"),
        (Kserve, &post, "/v2/models/iris/infer", false, "text"),
        (Kserve, &post, "/v2/models/iris/infer", true, "binary"),
        (Kserve, &get, "/v2/models/iris", false, "quick"),
        (Kserve, &get, "/v1/models/iris:predict", false, "quick"),
        (
            Kserve,
            &post,
            "/v2/repository/models/iris/load",
            false,
            "loads",
        ),
        (Mlserver, &post, "/v2/models/iris/infer", false, "text"),
        (Mlserver, &post, "/v1/models/iris:predict", false, "quick"),
        (
            Mlserver,
            &post,
            "/v2/repository/models/iris/load",
            false,
            "loads",
        ),
    ] {
        assert_eq!(about(compat, method, path, binary), expected, "{path}");
    }
    let called = |method: &str, message: Vec<u8>| match grpc::task(&model, method, &message.into())
    {
        Task::Quick => "quick",
        Task::Loads => "loads",
        Task::Asks(..) => "asks",
    };
    let named = |name: &[u8]| Encoder::default().bytes(1, name).finish();
    assert_eq!(called("ModelInfer", named(b"iris")), "asks");
    assert_eq!(called("ModelInfer", named(b"nope")), "quick");
    assert_eq!(called("ModelInfer", vec![0xff; 20]), "quick");
    assert_eq!(called("ModelMetadata", named(b"iris")), "quick");
    assert_eq!(called("RepositoryModelLoad", named(b"iris")), "loads");
}

/// A model that was never asked is expected to take as long as its row did when it was loaded; then as long as it took.
#[test]
fn what_requests_cost_is_known_from_the_first_and_learned() {
    let model = iris();
    assert!(!model.waits());
    let first = model.expected(Writing::Text, 60).unwrap();
    assert!(first > 0 && first < 50_000_000, "{first}");
    let body = r#"{"instances":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}"#;
    for _ in 0..100 {
        assert_eq!(post(&model, "/v1/models/iris:predict", body).0, 200);
    }
    let learned = model.expected(Writing::Text, body.len()).unwrap();
    let (larger, binary) = (
        model.expected(Writing::Text, 64 * body.len()).unwrap(),
        model.expected(Writing::Binary, 60).unwrap(),
    );
    assert!(larger >= 32 * learned, "{larger} {learned}");
    assert_eq!(binary, first, "nothing was asked in bytes");
    // What is refused says nothing of the others.
    for _ in 0..100 {
        assert_eq!(
            post(&model, "/v1/models/iris:predict", &"[".repeat(body.len())).0,
            400
        );
    }
    assert_eq!(model.expected(Writing::Text, body.len()), Some(learned));
}
