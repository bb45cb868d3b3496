//! `cargo xtask record --models`: models by the real libraries, and what they answer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, shell};

/// Makes the models of every version anew, and the table of docs/models.md. Returns the number of versions.
pub(crate) fn record() -> Result<usize> {
    let corpus = shell::root().join("crates/models/corpus");
    let sklearn = make(&corpus, "sklearn-", "../tests/corpus")?;
    let boosted = make(&corpus.join("boosted"), "", "../../tests/boosted")?;
    let onnx = make(&corpus.join("onnx"), "onnx-", "../../tests/onnx")?;
    let skops = make(&corpus.join("skops"), "skops-", "../../tests/skops")?;
    shell::run(
        shell::cargo()
            .args(["test", "--quiet", "--package", "models", "--test", "models"])
            .arg("answered_as_by")
            .env("UPDATE_MODELS_TABLE", "1"),
    )?;
    Ok(sklearn + boosted + onnx + skops)
}

/// Runs the folder's `make.py` once for each of its files of requirements, and returns their number.
fn make(corpus: &Path, prefix: &str, target: &str) -> Result<usize> {
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
                .args(["make.py", target])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(corpus),
        )?;
    }
    Ok(requirements.len())
}
