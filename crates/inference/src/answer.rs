//! Responses, and the errors that become them.

use crate::Compat;
use crate::write::Style;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};

/// An answer that is no success, in the shape that KServe gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// `{"error": …}`
    Error(StatusCode, String),
    /// `{"error": …}` about a mistake of the client that KServe takes for one of the server.
    Mistake(String),
    /// `{"detail": …}`, as FastAPI writes what its router and its validation refuse; the second part is JSON.
    Detail(StatusCode, String),
    /// `405` with the method that the path takes.
    Method(&'static str),
    /// `307` to the path without its slash at the end.
    Slash(String),
}

impl Failure {
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::Error(StatusCode::BAD_REQUEST, message.into())
    }

    pub(crate) fn mistake(message: impl Into<String>) -> Self {
        Self::Mistake(message.into())
    }

    pub(crate) fn not_found() -> Self {
        Self::Detail(StatusCode::NOT_FOUND, "\"Not Found\"".to_owned())
    }

    pub(crate) fn no_model(name: &str) -> Self {
        Self::Error(
            StatusCode::NOT_FOUND,
            format!("Model with name {name} does not exist."),
        )
    }

    pub(crate) fn response(self, compat: Compat) -> Response<Bytes> {
        match self {
            Self::Mistake(message) => {
                let status = match compat {
                    Compat::Kserve | Compat::Mlserver => StatusCode::BAD_REQUEST,
                    Compat::Strict => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Self::Error(status, message).response(compat)
            }
            Self::Error(status, message) => {
                let mut body = b"{\"error\":".to_vec();
                Style::Compact.text(&message, &mut body);
                body.push(b'}');
                json(status, body)
            }
            Self::Detail(status, detail) => {
                json(status, format!("{{\"detail\":{detail}}}").into_bytes())
            }
            Self::Method(allowed) => {
                let mut response = json(
                    StatusCode::METHOD_NOT_ALLOWED,
                    b"{\"detail\":\"Method Not Allowed\"}".to_vec(),
                );
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static(allowed));
                response
            }
            Self::Slash(location) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                if let Ok(location) = HeaderValue::try_from(location) {
                    response.headers_mut().insert(LOCATION, location);
                }
                response
            }
        }
    }
}

pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
