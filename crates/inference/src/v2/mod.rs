//! The V2 protocol, also called Open Inference Protocol, with the binary tensor extension.

pub(crate) mod datatype;
mod lists;
pub(crate) mod request;
mod respond;
pub(crate) mod tensor;
pub(crate) mod validation;

use crate::answer::Failure;
use crate::cost::Writing;
use crate::graph;
use crate::json::{self as parse, JsonError};
use crate::metrics::{Phase, Stopwatch};
use crate::model::Engine;
use crate::records::{self, Asked};
use crate::reply::Reply;
use crate::{Compat, Manner, Model};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use models::Precision;
pub(crate) use respond::{OUTPUT, datatype, raw, shape};
use tensor::{Tensor, Values};

/// Says how long the JSON at the start of a body is, when tensors follow it.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// How a body with such headers is written.
pub(crate) fn writing(headers: &HeaderMap) -> Writing {
    match headers.contains_key(HEADER_LENGTH) {
        true => Writing::Binary,
        false => Writing::Text,
    }
}

/// Answers an inference request. JSON is read whatever the content type says.
pub(crate) fn infer(
    model: &Model,
    manner: &Manner,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Bytes>, Failure> {
    let mut watch = model.durations().start(writing(headers), body.len());
    let (head, tensors) = match headers.get(HEADER_LENGTH) {
        Some(length) => {
            let expected = format!(
                "expected the length of the JSON in `{HEADER_LENGTH}`, at most {}",
                body.len()
            );
            let length = length
                .to_str()
                .ok()
                .and_then(|length| length.parse::<usize>().ok());
            let Some(length) = length else {
                return Err(Failure::mistake(expected));
            };
            let split = body.split_at_checked(length);
            let (head, tensors) = split.ok_or_else(|| Failure::bad(expected))?;
            (head, Some(tensors))
        }
        None => (body, None),
    };
    if manner.compat == Compat::Strict && is_json(headers) == tensors.is_some() {
        return Err(match tensors {
            Some(_) => unparsed(),
            None => untyped(),
        });
    }
    let text = match parse::text(head) {
        Ok(text) => text,
        Err(_) if head.is_empty() => {
            return Err(validation::failure(
                r#"[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]"#,
            ));
        }
        Err(message) => return Err(unreadable(headers, tensors.is_some(), Err(message))),
    };
    let parsed = request::parse(text, tensors.is_some(), manner.compat);
    let request =
        parsed.map_err(|error| unreadable(headers, tensors.is_some(), Ok((error, text))))?;
    let request = request.map_err(|details| details.failure(text))?;
    let mut left = tensors.unwrap_or_default();
    let inputs = request.inputs.iter().map(|input| {
        let tensor = tensor::decode(input, tensors.is_some().then_some(&mut left))?;
        Ok((input.name.to_string(), tensor))
    });
    let unsendable = request.inputs.iter().find_map(tensor::unsendable);
    if let Some(message) = unsendable {
        return Err(Failure::bad(message));
    }
    let reply = answer(model, request.pandas, inputs, &mut watch).map_err(Failure::mistake)?;
    let response = respond::respond(model, manner, headers, &request, &reply);
    watch.lap(Phase::Postprocess);
    response
}

/// A body that is no JSON: with another content type it was meant as tensors.
fn unreadable(
    headers: &HeaderMap,
    tensors: bool,
    error: Result<(JsonError, &str), String>,
) -> Failure {
    match error {
        _ if !is_json(headers) && !tensors => untyped(),
        Ok((error, text)) if !tensors => validation::no_json(error, text, Compat::Kserve),
        Ok((error, text)) => {
            Failure::bad(format!("Unrecognized request format: {}", error.show(text)))
        }
        Err(_) if !tensors => unparsed(),
        Err(message) => Failure::bad(format!("Unrecognized request format: {message}")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

fn untyped() -> Failure {
    Failure::bad(format!(
        "received byte inputs, but the '{HEADER_LENGTH}' header is missing."
    ))
}

fn unparsed() -> Failure {
    Failure::Detail(
        StatusCode::BAD_REQUEST,
        "\"There was an error parsing the body\"".to_owned(),
    )
}

/// What the model says about tensors: those of a graph by name; else the first as a table, or with the content type `pd` each
/// as a column.
pub(crate) fn answer<'m>(
    model: &'m Model,
    pandas: bool,
    inputs: impl Iterator<Item = Result<(String, Tensor), String>>,
    watch: &mut Stopwatch<'_>,
) -> Result<Reply<'m>, String> {
    let reply = match model.engine() {
        Engine::Predictor(_) => {
            let rows = gather(model, pandas, inputs)?;
            watch.lap(Phase::Preprocess);
            model.answer(&rows)?
        }
        Engine::Graph(graph) => {
            let inputs = graph::of_tensors(graph, inputs)?;
            watch.lap(Phase::Preprocess);
            let outputs = graph.run(inputs).map_err(|error| error.to_string())?;
            Reply::Tensors(graph, outputs)
        }
    };
    watch.lap(Phase::Predict);
    Ok(reply)
}

/// The first input as a table; with the content type `pd` each input is a column.
pub(crate) fn gather(
    model: &Model,
    pandas: bool,
    inputs: impl Iterator<Item = Result<(String, Tensor), String>>,
) -> Result<Asked, String> {
    let mut columns = Vec::new();
    let mut precision = Precision::Single;
    for input in inputs {
        let (name, tensor) = input?;
        if !pandas {
            return tensor.asked(model);
        }
        if tensor.precision == Precision::Double {
            precision = Precision::Double;
        }
        let values = tensor.column(&name)?;
        columns.push((name, values));
    }
    match columns.pop() {
        None => return Err("expected at least one tensor in \"inputs\"".to_owned()),
        Some((_, Values::Cells(cells))) if columns.is_empty() && model.takes_texts() => {
            return tensor::texts_of(cells);
        }
        Some(last) => columns.push(last),
    }
    let names = model.columns();
    let names = names.as_deref();
    let number = |(_, values): &(String, Values)| matches!(values, Values::Numbers(numbers) if numbers.are_floats());
    if columns.iter().all(number) {
        let numbers = columns
            .into_iter()
            .filter_map(|(name, values)| match values {
                Values::Numbers(values) => Some((name, values.floats())),
                Values::Cells(_) => None,
            });
        return records::matrix(numbers.collect(), names, precision).map(Asked::Matrix);
    }
    let cells = columns.into_iter().map(|(name, values)| match values {
        Values::Numbers(values) => (name, values.cells()),
        Values::Cells(cells) => (name, cells),
    });
    records::beside(cells.collect(), names)
}
