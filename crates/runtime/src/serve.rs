//! Models behind sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use inference::{Manner, Repository};
use server::{ConnectionLimits, Server, Service};

use crate::answer::{self, Body};
use crate::bodies::{Bodies, QUEUE};

/// What clients may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of connections.
    pub connections: ConnectionLimits,
    /// How long a body may pause.
    pub stall: Duration,
    /// Bytes of an HTTP body.
    pub body: usize,
    /// Bytes of all bodies together that are being read or answered.
    pub bodies: usize,
    /// Bytes of a message of gRPC that comes in.
    pub receive: usize,
    /// Bytes of a message of gRPC that goes out.
    pub send: usize,
    /// Requests of one model that may wait for a thread.
    pub queue: usize,
}

impl Default for Limits {
    /// KServe's, where it has one: 8 MiB for messages.
    fn default() -> Self {
        Self {
            connections: ConnectionLimits::default(),
            stall: Duration::from_secs(60),
            body: 256 << 20,
            bodies: 1 << 30,
            receive: 8 << 20,
            send: 8 << 20,
            queue: QUEUE,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) models: Arc<dyn Repository>,
    pub(crate) manner: Manner,
    pub(crate) bodies: Bodies,
    pub(crate) limits: Limits,
}

impl Service for Shared {
    type Body = Body;

    async fn answer(self: Arc<Self>, request: Request<Incoming>, _: SocketAddr) -> Response<Body> {
        answer::answer(self, request).await
    }
}

/// Answers on the sockets until `until`, then lets requests under way complete for at most `grace`.
/// Whether all did.
pub async fn serve(
    server: Server,
    models: Arc<dyn Repository>,
    manner: Manner,
    limits: Limits,
    until: impl Future<Output = ()>,
    grace: Duration,
) -> bool {
    let connections = limits.connections.clone();
    let shared = Shared {
        models,
        manner,
        bodies: Bodies::new(limits.body, limits.bodies, limits.stall).with_queue(limits.queue),
        limits,
    };
    server
        .run(Arc::new(shared), connections, until, grace)
        .await
}
