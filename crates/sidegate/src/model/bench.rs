//! `sidegate model bench`: how long a model takes for its answers, without a server around it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use models::{ElementType, Graph, Matrix, Port, Precision, Table};
use serde_json::json;

use super::rows::{self, Rows};
use super::{BenchArgs, Model, bad, load, time};
use crate::cli::Output as Form;
use crate::output;

/// Rows that are asked about at once.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];

/// How long `inspect` measures.
const GLANCE: Duration = Duration::from_millis(50);

/// What asking about some rows took.
struct Measured {
    rows: usize,
    asked: usize,
    /// Nanoseconds of one call: the middle one, and the 99th of 100.
    median: f64,
    p99: f64,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let loaded = load(&args.file)?;
    let model = &loaded.model;
    let given = match &args.data {
        Some(path) => Some(rows::of(path, !args.no_header, model)?),
        None => made_up(model),
    };
    let given = given.ok_or_else(|| {
        bad(
            &args.file.path,
            &"rows cannot be made up for its inputs: give it rows with `--data FILE`",
        )
    })?;
    let span = Duration::try_from_secs_f64(args.seconds.clamp(0.01, 600.0))?;
    let mut all = Vec::new();
    for size in SIZES {
        let Some(some) = given.repeated(size) else {
            continue;
        };
        let measured = measure(model, &some, span).map_err(|error| {
            let hint = match args.data {
                Some(_) => "",
                None => ": give it rows with `--data FILE`",
            };
            bad(
                &args.file.path,
                &format!("it refuses the rows: {error}{hint}"),
            )
        })?;
        all.push(measured);
    }
    if args.file.output == Form::Json {
        let all: Vec<_> = all
            .iter()
            .map(|m| {
                json!({
                    "rows": m.rows,
                    "calls": m.asked,
                    "medianMicroseconds": m.median / 1e3,
                    "p99Microseconds": m.p99 / 1e3,
                    "rowsPerSecond": m.rows_per_second(),
                })
            })
            .collect();
        let document = json!({ "class": model.class(), "measured": all });
        output::data(&format!("{document:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![format!(
        "{}, one thread, no server: {}",
        model.class(),
        match args.data {
            Some(_) => "rows of the file, over and over",
            None => "made-up rows",
        }
    )];
    lines.push(format!(
        "{:>6}  {:>10}  {:>10}  {:>14}",
        "rows", "median", "p99", "rows/s"
    ));
    for m in &all {
        lines.push(format!(
            "{:>6}  {:>10}  {:>10}  {:>14.0}",
            m.rows,
            time(m.median),
            time(m.p99),
            m.rows_per_second()
        ));
    }
    output::data(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

impl Measured {
    fn rows_per_second(&self) -> f64 {
        u32::try_from(self.rows).map_or(f64::NAN, f64::from) / self.median * 1e9
    }
}

/// Nanoseconds for one made-up row; `None` if the model refuses it.
pub(super) fn expected(model: &Model) -> Option<f64> {
    let row = made_up(model)?.repeated(1)?;
    measure(model, &row, GLANCE).ok().map(|m| m.median)
}

fn measure(model: &Model, rows: &Rows, span: Duration) -> Result<Measured, String> {
    // The first call also fetches what the others find in the cache.
    model.ask(rows.input())?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || start.elapsed() < span {
        let before = Instant::now();
        model.ask(rows.input())?;
        times.push(before.elapsed().as_secs_f64() * 1e9);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).copied();
    Ok(Measured {
        rows: rows.count(),
        asked: times.len(),
        median: at(50).unwrap_or(f64::NAN),
        p99: at(99).unwrap_or(f64::NAN),
    })
}

/// Columns of made-up numbers, and which of them are whole; `None` where a graph takes text, or does not say how many.
fn columns(graph: &Graph) -> Option<Vec<bool>> {
    let whole = |port: &Port| match port.element {
        ElementType::Float | ElementType::Double => Some(false),
        ElementType::Int64 | ElementType::Int32 | ElementType::Bool => Some(true),
        ElementType::Text => None,
    };
    match graph.inputs() {
        [port] => match port.shape.as_deref() {
            Some([_, Some(columns)]) => Some(vec![whole(port)?; *columns]),
            Some([_]) => Some(vec![whole(port)?]),
            _ => None,
        },
        several => several.iter().map(whole).collect(),
    }
}

/// Rows of numbers that differ, or of words.
fn made_up(model: &Model) -> Option<Rows> {
    match model {
        Model::Predictor(predictor) if predictor.takes_texts() => Some(words()),
        Model::Predictor(predictor) => Some(numbers(&vec![false; predictor.features()])),
        Model::Graph(graph) => columns(graph).map(|whole| numbers(&whole)),
    }
}

const COUNT: usize = 64;

fn words() -> Rows {
    let words = [
        "good", "bad", "the", "model", "serves", "gate", "plain", "request",
    ];
    let text = |row: usize| {
        let words = (0..12).filter_map(|n| words.get((row * 7 + n * n) % words.len()));
        words.copied().collect::<Vec<_>>().join(" ")
    };
    Rows::Table(Table::of_texts((0..COUNT).map(text).collect()))
}

fn numbers(whole: &[bool]) -> Rows {
    // A fixed sequence that looks random, from −4 to 4.
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1_u32 << 21) - 4.0
    };
    let value = |whole: &bool| match whole {
        true => next().trunc(),
        false => next(),
    };
    let values = whole.iter().cycle().take(COUNT * whole.len()).map(value);
    Matrix::new(values.collect(), COUNT, whole.len(), Precision::Double)
        .map_or_else(|| Rows::Table(Table::default()), Rows::Matrix)
}
