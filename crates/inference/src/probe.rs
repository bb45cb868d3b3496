//! What a model says of one row when it is loaded: what its tensors are, and how long a row takes.

use crate::Model;
use crate::metadata::{Tensor, ports};
use crate::model::Engine;
use crate::records::{self, Asked};
use crate::reply::Reply;
use models::{Cell, ElementType, Graph, InputError, Matrix, Port, Precision, Predictor};
use models::{Table, Tensor as GraphTensor, Values};
use std::time::{Duration, Instant};

/// What there is to know of a model by asking it.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
    /// Nanoseconds that one row takes.
    pub(crate) row: Option<u64>,
}

/// Columns beyond which it is not tried which of them hold text: each takes an answer. Of models that take numbers fewer are
/// tried.
const TRIED: usize = 256;
const TRIED_FIRST: usize = 64;
/// Values of a row beyond which nothing is asked.
const VALUES: usize = 1 << 20;
/// A row is asked again, for the first time is of cold memory, unless it took so long.
const LONG: Duration = Duration::from_millis(10);
const TIMES: usize = 3;

/// Asks a model about a row of its kind. One that refuses all that is tried says nothing.
pub(crate) fn of(model: &Model) -> Probe {
    match model.engine() {
        Engine::Predictor(predictor) => of_predictor(model, predictor),
        Engine::Graph(graph) => Probe {
            inputs: ports(graph.inputs()),
            outputs: ports(graph.outputs()),
            row: (!graph.is_foreign()).then(|| run(graph)).flatten(),
        },
    }
}

fn of_predictor(model: &Model, predictor: &Predictor) -> Probe {
    let features = predictor.features();
    let names = &predictor.about().feature_names;
    let xgboost = predictor.about().class.starts_with("xgboost.");
    let input = |datatype, width: Option<usize>| {
        let columns = width.map(|width| i64::try_from(width).unwrap_or(-1));
        vec![Tensor {
            name: "input-0".to_owned(),
            datatype,
            shape: [-1].into_iter().chain(columns).collect(),
            names: names.clone().filter(|_| width.is_some()),
        }]
    };
    let answered = |inputs: Vec<Tensor>, asked: &Asked| {
        let (row, output) = timed(|| model.say(predictor, asked.input()));
        let reply = Reply::Output(output.ok()?, predictor.classes());
        Some(Probe {
            inputs,
            outputs: outputs(model, &reply),
            row: Some(row),
        })
    };
    if model.takes_texts() {
        let texts = Asked::Table(Table::of_texts(vec![String::new()]));
        return answered(input("BYTES", None), &texts).unwrap_or_default();
    }
    let numbers = |value: f64| {
        // A file says for nothing how many columns there are.
        if features > VALUES {
            return None;
        }
        let row = Matrix::new(vec![value; features], 1, features, Precision::Double)?;
        let datatype = if xgboost { "FP32" } else { "FP64" };
        answered(input(datatype, Some(features)), &Asked::Matrix(row))
    };
    let with_text = || {
        let (row, texts) = mixed(model, predictor)?;
        let inputs = match names {
            Some(names) => columns(names, &texts),
            None => input("BYTES", Some(features)),
        };
        answered(inputs, &row)
    };
    // Encoders that ignore what they do not know take numbers for text, too.
    let named = names.is_some() && features <= TRIED_FIRST;
    let found = named.then(with_text).flatten();
    // Where numbers stand for categories, halves are refused and nothing else.
    let found = found.or_else(|| numbers(0.5)).or_else(with_text);
    found.or_else(|| numbers(0.0)).unwrap_or_default()
}

/// A row that holds text where the model takes it, and which columns these are. All begin with text of their own; the model
/// names the one that it wanted a number for.
fn mixed(model: &Model, predictor: &Predictor) -> Option<(Asked, Vec<bool>)> {
    let features = predictor.features();
    let names = predictor.about().feature_names.as_deref();
    if features > TRIED {
        return None;
    }
    let mark = |column: usize| format!("c{column}");
    let mut texts = vec![true; features];
    for _ in 0..=features {
        let cells = texts.iter().enumerate().map(|(column, text)| {
            let cell = if *text {
                Cell::Text(mark(column))
            } else {
                Cell::Number(0.0)
            };
            vec![cell]
        });
        let row = match names {
            Some(names) => records::beside(names.iter().cloned().zip(cells).collect(), Some(names)),
            None => records::unnamed(cells.collect()),
        };
        let row = row.ok()?;
        match model.say(predictor, row.input()) {
            Ok(_) => return texts.contains(&true).then_some((row, texts)),
            Err(InputError::Text { text }) => {
                let found = (0..features).find(|column| mark(*column) == text)?;
                *texts.get_mut(found).filter(|text| **text)? = false;
            }
            Err(_) => return None,
        }
    }
    None
}

/// An input for each column, as clients send data frames.
fn columns(names: &[String], texts: &[bool]) -> Vec<Tensor> {
    let column = |(name, text): (&String, &bool)| Tensor {
        name: name.clone(),
        datatype: if *text { "BYTES" } else { "FP64" },
        shape: vec![-1, 1],
        names: None,
    };
    names.iter().zip(texts).map(column).collect()
}

fn outputs(model: &Model, reply: &Reply<'_>) -> Vec<Tensor> {
    let classes = model.describe().classes;
    let output = |output: crate::reply::Named<'_>| {
        let mut shape = output.shape();
        if let Some(rows) = shape.first_mut() {
            *rows = -1;
        }
        Tensor {
            name: output.name().to_owned(),
            datatype: output.datatype(),
            shape,
            names: classes.clone(),
        }
    };
    reply.all().into_iter().map(output).collect()
}

/// How long a graph takes for one row: every size that is not fixed is 1.
fn run(graph: &Graph) -> Option<u64> {
    let inputs: Option<Vec<GraphTensor>> = graph.inputs().iter().map(nothing).collect();
    let inputs = inputs?;
    let (row, outputs) = timed(|| graph.run(inputs.clone()));
    outputs.ok().map(|_| row)
}

/// Zeros, or empty text, for an input.
fn nothing(port: &Port) -> Option<GraphTensor> {
    let shape = port.shape.as_deref().unwrap_or(&[Some(1)]);
    let shape: Vec<usize> = shape.iter().map(|size| size.unwrap_or(1)).collect();
    let values = |count: &usize, size: &usize| count.checked_mul(*size).filter(|n| *n <= VALUES);
    let count = shape
        .iter()
        .try_fold(1, |count, size| values(&count, size))?;
    let values = match port.element {
        ElementType::Float => Values::Float(vec![0.0; count]),
        ElementType::Double => Values::Double(vec![0.0; count]),
        ElementType::Int64 => Values::Int64(vec![0; count]),
        ElementType::Int32 => Values::Int32(vec![0; count]),
        ElementType::Bool => Values::Bool(vec![false; count]),
        ElementType::Text => Values::Text(vec![String::new(); count]),
    };
    GraphTensor::new(shape, values)
}

/// The shortest of a few times in nanoseconds, and what came of the last.
fn timed<T>(ask: impl Fn() -> Result<T, InputError>) -> (u64, Result<T, InputError>) {
    let mut shortest = Duration::MAX;
    let mut round = || {
        let began = Instant::now();
        let answer = ask();
        shortest = shortest.min(began.elapsed());
        (answer, shortest)
    };
    let (mut answer, mut time) = round();
    for _ in 1..TIMES {
        if answer.is_err() || time > LONG {
            break;
        }
        (answer, time) = round();
    }
    (u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), answer)
}
