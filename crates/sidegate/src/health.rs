//! Whether the program lives and takes requests, the keys that verify what it says
//! of callers, and logout tokens of providers, on a port of its own that nothing
//! else arrives at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use identity::{BACKCHANNEL_LOGOUT_PATH, IdentitySigner};
use policy::{Connection, Entrance, Reply, RequestHead, Scheme};
use server::Service;

/// Where the keys are.
pub(crate) const KEYS: &str = "/.well-known/jwks.json";

/// What probes are answered.
#[derive(Default)]
pub(crate) struct Health {
    leaving: AtomicBool,
    signer: Option<Arc<IdentitySigner>>,
    logouts: Option<Arc<dyn Logouts>>,
}

/// Whoever ends sessions when a provider says so.
pub(crate) trait Logouts: Send + Sync {
    /// Takes a logout token, in a form; `None` if nobody can log in.
    fn logged_out<'a>(
        &'a self,
        head: &'a RequestHead,
        body: &'a [u8],
    ) -> BoxFuture<'a, Option<Reply>>;
}

/// A form with a logout token is not longer, and arrives so soon.
const MAX_FORM: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

impl Health {
    /// Ready, with the keys of this.
    pub(crate) fn with_keys(signer: Arc<IdentitySigner>) -> Self {
        Self {
            signer: Some(signer),
            ..Self::default()
        }
    }

    /// And with logout tokens for that.
    pub(crate) fn with_logouts(self, logouts: Arc<dyn Logouts>) -> Self {
        Self {
            logouts: Some(logouts),
            ..self
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
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if let Some(signer) = self.signer.as_ref().filter(|_| path == KEYS) {
            return keys(signer);
        }
        if let Some(logouts) = self
            .logouts
            .as_ref()
            .filter(|_| path == BACKCHANNEL_LOGOUT_PATH)
        {
            return logged_out(&**logouts, request, peer).await;
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

async fn logged_out(
    logouts: &dyn Logouts,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let authority = edge::authority::of(parts.version, &parts.uri, &parts.headers);
    let body = http_body_util::Limited::new(body, MAX_FORM).collect();
    let body = tokio::time::timeout(PATIENCE, body).await;
    let (Ok(authority), Ok(Ok(body))) = (authority, body) else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let head = RequestHead {
        entrance: Entrance::External,
        method: parts.method,
        scheme: Scheme::Http,
        authority,
        path: BACKCHANNEL_LOGOUT_PATH.to_owned(),
        query: None,
        headers: parts.headers,
        peer,
        connection: Connection::default(),
        workload: None,
    };
    let reply = logouts.logged_out(&head, &body.to_bytes()).await;
    let mut response = Response::new(Full::default());
    let Some(reply) = reply else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    *response.status_mut() = reply.status;
    for (name, value) in reply.headers {
        response.headers_mut().append(name, value);
    }
    *response.body_mut() = Full::new(reply.body);
    response
}
