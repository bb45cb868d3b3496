//! Which path means what.

use crate::answer::{Failure, json};
use crate::cost::Writing;
use crate::json::{Json, Kind};
use crate::{
    Compat, Manner, Model, Refusal, Repository, metadata, metrics, mlserver, ready, v1, v2,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use std::sync::Arc;

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'r> {
    /// The method.
    pub method: &'r Method,
    /// The path without the query.
    pub path: &'r str,
    /// The headers.
    pub headers: &'r HeaderMap,
}

impl<'r> From<&'r http::request::Parts> for Head<'r> {
    fn from(parts: &'r http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            path: parts.uri.path(),
            headers: &parts.headers,
        }
    }
}

/// What a request is about, by which it is known where it is best answered.
#[derive(Debug)]
pub enum Task {
    /// Nothing that takes long.
    Quick,
    /// It may read files.
    Loads,
    /// It asks this model.
    Asks(Arc<Model>, Writing),
}

/// What a request is about, before there is more of it than its head.
pub fn task(models: &dyn Repository, manner: &Manner, request: Head<'_>) -> Task {
    if manner.compat == Compat::Mlserver {
        return mlserver::task(models, request);
    }
    let asked = match Route::find(request.path) {
        Some(Route::Load(_)) => return Task::Loads,
        _ if *request.method != Method::POST => None,
        Some(Route::V1Model(segment)) => {
            let model = segment
                .strip_suffix(":predict")
                .and_then(|name| models.find(name));
            model.map(|model| (model, Writing::Text))
        }
        Some(Route::V2Infer(name)) => {
            let writing = v2::writing(request.headers);
            models.find(name).map(|model| (model, writing))
        }
        _ => None,
    };
    asked.map_or(Task::Quick, |(model, writing)| Task::Asks(model, writing))
}

/// Answers one request of the V1 or V2 protocol. Every answer is complete; nothing here waits but loading a model.
pub fn handle(
    models: &dyn Repository,
    manner: &Manner,
    request: Head<'_>,
    body: &Bytes,
) -> Response<Bytes> {
    match manner.compat {
        Compat::Mlserver => mlserver::handle(models, manner, request, body),
        Compat::Kserve | Compat::Strict => dispatch(models, manner, request, body)
            .unwrap_or_else(|failure| failure.response(manner.compat)),
    }
}

/// What a path means, by those that are known; one with a slash too many is known without it.
pub(crate) fn routed<'p, R>(
    path: &'p str,
    find: impl Fn(&'p str) -> Option<R>,
) -> Result<R, Failure> {
    find(path).ok_or_else(|| {
        let shorter = path.strip_suffix('/');
        match shorter.filter(|path| find(path).is_some()) {
            Some(path) => Failure::Slash(path.to_owned()),
            None => Failure::not_found(),
        }
    })
}

fn dispatch(
    models: &dyn Repository,
    manner: &Manner,
    request: Head<'_>,
    body: &[u8],
) -> Result<Response<Bytes>, Failure> {
    let route = routed(request.path, Route::find)?;
    let post = *request.method == Method::POST;
    let get = *request.method == Method::GET;
    // A V1 action is part of the last segment, so that with any method but POST it is a model of that name.
    if let (Route::V1Model(segment), true) = (&route, post) {
        if let Some(name) = segment.strip_suffix(":predict") {
            return v1::predict(&*known(models, name)?, manner, request.headers, body);
        }
        if let Some(name) = segment.strip_suffix(":explain") {
            known(models, name)?;
            return Err(Failure::Error(
                StatusCode::NOT_IMPLEMENTED,
                "Could not find explainer_host.".to_owned(),
            ));
        }
    }
    let takes_post = matches!(
        route,
        Route::V2Infer(_)
            | Route::V2VersionInfer
            | Route::Load(_)
            | Route::Unload(_)
            | Route::Index
    );
    if if takes_post { !post } else { !get } {
        return Err(Failure::Method(if takes_post { "POST" } else { "GET" }));
    }
    let text = match route {
        Route::Root => r#"{"status":"alive"}"#.to_owned(),
        Route::Models => {
            let mut ready = models.index();
            ready.retain(|entry| entry.ready);
            let names: Vec<String> = ready.iter().map(|entry| quoted(&entry.name)).collect();
            format!(r#"{{"models":[{}]}}"#, names.join(","))
        }
        Route::Metrics => {
            return Ok(metrics::response(models, manner, request.headers));
        }
        Route::OpenApi => include_str!("openapi.json").to_owned(),
        Route::V1Model(name) | Route::V2Ready(name) => {
            known(models, name)?;
            format!(r#"{{"name":{},"ready":true}}"#, quoted(name))
        }
        Route::V2 => {
            let extensions = metadata::EXTENSIONS.map(quoted).join(",");
            format!(
                r#"{{"name":{},"version":{},"extensions":[{extensions}]}}"#,
                quoted(metadata::SERVER),
                quoted(metadata::VERSION)
            )
        }
        Route::Live => r#"{"live":true}"#.to_owned(),
        Route::Ready => {
            let ready = ready(models, manner);
            let status = if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            return Ok(json(status, format!(r#"{{"ready":{ready}}}"#).into_bytes()));
        }
        Route::V2Model(name) => {
            let metadata = known(models, name)?.metadata();
            return Ok(json(StatusCode::OK, metadata.json()));
        }
        Route::V2Infer(name) => {
            return v2::infer(&*known(models, name)?, manner, request.headers, body);
        }
        Route::Index => {
            let mut entries = models.index();
            if only_ready(body)? {
                entries.retain(|entry| entry.ready);
            }
            return Ok(json(
                StatusCode::OK,
                metadata::index(&entries, manner.compat),
            ));
        }
        Route::V2Version | Route::V2VersionInfer => {
            return Err(Failure::Error(
                StatusCode::NOT_IMPLEMENTED,
                "Model versioning not supported yet.".to_owned(),
            ));
        }
        Route::Load(name) => {
            models.load(name).map_err(|why| refused(name, why))?;
            format!(r#"{{"name":{},"load":true}}"#, quoted(name))
        }
        Route::Unload(name) => {
            models.unload(name).map_err(|why| refused(name, why))?;
            format!(r#"{{"name":{},"unload":true}}"#, quoted(name))
        }
    };
    Ok(json(StatusCode::OK, text.into_bytes()))
}

/// The model, or why there is none.
fn known(models: &dyn Repository, name: &str) -> Result<Arc<Model>, Failure> {
    models.find(name).ok_or_else(|| Failure::no_model(name))
}

fn refused(name: &str, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Unknown => Failure::no_model(name),
        Refusal::NotReady(why) => {
            let message = format!("Model with name {name} is not ready. {why}");
            let message = message.trim_end().to_owned();
            Failure::Error(StatusCode::SERVICE_UNAVAILABLE, message)
        }
        Refusal::Unsupported(what) => Failure::Error(StatusCode::NOT_IMPLEMENTED, what.to_owned()),
    }
}

/// What Triton's index asks for: `{"ready": true}`, or nothing.
pub(crate) fn only_ready(body: &[u8]) -> Result<bool, Failure> {
    if body.is_empty() {
        return Ok(false);
    }
    let text = crate::json::text(body).map_err(Failure::bad)?;
    let mut ready = false;
    let mut json = Json::new(text);
    json.object(|json, key| {
        if key == "ready" && json.kind()? == Kind::Boolean {
            ready = json.boolean()?;
        } else {
            json.skip()?;
        }
        Ok(())
    })
    .and_then(|()| json.end())
    .map_err(|error| Failure::bad(format!("Unrecognized request format: {}", error.show(text))))?;
    Ok(ready)
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    crate::write::Style::Compact.text(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

enum Route<'p> {
    Root,
    Metrics,
    OpenApi,
    Index,
    Models,
    V1Model(&'p str),
    V2,
    Live,
    Ready,
    V2Model(&'p str),
    V2Ready(&'p str),
    V2Infer(&'p str),
    V2Version,
    V2VersionInfer,
    Load(&'p str),
    Unload(&'p str),
}

impl<'p> Route<'p> {
    fn find(path: &'p str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let parts: [Option<&str>; 7] = std::array::from_fn(|_| segments.next());
        let route = match parts {
            [Some(""), None, ..] => Self::Root,
            [Some("metrics"), None, ..] => Self::Metrics,
            [Some("openapi.json"), None, ..] => Self::OpenApi,
            [Some("v2"), Some("repository"), Some("index"), None, ..] => Self::Index,
            [Some("v1" | "v2"), Some("models"), None, ..] => Self::Models,
            [Some("v1"), Some("models"), Some(model), None, ..] => Self::V1Model(model),
            [Some("v2"), None, ..] => Self::V2,
            [Some("v2"), Some("health"), Some("live"), None, ..] => Self::Live,
            [Some("v2"), Some("health"), Some("ready"), None, ..] => Self::Ready,
            [Some("v2"), Some("models"), Some(model), None, ..] => Self::V2Model(model),
            [
                Some("v2"),
                Some("models"),
                Some(model),
                Some("ready"),
                None,
                ..,
            ] => Self::V2Ready(model),
            [
                Some("v2"),
                Some("models"),
                Some(model),
                Some("infer"),
                None,
                ..,
            ] => Self::V2Infer(model),
            [
                Some("v2"),
                Some("models"),
                Some(_),
                Some("versions"),
                Some(_),
                None,
                ..,
            ] => Self::V2Version,
            [
                Some("v2"),
                Some("models"),
                Some(_),
                Some("versions"),
                Some(_),
                Some("ready"),
                None,
            ] => Self::V2Version,
            [
                Some("v2"),
                Some("models"),
                Some(_),
                Some("versions"),
                Some(_),
                Some("infer"),
                None,
            ] => Self::V2VersionInfer,
            [
                Some("v2"),
                Some("repository"),
                Some("models"),
                Some(model),
                Some("load"),
                None,
                ..,
            ] => Self::Load(model),
            [
                Some("v2"),
                Some("repository"),
                Some("models"),
                Some(model),
                Some("unload"),
                None,
                ..,
            ] => Self::Unload(model),
            _ => return None,
        };
        // An empty name is a slash at the end of the path above.
        let named = match &route {
            Self::V1Model(name) | Self::V2Model(name) => !name.is_empty(),
            _ => true,
        };
        named.then_some(route)
    }
}
