//! Requests replayed that MLServer was asked, in their order, and its answers.

use crate::capture::{Differences, probes, replay, the_page_counts};
use crate::requests::iris;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use inference::{Compat, Entry, Head, Manner, Model, ModelSettings, Refusal, Repository, handle};
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

#[test]
fn the_page_gives_every_reason() {
    the_page_counts(DIFFERENCES);
}
