//! Requests of V1, V2 (JSON and binary), CloudEvents and gRPC to models of numbers,
//! named columns and text, and to a graph, some of them compressed: an answer, and for mistakes one that says so.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use inference::encoding::Coding;
use inference::{Compat, Entry, Head, Manner, Model, Options, Refusal, Repository};

use super::Target;
use super::bytes::mutated;
use super::random::Random;

pub(super) struct Requests {
    models: Folder,
    bodies: Vec<Vec<u8>>,
    paths: Vec<&'static str>,
    /// One in so many is a call of gRPC.
    calls: usize,
}

/// What can be asked for alone.
pub(super) const PROTOCOLS: [&str; 3] = ["v1", "v2", "grpc"];

struct Folder(Vec<Arc<Model>>);

impl Repository for Folder {
    fn find(&self, name: &str) -> Option<Arc<Model>> {
        self.0.iter().find(|model| model.name() == name).cloned()
    }

    fn index(&self) -> Vec<Entry> {
        let entry = |model: &Arc<Model>| Entry {
            name: model.name().to_owned(),
            version: String::new(),
            ready: true,
            reason: String::new(),
        };
        self.0.iter().map(entry).collect()
    }

    fn load(&self, name: &str) -> Result<(), Refusal> {
        self.find(name).map(|_| ()).ok_or(Refusal::Unknown)
    }

    fn unload(&self, name: &str) -> Result<(), Refusal> {
        self.load(name)
    }
}

const MODELS: [(&str, &str); 5] = [
    ("iris", "examples/models/sklearn-iris/model.joblib"),
    ("mixed", "crates/inference/tests/models/mixed.joblib"),
    ("words", "crates/inference/tests/models/words.joblib"),
    ("booster", "crates/inference/tests/models/booster.ubj"),
    ("rooms", "crates/inference/tests/models/rooms.onnx"),
];

/// Requests that are answered, to begin with.
const BODIES: [&str; 14] = [
    r#"{"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}"#,
    r#"{"inputs": [[1, 2, 3, null]], "instances": []}"#,
    r#"{"instances": ["some text", "more é\u00e9"]}"#,
    r#"{"instances": [{"age": [30.5], "city": ["a"]}, {"age": {"0": 1}, "city": {"0": "b"}}]}"#,
    r#"{"instances": [{"age": 30.5, "city": "a"}]}"#,
    r#"{"instances": [{"city": "Ulm", "kind": "a", "rooms": 3, "area": 80.5, "price": 0.25}]}"#,
    r#"{"inputs": [{"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Ulm"]}, {"name": "kind", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}, {"name": "rooms", "shape": [1, 1], "datatype": "INT64", "data": [3]}, {"name": "area", "shape": [1, 1], "datatype": "FP32", "data": [80.5]}, {"name": "price", "shape": [1, 1], "datatype": "FP32", "data": [0.25]}], "outputs": [{"name": "label"}]}"#,
    r#"{"id": "7", "inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": [6.8, 2.8, 4.8, 1.4, 6.0, 3.4, 4.5, 1.6]}]}"#,
    r#"{"inputs": [{"name": "a", "shape": [1, 4], "datatype": "INT64", "data": [[1, 2, 3, 4]], "parameters": {"content_type": "np"}}], "outputs": [{"name": "output-0", "parameters": {"binary_data": true}}]}"#,
    r#"{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [3]}, {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["a"]}], "parameters": {"content_type": "pd"}}"#,
    r#"{"inputs": [{"name": "t", "shape": [1, 1], "datatype": "BYTES", "data": ["text"]}]}"#,
    r#"{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"instances": [[1, 2, 3, 4]]}}"#,
    r#"{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data_base64": "eyJpbnN0YW5jZXMiOltbMSwyLDMsNF1dfQ=="}"#,
    r#"{"inputs":[{"name":"i","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}0123456789abcdef"#,
];

const HEADERS: [(&str, &str); 10] = [
    ("content-type", "application/json"),
    ("content-type", "application/octet-stream"),
    ("content-type", "application/cloudevents+json"),
    ("inference-header-content-length", "89"),
    ("inference-header-content-length", "18446744073709551616"),
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "s"),
    ("ce-type", "t"),
    ("content-encoding", "gzip"),
];

const ENDINGS: [&str; 9] = [
    "/v1/models/NAME:predict",
    "/v1/models/NAME:predict",
    "/v1/models/NAME:explain",
    "/v1/models/NAME",
    "/v2/models/NAME/infer",
    "/v2/models/NAME/infer",
    "/v2/models/NAME/versions/1/infer",
    "/v2/repository/index",
    "/v2/repository/models/NAME/load",
];

const CALLS: [&str; 6] = [
    "ModelInfer",
    "ModelInfer",
    "ModelInfer",
    "ModelMetadata",
    "RepositoryModelLoad",
    "ServerMetadata",
];

impl Requests {
    /// Requests of one of [`PROTOCOLS`], or of all.
    pub(super) fn new(protocol: Option<&str>) -> Result<Self> {
        let load = |(name, path): (&str, &str)| -> Result<Arc<Model>> {
            let bytes = std::fs::read(path).with_context(|| path.to_owned())?;
            Ok(Arc::new(Model::load(
                name,
                path,
                &bytes,
                &Options::default(),
            )?))
        };
        let models = MODELS.into_iter().map(load).collect::<Result<_>>()?;
        let mut bodies: Vec<Vec<u8>> = BODIES.iter().map(|body| body.as_bytes().to_vec()).collect();
        bodies.extend(messages());
        Ok(Self {
            models: Folder(models),
            bodies,
            paths: ENDINGS
                .into_iter()
                .filter(|path| protocol.is_none_or(|name| path.get(1..3) == Some(name)))
                .collect(),
            calls: match protocol {
                None => 3,
                Some("grpc") => 1,
                Some(_) => usize::MAX,
            },
        })
    }

    fn made(&self, random: &mut Random) -> Made {
        let body = match random.one_in(8) {
            true => random.of(&self.bodies).cloned().unwrap_or_default(),
            false => mutated(random, &self.bodies),
        };
        let names = MODELS.map(|(name, _)| name);
        let path = random
            .word(&self.paths)
            .replace("NAME", random.word(&names));
        let mut headers = Vec::new();
        for _ in 0..random.below(4) {
            headers.extend(random.of(&HEADERS).copied());
        }
        // Compressed, and often damaged behind that.
        let packed = random.one_in(6);
        let body = match packed {
            true if random.one_in(2) => Coding::gzip(&body),
            true => mutated(random, &[Coding::gzip(&body)]),
            false => body,
        };
        Made {
            packed,
            method: if random.one_in(9) {
                Method::GET
            } else {
                Method::POST
            },
            path,
            headers,
            compat: match random.below(4) {
                0 => Compat::Strict,
                1 => Compat::Mlserver,
                _ => Compat::Kserve,
            },
            call: random
                .one_in(self.calls)
                .then(|| random.word(&CALLS).to_owned()),
            body: body.into(),
        }
    }
}

#[derive(Debug)]
struct Made {
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    compat: Compat,
    /// The body is compressed.
    packed: bool,
    /// It is one of gRPC.
    call: Option<String>,
    body: Bytes,
}

/// Messages of gRPC: a field is its number and type, its length, its bytes.
fn messages() -> Vec<Vec<u8>> {
    let field = |number: u8, bytes: &[u8]| -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap_or(0x7f);
        [&[number << 3 | 2, length], bytes].concat()
    };
    let floats: Vec<u8> = [6.8_f32, 2.8, 4.8, 1.4]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let tensor = |contents: &[u8]| {
        let head = [field(1, b"input-0"), field(2, b"FP32"), field(3, &[1, 4])];
        let mut tensor = head.concat();
        if !contents.is_empty() {
            tensor.extend(field(5, &field(6, contents)));
        }
        field(5, &tensor)
    };
    let name = field(1, b"iris");
    vec![
        [name.clone(), tensor(&floats)].concat(),
        [name.clone(), tensor(&[]), field(7, &floats)].concat(),
        [
            name.clone(),
            field(3, b"id"),
            field(4, &field(1, b"p")),
            tensor(&floats),
        ]
        .concat(),
        name,
    ]
}

/// A body as the server inflates it, within a bound; `None` if it refuses it.
fn inflated(body: &[u8]) -> Result<Option<Bytes>, String> {
    const BOUND: usize = 1 << 18;
    let mut left = BOUND;
    let inflated = Coding::Gzip.inflate(body, &mut |more| {
        let enough = left >= more;
        left = left.saturating_sub(more);
        enough
    });
    match inflated {
        Ok(body) if body.len() > BOUND => Err(format!("{} bytes of {BOUND}", body.len())),
        Ok(body) => Ok(Some(body.into())),
        Err(_) => Ok(None),
    }
}

impl Target for Requests {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let mut made = self.made(random);
        if made.packed {
            match inflated(&made.body) {
                Ok(Some(body)) => made.body = body,
                Ok(None) => return Ok("not inflated"),
                Err(wrong) => return Err(wrong),
            }
        }
        let manner = Manner {
            compat: made.compat,
            ..Manner::default()
        };
        if let Some(method) = &made.call {
            return match inference::grpc::call(&self.models, &manner, method, made.body) {
                Ok(_) => Ok("gRPC answered"),
                Err(status) if status.message.is_empty() => {
                    Err(format!("{:?} without a reason", status.code))
                }
                Err(status) if status.code == inference::grpc::Code::Internal => {
                    Err(format!("internal: {}", status.message))
                }
                Err(_) => Ok("gRPC refused"),
            };
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &made.headers {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let head = Head {
            method: &made.method,
            path: &made.path,
            headers: &headers,
        };
        let response = inference::handle(&self.models, &manner, head, &made.body);
        let (status, body) = (response.status(), response.body());
        let is_json = || serde_json::from_slice::<serde_json::Value>(body).is_ok();
        match status.as_u16() {
            200 => Ok("answered"),
            400..=499 if body.is_empty() || is_json() => Ok("refused"),
            501 if is_json() => Ok("not done"),
            // As KServe's server answers mistakes.
            500 if made.compat == Compat::Strict && is_json() => Ok("refused as KServe does"),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(body))),
        }
    }

    fn input(&self, random: &mut Random) -> String {
        format!("{:?}", self.made(random))
    }
}
