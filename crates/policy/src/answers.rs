//! What a decision may ask from outside, and the answers it works with.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use resources::mesh::ExtAuthzHttp;

use crate::caller::Caller;

/// Something only the outside can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Who is calling, by session cookie or bearer token.
    Caller(Tokens),
    /// What an external authorizer says.
    Check(Box<Check>),
}

/// Which credentials count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// A session cookie, or a bearer token.
    SessionOrBearer,
    /// A bearer token only: cookies travel by themselves and would let any
    /// page call a model in its visitor's name.
    BearerOnly,
}

/// Names one check within one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckId {
    /// Which crossing of a gateway, from 0.
    pub hop: u8,
    /// Which authorizer of the listener, from 0.
    pub provider: u16,
}

/// A request to an HTTP external authorizer, holding only what its
/// configuration lets it see (Envoy `ext_authz` HTTP service).
#[derive(Clone, Debug)]
pub struct Check {
    /// Which check this answers.
    pub id: CheckId,
    /// Provider name, for logs.
    pub provider: std::sync::Arc<str>,
    /// Service and port of the authorizer and its settings (time limit).
    pub settings: std::sync::Arc<ExtAuthzHttp>,
    /// It is asked over gRPC (`envoy.service.auth.v3.Authorization`), not HTTP.
    pub grpc: bool,
    /// Method of the original request.
    pub method: http::Method,
    /// Original authority.
    pub authority: String,
    /// `pathPrefix` + path and query.
    pub path_and_query: String,
    /// The headers that may be seen.
    pub headers: HeaderMap,
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.path_and_query == other.path_and_query
    }
}

/// What an authorizer said.
#[derive(Clone, Debug)]
pub enum CheckAnswer {
    /// It answered.
    Response(CheckResponse),
    /// It did not: unreachable, timed out, no such service.
    Failed(String),
}

/// An authorizer's answer, unread: what it means is decided by the provider's
/// configuration, in [`decide`](crate::decide).
#[derive(Clone, Debug)]
pub struct CheckResponse {
    /// Status; exactly 200 allows.
    pub status: StatusCode,
    /// Headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, already bounded.
    pub body: bytes::Bytes,
}

/// All that has been found out about a request so far.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    caller: Option<Caller>,
    draw: u32,
    checks: Vec<(CheckId, CheckAnswer)>,
}

impl Answers {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a random number that weighted routes choose by; one
    /// number for all rounds of one decision.
    pub fn with_draw(draw: u32) -> Self {
        Self {
            draw,
            ..Self::default()
        }
    }

    /// The random number of this decision.
    pub fn draw(&self) -> u32 {
        self.draw
    }

    /// Records who is calling.
    pub fn caller_is(&mut self, caller: Caller) {
        self.caller = Some(caller);
    }

    /// Records what an authorizer said.
    pub fn check_is(&mut self, id: CheckId, answer: CheckAnswer) {
        self.checks.push((id, answer));
    }

    /// Who is calling, if known.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// What an authorizer said, if known.
    pub fn check(&self, id: CheckId) -> Option<&CheckAnswer> {
        self.checks
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, answer)| answer)
    }
}
