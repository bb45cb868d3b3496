//! Whether the program lives and takes requests, and the keys that verify what
//! it says of callers, on a port of its own that nothing else arrives at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use identity::IdentitySigner;
use server::Service;

/// Where the keys are.
pub(crate) const KEYS: &str = "/.well-known/jwks.json";

/// What probes are answered.
#[derive(Debug, Default)]
pub(crate) struct Health {
    leaving: AtomicBool,
    signer: Option<Arc<IdentitySigner>>,
}

impl Health {
    /// Ready, with the keys of this.
    pub(crate) fn with_keys(signer: Arc<IdentitySigner>) -> Self {
        Self {
            signer: Some(signer),
            ..Self::default()
        }
    }

    /// No more requests, please.
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
        let path = request.uri().path();
        if let Some(signer) = self.signer.as_ref().filter(|_| path == KEYS) {
            return keys(signer);
        }
        let (status, text) = match path {
            "/healthz" => (StatusCode::OK, "ok\n"),
            "/readyz" if self.leaving.load(Ordering::Relaxed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
            }
            "/readyz" => (StatusCode::OK, "ok\n"),
            _ => (
                StatusCode::NOT_FOUND,
                "expected /healthz, /readyz or /.well-known/jwks.json\n",
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    }
}

/// What is published is published five minutes before it signs.
fn keys(signer: &IdentitySigner) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(signer.jwks().to_string())));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let fresh = HeaderValue::from_static("max-age=300");
    headers.insert(header::CACHE_CONTROL, fresh);
    response
}
