//! Graphs of ONNX: the same answers as ONNX Runtime's, and files that are damaged.

use crate::archive::{parts, paths};
use crate::replay::{DOUBLE, Distance, SINGLE, page_has, replay_all};
use models::{Graph, Limits, Tensor, Values};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A model, what ONNX Runtime was asked with it, and what it answered.
#[derive(Clone)]
struct Case {
    name: String,
    kind: String,
    version: String,
    bytes: Vec<u8>,
    asked: Vec<(Vec<Named>, Vec<Named>)>,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.version, self.name)
    }
}

#[derive(Debug, Clone)]
struct Named {
    name: String,
    tensor: Tensor,
    keys: Option<Vec<serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    kind: String,
    asked: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    inputs: Vec<Written>,
    outputs: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    shape: Vec<usize>,
    texts: Option<Vec<String>>,
    #[serde(default)]
    at: usize,
    #[serde(default)]
    dtype: String,
    keys: Option<Vec<serde_json::Value>>,
}

impl Written {
    fn read(self, numbers: &[u8]) -> Named {
        let count: usize = self.shape.iter().product();
        let bytes = &numbers[self.at.min(numbers.len())..];
        let values = match (self.texts, self.dtype.as_str()) {
            (Some(texts), _) => Values::Text(texts),
            (_, "f4") => Values::Float(array(bytes, count, f32::from_le_bytes)),
            (_, "f8") => Values::Double(array(bytes, count, f64::from_le_bytes)),
            (_, "i8") => Values::Int64(array(bytes, count, i64::from_le_bytes)),
            (_, "i4") => Values::Int32(array(bytes, count, i32::from_le_bytes)),
            (_, "b1") => Values::Bool(bytes[..count].iter().map(|byte| *byte != 0).collect()),
            (_, other) => panic!("{other}"),
        };
        Named {
            name: self.name,
            tensor: Tensor::new(self.shape, values).unwrap(),
            keys: self.keys,
        }
    }
}

fn array<const N: usize, T>(bytes: &[u8], count: usize, from: impl Fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes[..count * N].as_chunks().0;
    chunks.iter().map(|bytes| from(*bytes)).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut paths = paths("onnx");
    paths.sort();
    for path in paths {
        let version = path.file_stem().unwrap().to_string_lossy().into_owned();
        let version = version.split_once('-').unwrap().1.to_owned();
        for [header, bytes, numbers] in parts(&path) {
            let header: Header = serde_json::from_slice(&header).unwrap();
            let read = |written: Vec<Written>| {
                let tensors = written.into_iter().map(|tensor| tensor.read(&numbers));
                tensors.collect::<Vec<_>>()
            };
            let asked = header.asked.into_iter();
            cases.push(Case {
                name: header.name,
                kind: header.kind,
                version: version.clone(),
                bytes,
                asked: asked
                    .map(|asked| (read(asked.inputs), read(asked.outputs)))
                    .collect(),
            });
        }
    }
    cases
}

fn replay(case: &Case) -> Result<Distance, String> {
    let graph = Graph::load(&case.bytes, &Limits::default()).map_err(|error| error.to_string())?;
    let mut worst = Distance::default();
    for (number, (given, expected)) in case.asked.iter().enumerate() {
        let inputs = graph.inputs().iter().map(|port| {
            let found = given.iter().find(|named| named.name == port.name);
            found.unwrap().tensor.clone()
        });
        let found = graph
            .run(inputs.collect())
            .map_err(|error| format!("input {number}: {error}"))?;
        for ((port, found), expected) in graph.outputs().iter().zip(&found).zip(expected) {
            let place = |what: String| format!("input {number}, output `{}`: {what}", port.name);
            if port.name != expected.name {
                return Err(place(format!("`{}` expected", expected.name)));
            }
            let keys = port.keys.as_ref().map(|keys| {
                let key = |index: usize| match keys {
                    models::Labels::Strings(names) => serde_json::json!(names[index]),
                    models::Labels::Integers(ints, _) => serde_json::json!(ints[index]),
                    other => panic!("{other:?}"),
                };
                (0..keys.len()).map(key).collect::<Vec<_>>()
            });
            if keys != expected.keys {
                return Err(place(format!("{keys:?}, expected {:?}", expected.keys)));
            }
            let largest = largest(case, &port.name);
            compare(&expected.tensor, found, largest, bound(case), &mut worst).map_err(place)?;
        }
    }
    Ok(worst)
}

/// The largest finite float that the runtime answered in that output.
fn largest(case: &Case, output: &str) -> f64 {
    let outputs = case.asked.iter().flat_map(|(_, outputs)| outputs);
    let of = outputs.filter(|named| named.name == output);
    let values = of.flat_map(|named| match named.tensor.values() {
        Values::Float(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::Double(values) => values.clone(),
        _ => Vec::new(),
    });
    let finite = values.filter(|value| value.is_finite());
    finite.fold(0.0, |largest, value| value.abs().max(largest))
}

/// Kinds of models that are further away. docs/models.md says why.
const FURTHER: &[(&str, f64)] = &[
    ("PROBIT", 128.0),
    ("QuadraticDiscriminantAnalysis", 16.0),
    ("GaussianNB", 16.0),
    ("BernoulliNB", 16.0),
    ("LocalOutlierFactor", 8.0),
    ("SVR", 16.0),
    ("SVMRegressor", 4.0),
    ("SVMClassifier", 4.0),
    ("hummingbird naive Bayes", 64.0),
];

/// Units of double precision in one of single precision: what a node computed in that and only then was cast.
const CAST: f64 = (1_u64 << 29) as f64;

fn bound(case: &Case) -> Distance {
    let further = FURTHER.iter().find(|(kind, _)| *kind == case.kind);
    match further {
        Some((_, bound)) => Distance {
            single: *bound,
            double: *bound,
            ..Distance::default()
        },
        None if matches!(case.kind.as_str(), "SVC" | "NuSVC") => Distance {
            single: SINGLE,
            double: SINGLE * CAST,
            ..Distance::default()
        },
        None => Distance {
            single: SINGLE,
            double: DOUBLE,
            ..Distance::default()
        },
    }
}

fn compare(
    expected: &Tensor,
    found: &Tensor,
    largest: f64,
    bound: Distance,
    worst: &mut Distance,
) -> Result<(), String> {
    if expected.shape() != found.shape() {
        return Err(format!(
            "the shape {:?} expected, {:?} found",
            expected.shape(),
            found.shape()
        ));
    }
    match (expected.values(), found.values()) {
        (Values::Float(expected), Values::Float(found)) => {
            let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let largest = largest as f32;
            let unit = f64::from(largest.next_up() - largest);
            floats(
                &wide(expected),
                &wide(found),
                unit,
                bound.single,
                &mut worst.single,
            )
        }
        (Values::Double(expected), Values::Double(found)) => {
            let unit = largest.next_up() - largest;
            floats(expected, found, unit, bound.double, &mut worst.double)
        }
        (expected, found) if expected == found => Ok(()),
        (expected, found) => Err(format!("{expected:?} expected, {found:?} found")),
    }
}

fn floats(
    expected: &[f64],
    found: &[f64],
    unit: f64,
    bound: f64,
    worst: &mut f64,
) -> Result<(), String> {
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        if expected == found || (expected.is_nan() && found.is_nan()) {
            continue;
        }
        let distance = (expected - found).abs() / unit;
        if distance.is_nan() || distance > bound {
            return Err(format!(
                "{expected} expected at {index}, {found} found, {distance} units"
            ));
        }
        *worst = worst.max(distance);
    }
    Ok(())
}

#[test]
fn graphs_are_answered_as_by_onnx_runtime() {
    let cases = cases();
    assert!(cases.len() >= 150, "only {} models", cases.len());
    let distances = replay_all(&cases, replay);
    let mut table: BTreeMap<&str, (usize, Distance)> = BTreeMap::new();
    for (case, distance) in cases.iter().zip(distances) {
        let (count, worst) = table.entry(&case.kind).or_default();
        *count += 1;
        worst.widen(distance);
    }
    let mut measured = format!(
        "\n{} models, ONNX Runtime {}.\n\n| kind | models | single | double |\n|---|---|---|---|\n",
        cases.len(),
        cases[0].version.split('+').next().unwrap()
    );
    for (kind, (count, worst)) in table {
        let (single, double) = (worst.single.ceil(), worst.double.ceil());
        writeln!(measured, "| {kind} | {count} | {single} | {double} |").unwrap();
    }
    page_has("measured onnx", &measured);
}

fn limits() -> Limits {
    Limits {
        file_bytes: 1 << 20,
        objects: 20_000,
        depth: 8,
        compiled_bytes: 1 << 20,
        tensor_bytes: 1 << 18,
        ..Limits::default()
    }
}

/// Loads, and asks the model if there is one, as its own inputs say.
fn survive(bytes: &[u8], asked: &[(Vec<Named>, Vec<Named>)]) {
    let Ok(graph) = Graph::load(bytes, &limits()) else {
        return;
    };
    for (given, _) in asked {
        let inputs = given.iter().map(|named| named.tensor.clone());
        let _ = graph.run(inputs.collect());
    }
}

/// All lengths of small files, and some of others. What can be missing is what says nothing of the answer.
#[test]
fn a_truncated_graph_is_an_error_or_the_same() {
    let said = |graph: &Graph, case: &Case| {
        let given = case.asked.iter().map(|(given, _)| given);
        let given = given.map(|given| given.iter().map(|named| named.tensor.clone()).collect());
        let all: Vec<_> = given.map(|inputs| graph.run(inputs)).collect();
        format!("{all:?}")
    };
    let mut every = 0;
    for (number, case) in cases().iter().enumerate() {
        let step = match case.bytes.len() {
            ..700 => 1,
            _ if number % 9 == 0 => 1 + case.bytes.len() / 1500,
            _ => continue,
        };
        every += usize::from(step == 1);
        let whole = Graph::load(&case.bytes, &limits()).map(|graph| said(&graph, case));
        for length in (0..case.bytes.len()).step_by(step) {
            if let Ok(graph) = Graph::load(&case.bytes[..length], &limits()) {
                let found = said(&graph, case);
                assert_eq!(Ok(found), whole, "{} at {length}", case.name);
            }
        }
    }
    assert!(every > 100, "only {every} small files");
}

#[test]
fn flipped_bits_of_a_graph_do_no_harm() {
    for (number, case) in cases().into_iter().enumerate() {
        let mut bytes = case.bytes;
        let step = 1 + bytes.len() / 16;
        for at in (number % step..bytes.len()).step_by(step) {
            let bit = 1 << ((at / step + number) % 8);
            bytes[at] ^= bit;
            survive(&bytes, &case.asked);
            bytes[at] ^= bit;
        }
    }
}
