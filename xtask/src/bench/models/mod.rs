//! `cargo xtask bench models`: how long models take beside the libraries that made them, and the model server beside others.

mod kernels;
mod picture;
mod servers;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Length, report};
use crate::{cache, shell};

/// Processes that load a large model, after one that is not counted: on a virtual machine it gets memory that nobody had
/// before, which the host has to find.
const LOADS: usize = 5;

/// Figures of one line that a program prints.
#[derive(Debug)]
struct Line(Value);

impl Line {
    fn get(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Measures, prints the tables and, in full length, writes them and the picture down.
pub(crate) fn run(length: Length) -> Result<()> {
    let folder = folder();
    let python = cache::python("peer-kernels", &folder.join("requirements.txt"))?;
    let trained = trained(&python, &["make.py", "requirements.txt"], "bench-models")?;
    shell::run(shell::cargo().args(["build", "--release", "--package", "sidegate"]))?;
    shell::run(shell::cargo().args(["bench", "--no-run", "--package", "testkit"]))?;
    let cases = kernels::measure(&python, &trained)?;
    let binary = ours(&["--binary".as_ref(), trained.join("linear.joblib").as_ref()])?;
    let large = trained.join("large.joblib");
    let load = || ours(&["--load".as_ref(), large.as_ref()]);
    let before = load()?;
    let large = (0..LOADS).map(|_| load()).collect::<Result<Vec<Line>>>()?;
    let servers = servers::measure(length)?;
    let machine = report::Machine::this(&python, "scikit-learn onnxruntime xgboost lightgbm numpy");
    let table = table::table(&cases, &servers, &binary, (&before, &large), &machine);
    println!("{table}");
    if length == Length::Quick {
        return Ok(());
    }
    let docs = shell::root().join("docs");
    std::fs::write(docs.join("kernels.svg"), picture::picture(&cases))?;
    report::write_section(&docs.join("benchmarks.md"), "models", &table)
}

fn folder() -> PathBuf {
    shell::root().join("xtask/peers/kernels")
}

/// The folder of what a script trains, once for each text of the script and its packages.
fn trained(python: &Path, files: &[&str], name: &str) -> Result<PathBuf> {
    let mut sources = String::new();
    for file in files {
        sources += &std::fs::read_to_string(folder().join(file))?;
    }
    let script = files.first().context("no script")?;
    cache::built(name, &sources, "models", |models| {
        eprintln!("training the models of {script} (once)");
        std::fs::create_dir_all(models)?;
        shell::run(Command::new(python).arg(folder().join(script)).arg(models))
    })
}

/// What the program that measures us prints.
fn ours(args: &[&std::ffi::OsStr]) -> Result<Line> {
    let mut command = shell::cargo();
    command.args(["bench", "--quiet", "--package", "testkit", "--bench"]);
    command.args(["models", "--"]).args(args);
    let mut lines = lines(&mut command)?;
    lines.pop().context("expected a line of JSON")
}

/// The lines of JSON that a command prints.
fn lines(command: &mut Command) -> Result<Vec<Line>> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?}: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let read = |line| serde_json::from_str(line).map(Line);
    let lines: Result<Vec<Line>, _> = text.lines().map(read).collect();
    lines.with_context(|| format!("reading `{text}`, {errors}"))
}
