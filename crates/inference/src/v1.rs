//! The V1 protocol: `{"instances": […]}` to `{"predictions": […]}`.

use crate::answer::{Failure, json};
use crate::cloud_events::{self, Attributes, Wrap};
use crate::cost::Writing;
use crate::json::{self as parse, Json, JsonError, Kind};
use crate::metrics::Phase;
use crate::model::Engine;
use crate::records::{self, Asked};
use crate::rows::{self, Rows};
use crate::write::Style;
use crate::{Compat, Manner, Model};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use models::Table;

const CLOUD_EVENT: &str = "application/cloudevents+json";

/// Answers a prediction. The body is read as JSON whatever its content type says.
pub(crate) fn predict(
    model: &Model,
    manner: &Manner,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Bytes>, Failure> {
    let mut watch = model.durations().start(Writing::Text, body.len());
    let binary = cloud_events::is_binary(headers);
    if manner.compat == Compat::Strict && !binary && !is_json(headers) {
        return Err(Failure::mistake(
            "Expected 2D array, got scalar array instead:\narray=nan.\nReshape your data either using array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single sample.",
        ));
    }
    // An event's body goes to the model as it is if it is no JSON.
    let unreadable = |message: String| {
        let message = format!("Unrecognized request format: {message}");
        if binary {
            Failure::mistake(message)
        } else {
            Failure::bad(message)
        }
    };
    let text = parse::text(body).map_err(unreadable)?;
    let read = |text| read(text, model).map_err(|error: JsonError| unreadable(error.show(text)));
    let mut request = read(text)?;
    let mut attributes = Vec::new();
    let mut wrap = if binary { Wrap::Binary } else { Wrap::Plain };
    if let (false, Some(data)) = (binary, request.event_data()) {
        if headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value == CLOUD_EVENT)
        {
            wrap = Wrap::Structured;
            attributes = std::mem::take(&mut request.attributes);
        }
        request = read(data)?;
    }
    let rows = request.rows(model)?;
    watch.lap(Phase::Preprocess);
    let reply = model.answer(&rows).map_err(Failure::mistake)?;
    watch.lap(Phase::Predict);
    let style = if wrap == Wrap::Plain {
        Style::Compact
    } else {
        Style::Spaced
    };
    let mut out = Vec::with_capacity(32 + rows.rows() * 8);
    let mut extensions = Vec::new();
    if wrap == Wrap::Structured {
        let standard;
        (standard, extensions) = cloud_events::attributes(model.name(), &manner.events, attributes);
        out.push(b'{');
        for (name, value) in standard {
            style.text(&name, &mut out);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"data\": ");
    }
    out.extend_from_slice(if style == Style::Compact {
        b"{\"predictions\":"
    } else {
        b"{\"predictions\": "
    });
    reply
        .predictions(rows.rows(), style, &mut out)
        .map_err(Failure::bad)?;
    out.push(b'}');
    if wrap == Wrap::Structured {
        for (name, value) in extensions {
            out.extend_from_slice(b", ");
            style.text(&name, &mut out);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }
    watch.lap(Phase::Postprocess);
    let mut response = json(StatusCode::OK, out);
    match wrap {
        Wrap::Plain => {}
        Wrap::Binary => {
            let answer = response.headers_mut();
            cloud_events::add_headers(model.name(), &manner.events, headers, answer);
        }
        Wrap::Structured => {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(CLOUD_EVENT));
        }
    }
    Ok(response)
}

/// The parts of a body that matter.
#[derive(Default)]
struct Request<'t> {
    instances: Option<Rows<'t>>,
    inputs: Option<Rows<'t>>,
    /// Whether the body is an object at all.
    object: bool,
    data: Option<&'t str>,
    /// One bit for each attribute of a structured event that was seen.
    event: u8,
    /// Everything else at the top of the body, if it may be an event.
    attributes: Attributes,
}

/// Attributes of an event that are kept.
const ATTRIBUTES: usize = 64;

const EVENT: [&str; 5] = ["time", "type", "source", "id", "specversion"];

fn read<'t>(text: &'t str, model: &Model) -> Result<Request<'t>, JsonError> {
    let mut json = Json::new(text);
    let mut request = Request::default();
    if json.kind()? != Kind::Object {
        json.skip()?;
        json.end()?;
        return Ok(request);
    }
    request.object = true;
    json.object(|json, key| {
        match key.as_ref() {
            "instances" => request.instances = Some(rows::read(json, model.estimator())?),
            "inputs" => request.inputs = Some(rows::read(json, model.estimator())?),
            "data" => request.data = Some(json.skip()?),
            other => {
                if let Some(at) = EVENT.iter().position(|name| *name == other) {
                    request.event |= 1 << at;
                }
                let value = json.skip()?;
                if request.attributes.len() < ATTRIBUTES {
                    request
                        .attributes
                        .push((other.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(())
    })?;
    json.end()?;
    Ok(request)
}

/// Whether KServe takes a body of that type for JSON.
fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|kind| {
        [
            "application/json",
            CLOUD_EVENT,
            "application/ld+json",
            "application/octet-stream",
        ]
        .iter()
        .any(|known| kind == known)
    })
}

impl<'t> Request<'t> {
    /// The data of a structured event: all its attributes and `data` must be there.
    fn event_data(&self) -> Option<&'t str> {
        self.data.filter(|_| self.event == 0b1_1111)
    }

    /// `inputs` wins over `instances`, as in KServe.
    fn rows(self, model: &Model) -> Result<Asked, Failure> {
        let (key, rows) = match (self.inputs, self.instances) {
            // KServe checks both before it takes one.
            (Some(Rows::NoList), _) => ("inputs", Rows::NoList),
            (_, Some(Rows::NoList)) => ("instances", Rows::NoList),
            (Some(rows), _) => ("inputs", rows),
            (None, Some(rows)) => ("instances", rows),
            (None, None) if self.object => {
                return Err(Failure::mistake(
                    "expected a list of rows in \"instances\", found no such key",
                ));
            }
            (None, None) => {
                return Err(Failure::mistake(
                    "expected a JSON object with a list of rows in \"instances\"",
                ));
            }
        };
        match rows {
            Rows::Numbers(rows) => Ok(rows),
            Rows::Texts(texts) if model.takes_texts() => Ok(Asked::Table(Table::of_texts(texts))),
            Rows::Texts(_) => Err(Failure::mistake(
                "expected a list of rows, found a list of strings: this model takes rows of numbers",
            )),
            Rows::Named(text) => {
                let names = model.columns();
                let spare = model.has_spare_columns();
                let plain = records::read(text, names.as_deref(), spare);
                let (Engine::Graph(_), Err(error)) = (model.engine(), &plain) else {
                    return plain.map_err(Failure::mistake);
                };
                // A graph takes an object for each row as well, as TensorFlow Serving has it.
                let rows = records::read(&format!("[{text}]"), names.as_deref(), spare);
                rows.map_err(|rows| {
                    let scalars = error.starts_with("If using all scalar values");
                    Failure::mistake(if scalars { rows } else { error.clone() })
                })
            }
            Rows::NoList => Err(Failure::bad(format!("Expected \"{key}\" to be a list"))),
            Rows::Refused(message) => Err(Failure::mistake(message)),
        }
    }
}
