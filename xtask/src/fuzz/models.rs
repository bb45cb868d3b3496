//! Model files of every format and estimator, damaged: an error, or a model that
//! answers, within the limits.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use models::{Limits, Matrix, Precision, Table};

use super::Target;
use super::bytes::mutated;
use super::random::Random;

pub(super) struct Models {
    files: Vec<Vec<u8>>,
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
        let mut files = Vec::new();
        if wanted("npy") {
            files.push(NPY.to_vec());
        }
        for path in archives.iter().filter(|path| wanted(reader_of(path))) {
            files.extend(in_archive(path).with_context(|| path.display().to_string())?);
        }
        ensure!(!files.is_empty(), "no file for that reader");
        Ok(Self { files })
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

impl Target for Models {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let bytes = mutated(random, &self.files);
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
        base64::engine::general_purpose::STANDARD.encode(mutated(random, &self.files))
    }
}
