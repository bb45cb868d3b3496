//! Telling applications that a session is over (OpenID Connect Back-Channel Logout 1.0).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use crate::config::Client;
use crate::keys::{Algorithm, TokenKind};
use crate::provider::Inner;
use crate::seal::random_token;
use crate::session::Session;

/// Section 2.4 recommends at most two minutes.
const TOKEN_SECONDS: u64 = 120;
/// Waits before another attempt. A client that answers none of them keeps its session.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// How many applications are told at a time of many sessions.
const AT_ONCE: usize = 64;

/// Certificates of authorities in PEM; without any, those of the system count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Roots(pub Arc<Vec<u8>>);

/// Sends requests to applications and to other providers. An implementation bounds time and size of
/// the answer, follows no redirects, and says in an error nothing of the request.
pub trait Outgoing: Send + Sync {
    /// Sends a request to its absolute URI.
    fn send(
        &self,
        request: Request<Bytes>,
        roots: Roots,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>;
}

#[derive(Serialize)]
struct LogoutToken<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
    events: serde_json::Value,
    sid: &'a str,
}

impl Inner {
    /// Sends a logout token to every client of an ended session that registered for it, beside
    /// the answer to the browser.
    pub(crate) fn tell_clients(&self, session: &Session) {
        for delivery in self.deliveries(session) {
            tokio::spawn(delivery);
        }
    }

    /// The same of many sessions, a few at a time, so that no application has to take all at once.
    pub(crate) fn tell_clients_of_all(self: &Arc<Self>, sessions: Vec<Session>) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            for session in sessions {
                for delivery in inner.deliveries(&session) {
                    if under_way.len() >= AT_ONCE {
                        under_way.join_next().await;
                    }
                    under_way.spawn(delivery);
                }
            }
            while under_way.join_next().await.is_some() {}
        });
    }

    fn deliveries(&self, session: &Session) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let Some(outgoing) = &self.outgoing else {
            return Vec::new();
        };
        let known = session
            .clients
            .iter()
            .filter_map(|id| self.known_client(id));
        let delivery = |client: Client| {
            let uri = client.backchannel_logout_uri?;
            let Some(token) = self.logout_token(&client.id, client.signing, session) else {
                tracing::error!(client = client.id, "no logout token could be made");
                return None;
            };
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("logout_token", &token)
                .finish();
            Some(deliver(Arc::clone(outgoing), client.id, uri, form))
        };
        known.filter_map(delivery).collect()
    }

    fn logout_token(
        &self,
        client: &str,
        algorithm: Algorithm,
        session: &Session,
    ) -> Option<String> {
        let now = self.now();
        let token = LogoutToken {
            iss: self.config.issuer.url(),
            sub: session.user.subject(),
            aud: client,
            iat: now,
            exp: now.saturating_add(TOKEN_SECONDS),
            jti: random_token::<16>()?,
            events: json!({"http://schemas.openid.net/event/backchannel-logout": {}}),
            sid: &session.sid,
        };
        self.keys.sign(algorithm, TokenKind::Logout, &token)
    }
}

async fn deliver(outgoing: Arc<dyn Outgoing>, client: String, uri: String, form: String) {
    let mut pauses = PAUSES.into_iter();
    loop {
        let request = Request::post(&uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form.clone()));
        let sent = match request {
            Ok(request) => outgoing.send(request, Roots::default()).await,
            Err(error) => Err(error.to_string()),
        };
        let problem = match sent.map(|reply| reply.status().as_u16()) {
            // Section 2.8: 200, and 204 from frameworks that know no better. 400 is its answer
            // to a token that it does not want, and stays so.
            Ok(200 | 204) => return,
            Ok(status) => format!("status {status}"),
            Err(error) => error,
        };
        let refused = problem == "status 400";
        match pauses.next().filter(|_| !refused) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                tracing::warn!(
                    client,
                    uri,
                    problem,
                    "the application was not told of a logout"
                );
                return;
            }
        }
    }
}
