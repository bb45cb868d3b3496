//! `cargo xtask record --models`: models by real scikit-learn, and what they answer.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, shell};

/// Makes the models of every version anew, and the table of docs/models.md. Returns the number of versions.
pub(crate) fn record() -> Result<usize> {
    let corpus = shell::root().join("crates/models/corpus");
    let mut requirements: Vec<PathBuf> = std::fs::read_dir(&corpus)
        .with_context(|| format!("reading {}", corpus.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    requirements.sort();
    for path in &requirements {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let version = name.trim_start_matches("requirements-");
        let python = cache::python(&format!("sklearn-{version}"), path)?;
        shell::run(
            Command::new(&python)
                .args(["make.py", "../tests/corpus"])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(&corpus),
        )?;
    }
    shell::run(
        shell::cargo()
            .args(["test", "--quiet", "--package", "models", "--test", "models"])
            .arg("the_corpus_is_answered")
            .env("UPDATE_MODELS_TABLE", "1"),
    )?;
    Ok(requirements.len())
}
