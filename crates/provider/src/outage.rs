//! What is answered while Redis, where replicas have their state, does not answer.
//!
//! What only reads goes on with the state in memory for a while: it may not know of tokens that
//! were revoked elsewhere meanwhile. Whatever writes is refused, and says so.

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};

use crate::pages::problem;
use crate::provider::{Inner, is_for_programs};
use crate::reply::{Reply, oauth_error};
use crate::storage::Outage;

/// Seconds after which to try again: a restart of Redis takes about as long.
const RETRY: HeaderValue = HeaderValue::from_static("5");

impl Inner {
    /// Answers with `answer` on the state as it is now, or says that it cannot be had.
    pub(crate) async fn on_current_state(
        &self,
        request: &Request<Bytes>,
        answer: impl Future<Output = Reply>,
    ) -> Reply {
        let path = request.uri().path();
        let path = path.strip_prefix(self.config.issuer.path());
        let path = path.unwrap_or_default();
        if needs_no_state(path) {
            return answer.await;
        }
        let before = self.storage().outages();
        let old = match self.storage().catch_up().await {
            Ok(()) => false,
            Err(Outage::Recent) if reads_only(path) => true,
            Err(_) => return away(path),
        };
        let reply = answer.await;
        let failed = reply.status() == StatusCode::INTERNAL_SERVER_ERROR;
        if (failed && self.storage().outages() != before) || (old && is_denial(&reply)) {
            return away(path);
        }
        reply
    }
}

/// Public keys are in memory; the other three are always the same.
fn needs_no_state(path: &str) -> bool {
    matches!(
        path,
        "/.well-known/openid-configuration" | "/keys" | "/healthz" | "/robots.txt"
    )
}

/// What may be answered of a state that is a little old. Of these, what has to write fails then.
fn reads_only(path: &str) -> bool {
    is_for_programs(path)
}

/// Whether it says that something is not known. Another replica may have made it last.
fn is_denial(reply: &Reply) -> bool {
    reply.status() == StatusCode::UNAUTHORIZED || **reply.body() == *br#"{"active":false}"#
}

fn away(path: &str) -> Reply {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut reply = if reads_only(path) {
        let text = "the place where logins are kept does not answer";
        oauth_error(status, "temporarily_unavailable", text)
    } else {
        problem(status, |w| &w.away, |w| &w.away_text, "")
    };
    reply.headers_mut().insert(RETRY_AFTER, RETRY);
    reply
}
