//! From a model's state to an answer.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use inference::Task;

use crate::ModelState;

/// Answers one inference request. A model that is not there answers 503 with
/// the reason, in the shape of KServe's errors: `{"error": "…"}`.
pub fn answer(state: &ModelState, parts: Parts, body: Bytes) -> Response<Bytes> {
    match state {
        ModelState::Ready(loaded) => inference::handle(
            loaded,
            &inference::Manner::default(),
            (&parts).into(),
            &body,
        ),
        ModelState::Loading => {
            let mut response = unavailable("the model is being loaded");
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        ModelState::Failed(reason) => {
            unavailable(&format!("the model could not be loaded: {reason}"))
        }
    }
}

/// What a request is about, by which it is known where it is best answered.
pub fn task(state: &ModelState, parts: &Parts) -> Task {
    match state {
        ModelState::Ready(loaded) => {
            inference::task(loaded, &inference::Manner::default(), parts.into())
        }
        ModelState::Loading | ModelState::Failed(_) => Task::Quick,
    }
}

fn unavailable(reason: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "error": reason }).to_string();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: &ModelState, expected: &str) -> Response<Bytes> {
        let (parts, ()) = http::Request::get("/v2/models/iris")
            .body(())
            .unwrap()
            .into_parts();
        let response = answer(state, parts, Bytes::new());
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.body(), expected);
        response
    }

    #[test]
    fn a_model_that_is_not_there_says_why() {
        let loading = check(
            &ModelState::Loading,
            r#"{"error":"the model is being loaded"}"#,
        );
        assert_eq!(loading.headers()[RETRY_AFTER], "1");
        check(
            &ModelState::Failed("no model found in `\"x\"`".into()),
            r#"{"error":"the model could not be loaded: no model found in `\"x\"`"}"#,
        );
    }
}
