//! Tensors out.

use super::HEADER_LENGTH;
use super::request::{InferRequest, Requested};
use crate::answer::{Failure, json};
use crate::cloud_events;
use crate::reply::{Named, Reply};
use crate::write::Style;
use crate::{Manner, Model};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use models::{IntegerType, Labels, Output, Precision};

/// The name of the only output, as KServe has it.
pub(crate) const OUTPUT: &str = "output-0";

/// Writes an answer: as JSON, as JSON and tensors if the request asks for that, or as an event if the request was one.
pub(super) fn respond(
    model: &Model,
    manner: &Manner,
    asked: &HeaderMap,
    request: &InferRequest<'_>,
    reply: &Reply<'_>,
) -> Result<Response<Bytes>, Failure> {
    let outputs = chosen(model, request, reply)?;
    let binary = outputs.iter().any(|(_, binary)| *binary);
    let event = cloud_events::is_binary(asked);
    let mut body = Vec::with_capacity(224);
    let style = if event { Style::Spaced } else { Style::Compact };
    let mut write = Writer {
        style,
        out: &mut body,
        first: true,
    };
    write.open();
    if !binary && !event {
        write.text("model_name", model.name());
        write.raw("model_version", b"null");
        write.id(request);
        write.raw("parameters", b"null");
    } else {
        write.id(request);
        write.text("model_name", model.name());
        write.raw("model_version", b"null");
    }
    write.key("outputs");
    write.out.push(b'[');
    let mut tensors = Vec::new();
    for (index, (output, raw)) in outputs.iter().enumerate() {
        if index > 0 {
            write.out.extend_from_slice(style.comma());
        }
        write.open();
        write.text("name", output.name());
        write.key("shape");
        style.list(output.shape(), write.out, |size, out| {
            out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes())
        });
        write.text("datatype", output.datatype());
        if *raw {
            let before = tensors.len();
            output.raw(&mut tensors);
            write.key("parameters");
            write.open();
            let size = tensors.len() - before;
            write.raw(
                "binary_data_size",
                itoa::Buffer::new().format(size).as_bytes(),
            );
            write.out.push(b'}');
        } else {
            if !event && !binary {
                write.raw("parameters", b"null");
            }
            write.key("data");
            output.flat(style, write.out);
        }
        write.out.push(b'}');
    }
    body.extend_from_slice(b"]}");
    let length = body.len();
    body.extend_from_slice(&tensors);
    let mut response = json(StatusCode::OK, body);
    let headers = response.headers_mut();
    if binary {
        headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
    }
    if event {
        cloud_events::add_headers(model.name(), &manner.events, asked, headers);
    }
    Ok(response)
}

/// The outputs that are asked for, in that order, each with whether it is to be a tensor behind the JSON.
fn chosen<'r>(
    model: &Model,
    request: &InferRequest<'_>,
    reply: &'r Reply<'_>,
) -> Result<Vec<(Named<'r>, bool)>, Failure> {
    let all = reply.all();
    let Some(wanted) = &request.outputs else {
        let binary = request.binary_output;
        return Ok(all.into_iter().map(|output| (output, binary)).collect());
    };
    let find = |wanted: &Requested<'_>| {
        let found = all.iter().find(|output| output.name() == wanted.name);
        let found = found.map(|output| (*output, wanted.binary));
        found.ok_or_else(|| {
            let name = crate::rows::short(&wanted.name);
            Failure::bad(format!(
                "Unexpected inference output '{name}' for model '{}'",
                model.name()
            ))
        })
    };
    let found: Vec<(Named<'r>, bool)> = wanted.iter().map(find).collect::<Result<_, _>>()?;
    let [only] = all.as_slice() else {
        return Ok(found);
    };
    // The only output is answered once, however often it is asked for.
    Ok(vec![(*only, found.iter().any(|(_, binary)| *binary))])
}

/// Members of an object, one after the other.
struct Writer<'o> {
    style: Style,
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Writer<'_> {
    fn open(&mut self) {
        self.out.push(b'{');
        self.first = true;
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.extend_from_slice(self.style.comma());
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(if self.style == Style::Compact {
            b"\":"
        } else {
            b"\": "
        });
    }

    fn raw(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(value);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.style.text(value, self.out);
    }

    /// The id of the request, or a new one.
    fn id(&mut self, request: &InferRequest<'_>) {
        let given = request.id.as_deref().filter(|id| !id.is_empty());
        let Some(id) = given else {
            return self.text(
                "id",
                uuid::Uuid::new_v4()
                    .hyphenated()
                    .encode_lower(&mut uuid::Uuid::encode_buffer()),
            );
        };
        self.text("id", id);
    }
}

/// The sizes of an output.
pub(crate) fn shape(output: &Output) -> Vec<i64> {
    let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    match output {
        Output::Classes(classes) => vec![size(classes.len())],
        Output::Values(values, _) => vec![size(values.len())],
        Output::ClassTable { classes, columns } => {
            vec![size(classes.len() / (*columns).max(1)), size(*columns)]
        }
        Output::Table {
            values, columns, ..
        } => vec![size(values.len() / (*columns).max(1)), size(*columns)],
    }
}

pub(crate) fn datatype(output: &Output, labels: Option<&Labels>) -> &'static str {
    let (Output::Classes(_) | Output::ClassTable { .. }, Some(labels)) = (output, labels) else {
        return match output {
            Output::Values(_, Precision::Single)
            | Output::Table {
                precision: Precision::Single,
                ..
            } => "FP32",
            _ => "FP64",
        };
    };
    match labels {
        Labels::Integers(_, kind) => match kind {
            IntegerType::Int8 => "INT8",
            IntegerType::Int16 => "INT16",
            IntegerType::Int32 => "INT32",
            IntegerType::Int64 => "INT64",
            IntegerType::Uint8 => "UINT8",
            IntegerType::Uint16 => "UINT16",
            IntegerType::Uint32 => "UINT32",
            IntegerType::Uint64 => "UINT64",
        },
        Labels::Floats(_) => "FP64",
        Labels::Strings(_) => "BYTES",
        Labels::Booleans(_) => "BOOL",
    }
}

/// Little-endian values; text is preceded by its length in four bytes.
pub(crate) fn raw(output: &Output, labels: Option<&Labels>, out: &mut Vec<u8>) {
    let (classes, labels) = match (output, labels) {
        (
            Output::Values(values, precision)
            | Output::Table {
                values, precision, ..
            },
            _,
        ) => {
            match precision {
                Precision::Double => values
                    .iter()
                    .for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
                Precision::Single => values
                    .iter()
                    .for_each(|value| out.extend_from_slice(&(*value as f32).to_le_bytes())),
            }
            return;
        }
        (Output::Classes(_) | Output::ClassTable { .. }, None) => return,
        (Output::Classes(classes) | Output::ClassTable { classes, .. }, Some(labels)) => {
            (classes, labels)
        }
    };
    let indices = classes
        .iter()
        .filter_map(|class| usize::try_from(*class).ok());
    match labels {
        Labels::Integers(values, kind) => {
            let width = match kind {
                IntegerType::Int8 | IntegerType::Uint8 => 1,
                IntegerType::Int16 | IntegerType::Uint16 => 2,
                IntegerType::Int32 | IntegerType::Uint32 => 4,
                IntegerType::Int64 | IntegerType::Uint64 => 8,
            };
            indices
                .filter_map(|index| values.get(index))
                .for_each(|value| out.extend(value.to_le_bytes().iter().take(width)));
        }
        Labels::Floats(values) => {
            indices
                .filter_map(|index| values.get(index))
                .for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        Labels::Strings(values) => indices
            .filter_map(|index| values.get(index))
            .for_each(|text| {
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }),
        Labels::Booleans(values) => out.extend(
            indices
                .filter_map(|index| values.get(index))
                .map(|truth| u8::from(*truth)),
        ),
    }
}
