//! Whether the program lives and takes checks, and what the login provider tells it of logouts, on a port of its own
//! that no check arrives at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use identity::BACKCHANNEL_LOGOUT_PATH;
use server::Service;

/// A logout token and its name are not longer.
const MAX_BODY: usize = 16 * 1024;

/// How long they may take to arrive.
const STALL: Duration = Duration::from_secs(5);

/// Takes a logout token; nothing where nobody logs in.
type Logout =
    Box<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Option<Response<Bytes>>> + Send + Sync>;

/// What probes and the login provider are answered.
pub(crate) struct Health {
    leaving: AtomicBool,
    logout: Logout,
}

impl Health {
    pub(crate) fn new(logout: Logout) -> Self {
        Self {
            leaving: AtomicBool::new(false),
            logout,
        }
    }

    /// No more checks, please.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    async fn log_out(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let read = tokio::time::timeout(STALL, Limited::new(body, MAX_BODY).collect()).await;
        let Ok(Ok(body)) = read else {
            return answered(
                StatusCode::BAD_REQUEST,
                "expected a form with one logout token\n",
            );
        };
        let request = Request::from_parts(parts, body.to_bytes());
        match (self.logout)(request).await {
            Some(response) => response.map(Full::new),
            None => answered(StatusCode::NOT_FOUND, "nobody logs in here\n"),
        }
    }
}

impl Service for Health {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/healthz" => answered(StatusCode::OK, "ok\n"),
            "/readyz" if self.leaving.load(Ordering::Relaxed) => {
                answered(StatusCode::SERVICE_UNAVAILABLE, "ending\n")
            }
            "/readyz" => answered(StatusCode::OK, "ok\n"),
            BACKCHANNEL_LOGOUT_PATH if *request.method() == Method::POST => {
                self.log_out(request).await
            }
            _ => answered(StatusCode::NOT_FOUND, "expected /healthz or /readyz\n"),
        }
    }
}

fn answered(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
