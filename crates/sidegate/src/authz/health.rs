//! Whether the program lives and takes checks, on a port of its own that no
//! check arrives at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use server::Service;

/// What probes are answered.
#[derive(Debug, Default)]
pub(crate) struct Health {
    leaving: AtomicBool,
}

impl Health {
    /// No more checks, please.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

impl Service for Health {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let (status, text) = match request.uri().path() {
            "/healthz" => (StatusCode::OK, "ok\n"),
            "/readyz" if self.leaving.load(Ordering::Relaxed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
            }
            "/readyz" => (StatusCode::OK, "ok\n"),
            _ => (StatusCode::NOT_FOUND, "expected /healthz or /readyz\n"),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    }
}
