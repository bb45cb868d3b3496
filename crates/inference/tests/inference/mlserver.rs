//! Requests replayed that MLServer was asked, in their order, and its answers.

use crate::capture::{escape, probes, replay};
use crate::requests::{iris, send_as};
use inference::grpc::wire::Encoder;
use inference::grpc::{Code, call};
use inference::{Compat, Entry, Manner, Model, ModelSettings, Options, Refusal, Repository};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One model, which can be unloaded and loaded again.
#[derive(Debug)]
pub(crate) struct Shelf(Arc<Model>, AtomicBool);

impl Repository for Shelf {
    fn find(&self, name: &str) -> Option<Arc<Model>> {
        let there = name == self.0.name() && self.1.load(Ordering::Relaxed);
        there.then(|| Arc::clone(&self.0))
    }

    fn index(&self) -> Vec<Entry> {
        vec![Entry {
            name: self.0.name().to_owned(),
            version: "v1".to_owned(),
            ready: self.1.load(Ordering::Relaxed),
            reason: String::new(),
        }]
    }

    fn load(&self, name: &str) -> Result<(), Refusal> {
        self.set(name, true)
    }

    fn unload(&self, name: &str) -> Result<(), Refusal> {
        self.set(name, false)
    }
}

impl Shelf {
    fn set(&self, name: &str, there: bool) -> Result<(), Refusal> {
        if name != self.0.name() {
            return Err(Refusal::Unknown);
        }
        self.1.store(there, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) fn mlserver() -> Manner {
    Manner {
        compat: Compat::Mlserver,
        ..Manner::default()
    }
}

pub(crate) fn shelf() -> Shelf {
    let settings = ModelSettings::parse(r#"{"name": "iris", "parameters": {"version": "v1"}}"#);
    let model = Model::clone(&iris()).with_settings(settings.unwrap());
    Shelf(Arc::new(model), AtomicBool::new(true))
}

#[test]
fn answers_are_those_of_mlserver() {
    let shelf = shelf();
    let manner = mlserver();
    let probes = probes(include_str!("../golden/mlserver.txt"));
    assert_eq!(probes.len(), 45);
    replay("mlserver", &probes, &[], |probe| {
        probe.send(&manner, &shelf)
    });
}

macro_rules! model {
    ($folder:literal, $file:literal) => {
        (
            $folder,
            $file,
            include_bytes!(concat!("../models/mlserver/", $folder, "/", $file)).as_slice(),
        )
    };
}

/// Several models that stay.
struct Shelves(Vec<Arc<Model>>);

impl Repository for Shelves {
    fn find(&self, name: &str) -> Option<Arc<Model>> {
        self.0.iter().find(|model| model.name() == name).cloned()
    }

    fn index(&self) -> Vec<Entry> {
        Vec::new()
    }

    fn load(&self, _: &str) -> Result<(), Refusal> {
        Err(Refusal::Unknown)
    }

    fn unload(&self, _: &str) -> Result<(), Refusal> {
        Err(Refusal::Unknown)
    }
}

/// `examples/models/train.py mlserver` makes the models.
#[test]
fn boosters_are_answered_as_by_mlserver() {
    let models = [
        model!("xgb-three", "model.json"),
        model!("xgb-two", "model.ubj"),
        model!("xgb-number", "model.json"),
        model!("xgb-trained", "model.ubj"),
        model!("lgb-three", "model.bst"),
        model!("lgb-two", "model.bst"),
        model!("cat-three", "model.cbm"),
        model!("cat-two", "model.bin"),
        model!("cat-words", "model.cbm"),
        model!("cat-number", "model.cbm"),
    ];
    let options = Options {
        estimators: true,
        ..Options::default()
    };
    let shelves = models.map(|(name, file, bytes)| {
        let settings = ModelSettings::parse(r#"{"parameters": {"version": "v1"}}"#);
        let model = Model::load(name, file, bytes, &options).unwrap();
        Arc::new(model.with_settings(settings.unwrap()))
    });
    let shelves = Shelves(shelves.into());
    let probes = probes(include_str!("../golden/mlserver_boosters.txt"));
    assert_eq!(probes.len(), 70);
    let manner = mlserver();
    replay("mlserver_boosters", &probes, &[], |probe| {
        probe.send(&manner, &shelves)
    });
}

/// The messages were compared with MLServer's, byte by byte.
#[test]
fn calls_are_answered_as_by_mlserver() {
    let file = include_bytes!("../models/words.joblib");
    let words = Model::load("words", "model.joblib", file, &Options::default()).unwrap();
    let words = Arc::new(words);
    let manner = mlserver();
    let ask =
        |method: &str, message: Encoder| call(&words, &manner, method, message.finish().into());
    let contents = Encoder::default().always(8, b"good plot");
    let input = Encoder::default()
        .bytes(1, b"input-0")
        .bytes(2, b"BYTES")
        .numbers(3, [1])
        .always(5, &contents.finish())
        .finish();
    let request = |inputs: usize, outputs: &[&str]| {
        let request = Encoder::default().bytes(1, b"words").bytes(3, b"7");
        let request = (0..inputs).fold(request, |request, _| request.always(5, &input));
        outputs.iter().fold(request, |request, name| {
            request.always(6, &Encoder::default().bytes(1, name.as_bytes()).finish())
        })
    };
    // Every output that is asked for, in that order.
    let reply = ask("ModelInfer", request(1, &["predict_proba", "predict"])).unwrap();
    let shown = escape(&reply);
    let places = ["predict_proba", "FP64", "predict\\x12", "BYTES"].map(|part| shown.find(part));
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{shown}"
    );
    for inputs in [0, 2] {
        let status = ask("ModelInfer", request(inputs, &[])).unwrap_err();
        assert_eq!(status.code, Code::InvalidArgument);
        let expected = format!("only supports a single input tensor ({inputs} were received)");
        assert!(status.message.ends_with(&expected), "{}", status.message);
    }
    let load = Encoder::default().bytes(2, b"words");
    assert_eq!(ask("RepositoryModelLoad", load).unwrap(), b"");
}

/// A tensor of text, as a call has it and as a request has it.
fn text(text: &str, content_type: &str) -> (Encoder, String) {
    let contents = Encoder::default().always(8, text.as_bytes());
    let kind = Encoder::default().bytes(3, content_type.as_bytes());
    let parameter = Encoder::default()
        .bytes(1, b"content_type")
        .always(2, &kind.finish());
    let input = Encoder::default()
        .bytes(1, b"input-0")
        .bytes(2, b"BYTES")
        .numbers(3, [1])
        .always(4, &parameter.finish())
        .always(5, &contents.finish());
    let call = Encoder::default()
        .bytes(1, b"words")
        .always(5, &input.finish());
    let request = format!(
        r#"{{"inputs":[{{"name":"input-0","datatype":"BYTES","shape":[1],"data":["{text}"],
            "parameters":{{"content_type":"{content_type}"}}}}]}}"#
    );
    (call, request)
}

#[test]
fn content_types_of_tensors_are_read() {
    let file = include_bytes!("../models/words.joblib");
    let words = Model::load("words", "model.joblib", file, &Options::default()).unwrap();
    let words = Arc::new(words);
    let check = |given: &str, content_type: &str, expected: Result<&str, &str>| {
        let (message, request) = text(given, content_type);
        let called = call(&words, &mlserver(), "ModelInfer", message.finish().into());
        let asked = send_as(
            &mlserver(),
            &words,
            "POST",
            "/v2/models/words/infer",
            &[],
            request.as_bytes(),
        );
        let asked = String::from_utf8_lossy(asked.body()).into_owned();
        match expected {
            Ok(label) => {
                let called = called.unwrap();
                assert!(called.ends_with(label.as_bytes()), "{}", escape(&called));
                assert!(asked.contains(&format!(r#""data":["{label}"]"#)), "{asked}");
            }
            Err(why) => {
                let status = called.unwrap_err();
                assert_eq!(
                    (status.code, &*status.message),
                    (Code::InvalidArgument, why)
                );
                assert!(asked.contains(why), "{asked}");
            }
        }
    };
    check("good plot", "str", Ok("+"));
    check("Z29vZCBwbG90", "base64", Ok("+"));
    check("good plot", "base64", Err("expected text in base64"));
    check(
        "2024-05-01T12:00:00",
        "datetime",
        Err("no model here takes dates: without the content type `datetime` they are text"),
    );
}

#[test]
fn requests_and_calls_are_counted_by_the_names_of_mlserver() {
    let (shelf, manner) = (shelf(), mlserver());
    let ask = |method: &str, path: &str| send_as(&manner, &shelf, method, path, &[], b"");
    for (method, path) in [
        ("GET", "/v2/models/iris"),
        ("GET", "/v2/models/iris"),
        ("GET", "/v2/models/iris/versions/v1/ready"),
        ("GET", "/v2/models/nope"),
        ("POST", "/v2"),
        ("BREW", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/favicon.ico"),
    ] {
        ask(method, path);
    }
    let name = |name: &str| Encoder::default().bytes(1, name.as_bytes()).finish();
    for (method, message) in [
        ("ServerLive", Vec::new()),
        ("ModelReady", name("iris")),
        ("ModelReady", name("nope")),
        ("Nothing", Vec::new()),
    ] {
        drop(call(&shelf, &manner, method, message.into()));
    }
    let metrics = ask("GET", "/metrics");
    let metrics = String::from_utf8_lossy(metrics.body());
    let rest = |method: &str, path: &str, status: u16| {
        format!(
            "app_name=\"mlserver\",method=\"{method}\",path=\"{path}\",status_code=\"{status}\""
        )
    };
    let model = "/v2/models/{model_name}";
    let ready = "/v2/models/{model_name}/versions/{model_version}/ready";
    let grpc = |method: &str| {
        format!(
            "grpc_method=\"{method}\",grpc_service=\"inference.GRPCInferenceService\",grpc_type=\"UNARY\""
        )
    };
    let expected = [
        "# TYPE rest_server_requests_total counter".to_owned(),
        format!(
            "rest_server_requests_total{{{}}} 2.0",
            rest("GET", model, 200)
        ),
        format!(
            "rest_server_requests_total{{{}}} 1.0",
            rest("GET", model, 404)
        ),
        format!(
            "rest_server_requests_total{{{}}} 1.0",
            rest("GET", ready, 200)
        ),
        "# TYPE rest_server_request_duration_seconds histogram".to_owned(),
        format!(
            "rest_server_request_duration_seconds_bucket{{le=\"+Inf\",{}}} 2.0",
            rest("GET", model, 200)
        ),
        format!(
            "rest_server_request_duration_seconds_count{{{}}} 2.0",
            rest("GET", model, 200)
        ),
        "rest_server_requests_in_progress{app_name=\"mlserver\",method=\"GET\"} 0.0".to_owned(),
        format!("grpc_server_started_total{{{}}} 2.0", grpc("ModelReady")),
        format!(
            "grpc_server_handled_total{{grpc_code=\"OK\",{}}} 1.0",
            grpc("ModelReady")
        ),
        format!(
            "grpc_server_handled_total{{grpc_code=\"NOT_FOUND\",{}}} 1.0",
            grpc("ModelReady")
        ),
        format!(
            "grpc_server_handling_seconds_count{{{}}} 1.0",
            grpc("ServerLive")
        ),
    ];
    for line in expected {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("rest_server_requests_total{"));
    assert_eq!(series.count(), 3, "{metrics}");
    for absent in ["=\"405\"", "BREW", "health", "favicon", "Nothing"] {
        assert!(!metrics.contains(absent), "{absent} in {metrics}");
    }
    let plain = send_as(&Manner::default(), &shelf, "GET", "/metrics", &[], b"");
    assert!(!String::from_utf8_lossy(plain.body()).contains("rest_server"));
}
