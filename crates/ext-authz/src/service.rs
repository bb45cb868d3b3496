//! Both protocols on one port.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;
use crate::grpc;
use crate::host::{Host, Settings};
use crate::mark::KeyRing;

/// Answers checks.
#[derive(Debug)]
pub struct Authorizer<H> {
    pub(crate) host: Arc<H>,
    pub(crate) settings: Settings,
    pub(crate) keys: ArcSwap<KeyRing>,
}

impl<H: Host> Authorizer<H> {
    /// Answers with what the host knows.
    pub fn new(host: Arc<H>, settings: Settings, keys: KeyRing) -> Self {
        Self {
            host,
            settings,
            keys: ArcSwap::from_pointee(keys),
        }
    }

    /// Other keys for marks from now on; those of before that are among them
    /// still count.
    pub fn use_keys(&self, keys: KeyRing) {
        self.keys.store(Arc::new(keys));
    }
}

impl<H: Host> server::Service for Authorizer<H> {
    type Body = Body;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match grpc::is_meant(&parts) {
            true => self.over_grpc(parts, body, peer).await,
            false => self.check_head(parts, peer).await.map(Body::full),
        }
    }

    async fn answer_head(
        self: Arc<Self>,
        parts: http::request::Parts,
        peer: SocketAddr,
    ) -> Option<Response<Body>> {
        Some(self.check_head(parts, peer).await.map(Body::full))
    }
}
