//! What `cargo xtask bench models` measures of us in one process: how long models take for rows, how fast binary tensors are
//! read, and what loading a file takes. Lines of JSON.
#![expect(clippy::print_stdout, reason = "a tool that is read by another one")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use inference::{Head, Manner, Model, Options};
use models::{Input, Limits, Matrix, Npy, Output, Precision, Predictor, Table, read_npy};
use serde_json::{Value, json};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a run is, how many there are, and how long all of them. The shortest counts: what else the machine does only makes
/// a run longer.
const RUN: Duration = Duration::from_micros(300);
const RUNS: usize = 500;
const ALL: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--case", folder, name] => case(Path::new(folder), name),
        ["--binary", model] => binary(Path::new(model)),
        ["--load", model] => load(Path::new(model)),
        _ => bail!("expected `--case FOLDER NAME`, `--binary MODEL` or `--load MODEL`"),
    }
}

/// Microseconds of a call.
fn shortest<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut count = 1_u32;
    let mut run = |count: u32| {
        let begin = Instant::now();
        for _ in 0..count {
            std::hint::black_box(call());
        }
        begin.elapsed()
    };
    while run(count) < RUN {
        count *= 2;
    }
    let (mut best, mut total) = (Duration::MAX, Duration::ZERO);
    for _ in 0..RUNS {
        let spent = run(count);
        best = best.min(spent);
        total += spent;
        if total > ALL {
            break;
        }
    }
    best.as_secs_f64() * 1e6 / f64::from(count)
}

/// Rows as the model takes them.
enum Rows {
    Numbers(Matrix),
    Texts(Table),
}

impl Rows {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Numbers(matrix) => matrix.into(),
            Self::Texts(table) => table.into(),
        }
    }
}

fn case(folder: &Path, name: &str) -> Result<()> {
    let limits = Limits::default();
    let text = std::fs::read_to_string(folder.join("cases.json"))?;
    let cases: Vec<Value> = serde_json::from_str(&text)?;
    let mut cases = cases.iter();
    let case = cases.find(|case| case.get("name").and_then(Value::as_str) == Some(name));
    let case = case.with_context(|| format!("there is no case {name}"))?;
    let text = |key: &str| {
        let found = case.get(key).and_then(Value::as_str);
        found.with_context(|| format!("a case has no `{key}`"))
    };
    let read = |key: &str| -> Result<Vec<u8>> { Ok(std::fs::read(folder.join(text(key)?))?) };
    let model = models::load(&read("file")?, &limits)?;
    let Npy::Numbers(answers) = read_npy(&read("answers")?, &limits)? else {
        bail!("expected numbers in the answers of {name}");
    };
    let (all, single) = inputs(read_npy(&read("rows")?, &limits)?)?;
    let proba = text("asked")? == "proba";
    let given = values(&model, &ask(&model, &all, proba)?)?;
    ensure!(
        given.len() == answers.values().len(),
        "{name} answers {} values, expected {}",
        given.len(),
        answers.values().len()
    );
    let differences = given.iter().zip(answers.values());
    let difference = differences.fold(0.0_f64, |most, (ours, theirs)| {
        most.max((ours - theirs).abs())
    });
    let mut turn = single.iter().cycle();
    let one = shortest(|| turn.next().map(|row| ask(&model, row, proba)));
    let many = shortest(|| ask(&model, &all, proba));
    println!(
        "{}",
        json!({"one": one, "many": many, "difference": difference})
    );
    Ok(())
}

/// All rows, and each alone.
fn inputs(rows: Npy) -> Result<(Rows, Vec<Rows>)> {
    match rows {
        Npy::Numbers(matrix) => {
            let row = |values: &[f64]| {
                Matrix::new(values.to_vec(), 1, matrix.columns(), matrix.precision())
            };
            let single: Option<Vec<_>> = matrix.iter().map(|v| row(v).map(Rows::Numbers)).collect();
            Ok((Rows::Numbers(matrix.clone()), single.context("a row")?))
        }
        Npy::Texts { values, .. } => {
            let one = |text: &String| Rows::Texts(Table::of_texts(vec![text.clone()]));
            let single = values.iter().map(one).collect();
            Ok((Rows::Texts(Table::of_texts(values)), single))
        }
    }
}

fn ask(model: &Predictor, rows: &Rows, proba: bool) -> Result<Output> {
    Ok(match proba {
        true => model.predict_proba(rows.input())?,
        false => model.predict(rows.input())?,
    })
}

/// An answer as numbers, classes as their labels.
fn values(model: &Predictor, output: &Output) -> Result<Vec<f64>> {
    match output {
        Output::Values(values, _) | Output::Table { values, .. } => Ok(values.clone()),
        Output::Classes(classes) | Output::ClassTable { classes, .. } => {
            let Some(models::Labels::Integers(labels, _)) = model.classes() else {
                bail!("expected classes that are integers");
            };
            let label = |class: &u32| labels.get(usize::try_from(*class).ok()?).copied();
            let labels: Option<Vec<i64>> = classes.iter().map(label).collect();
            #[expect(
                clippy::cast_precision_loss,
                reason = "the classes of this corpus are below 3"
            )]
            Ok(labels
                .context("a class without a label")?
                .iter()
                .map(|label| *label as f64)
                .collect())
        }
    }
}

/// How fast a request of V2 with a binary tensor of 1,000 × 100 numbers of single precision is answered.
fn binary(path: &Path) -> Result<()> {
    let bytes = std::fs::read(path)?;
    let model = Model::load("linear", "model.joblib", &bytes, &Options::default())?;
    let predictor = models::load(&bytes, &Limits::default())?;
    let (rows, columns) = (1000_u16, 100_u16);
    let numbers: Vec<f32> = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| f32::from(row ^ column) / 64.0))
        .collect();
    let tensor: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let head = json!({
        "inputs": [{
            "name": "x", "shape": [rows, columns], "datatype": "FP32",
            "parameters": {"binary_data_size": tensor.len()},
        }],
        "outputs": [{"name": "output-0", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let mut headers = HeaderMap::new();
    headers.insert(
        "inference-header-content-length",
        HeaderValue::from(head.len()),
    );
    let body = Bytes::from([head.as_bytes(), &tensor].concat());
    let model = Arc::new(model);
    let request = Head {
        method: &Method::POST,
        path: "/v2/models/linear/infer",
        headers: &headers,
    };
    let manner = Manner::default();
    let answer = inference::handle(&model, &manner, request, &body);
    ensure!(answer.status() == 200, "{:?}", answer.body());
    let all = shortest(|| inference::handle(&model, &manner, request, &body));
    let values = numbers.iter().map(|n| f64::from(*n)).collect();
    let matrix = Matrix::new(values, rows.into(), columns.into(), Precision::Single);
    let matrix = matrix.ok_or_else(|| anyhow!("a matrix"))?;
    let computing = shortest(|| predictor.predict(&matrix));
    let bytes = body.len();
    println!(
        "{}",
        json!({"bytes": bytes, "all": all, "computing": computing})
    );
    Ok(())
}

/// What loading a file takes: milliseconds, and bytes that are resident after it and were at most.
fn load(path: &Path) -> Result<()> {
    let before = status("VmRSS:")?;
    let begin = Instant::now();
    let bytes = std::fs::read(path)?;
    let model = models::load(&bytes, &Limits::default())?;
    let file = bytes.len();
    drop(bytes);
    let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
    println!(
        "{}",
        json!({
            "file": file,
            "milliseconds": milliseconds,
            "compiled": model.about().compiled_bytes,
            "resident": status("VmRSS:")?.saturating_sub(before),
            "peak": status("VmHWM:")?.saturating_sub(before),
        })
    );
    Ok(())
}

/// A line of the process's status, in bytes.
fn status(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = kib
        .with_context(|| format!("/proc/self/status says no {name}"))?
        .parse()?;
    Ok(kib * 1024)
}
