//! Requests in the short form that tests are written in.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use inference::{Head, Manner, Model, Options, Repository, handle};
use std::sync::Arc;

/// The example model under the name of the recorded one.
pub(crate) fn iris() -> Arc<Model> {
    let file = include_bytes!("../../../../examples/models/sklearn-iris/model.joblib");
    Arc::new(Model::load("iris", "model.joblib", file, &Options::default()).unwrap())
}

pub(crate) fn send(
    model: &Arc<Model>,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Response<Bytes> {
    send_as(&Manner::default(), model, method, path, headers, body)
}

pub(crate) fn send_as(
    manner: &Manner,
    models: &dyn Repository,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Response<Bytes> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    let method = Method::try_from(method).unwrap();
    handle(
        models,
        manner,
        Head {
            method: &method,
            path,
            headers: &map,
        },
        &Bytes::copy_from_slice(body),
    )
}

/// Sends JSON and returns status and body.
pub(crate) fn post(model: &Arc<Model>, path: &str, body: &str) -> (u16, String) {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let response = send(model, "POST", path, &headers, body.as_bytes());
    (
        response.status().as_u16(),
        String::from_utf8_lossy(response.body()).into_owned(),
    )
}
