//! What FastAPI answers to a request of the wrong shape: 422 and a list of details, each with the input it is about.

use crate::Compat;
use crate::answer::Failure;
use crate::json::{JsonError, compact};
use crate::write::Style;
use http::StatusCode;

/// The details of one request.
#[derive(Debug)]
pub(crate) struct Details {
    compat: Compat,
    /// Each with its place.
    found: Vec<(Vec<u8>, String)>,
}

/// The datatypes of MLServer, in its order.
const DATATYPES: [&str; 13] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64", "BYTES",
];

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
    fn write(&self, compat: Compat, out: &mut Vec<u8>) {
        match self {
            Self::Top if compat == Compat::Mlserver => out.extend_from_slice(br#""body""#),
            Self::Top => out.extend_from_slice(br#""body","InferenceRequest""#),
            Self::Key(place, key) => {
                place.write(compat, out);
                out.push(b',');
                Style::Compact.text(key, out);
            }
            Self::Index(place, index) => {
                place.write(compat, out);
                out.push(b',');
                out.extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
            }
        }
    }
}

impl Details {
    pub(super) fn new(compat: Compat) -> Self {
        Self {
            compat,
            found: Vec::new(),
        }
    }

    /// Adds a detail about `input`, which is valid JSON.
    pub(super) fn add(&mut self, kind: &str, place: &Place<'_>, message: &str, input: &str) {
        self.add_more(kind, place, message, input, "");
    }

    /// Adds a detail with more members after its input.
    pub(super) fn add_more(
        &mut self,
        kind: &str,
        place: &Place<'_>,
        message: &str,
        input: &str,
        more: &str,
    ) {
        // Enough to say what is wrong; every further one repeats its input.
        if self.found.len() < 16 {
            let input = compact(input);
            let mut location = Vec::new();
            place.write(self.compat, &mut location);
            let shown = String::from_utf8_lossy(&location);
            let detail = format!(
                r#"{{"type":"{kind}","loc":[{shown}],"msg":"{message}","input":{input}{more}}}"#
            );
            self.found.push((location, detail));
        }
    }

    /// Takes back what was said of a place: its key is there again, and the last counts.
    pub(super) fn forget(&mut self, place: &Place<'_>) {
        if self.found.is_empty() {
            return;
        }
        let mut within = Vec::new();
        place.write(self.compat, &mut within);
        self.found.retain(|(location, _)| {
            let rest = location.strip_prefix(within.as_slice());
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b","))
        });
    }

    /// Whether parameters are single values, as KServe has them; MLServer takes any.
    pub(super) fn plain_parameters(&self) -> bool {
        self.compat != Compat::Mlserver
    }

    /// MLServer knows datatypes by their exact names. An empty one was no text at all.
    pub(super) fn check_datatype(&mut self, place: &Place<'_>, datatype: &str) {
        if self.compat != Compat::Mlserver || datatype.is_empty() || DATATYPES.contains(&datatype) {
            return;
        }
        let (last, first) = DATATYPES.split_last().unwrap_or((&"", &[]));
        let names: Vec<String> = first.iter().map(|name| format!("'{name}'")).collect();
        let expected = format!("{} or '{last}'", names.join(", "));
        let mut input = Vec::new();
        Style::Compact.text(datatype, &mut input);
        let (input, message) = (
            String::from_utf8_lossy(&input).into_owned(),
            format!("Input should be {expected}"),
        );
        let more = format!(r#","ctx":{{"expected":"{expected}"}}"#);
        self.add_more("enum", place, &message, &input, &more);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The answer. KServe's server also tried to read the body as bytes, which never works for JSON.
    pub(crate) fn failure(mut self, body: &str) -> Failure {
        if self.compat != Compat::Mlserver {
            let body = compact(body);
            let detail = format!(
                r#"{{"type":"bytes_type","loc":["body","bytes"],"msg":"Input should be a valid bytes","input":{body}}}"#
            );
            self.found.push((Vec::new(), detail));
        }
        let found = self.found.into_iter().map(|(_, detail)| detail);
        failure(&format!("[{}]", found.collect::<Vec<_>>().join(",")))
    }
}

pub(crate) fn failure(detail: &str) -> Failure {
    Failure::Detail(StatusCode::UNPROCESSABLE_ENTITY, detail.to_owned())
}

/// The answer to text that is no JSON, in the words of Python's `json`, or of orjson, which MLServer has.
pub(crate) fn no_json(error: JsonError, text: &str, compat: Compat) -> Failure {
    let words = match error.message {
        message if compat == Compat::Mlserver => message,
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
