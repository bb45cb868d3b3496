//! `cargo xtask record --models`: models by the real libraries, and what they answer.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, shell};

/// What makes the libraries add in the same order on every machine with AVX2: kernels of OpenBLAS and numpy are chosen by the
/// processor, and their last digits differ.
const ON_ANY_MACHINE: [(&str, &str); 2] = [
    ("OPENBLAS_CORETYPE", "Haswell"),
    (
        "NPY_DISABLE_CPU_FEATURES",
        "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    ),
];

/// Folders of requirements and scripts below that of the first, the prefix of their environments, and the folder of their
/// archives.
const CORPORA: [(&str, &str, &str); 4] = [
    (".", "sklearn-", "corpus"),
    ("boosted", "", "boosted"),
    ("onnx", "onnx-", "onnx"),
    ("skops", "skops-", "skops"),
];

/// Makes the models of every version anew, and the table of docs/models.md. Returns the number of versions.
pub(crate) fn record() -> Result<usize> {
    let versions = make_all(&shell::root().join("crates/models/tests"))?;
    replay("UPDATE_MODELS_TABLE", OsStr::new("1"))?;
    Ok(versions)
}

/// Makes them elsewhere: our answers about these new files have to be those of the libraries, too. Returns how many archives
/// there are, and how many of them are the recorded ones byte for byte.
pub(crate) fn check() -> Result<(usize, usize)> {
    let fresh = shell::target().join("archives");
    for (_, _, archives) in CORPORA {
        std::fs::create_dir_all(fresh.join(archives))?;
    }
    make_all(&fresh)?;
    let (mut all, mut same) = (0, 0);
    for (_, _, archives) in CORPORA {
        let recorded = shell::root().join("crates/models/tests").join(archives);
        for entry in std::fs::read_dir(&recorded)? {
            let name = entry?.file_name();
            let made = std::fs::read(fresh.join(archives).join(&name));
            let made = made.with_context(|| format!("{} was not made", name.display()))?;
            all += 1;
            same += usize::from(made == std::fs::read(recorded.join(&name))?);
        }
    }
    replay("SIDEGATE_ARCHIVES", fresh.as_os_str())?;
    Ok((all, same))
}

fn make_all(archives: &Path) -> Result<usize> {
    let corpus = shell::root().join("crates/models/corpus");
    let mut versions = 0;
    for (folder, prefix, target) in CORPORA {
        versions += make(&corpus.join(folder), prefix, &archives.join(target))?;
    }
    Ok(versions)
}

/// Compares our answers about the archives with theirs.
fn replay(variable: &str, value: &OsStr) -> Result<()> {
    shell::run(
        shell::cargo()
            .args(["test", "--quiet", "--package", "models", "--test", "models"])
            .arg("answered_as_by")
            .env(variable, value),
    )
}

/// Runs the folder's `make.py` once for each of its files of requirements, and returns their number.
fn make(corpus: &Path, prefix: &str, target: &Path) -> Result<usize> {
    let mut requirements: Vec<PathBuf> = std::fs::read_dir(corpus)
        .with_context(|| format!("reading {}", corpus.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    requirements.sort();
    for path in &requirements {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let version = name.trim_start_matches("requirements-");
        let python = cache::python(&format!("{prefix}{version}"), path)?;
        shell::run(
            Command::new(&python)
                .arg("make.py")
                .arg(target)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .envs(ON_ANY_MACHINE)
                .current_dir(corpus),
        )?;
    }
    Ok(requirements.len())
}
