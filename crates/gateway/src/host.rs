//! The seam to the program: what the gateway asks of whoever runs it.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response};
use policy::{
    AccessAnswer, Audience, Caller, CheckAnswer, Destination, Entrance, Question, Reply,
    RequestHead, Scheme, Snapshot, TokenAnswer, Workload,
};

use crate::body::Body;

/// What a gateway needs to know and cannot know by itself. One value serves
/// all threads; no method may block.
pub trait Host: Send + Sync + 'static {
    /// The configuration in force. Read once per request and kept to its end.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Where a destination is on this machine. Never asked about
    /// [`Destination::Reply`].
    fn endpoint(&self, destination: &Destination) -> Endpoint;

    /// Answers a question of the decision.
    fn answer<'a>(&'a self, question: &'a Question, head: &'a RequestHead)
    -> BoxFuture<'a, Answer>;

    /// The workload that proxy credentials belong to; only asked on the
    /// cluster-local listener.
    ///
    /// # Errors
    /// [`UnknownWorkload`] for credentials that nobody was given; the client gets 407.
    fn workload(&self, proxy_authorization: &HeaderValue) -> Result<Workload, UnknownWorkload>;

    /// What says to an upstream who is calling, signed; `None` where that is not
    /// wanted, or nobody in particular is.
    fn signed_identity(
        &self,
        audience: &Audience,
        caller: &Caller,
    ) -> Option<(HeaderName, HeaderValue)>;

    /// Sends a browser to the login provider: 302 with the cookie of the login
    /// transaction.
    fn login(&self, head: &RequestHead) -> Reply;
}

/// Proxy credentials that nobody was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown proxy credentials")]
pub struct UnknownWorkload;

/// The answer to a [`Question`].
pub enum Answer {
    /// To [`Question::Caller`].
    Caller(Caller),
    /// To [`Question::Access`].
    Access(AccessAnswer),
    /// To [`Question::Tokens`]: one for each check, in their order.
    Tokens(Vec<TokenAnswer>),
    /// To [`Question::Check`].
    Check(CheckAnswer),
    /// To [`Question::Check`]: the gateway is to ask the authorizer that listens here.
    AskOver(Endpoint),
}

/// Where requests to a destination go.
#[derive(Clone)]
pub enum Endpoint {
    /// To a socket.
    Tcp {
        /// `host:port` to connect to.
        authority: Arc<str>,
        /// Speaks HTTP/2 with prior knowledge; gRPC calls do in any case.
        http2: bool,
    },
    /// Into this process.
    Embedded(Arc<dyn Embedded>),
    /// Nowhere: the client gets 503 with this reason.
    Missing(String),
}

/// A service inside this process: models, identity provider, pages, login.
pub trait Embedded: Send + Sync + 'static {
    /// Answers a request.
    ///
    /// The request has an origin-form URI, its authority as `host` header, no
    /// hop-by-hop headers, and, where Sidegate enforces, no identity header
    /// that the decision did not set. Its body fails when it is longer than
    /// [`Limits::body_bytes`](crate::Limits) or stalls; the client is then told
    /// by the gateway, whatever the answer.
    fn call(
        &self,
        request: Request<Body>,
        context: CallContext,
    ) -> BoxFuture<'static, Response<Body>>;
}

/// What is known about a request besides its bytes.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Who is calling, as far as the decision had to know.
    pub caller: Caller,
    /// The listener.
    pub entrance: Entrance,
    /// Scheme as the client used it.
    pub scheme: Scheme,
    /// Authority as the client sent it, before any rewrite.
    pub authority: String,
    /// TCP peer.
    pub peer: SocketAddr,
    /// The workload, when the channel proves it.
    pub workload: Option<Workload>,
}
