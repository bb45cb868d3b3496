//! V2 as MLServer 1.7 speaks it: other paths, versions, outputs that are named after what is asked of the estimator, and its
//! words for what is wrong. Where MLServer says only `Internal Server Error`, the answer here is 400 and says what was expected.

mod settings;
mod traffic;

use crate::answer::{Failure, json};
use crate::cost::Writing;
use crate::encoding::Coding;
use crate::json as parse;
use crate::metadata;
use crate::metrics::{self, Phase};
use crate::model::Engine;
use crate::records::Asked;
use crate::reply::{Named, Reply};
use crate::route::{Head, Task, only_ready, routed};
use crate::v2::request::{self, InferRequest};
use crate::v2::tensor::{self, Tensor};
use crate::v2::{self, validation};
use crate::write::Style;
use crate::{Compat, Manner, Model, Refusal, Repository};
use base64::Engine as _;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use models::{Output, Predictor};
use std::sync::Arc;

pub use settings::ModelSettings;
pub use traffic::Traffic;

/// What MLServer calls itself.
pub(crate) const SERVER: &str = "mlserver";
pub(crate) const VERSION: &str = "1.7.1";
/// What an output is called if the request names none.
pub(crate) const PREDICT: &str = "predict";
/// Bodies from this size on are compressed for those who take it.
const COMPRESSED: usize = 500;

/// Answers one request and counts it.
pub(crate) fn handle(
    models: &dyn Repository,
    manner: &Manner,
    request: Head<'_>,
    body: &[u8],
) -> Response<Bytes> {
    let answer = || {
        dispatch(models, manner, request, body)
            .unwrap_or_else(|failure| failure.response(manner.compat))
    };
    // Those with another method are left out there, too.
    let counted = Route::find(request.path).and_then(|route| {
        let method = route.method();
        (*request.method == method).then_some((method, route.counted()?))
    });
    let Some((method, path)) = counted else {
        return answer();
    };
    let status = |response: &Response<Bytes>| response.status().as_u16();
    manner.traffic.request(method, path, answer, status)
}

/// What a request is about.
pub(crate) fn task(models: &dyn Repository, request: Head<'_>) -> Task {
    match Route::find(request.path) {
        Some(Route::Load(_)) => Task::Loads,
        Some(Route::Infer(name, version)) if *request.method == "POST" => {
            match known(models, name, version) {
                Ok(model) => Task::Asks(model, Writing::Text),
                Err(_) => Task::Quick,
            }
        }
        _ => Task::Quick,
    }
}

fn dispatch(
    models: &dyn Repository,
    manner: &Manner,
    request: Head<'_>,
    body: &[u8],
) -> Result<Response<Bytes>, Failure> {
    let route = routed(request.path, Route::find)?;
    if *request.method != route.method() {
        return Err(Failure::Method(route.method()));
    }
    Ok(match route {
        Route::Server => json(
            StatusCode::OK,
            format!(r#"{{"name":"{SERVER}","version":"{VERSION}","extensions":[]}}"#).into_bytes(),
        ),
        Route::Health => Response::new(Bytes::new()),
        Route::Metrics => metrics::response(models, manner, request.headers),
        Route::Model(name, version) => {
            json(StatusCode::OK, described(&*known(models, name, version)?))
        }
        Route::Ready(name, version) => {
            known(models, name, version)?;
            Response::new(Bytes::new())
        }
        Route::Infer(name, version) => {
            let model = known(models, name, version)?;
            let response = infer(&model, version.is_some(), body)?;
            compressed(response, request.headers)
        }
        Route::Index => {
            let mut entries = models.index();
            if only_ready(body)? {
                entries.retain(|entry| entry.ready);
            }
            compressed(
                json(StatusCode::OK, metadata::index(&entries, Compat::Mlserver)),
                request.headers,
            )
        }
        Route::Load(name) => {
            models.load(name).map_err(|why| refused(name, why))?;
            Response::new(Bytes::new())
        }
        Route::Unload(name) => {
            models.unload(name).map_err(|why| refused(name, why))?;
            Response::new(Bytes::new())
        }
    })
}

enum Route<'p> {
    Server,
    Health,
    Metrics,
    Model(&'p str, Option<&'p str>),
    Ready(&'p str, Option<&'p str>),
    Infer(&'p str, Option<&'p str>),
    Index,
    Load(&'p str),
    Unload(&'p str),
}

impl<'p> Route<'p> {
    fn find(path: &'p str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').take(8).collect();
        let route = match parts.as_slice() {
            ["v2"] => Self::Server,
            ["v2", "health", "live" | "ready"] => Self::Health,
            ["metrics"] => Self::Metrics,
            ["v2", "repository", "index"] => Self::Index,
            ["v2", "repository", "models", name, "load"] => Self::Load(name),
            ["v2", "repository", "models", name, "unload"] => Self::Unload(name),
            ["v2", "models", name, "versions", version, rest @ ..] => {
                Self::of_model(name, Some(version), rest)?
            }
            ["v2", "models", name, rest @ ..] => Self::of_model(name, None, rest)?,
            _ => return None,
        };
        Some(route)
    }

    fn of_model(name: &'p str, version: Option<&'p str>, rest: &[&str]) -> Option<Self> {
        if name.is_empty() || version == Some("") {
            return None;
        }
        Some(match rest {
            [] => Self::Model(name, version),
            ["ready"] => Self::Ready(name, version),
            ["infer"] => Self::Infer(name, version),
            _ => return None,
        })
    }

    /// What requests of this path are counted as: MLServer leaves out those about itself.
    fn counted(&self) -> Option<&'static str> {
        Some(match self {
            Self::Health | Self::Metrics => return None,
            Self::Server => "/v2",
            Self::Model(_, None) => "/v2/models/{model_name}",
            Self::Model(_, Some(_)) => "/v2/models/{model_name}/versions/{model_version}",
            Self::Ready(_, None) => "/v2/models/{model_name}/ready",
            Self::Ready(_, Some(_)) => "/v2/models/{model_name}/versions/{model_version}/ready",
            Self::Infer(_, None) => "/v2/models/{model_name}/infer",
            Self::Infer(_, Some(_)) => "/v2/models/{model_name}/versions/{model_version}/infer",
            Self::Index => "/v2/repository/index",
            Self::Load(_) => "/v2/repository/models/{model_name}/load",
            Self::Unload(_) => "/v2/repository/models/{model_name}/unload",
        })
    }

    /// The only method that it takes.
    fn method(&self) -> &'static str {
        match self {
            Self::Infer(..) | Self::Index | Self::Load(_) | Self::Unload(_) => "POST",
            Self::Server | Self::Health | Self::Metrics | Self::Model(..) | Self::Ready(..) => {
                "GET"
            }
        }
    }
}

fn known(
    models: &dyn Repository,
    name: &str,
    version: Option<&str>,
) -> Result<Arc<Model>, Failure> {
    let found = models
        .find(name)
        .filter(|model| version.is_none() || model.settings().version.as_deref() == version);
    found.ok_or_else(|| {
        Failure::Error(
            StatusCode::NOT_FOUND,
            match version {
                Some(version) => format!("Model {name} with version {version} not found"),
                None => format!("Model {name} not found"),
            },
        )
    })
}

fn refused(name: &str, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Unknown => {
            Failure::Error(StatusCode::NOT_FOUND, format!("Model {name} not found"))
        }
        Refusal::NotReady(why) => Failure::Error(
            StatusCode::BAD_REQUEST,
            format!("Model {name} is not ready. {why}")
                .trim_end()
                .to_owned(),
        ),
        Refusal::Unsupported(what) => Failure::Error(StatusCode::NOT_IMPLEMENTED, what.to_owned()),
    }
}

/// Metadata: what the settings say, and what the model knows where they say nothing.
fn described(model: &Model) -> Vec<u8> {
    let mut out = b"{\"name\":".to_vec();
    Style::Compact.text(model.name(), &mut out);
    for (name, default) in settings::METADATA {
        let said = model
            .settings()
            .metadata
            .iter()
            .find(|(key, _)| *key == name);
        let value = said.map_or(default, |(_, value)| value);
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    out.extend_from_slice(b",\"parameters\":{}}");
    out
}

fn infer(model: &Model, versioned: bool, body: &[u8]) -> Result<Response<Bytes>, Failure> {
    let durations = model.durations();
    let mut watch = match versioned {
        true => durations.start_versioned(Writing::Text, body.len()),
        false => durations.start(Writing::Text, body.len()),
    };
    let text = match parse::text(body) {
        Ok(text) => text,
        Err(_) if body.is_empty() => {
            return Err(validation::failure(
                r#"[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]"#,
            ));
        }
        Err(message) => return Err(Failure::bad(message)),
    };
    let request = request::parse(text, false, Compat::Mlserver)
        .map_err(|error| validation::no_json(error, text, Compat::Mlserver))?
        .map_err(|details| details.failure(text))?;
    let default = model.settings().predict_fn.as_deref().unwrap_or(PREDICT);
    let asked: Vec<&str> = match request.outputs.as_deref() {
        None | Some([]) => vec![default],
        Some(outputs) => outputs.iter().map(|output| &*output.name).collect(),
    };
    let asked = outputs(model, asked);
    for name in &asked {
        check(model, name).map_err(Failure::bad)?;
    }
    single(request.pandas, request.inputs.len()).map_err(Failure::bad)?;
    let inputs = request.inputs.iter().map(|input| {
        let tensor = tensor::decode(input, None)?;
        let kind = input.content_type.as_deref().unwrap_or_default();
        Ok((input.name.to_string(), decoded(tensor, kind)?))
    });
    let rows = v2::gather(model, request.pandas, inputs).map_err(Failure::mistake)?;
    watch.lap(Phase::Preprocess);
    let replies: Result<Vec<(&str, Reply<'_>)>, String> = asked
        .into_iter()
        .map(|name| Ok((name, answer(model, name, &rows)?)))
        .collect();
    let replies = replies.map_err(Failure::mistake)?;
    watch.lap(Phase::Predict);
    let response = respond(model, &request, &replies);
    watch.lap(Phase::Postprocess);
    Ok(response)
}

/// Checks that there is one tensor, unless each is a column.
pub(crate) fn single(pandas: bool, inputs: usize) -> Result<(), String> {
    match (pandas, inputs) {
        (true, _) | (_, 1) => Ok(()),
        _ => Err(format!(
            "There was an error encoding / decoding the payload: The 'np' codec only supports a single input tensor ({inputs} were received)"
        )),
    }
}

/// What a tensor of text stands for by its content type: text that was packed in base64, for whoever cannot put it into
/// JSON, or dates. No model here takes dates, which are no text where they arrive in MLServer either.
pub(crate) fn decoded(tensor: Tensor, content_type: &str) -> Result<Tensor, String> {
    match content_type {
        "base64" => tensor.map_texts(|text| {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .ok()?;
            String::from_utf8(bytes).ok()
        }),
        "datetime" => Err(
            "no model here takes dates: without the content type `datetime` they are text"
                .to_owned(),
        ),
        _ => Ok(tensor),
    }
}

/// What can be asked as MLServer asks estimators.
fn predictor(model: &Model) -> Result<&Predictor, String> {
    match model.engine() {
        Engine::Predictor(predictor) => Ok(predictor),
        Engine::Graph(_) => Err(
            "graphs of ONNX are not answered in MLServer's way: start without --compat=mlserver"
                .to_owned(),
        ),
    }
}

/// Which of MLServer's runtimes a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Sklearn,
    Xgboost,
    /// Those that answer `predict` whatever is asked for.
    Plain,
}

fn runtime(model: &Model) -> Runtime {
    let said = model.settings().implementation.as_deref();
    match model.engine() {
        _ if said == Some("mlserver_sklearn.SKLearnModel") => Runtime::Sklearn,
        Engine::Predictor(predictor) => match predictor.about().class.as_str() {
            "xgboost.sklearn.XGBClassifier" | "xgboost.sklearn.XGBRegressor" => Runtime::Xgboost,
            "lightgbm.basic.Booster" | "catboost.core.CatBoost" => Runtime::Plain,
            _ => Runtime::Sklearn,
        },
        Engine::Graph(_) => Runtime::Sklearn,
    }
}

/// The outputs that a request asks for by these names.
pub(crate) fn outputs<'n>(model: &Model, named: Vec<&'n str>) -> Vec<&'n str> {
    match runtime(model) {
        Runtime::Plain => vec![PREDICT],
        Runtime::Sklearn | Runtime::Xgboost => named,
    }
}

/// Whether an output of that name can be asked for.
pub(crate) fn check(model: &Model, name: &str) -> Result<(), String> {
    let predictor = predictor(model)?;
    match runtime(model) {
        Runtime::Plain => return Ok(()),
        Runtime::Sklearn => {}
        Runtime::Xgboost if name == PREDICT => return Ok(()),
        Runtime::Xgboost if name == "predict_proba" => {
            // The quotation mark is missing there, too.
            return match predictor.classes() {
                Some(_) => Ok(()),
                None => Err(format!("XGBRegressor models do not support '{name}")),
            };
        }
        Runtime::Xgboost => {
            return Err(format!(
                "XGBoostModel only supports 'predict' and 'predict_proba' as outputs ({} was received)",
                crate::rows::short(name)
            ));
        }
    }
    let known = ["predict", "predict_proba", "transform"];
    if !known.contains(&name) {
        return Err(format!(
            "SKLearnModel only supports 'predict', 'predict_proba' and 'transform' as outputs ({} was received)",
            crate::rows::short(name)
        ));
    }
    let class = &predictor.about().class;
    // The quotation mark that is missing is missing in MLServer, too.
    if name == "predict_proba" && !predictor.has_probabilities() {
        return Err(format!("<class '{class}'> models do not support '{name}"));
    }
    if name == "transform" && predictor.predicts() {
        return Err(format!("<class '{class}'> models do not support '{name}'"));
    }
    Ok(())
}

/// What the model says about rows by that name.
pub(crate) fn answer<'m>(model: &'m Model, name: &str, rows: &Asked) -> Result<Reply<'m>, String> {
    let predictor = predictor(model)?;
    let output = match name {
        "predict_proba" => predictor.predict_proba(rows.input()),
        "transform" => predictor
            .transform(rows.input())
            .map(|matrix| Output::Table {
                values: matrix.values().to_vec(),
                columns: matrix.columns(),
                precision: matrix.precision(),
            }),
        _ => return model.answer(rows),
    };
    let output = output.map_err(|error| error.to_string())?;
    Ok(Reply::Output(output, predictor.classes()))
}

/// The sizes of an output: MLServer has no lists, only columns.
pub(crate) fn shape(output: Named<'_>) -> Vec<i64> {
    let mut shape = output.shape();
    if shape.len() == 1 {
        shape.push(1);
    }
    shape
}

fn respond(
    model: &Model,
    request: &InferRequest<'_>,
    outputs: &[(&str, Reply<'_>)],
) -> Response<Bytes> {
    let style = Style::Compact;
    let generated;
    let id = match &request.id {
        Some(id) => id,
        None => {
            generated = uuid::Uuid::new_v4().to_string();
            &*generated
        }
    };
    let mut out = b"{\"model_name\":".to_vec();
    style.text(model.name(), &mut out);
    if let Some(version) = &model.settings().version {
        out.extend_from_slice(b",\"model_version\":");
        style.text(version, &mut out);
    }
    out.extend_from_slice(b",\"id\":");
    style.text(id, &mut out);
    out.extend_from_slice(b",\"parameters\":{},\"outputs\":");
    let outputs = outputs.iter().flat_map(|(name, reply)| {
        let all = reply.all().into_iter();
        all.map(move |output| (*name, output))
    });
    style.list(outputs, &mut out, |(name, output), out| {
        out.extend_from_slice(b"{\"name\":");
        style.text(name, out);
        out.extend_from_slice(b",\"shape\":");
        style.list(shape(output), out, |size, out| {
            out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        });
        out.extend_from_slice(b",\"datatype\":");
        style.text(output.datatype(), out);
        out.extend_from_slice(b",\"parameters\":{\"content_type\":\"np\"},\"data\":");
        output.flat(style, out);
        out.push(b'}');
    });
    out.push(b'}');
    let mut response = json(StatusCode::OK, out);
    let mut event = vec![
        ("ce-specversion", "0.3"),
        ("ce-source", "io.seldon.serving.deployment.mlserver"),
        ("ce-type", "io.seldon.serving.inference.response"),
        ("ce-modelid", model.name()),
        ("ce-inferenceservicename", SERVER),
        ("ce-endpoint", model.name()),
    ];
    if !id.is_empty() {
        event.extend([("ce-id", id), ("ce-requestid", id)]);
    }
    for (name, value) in event {
        if let Ok(value) = HeaderValue::try_from(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The answer in gzip, if it is long and the client takes that.
fn compressed(response: Response<Bytes>, asked: &HeaderMap) -> Response<Bytes> {
    let taken = asked
        .get_all(ACCEPT_ENCODING)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains("gzip")));
    if !taken || response.body().len() < COMPRESSED {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let headers = &mut parts.headers;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Bytes::from(Coding::gzip(&body)))
}
