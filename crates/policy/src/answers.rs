//! What a decision may ask from outside, and the answers it works with.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use resources::mesh::ExtAuthzHttp;

use crate::access::RouteTarget;
use crate::caller::{Caller, TokenHolder};
use crate::claims::Claims;
use crate::tokenrules::TokenKeys;
use crate::tokens::TokenAnswers;

/// Something only the outside can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Who is calling, by session cookie or bearer token.
    Caller(Tokens),
    /// What an external authorizer says.
    Check(Box<Check>),
    /// What tokens say, and whether rules of RequestAuthentications can verify them.
    Tokens {
        /// Which crossing of a gateway, from 0.
        hop: u8,
        /// Each token with each rule that looks at it.
        checks: Vec<TokenCheck>,
    },
    /// Whether the cluster lets somebody `get` an InferenceService.
    Access(Box<AccessCheck>),
}

/// Somebody, and the model that they call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessCheck {
    /// Who.
    pub holder: TokenHolder,
    /// What.
    pub target: RouteTarget,
}

/// What the cluster's API server says to an [`AccessCheck`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessAnswer {
    /// They may.
    Allowed,
    /// They may not.
    Denied,
    /// It could not be asked, for this reason.
    Unknown(String),
    /// There is none: roles of the YAML count.
    NoServer,
}

/// A token that a rule of a RequestAuthentication found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCheck {
    /// Which rule of the listener.
    pub rule: u16,
    /// Where its keys are.
    pub keys: std::sync::Arc<TokenKeys>,
    /// What stands where a token is expected.
    pub token: std::sync::Arc<str>,
}

/// What is found out about a token.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenAnswer {
    /// It is no JSON Web Token, for this reason.
    Malformed(std::sync::Arc<str>),
    /// It is one.
    Read(Box<TokenContent>),
}

/// A token that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenContent {
    /// What it says.
    pub claims: Claims,
    /// The payload as it is written in the token.
    pub payload: String,
    /// Why it is not valid now.
    pub time: Option<std::sync::Arc<str>>,
    /// Why no key of the rule signed it.
    pub signature: Option<std::sync::Arc<str>>,
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
    accesses: Vec<(AccessCheck, AccessAnswer)>,
    tokens: TokenAnswers,
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

    /// Records what the cluster says about somebody and a model.
    pub fn access_is(&mut self, check: AccessCheck, answer: AccessAnswer) {
        self.accesses.push((check, answer));
    }

    /// What the cluster says about somebody and a model, if known.
    pub(crate) fn access(&self, check: &AccessCheck) -> Option<&AccessAnswer> {
        let mut known = self.accesses.iter();
        known
            .find(|(known, _)| known == check)
            .map(|(_, answer)| answer)
    }

    /// Records what was found out about a token.
    pub fn token_is(&mut self, hop: u8, check: &TokenCheck, answer: TokenAnswer) {
        self.tokens.insert(hop, check, answer);
    }

    /// What a token says, if known.
    pub(crate) fn token(&self, hop: u8, check: &TokenCheck) -> Option<&TokenAnswer> {
        self.tokens.get(hop, check)
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
