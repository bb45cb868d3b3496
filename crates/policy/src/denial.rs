//! A refusal: why, and what the client is told.

use http::StatusCode;

use crate::permit::Reply;

/// A request that does not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the client is told.
    pub refusal: Refusal,
    /// Why, for the log and for `explain`; never sent to the client.
    pub reason: String,
}

/// What the client is told. How it is worded depends on the client: a browser
/// navigation, a program, a gRPC call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A login is needed: 302 for a navigation on the external listener, 401 otherwise.
    Login,
    /// A token is needed (401); `invalid` carries what was wrong with the one sent.
    Token {
        /// RFC 6750 error description.
        invalid: Option<String>,
    },
    /// Who is calling has to be known, which a token would say (401). The text is for the client.
    Unknown(String),
    /// Known, or irrelevant who: not allowed (403). The text is for the client.
    Forbidden(String),
    /// A valid token, but for something else: 403 with `insufficient_scope`
    /// (RFC 6750 §3.1). The text is for the client.
    Scope(String),
    /// Istio's RBAC denial: 403, body `RBAC: access denied`.
    Rbac,
    /// No route (404).
    NoRoute,
    /// An external authorizer denied; its answer is passed on.
    Answer(Reply),
    /// An external authorizer could not be asked; empty body.
    CheckFailed(StatusCode),
    /// The routes lead in a circle (508).
    Loop,
    /// The connection is closed without an answer: no server for it, or one
    /// that does not take it.
    Closed,
    /// A gateway gets no connection to where its route leads (503).
    Unreachable,
}

impl Refusal {
    /// Status for a client that is neither a navigation nor gRPC.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Login | Self::Token { .. } | Self::Unknown(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Scope(_) | Self::Rbac => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Answer(reply) => reply.status,
            Self::CheckFailed(status) => *status,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Closed => StatusCode::MISDIRECTED_REQUEST,
            Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
