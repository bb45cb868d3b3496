//! What the embedded provider needs from outside: whose a ServiceAccount token is, somebody who asks
//! other providers and tells applications of a logout, and somebody who tells the gateway.

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use http::{Request, Response};
use identity::{BACKCHANNEL_LOGOUT_PATH, ClusterIssuer, RelyingParty, Sessions};
use policy::{Connection, Entrance, RequestHead, Scheme};
use provider::{Outgoing, Roots, SignOuts, Subject, SubjectTokens};

/// How long an application may take to note a logout, and another provider to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;

/// Asks over the network, with clients that are made for the first request: most programs end before
/// one.
#[derive(Default)]
pub(crate) struct Network(Mutex<HashMap<Roots, reqwest::Client>>);

impl Network {
    /// The client that trusts these authorities.
    fn client(&self, roots: &Roots) -> Result<reqwest::Client, String> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(roots) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if !roots.0.is_empty() {
            let certificates = reqwest::Certificate::from_pem_bundle(&roots.0);
            builder = builder.tls_certs_only(certificates.map_err(|error| root_of(&error))?);
        }
        let client = builder.build().map_err(|error| root_of(&error))?;
        clients.insert(roots.clone(), client.clone());
        Ok(client)
    }
}

impl Outgoing for Network {
    fn send(
        &self,
        request: Request<Bytes>,
        roots: Roots,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        let client = self.client(&roots);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let sent = client?
                .request(parts.method, parts.uri.to_string())
                .headers(parts.headers)
                .body(body)
                .send();
            // Without the address, which may hold a password.
            let failed = |error: reqwest::Error| root_of(&error.without_url());
            let mut reply = sent.await.map_err(failed)?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = reply.status();
            *response.headers_mut() = reply.headers().clone();
            let mut body = Vec::new();
            while let Some(chunk) = reply.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > MAX_ANSWER {
                    return Err("the answer is longer than 1 MiB".to_owned());
                }
                body.extend_from_slice(&chunk);
            }
            *response.body_mut() = body.into();
            Ok(response)
        })
    }
}

/// An error with what caused it: the outermost says the least.
fn root_of(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Where the embedded provider tells the login of this process of a logout:
/// no name of the network (RFC 6761 §6.4).
pub(crate) const OWN_LOGOUT_URI: &str = "http://login.invalid/oauth2/backchannel-logout";

/// Hands a logout token over to that login.
pub(crate) async fn told_of_logout(
    login: &RelyingParty,
    request: Request<Bytes>,
) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let head = RequestHead {
        entrance: Entrance::Local,
        method: parts.method,
        scheme: Scheme::Http,
        authority: parts
            .uri
            .authority()
            .map_or_else(String::new, ToString::to_string),
        path: BACKCHANNEL_LOGOUT_PATH.to_owned(),
        query: None,
        headers: parts.headers,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        connection: Connection::default(),
        workload: None,
    };
    let reply = login.backchannel_logout(&head, &body).await;
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers);
    response
}

/// Hands logout tokens for the login of this process over in memory, and asks
/// everybody else over the network.
#[derive(Default)]
pub(crate) struct Calls {
    network: Network,
    /// Weak: the login asks the provider, which has this.
    login: OnceLock<Weak<RelyingParty>>,
}

impl Calls {
    /// The login that [`OWN_LOGOUT_URI`] is of.
    pub(crate) fn set_login(&self, login: &Arc<RelyingParty>) {
        drop(self.login.set(Arc::downgrade(login)));
    }
}

impl Outgoing for Calls {
    fn send(
        &self,
        request: Request<Bytes>,
        roots: Roots,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        if *request.uri() != OWN_LOGOUT_URI {
            return self.network.send(request, roots);
        }
        let login = self.login.get().and_then(Weak::upgrade);
        Box::pin(async move {
            // Another configuration has replaced it; its sessions are the same.
            let Some(login) = login else {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return Ok(response);
            };
            Ok(told_of_logout(&login, request).await)
        })
    }
}

/// Ends the sessions at the gateway of people whose logins at the provider ended.
pub(crate) struct GatewaySessions(pub(crate) Sessions);

impl SignOuts for GatewaySessions {
    fn signed_out<'a>(&'a self, email: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Err(error) = self.0.end_all_of(email).await {
                tracing::error!(%error, user = email, "sessions at the gateway could not be ended");
            }
        })
    }
}

/// Knows the tokens of the cluster's ServiceAccounts.
pub(crate) struct AccountTokens(pub(crate) Arc<ClusterIssuer>);

impl SubjectTokens for AccountTokens {
    fn verify(&self, token: String) -> Pin<Box<dyn Future<Output = Option<Subject>> + Send + '_>> {
        let subject = self
            .0
            .verify_until(&token, SystemTime::now())
            .ok()
            .map(|(account, end)| Subject {
                name: format!(
                    "system:serviceaccount:{}:{}",
                    account.namespace, account.name
                ),
                expires_at: end
                    .duration_since(UNIX_EPOCH)
                    .ok()
                    .map(|elapsed| elapsed.as_secs()),
            });
        Box::pin(async move { subject })
    }
}
