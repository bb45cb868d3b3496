//! What FastAPI answers to a request of the wrong shape: 422 and a list of details, each with the input it is about.

use crate::answer::Failure;
use crate::json::{JsonError, compact};
use crate::write::Style;
use http::StatusCode;

/// The details of one request.
#[derive(Debug, Default)]
pub(super) struct Details(Vec<String>);

/// Where in the body a detail is: keys and indices as JSON, below `InferenceRequest`.
#[derive(Debug, Clone)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn top() -> Self {
        Self(r#""body","InferenceRequest""#.to_owned())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        let mut quoted = Vec::new();
        Style::Compact.text(key, &mut quoted);
        Self(format!("{},{}", self.0, String::from_utf8_lossy(&quoted)))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{},{index}", self.0))
    }
}

impl Details {
    /// Adds a detail about `input`, which is valid JSON.
    pub(super) fn add(&mut self, kind: &str, place: &Place, message: &str, input: &str) {
        // Enough to say what is wrong; every further one repeats its input.
        if self.0.len() < 16 {
            let input = compact(input);
            self.0.push(format!(r#"{{"type":"{kind}","loc":[{}],"msg":"{message}","input":{input}}}"#, place.0));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer. The server also tried to read the body as bytes, which never works for JSON.
    pub(super) fn failure(mut self, body: &str) -> Failure {
        let body = compact(body);
        self.0.push(format!(
            r#"{{"type":"bytes_type","loc":["body","bytes"],"msg":"Input should be a valid bytes","input":{body}}}"#
        ));
        failure(&format!("[{}]", self.0.join(",")))
    }
}

pub(super) fn failure(detail: &str) -> Failure {
    Failure::Detail(StatusCode::UNPROCESSABLE_ENTITY, detail.to_owned())
}

/// The answer to text that is no JSON, in the words of Python's `json`.
pub(super) fn no_json(error: JsonError, text: &str) -> Failure {
    let words = match error.message {
        "unexpected content after document" => "Extra data",
        message if message.contains("string key") => "Expecting property name enclosed in double quotes",
        message if message.contains("':'") => "Expecting ':' delimiter",
        message if message.contains("','") => "Expecting ',' delimiter",
        _ => "Expecting value",
    };
    let at = text.get(..error.at).unwrap_or(text).chars().count();
    failure(&format!(
        r#"[{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":"{words}"}}}}]"#
    ))
}
