//! Which path means what.

use crate::answer::{Failure, json};
use crate::{Model, v1, v2};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};

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

/// Answers one request of the V1 or V2 protocol. Every answer is complete; nothing here waits.
pub fn handle(model: &Model, request: Head<'_>, body: &Bytes) -> Response<Bytes> {
    dispatch(model, request, body).unwrap_or_else(Failure::response)
}

fn dispatch(model: &Model, request: Head<'_>, body: &[u8]) -> Result<Response<Bytes>, Failure> {
    let Some(route) = Route::find(request.path) else {
        let shorter = request.path.strip_suffix('/');
        return Err(match shorter.filter(|path| Route::find(path).is_some()) {
            Some(path) => Failure::Slash(path.to_owned()),
            None => Failure::not_found(),
        });
    };
    let post = *request.method == Method::POST;
    let get = *request.method == Method::GET;
    // A V1 action is part of the last segment, so that with any method but POST it is a model of that name.
    if let (Route::V1Model(segment), true) = (&route, post) {
        if let Some(name) = segment.strip_suffix(":predict") {
            known(model, name)?;
            return v1::predict(model, request.headers, body);
        }
        if let Some(name) = segment.strip_suffix(":explain") {
            known(model, name)?;
            return Err(Failure::Error(
                StatusCode::NOT_IMPLEMENTED,
                "Could not find explainer_host.".to_owned(),
            ));
        }
    }
    let takes_post = matches!(
        route,
        Route::V2Infer(_) | Route::V2VersionInfer | Route::Load(_) | Route::Unload(_)
    );
    if if takes_post { !post } else { !get } {
        return Err(Failure::Method(if takes_post { "POST" } else { "GET" }));
    }
    let text = match route {
        Route::Root => r#"{"status":"alive"}"#.to_owned(),
        Route::Models => format!(r#"{{"models":[{}]}}"#, quoted(model.name())),
        Route::V1Model(name) | Route::V2Ready(name) => {
            known(model, name)?;
            format!(r#"{{"name":{},"ready":true}}"#, quoted(name))
        }
        Route::V2 => {
            r#"{"name":"kserve","version":"0.20.0","extensions":["model_repository_extension"]}"#
                .to_owned()
        }
        Route::Live => r#"{"live":true}"#.to_owned(),
        Route::Ready => r#"{"ready":true}"#.to_owned(),
        Route::V2Model(name) => {
            known(model, name)?;
            format!(
                r#"{{"name":{},"versions":null,"platform":"","inputs":[],"outputs":[]}}"#,
                quoted(name)
            )
        }
        Route::V2Infer(name) => {
            known(model, name)?;
            return v2::infer(model, request.headers, body);
        }
        Route::V2Version | Route::V2VersionInfer => {
            return Err(Failure::Error(
                StatusCode::NOT_IMPLEMENTED,
                "Model versioning not supported yet.".to_owned(),
            ));
        }
        Route::Load(name) => {
            if name != model.name() {
                let message = format!("Model with name {name} is not ready.");
                return Err(Failure::Error(StatusCode::SERVICE_UNAVAILABLE, message));
            }
            format!(r#"{{"name":{},"load":true}}"#, quoted(name))
        }
        Route::Unload(name) => {
            known(model, name)?;
            let message = "a model is unloaded by removing its InferenceService".to_owned();
            return Err(Failure::Error(StatusCode::NOT_IMPLEMENTED, message));
        }
    };
    Ok(json(StatusCode::OK, text.into_bytes()))
}

fn known(model: &Model, name: &str) -> Result<(), Failure> {
    if name == model.name() {
        Ok(())
    } else {
        Err(Failure::no_model(name))
    }
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    crate::write::Style::Compact.text(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

enum Route<'p> {
    Root,
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
