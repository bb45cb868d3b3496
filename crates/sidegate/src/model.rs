//! `sidegate model`: what a model file is, whether it answers as recorded, how fast.

mod bench;
mod check;
mod inspect;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use inference::graph;
use models::{Graph, Input, InputError, Labels, Output, Predictor, Tensor};

use crate::cli::Output as Form;
use crate::graphs::GraphArgs;
use crate::model_limits::ModelLimitArgs;
use crate::output::BadInput;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate model inspect model.joblib
  sidegate model check model.joblib --data rows.csv --expect answers.csv
  sidegate model check model.joblib --data X.npy --expect P.npy --answer predict_proba
  sidegate model bench model.joblib

Exit codes: 0 done or all equal, 1 answers differ from what is expected, 3 a file cannot be used.";

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Say what a model file is, what it takes and gives, how large and how fast it is
    Inspect(FileArgs),
    /// Compare a model's answers with recorded ones
    Check(CheckArgs),
    /// Measure how long answers take, for one row and for many
    Bench(BenchArgs),
}

impl ModelCommand {
    /// The form of what it prints.
    pub(crate) fn output(&self) -> Form {
        match self {
            Self::Inspect(args) => args.output,
            Self::Check(args) => args.file.output,
            Self::Bench(args) => args.file.output,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The model file
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t = Form::Text, value_name = "FORM")]
    pub(crate) output: Form,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
    #[command(flatten)]
    pub(crate) limits: ModelLimitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Rows to ask about: CSV, or numpy's npy
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// What was answered elsewhere, in the same order: CSV or npy
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: PathBuf,
    /// Which output of a graph of ONNX it is; the first unless said
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: Option<String>,
    /// Which answer it is
    #[arg(long, value_enum, default_value_t = Answer::Predict, value_name = "NAME")]
    pub(crate) answer: Answer,
    /// How far numbers may be apart, in units of the last place of their precision
    #[arg(long, default_value_t = 4, value_name = "ULPS")]
    pub(crate) ulps: u64,
    /// The files have no line with names of columns
    #[arg(long)]
    pub(crate) no_header: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Rows to ask about instead of made-up ones: CSV or npy
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// The file has no line with names of columns
    #[arg(long)]
    pub(crate) no_header: bool,
    /// Seconds for each number of rows
    #[arg(long, default_value_t = 0.5, value_name = "SECONDS")]
    pub(crate) seconds: f64,
}

/// An answer of scikit-learn's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Answer {
    Predict,
    PredictProba,
    DecisionFunction,
}

pub(crate) fn run(args: &ModelArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ModelCommand::Inspect(args) => inspect::run(args),
        ModelCommand::Check(args) => check::run(args),
        ModelCommand::Bench(args) => bench::run(args),
    }
}

/// A file with the model in it.
struct Loaded {
    model: Model,
    file_bytes: usize,
    load: std::time::Duration,
}

/// What a file holds.
enum Model {
    Predictor(Box<Predictor>),
    /// A graph of ONNX.
    Graph(Graph),
}

impl Model {
    /// What it is called in what is printed.
    fn class(&self) -> &str {
        match self {
            Self::Predictor(predictor) => &predictor.about().class,
            Self::Graph(_) => "graph of ONNX",
        }
    }

    /// The names by which it knows its columns.
    fn names(&self) -> Option<Vec<String>> {
        match self {
            Self::Predictor(predictor) => predictor.about().feature_names.clone(),
            Self::Graph(graph) => graph::names(graph),
        }
    }

    /// Asks about rows what it is asked as a rule, and forgets the answer.
    fn ask(&self, rows: Input<'_>) -> Result<(), String> {
        match self {
            Self::Predictor(predictor) => {
                let answer = Answer::Predict.of(predictor, rows);
                let answer = answer.map_err(|error| error.to_string())?;
                drop(std::hint::black_box(answer));
            }
            Self::Graph(graph) => drop(std::hint::black_box(outputs(graph, rows)?)),
        }
        Ok(())
    }
}

/// The outputs of a graph for rows, in its order.
fn outputs(graph: &Graph, rows: Input<'_>) -> Result<Vec<Tensor>, String> {
    let inputs = graph::of_rows(graph, rows)?;
    graph.run(inputs).map_err(|error| error.to_string())
}

fn load(args: &FileArgs) -> anyhow::Result<Loaded> {
    let path = &args.path;
    let bytes = read(path)?;
    let limits = args.limits.limits();
    let others = args.graphs.open()?;
    let start = std::time::Instant::now();
    let model = if path.extension().is_some_and(|ending| ending == "onnx") {
        let graph = match &others {
            Some(others) => Graph::load_or(&bytes, &limits, &**others),
            None => Graph::load(&bytes, &limits),
        };
        graph.map(Model::Graph)
    } else {
        models::load(&bytes, &limits).map(|predictor| Model::Predictor(Box::new(predictor)))
    };
    let model = model.map_err(|error| bad(path, &error))?;
    Ok(Loaded {
        model,
        file_bytes: bytes.len(),
        load: start.elapsed(),
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(std::fs::read(path).map_err(|error| bad(path, &error))?)
}

fn bad(path: &Path, error: &dyn std::fmt::Display) -> BadInput {
    BadInput(vec![format!("{}: {error}", path.display())])
}

impl Answer {
    /// What the model says; `None` where it has no such answer.
    fn of(self, predictor: &Predictor, rows: Input<'_>) -> Result<Option<Output>, InputError> {
        match self {
            Self::Predict if !predictor.predicts() => {
                let rows = predictor.transform(rows)?;
                Ok(Some(Output::Table {
                    values: rows.values().to_vec(),
                    columns: rows.columns(),
                    precision: rows.precision(),
                }))
            }
            Self::Predict => predictor.predict(rows).map(Some),
            Self::PredictProba => predictor.predict_proba(rows).map(Some),
            Self::DecisionFunction => predictor.decision_function(rows),
        }
    }
}

fn shown(labels: &Labels) -> Vec<String> {
    (0..labels.len())
        .filter_map(|index| labels.show(index))
        .collect()
}

/// Bytes for people.
fn size(bytes: usize) -> String {
    let bytes = u32::try_from(bytes).map_or(f64::INFINITY, f64::from);
    match bytes {
        b if b < 1e3 => format!("{b} bytes"),
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b => format!("{:.1} MB", b / 1e6),
    }
}

/// Nanoseconds for people.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}
