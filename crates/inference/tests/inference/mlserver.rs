//! Requests replayed that MLServer was asked, in their order, and its answers.

use crate::capture::{Differences, escape, probes, replay, the_page_counts};
use crate::requests::iris;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use inference::grpc::wire::Encoder;
use inference::grpc::{Code, call};
use inference::{
    Compat, Entry, Head, Manner, Model, ModelSettings, Options, Refusal, Repository, handle,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers that differ on purpose, by the reason that docs/runtime.md gives.
const DIFFERENCES: &Differences = &[
    (
        "A request that fails is 400 and says why where MLServer answers 500",
        &[
            (
                "wrong shape",
                400,
                r#"{"error":"cannot reshape array of size 8 into shape (3,4)"}"#,
            ),
            (
                "nfeat",
                400,
                r#"{"error":"X has 3 features, but SVC is expecting 4 features as input."}"#,
            ),
            ("binary", 400, r#"{"error":"str is not valid UTF-8: …"#),
        ],
    ),
    (
        "Any content type is read as JSON by `--compat=mlserver`, too",
        &[(
            "text",
            200,
            r#"{"model_name":"iris","model_version":"v1","id":"<uuid>",…"#,
        )],
    ),
    (
        "Metrics are on the port of HTTP, too",
        &[("get /metrics", 200, "# HELP …")],
    ),
];

/// One model, which can be unloaded and loaded again.
#[derive(Debug)]
struct Shelf(Arc<Model>, AtomicBool);

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

#[test]
fn answers_are_those_of_mlserver() {
    let settings = ModelSettings::parse(r#"{"name": "iris", "parameters": {"version": "v1"}}"#);
    let model = Model::clone(&iris()).with_settings(settings.unwrap());
    let shelf = Shelf(Arc::new(model), AtomicBool::new(true));
    let manner = Manner {
        compat: Compat::Mlserver,
        ..Manner::default()
    };
    let probes = probes(include_str!("../golden/mlserver.txt"));
    assert_eq!(probes.len(), 45);
    replay(&probes, DIFFERENCES, &[], |probe| {
        let mut headers = HeaderMap::new();
        for (name, value) in &probe.headers {
            let name = HeaderName::try_from(name).unwrap();
            headers.insert(name, HeaderValue::try_from(value).unwrap());
        }
        let method = Method::try_from(probe.method).unwrap();
        let head = Head {
            method: &method,
            path: probe.path,
            headers: &headers,
        };
        handle(&shelf, &manner, head, &probe.body.clone().into())
    });
}

/// The messages were compared with MLServer's, byte by byte.
#[test]
fn calls_are_answered_as_by_mlserver() {
    let file = include_bytes!("../models/words.joblib");
    let words = Model::load("words", "model.joblib", file, &Options::default()).unwrap();
    let words = Arc::new(words);
    let manner = Manner {
        compat: Compat::Mlserver,
        ..Manner::default()
    };
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

#[test]
fn the_page_gives_every_reason() {
    the_page_counts(DIFFERENCES);
}
