//! The seam to the program: what a check asks of whoever runs it.

use std::sync::Arc;

use crate::pass::Passes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use policy::{AccessAnswer, AccessCheck, Audience, Caller, Reply, RequestHead, Snapshot, Tokens};

/// What an authorizer needs to know and cannot know by itself. No method may block.
pub trait Host: Send + Sync + 'static {
    /// The configuration in force. Read once per check and kept to its end.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Who is calling, by the credentials that count.
    fn caller<'a>(&'a self, head: &'a RequestHead, tokens: Tokens) -> BoxFuture<'a, Caller>;

    /// Whether the cluster lets somebody call a model.
    fn access<'a>(&'a self, check: &'a AccessCheck) -> BoxFuture<'a, AccessAnswer>;

    /// Sends a browser to the login provider.
    fn login(&self, head: &RequestHead) -> Reply;

    /// What the login answers on one of its own paths; `None` if it has nothing there.
    fn login_page<'a>(&'a self, head: &'a RequestHead) -> BoxFuture<'a, Option<Reply>>;

    /// Headers that the platform's upstreams get of a person beside those that
    /// every permit writes.
    fn identity_headers(
        &self,
        head: &RequestHead,
        caller: &Caller,
    ) -> Vec<(HeaderName, HeaderValue)>;

    /// What says to an upstream who is calling, signed; `None` where that is not
    /// wanted, or nobody in particular is.
    fn signed_identity(
        &self,
        audience: &Audience,
        caller: &Caller,
    ) -> Option<(HeaderName, HeaderValue)>;

    /// Seconds since 1970.
    fn now(&self) -> u64;
}

/// What stays the same for the life of an authorizer.
#[derive(Debug, Default)]
pub struct Settings {
    /// Names of cookies that are ours alone, and that no model gets to see.
    pub cookies: Vec<String>,
    /// Gives people passes, where gateways verify them.
    pub passes: Option<Arc<Passes>>,
}
