//! `sidegate model bench`: how long a model takes for its answers, without a server around it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use models::{Matrix, Precision, Predictor, Table};
use serde_json::json;

use super::rows::{self, Rows};
use super::{Answer, BenchArgs, bad, load, time};
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
    let loaded = load(&args.file.path)?;
    let predictor = &loaded.predictor;
    let given = match &args.data {
        Some(path) => rows::of(path, !args.no_header, predictor)?,
        None => made_up(predictor),
    };
    let span = Duration::try_from_secs_f64(args.seconds.clamp(0.01, 600.0))?;
    let mut all = Vec::new();
    for size in SIZES {
        let Some(some) = given.repeated(size) else {
            continue;
        };
        let measured = measure(predictor, &some, span).map_err(|error| {
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
        let document = json!({ "class": predictor.about().class, "measured": all });
        output::data(&format!("{document:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![format!(
        "{}, one thread, no server: {}",
        predictor.about().class,
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
pub(super) fn expected(predictor: &Predictor) -> Option<f64> {
    let row = made_up(predictor).repeated(1)?;
    measure(predictor, &row, GLANCE).ok().map(|m| m.median)
}

fn measure(
    predictor: &Predictor,
    rows: &Rows,
    span: Duration,
) -> Result<Measured, models::InputError> {
    // The first call also fetches what the others find in the cache.
    Answer::Predict.of(predictor, rows.input())?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || start.elapsed() < span {
        let before = Instant::now();
        let answer = Answer::Predict.of(predictor, rows.input())?;
        times.push(before.elapsed().as_secs_f64() * 1e9);
        drop(std::hint::black_box(answer));
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

/// Rows of numbers that differ, or of words.
fn made_up(predictor: &Predictor) -> Rows {
    const COUNT: usize = 64;
    if predictor.takes_texts() {
        let words = [
            "good", "bad", "the", "model", "serves", "gate", "plain", "request",
        ];
        let text = |row: usize| {
            let words = (0..12).filter_map(|n| words.get((row * 7 + n * n) % words.len()));
            words.copied().collect::<Vec<_>>().join(" ")
        };
        return Rows::Table(Table::of_texts((0..COUNT).map(text).collect()));
    }
    let columns = predictor.features();
    // A fixed sequence that looks random, from −4 to 4.
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1_u32 << 21) - 4.0
    };
    let values = (0..COUNT * columns).map(|_| next()).collect();
    Matrix::new(values, COUNT, columns, Precision::Double)
        .map_or_else(|| Rows::Table(Table::default()), Rows::Matrix)
}
