//! What FastAPI answers to a request of the wrong shape: 422 and a list of details, each with the input it is about.

use crate::answer::Failure;
use crate::json::{JsonError, compact};
use crate::write::Style;
use http::StatusCode;

/// The details of one request.
#[derive(Debug, Default)]
pub(super) struct Details(Vec<String>);

/// Where in the body a detail is. Written out only when there is a detail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'p> {
    Top,
    Key(&'p Place<'p>, &'p str),
    Index(&'p Place<'p>, usize),
}

impl Place<'_> {
    pub(super) fn key<'p>(&'p self, key: &'p str) -> Place<'p> {
        Place::Key(self, key)
    }

    pub(super) fn index(&self, index: usize) -> Place<'_> {
        Place::Index(self, index)
    }

    /// Keys and indices as members of a JSON list.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Top => out.extend_from_slice(br#""body","InferenceRequest""#),
            Self::Key(place, key) => {
                place.write(out);
                out.push(b',');
                Style::Compact.text(key, out);
            }
            Self::Index(place, index) => {
                place.write(out);
                out.push(b',');
                out.extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
            }
        }
    }
}

impl Details {
    /// Adds a detail about `input`, which is valid JSON.
    pub(super) fn add(&mut self, kind: &str, place: &Place<'_>, message: &str, input: &str) {
        // Enough to say what is wrong; every further one repeats its input.
        if self.0.len() < 16 {
            let input = compact(input);
            let mut location = Vec::new();
            place.write(&mut location);
            let location = String::from_utf8_lossy(&location);
            self.0.push(format!(
                r#"{{"type":"{kind}","loc":[{location}],"msg":"{message}","input":{input}}}"#
            ));
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
        message if message.contains("string key") => {
            "Expecting property name enclosed in double quotes"
        }
        message if message.contains("':'") => "Expecting ':' delimiter",
        message if message.contains("','") => "Expecting ',' delimiter",
        _ => "Expecting value",
    };
    let at = text.get(..error.at).unwrap_or(text).chars().count();
    failure(&format!(
        r#"[{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":"{words}"}}}}]"#
    ))
}
