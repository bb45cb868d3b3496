//! The V1 protocol: `{"instances": […]}` to `{"predictions": […]}`.

use crate::Model;
use crate::answer::{Failure, json};
use crate::cloud_events::{self, Wrap};
use crate::json::{self as parse, Json, JsonError, Kind};
use crate::metrics::Phase;
use crate::records::{self, Asked};
use crate::rows::{self, Rows};
use crate::write::Style;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use models::Table;

const CLOUD_EVENT: &str = "application/cloudevents+json";

/// Answers a prediction. The body is read as JSON whatever its content type says.
pub(crate) fn predict(
    model: &Model,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Bytes>, Failure> {
    let mut watch = model.durations().start();
    let unreadable =
        |message: String| Failure::bad(format!("Unrecognized request format: {message}"));
    let text = parse::text(body).map_err(unreadable)?;
    let binary = cloud_events::is_binary(headers);
    let read = |text| read(text, model).map_err(|error: JsonError| unreadable(error.show(text)));
    let mut request = read(text)?;
    let mut wrap = if binary { Wrap::Binary } else { Wrap::Plain };
    if let (false, Some(data)) = (binary, request.event_data()) {
        if headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value == CLOUD_EVENT)
        {
            wrap = Wrap::Structured;
        }
        request = read(data)?;
    }
    let rows = request.rows(model)?;
    watch.lap(Phase::Preprocess);
    let output = model
        .answer(rows.input())
        .map_err(|error| Failure::bad(error.to_string()))?;
    watch.lap(Phase::Predict);
    let style = if wrap == Wrap::Plain {
        Style::Compact
    } else {
        Style::Spaced
    };
    let mut out = Vec::with_capacity(32 + rows.rows() * 8);
    if wrap == Wrap::Structured {
        out.push(b'{');
        for (name, value) in cloud_events::attributes(model.name()) {
            style.text(name, &mut out);
            out.extend_from_slice(b": ");
            style.text(&value, &mut out);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"data\": ");
    }
    out.extend_from_slice(if style == Style::Compact {
        b"{\"predictions\":"
    } else {
        b"{\"predictions\": "
    });
    style.nested(&output, model.predictor().classes(), &mut out);
    out.push(b'}');
    if wrap == Wrap::Structured {
        out.push(b'}');
    }
    watch.lap(Phase::Postprocess);
    let mut response = json(StatusCode::OK, out);
    match wrap {
        Wrap::Plain => {}
        Wrap::Binary => cloud_events::add_headers(model.name(), response.headers_mut()),
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
}

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
                json.skip()?;
            }
        }
        Ok(())
    })?;
    json.end()?;
    Ok(request)
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
                return Err(Failure::bad(
                    "expected a list of rows in \"instances\", found no such key",
                ));
            }
            (None, None) => {
                return Err(Failure::bad(
                    "expected a JSON object with a list of rows in \"instances\"",
                ));
            }
        };
        match rows {
            Rows::Matrix(matrix) => Ok(Asked::Matrix(matrix)),
            Rows::Texts(texts) if model.predictor().takes_texts() => {
                Ok(Asked::Table(Table::of_texts(texts)))
            }
            Rows::Texts(_) => Err(Failure::bad(
                "expected a list of rows, found a list of strings: this model takes rows of numbers",
            )),
            Rows::Named(text) => {
                records::read(text, model.predictor().about().feature_names.as_deref())
                    .map_err(Failure::bad)
            }
            Rows::NoList => Err(Failure::bad(format!("Expected \"{key}\" to be a list"))),
            Rows::Refused(message) => Err(Failure::bad(message)),
        }
    }
}
