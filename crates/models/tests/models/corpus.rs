//! The golden cases on disk; `examples/models/train.py` makes them.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A model file and what scikit-learn says about its input.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

impl Case {
    /// Whether it is a pickle or a file of joblib without compression.
    pub(crate) fn is_plain(&self) -> bool {
        let compressions = [".z", ".gzip.", ".bz2.", ".xz.", ".lzma.", ".lz4."];
        let name = self.name.rsplit('/').next().unwrap_or_default();
        !compressions.iter().any(|word| name.contains(word))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) columns: usize,
    pub(crate) single: bool,
    pub(crate) rows: Bits,
    pub(crate) classes: Option<Vec<serde_json::Value>>,
    pub(crate) predict: Predicted,
    pub(crate) predict_proba: Option<Bits>,
    pub(crate) decision_function: Option<Bits>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Predicted {
    Classes(Vec<u32>),
    Values(Bits),
}

/// Floats as the hexadecimal digits of their bits.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Bits(pub(crate) Vec<f64>);

impl TryFrom<String> for Bits {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text
            .as_bytes()
            .chunks(16)
            .map(|chunk| String::from_utf8_lossy(chunk).into_owned());
        digits
            .map(|digits| u64::from_str_radix(&digits, 16).map(f64::from_bits))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// All cases, sorted by name.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for version in entries(&golden) {
        for path in entries(&version) {
            let name = path.strip_prefix(&golden).unwrap().display().to_string();
            let Some(model) = name.strip_suffix(".json") else {
                continue;
            };
            let expected = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            cases.push(Case {
                name: model.to_owned(),
                bytes: std::fs::read(golden.join(model)).unwrap(),
                expected,
            });
        }
    }
    assert!(cases.len() > 60, "only {} golden cases found", cases.len());
    cases
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
