//! The archives below `tests/corpus`; `corpus/archive.py` writes them.

use models::{Cell, Column, Matrix, Precision, Table};
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A model file, what scikit-learn was asked with it, and what it answered.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) writing: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) asked: Vec<(Given, Vec<(String, Answer)>)>,
}

impl Case {
    /// Its name without its variant.
    pub(crate) fn kind(&self) -> &str {
        self.name.split(' ').next().unwrap()
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            version,
            writing,
            ..
        } = self;
        write!(f, "{version} {name} ({writing})")
    }
}

#[derive(Clone)]
pub(crate) enum Given {
    Matrix(Matrix),
    Table(Table),
}

impl Given {
    pub(crate) fn input(&self) -> models::Input<'_> {
        match self {
            Self::Matrix(matrix) => models::Input::Matrix(matrix),
            Self::Table(table) => models::Input::Table(table),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Numbers(Vec<f64>, Vec<usize>, Precision),
    /// With numpy's name of their type, and their shape.
    Labels(Vec<Value>, String, Vec<usize>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    writing: String,
    asked: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    input: Input,
    answers: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Input {
    Matrix(Blob),
    Texts(Vec<String>),
    Table(Vec<Named>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: Option<String>,
    numbers: Option<Blob>,
    cells: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    at: usize,
    shape: Vec<usize>,
    single: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    labels: Vec<Value>,
    dtype: String,
    shape: Vec<usize>,
}

/// The cases of every version, in the order of the files.
pub(crate) fn cases() -> Vec<Case> {
    let mut paths = paths("corpus");
    paths.sort_by_key(|path| numbers(path));
    paths.iter().flat_map(|path| read(path)).collect()
}

/// The cases of every version of the gradient boosting libraries; a version is `xgboost-2.1.4`.
pub(crate) fn boosted() -> Vec<Case> {
    let mut paths = paths("boosted");
    paths.sort();
    paths.iter().flat_map(|path| read(path)).collect()
}

/// The cases of every version of skops; a version is `0.16.0+1.9.1`, the second being scikit-learn's.
pub(crate) fn skops() -> Vec<Case> {
    let mut paths = paths("skops");
    paths.sort_by_key(|path| numbers(path));
    paths.iter().flat_map(|path| read(path)).collect()
}

/// The archives of a folder; of `SIDEGATE_ARCHIVES` in place of `tests` where `cargo xtask record --models --check` has made
/// others.
pub(crate) fn paths(folder: &str) -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let base = std::env::var_os("SIDEGATE_ARCHIVES").map_or(tests, PathBuf::from);
    std::fs::read_dir(base.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "xz"))
        .collect()
}

fn numbers(path: &Path) -> Vec<u32> {
    let stem = path.file_stem().unwrap().to_string_lossy();
    let parts = stem.split(|part: char| !part.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// The cases of a file: header, model, numbers.
pub(crate) fn parts(path: &Path) -> Vec<[Vec<u8>; 3]> {
    let mut bytes = Vec::new();
    lzma_rust2::XzReader::new(std::fs::File::open(path).unwrap(), true)
        .read_to_end(&mut bytes)
        .unwrap();
    let mut rest = bytes.as_slice();
    let mut next = || {
        let (length, after) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().unwrap());
        let (part, after) = after.split_at(usize::try_from(length).unwrap());
        rest = after;
        Some(part.to_vec())
    };
    let mut cases = Vec::new();
    while let Some(header) = next() {
        cases.push([header, next().unwrap(), next().unwrap()]);
    }
    cases
}

fn read(path: &Path) -> Vec<Case> {
    let version = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut cases = Vec::new();
    for [header, file, numbers] in parts(path) {
        let header: Header = serde_json::from_slice(&header).unwrap();
        let numbers = numbers.as_slice();
        cases.push(Case {
            name: header.name,
            version: version.clone(),
            writing: header.writing,
            bytes: file,
            asked: header
                .asked
                .into_iter()
                .map(|asked| {
                    let answers = asked.answers.into_iter();
                    (
                        given(asked.input, numbers),
                        answers
                            .map(|(method, value)| (method, answer(value, numbers)))
                            .collect(),
                    )
                })
                .collect(),
        });
    }
    cases
}

fn given(input: Input, numbers: &[u8]) -> Given {
    match input {
        Input::Matrix(blob) => {
            let (rows, columns) = (blob.shape[0], blob.shape[1]);
            let (values, precision) = blob.read(numbers);
            Given::Matrix(Matrix::new(values, rows, columns, precision).unwrap())
        }
        Input::Texts(texts) => Given::Table(Table::of_texts(texts)),
        Input::Table(columns) => {
            let column = |named: Named| {
                let column = match (named.numbers, named.cells) {
                    (Some(blob), _) => {
                        let (values, precision) = blob.read(numbers);
                        Column::Numbers(values, precision)
                    }
                    (_, cells) => Column::Cells(cells.unwrap().iter().map(cell).collect()),
                };
                (named.name, column)
            };
            Given::Table(Table::new(columns.into_iter().map(column).collect()).unwrap())
        }
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::None,
        Value::String(text) => Cell::Text(text.clone()),
        Value::Bool(truth) => Cell::Number(f64::from(u8::from(*truth))),
        Value::Number(number) => Cell::Number(number.as_f64().unwrap()),
        // NaN, which JSON has not.
        _ => Cell::Number(f64::NAN),
    }
}

fn answer(value: Value, numbers: &[u8]) -> Answer {
    if let Some(blob) = value.get("numbers") {
        let blob: Blob = serde_json::from_value(blob.clone()).unwrap();
        let (values, precision) = blob.read(numbers);
        return Answer::Numbers(values, blob.shape, precision);
    }
    let labels: Labels = serde_json::from_value(value).unwrap();
    Answer::Labels(labels.labels, labels.dtype, labels.shape)
}

impl Blob {
    fn read(&self, numbers: &[u8]) -> (Vec<f64>, Precision) {
        let count: usize = self.shape.iter().product();
        let bytes = &numbers[self.at..];
        if self.single {
            let values = bytes[..count * 4].as_chunks().0.iter();
            let values = values.map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
            (values.collect(), Precision::Single)
        } else {
            let values = bytes[..count * 8].as_chunks().0.iter();
            (
                values.map(|bytes| f64::from_le_bytes(*bytes)).collect(),
                Precision::Double,
            )
        }
    }
}
