//! The V2 protocol, also called Open Inference Protocol, with the binary tensor extension.

mod request;
mod respond;
pub(crate) mod tensor;
mod validation;

use crate::Model;
use crate::answer::Failure;
use crate::json::{self as parse, JsonError};
use crate::metrics::Phase;
use crate::records;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use models::{Matrix, Precision};
pub(crate) use respond::{OUTPUT, datatype, raw, shape};
use tensor::Tensor;

/// Says how long the JSON at the start of a body is, when tensors follow it.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// Answers an inference request. JSON is read whatever the content type says.
pub(crate) fn infer(
    model: &Model,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Bytes>, Failure> {
    let mut watch = model.durations().start();
    let (head, tensors) = match headers.get(HEADER_LENGTH) {
        Some(length) => {
            let length = length
                .to_str()
                .ok()
                .and_then(|length| length.parse::<usize>().ok());
            let split = length.and_then(|length| body.split_at_checked(length));
            let (head, tensors) = split.ok_or_else(|| {
                Failure::bad(format!(
                    "expected the length of the JSON in `{HEADER_LENGTH}`, at most {}",
                    body.len()
                ))
            })?;
            (head, Some(tensors))
        }
        None => (body, None),
    };
    let text = match parse::text(head) {
        Ok(text) => text,
        Err(_) if head.is_empty() => {
            return Err(validation::failure(
                r#"[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]"#,
            ));
        }
        Err(message) => return Err(unreadable(headers, tensors.is_some(), Err(message))),
    };
    let parsed = request::parse(text, tensors.is_some());
    let request =
        parsed.map_err(|error| unreadable(headers, tensors.is_some(), Ok((error, text))))?;
    let request = request.map_err(|details| details.failure(text))?;
    let mut left = tensors.unwrap_or_default();
    let inputs = request.inputs.iter().map(|input| {
        let tensor = tensor::decode(input, tensors.is_some().then_some(&mut left))?;
        Ok((input.name.to_string(), tensor))
    });
    let rows = gather(model, request.pandas, inputs).map_err(Failure::bad)?;
    watch.lap(Phase::Preprocess);
    let output = model
        .answer((&rows).into())
        .map_err(|error| Failure::bad(error.to_string()))?;
    watch.lap(Phase::Predict);
    let response = respond::respond(model, headers, &request, &output);
    watch.lap(Phase::Postprocess);
    response
}

/// A body that is no JSON: with another content type it was meant as tensors.
fn unreadable(
    headers: &HeaderMap,
    tensors: bool,
    error: Result<(JsonError, &str), String>,
) -> Failure {
    let json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    match error {
        _ if !json && !tensors => Failure::bad(format!(
            "received byte inputs, but the '{HEADER_LENGTH}' header is missing."
        )),
        Ok((error, text)) if !tensors => validation::no_json(error, text),
        Ok((error, text)) => {
            Failure::bad(format!("Unrecognized request format: {}", error.show(text)))
        }
        Err(_) if !tensors => Failure::Detail(
            StatusCode::BAD_REQUEST,
            "\"There was an error parsing the body\"".to_owned(),
        ),
        Err(message) => Failure::bad(format!("Unrecognized request format: {message}")),
    }
}

/// The first input as a table; with the content type `pd` each input is a column.
pub(crate) fn gather(
    model: &Model,
    pandas: bool,
    inputs: impl Iterator<Item = Result<(String, Tensor), String>>,
) -> Result<Matrix, String> {
    let mut columns = Vec::new();
    let mut precision = Precision::Single;
    for input in inputs {
        let (name, tensor) = input?;
        if !pandas {
            return tensor.table(model.estimator());
        }
        if tensor.precision == Precision::Double {
            precision = Precision::Double;
        }
        let values = tensor.column(&name)?;
        columns.push((name, values));
    }
    if columns.is_empty() {
        return Err("expected at least one tensor in \"inputs\"".to_owned());
    }
    records::matrix(
        columns,
        model.predictor().about().feature_names.as_deref(),
        precision,
    )
}
