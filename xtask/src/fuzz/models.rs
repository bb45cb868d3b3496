//! Model files of every format and estimator, damaged: an error, or a model that
//! answers, within the limits.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use models::{ElementType, Graph, Limits, Matrix, Port, Precision, Table, Tensor, Values};

use super::Target;
use super::bytes::mutated;
use super::random::Random;

pub(super) struct Models {
    /// Files that [`models::load`] reads.
    files: Vec<Vec<u8>>,
    /// Files of ONNX, which another function reads.
    graphs: Vec<Vec<u8>>,
}

/// Folders with archives of models that the tests replay.
const ARCHIVES: &str = "crates/models/tests";

/// Larger files take longer and reach no other code.
const LARGEST: usize = 48 << 10;

/// Enough for what is whole.
fn limits() -> Limits {
    Limits {
        file_bytes: 1 << 20,
        decompressed_bytes: 4 << 20,
        objects: 200_000,
        depth: 12,
        compiled_bytes: 16 << 20,
        tensor_bytes: 16 << 20,
    }
}

/// An array of numpy.
const NPY: &[u8] = b"\x93NUMPY\x01\x00\x3a\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The readers that files can be for.
pub(super) const READERS: [&str; 7] = [
    "npy", "pickle", "skops", "xgboost", "lightgbm", "catboost", "onnx",
];

impl Models {
    /// Files for one of [`READERS`], or for all.
    pub(super) fn new(reader: Option<&str>) -> Result<Self> {
        let mut archives: Vec<_> = std::fs::read_dir(ARCHIVES)
            .context(ARCHIVES)?
            .filter_map(|folder| std::fs::read_dir(folder.ok()?.path()).ok())
            .flatten()
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "xz"))
            .collect();
        archives.sort();
        let wanted = |name: &str| reader.is_none_or(|reader| reader == name);
        let (mut files, mut graphs) = (Vec::new(), Vec::new());
        if wanted("npy") {
            files.push(NPY.to_vec());
        }
        for path in archives.iter().filter(|path| wanted(reader_of(path))) {
            let kept = if reader_of(path) == "onnx" {
                &mut graphs
            } else {
                &mut files
            };
            kept.extend(in_archive(path).with_context(|| path.display().to_string())?);
        }
        ensure!(files.len() + graphs.len() > 0, "no file for that reader");
        Ok(Self { files, graphs })
    }
}

/// Who reads the files of an archive, by its folder and name.
fn reader_of(path: &Path) -> &'static str {
    let name = |part: Option<&OsStr>| part.and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let folder = name(path.parent().and_then(Path::file_name));
    let file = name(path.file_name());
    READERS
        .into_iter()
        .find(|reader| folder == *reader || file.starts_with(reader))
        .unwrap_or("pickle")
}

/// The model files of an archive: cases of three parts, each behind its length; the second is the file.
fn in_archive(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    lzma_rust2::XzReader::new(file, true).read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut out = Vec::new();
    for number in 0_usize.. {
        let Some((length, after)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let (part, after) = after.split_at_checked(length).context("cut off")?;
        rest = after;
        if number % 3 == 1 && part.len() <= LARGEST {
            out.push(part.to_vec());
        }
    }
    Ok(out)
}

impl Models {
    /// A damaged file, and whether it was one of ONNX.
    fn made(&self, random: &mut Random) -> (Vec<u8>, bool) {
        let graph = random.below(self.files.len() + self.graphs.len()) < self.graphs.len();
        let files = if graph { &self.graphs } else { &self.files };
        (mutated(random, files), graph)
    }
}

/// Reads a graph, and asks it about tensors of the shapes that it names.
fn graph(bytes: &[u8], random: &mut Random) -> Result<&'static str, String> {
    let graph = match Graph::load(bytes, &limits()) {
        Ok(graph) => graph,
        Err(error) if error.to_string().is_empty() => {
            return Err("refused without a reason".to_owned());
        }
        Err(_) => return Ok("graph refused"),
    };
    let tensors = graph.inputs().iter().map(|port| tensor(port, random));
    let Some(tensors) = tensors.collect::<Option<Vec<_>>>() else {
        return Ok("graph of large inputs");
    };
    match graph.run(tensors) {
        Ok(_) => Ok("graph answers"),
        Err(error) if error.to_string().is_empty() => Err("an error without a reason".to_owned()),
        Err(_) => Ok("graph refuses"),
    }
}

/// A tensor that an input takes; nothing if that were a large one.
fn tensor(port: &Port, random: &mut Random) -> Option<Tensor> {
    let sizes = port.shape.as_deref().unwrap_or(&[None, Some(3)]);
    let shape: Vec<usize> = sizes
        .iter()
        .map(|size| size.unwrap_or_else(|| 1 + random.below(3)))
        .collect();
    let count = shape
        .iter()
        .try_fold(1_usize, |all, size| all.checked_mul(*size))?;
    if count > 1 << 16 {
        return None;
    }
    let values = match port.element {
        ElementType::Float => {
            let of = [0.0, 1.0, -3.5, 1e30, f32::NAN, f32::INFINITY, 1e-40];
            Values::Float(some(random, &of, count))
        }
        ElementType::Double => {
            let of = [0.0, 1.0, -3.5, 1e300, f64::NAN, f64::INFINITY, 1e-310];
            Values::Double(some(random, &of, count))
        }
        ElementType::Int64 => {
            Values::Int64(some(random, &[0, 1, -1, 2, 7, i64::MIN, i64::MAX], count))
        }
        ElementType::Int32 => {
            Values::Int32(some(random, &[0, 1, -1, 2, 7, i32::MIN, i32::MAX], count))
        }
        ElementType::Bool => Values::Bool(some(random, &[false, true], count)),
        ElementType::Text => {
            let of = ["", "a", "a model of 12", "é\0"].map(str::to_owned);
            Values::Text(some(random, &of, count))
        }
    };
    Tensor::new(shape, values)
}

/// So many of these values.
fn some<T: Clone + Default>(random: &mut Random, of: &[T], count: usize) -> Vec<T> {
    (0..count)
        .map(|_| random.of(of).cloned().unwrap_or_default())
        .collect()
}

impl Target for Models {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let (bytes, is_graph) = self.made(random);
        if is_graph {
            return graph(&bytes, random);
        }
        if bytes.starts_with(b"\x93NUMPY") {
            return Ok(match models::read_npy(&bytes, &limits()) {
                Ok(_) => "npy read",
                Err(_) => "npy refused",
            });
        }
        let model = match models::load(&bytes, &limits()) {
            Ok(model) => model,
            Err(error) if error.to_string().is_empty() => {
                return Err("refused without a reason".to_owned());
            }
            Err(_) => return Ok("refused"),
        };
        let columns = model.features();
        if model.takes_texts() {
            let texts = ["", "a model", "the the 12 !"].map(str::to_owned).to_vec();
            let answer = model.predict(&Table::of_texts(texts));
            return Ok(if answer.is_ok() {
                "answers"
            } else {
                "refuses rows"
            });
        }
        if columns > 4_096 {
            return Ok("wide");
        }
        let values = [0.0, 1.0, -3.5, 1e300, f64::NAN, f64::INFINITY, 1e-40];
        let rows: Vec<f64> = (0..columns * 4)
            .map(|_| random.of(&values).copied().unwrap_or(0.0))
            .collect();
        let rows = Matrix::new(rows, 4, columns, Precision::Double).ok_or("rows")?;
        let answer = model.predict(&rows);
        drop(model.predict_proba(&rows));
        drop(model.decision_function(&rows));
        drop(model.transform(&rows));
        Ok(if answer.is_ok() {
            "answers"
        } else {
            "refuses rows"
        })
    }

    fn input(&self, random: &mut Random) -> String {
        base64::engine::general_purpose::STANDARD.encode(self.made(random).0)
    }
}
