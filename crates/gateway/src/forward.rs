//! Forwarding what a permit lets through.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use policy::{Destination, HeaderChanges, Permit};
use tokio::time::Instant;

use crate::body::{Body, Progress, ResponseBody};
use crate::connection::Connection;
use crate::host::{CallContext, Endpoint, Host};
use crate::hygiene::Admitted;
use crate::pool::{self, ConnectError, Reuse};
use crate::respond::{self, Fault};
use crate::tunnel;
use edge::names;

/// A request on its way out.
pub(crate) struct Outbound<'a> {
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) permit: Permit,
    pub(crate) admitted: Admitted,
    pub(crate) body: Body,
    pub(crate) on_upgrade: Option<OnUpgrade>,
    pub(crate) progress: Option<&'a Arc<Progress>>,
}

impl Outbound<'_> {
    /// Sends it to where the permit says, and brings the answer back.
    pub(crate) async fn send(self) -> Result<Response<Body>, Fault> {
        let deadline = self.permit.timeout().map(|limit| Instant::now() + limit);
        let finish = Finish {
            changes: self.permit.response_headers().clone(),
            cors: self.permit.cors().map(|cors| cors.allow_origin.clone()),
        };
        let sent = self.dispatch(deadline);
        let response = match deadline {
            None => sent.await?,
            Some(at) => tokio::time::timeout_at(at, sent)
                .await
                .map_err(|_| Fault::Timeout)??,
        };
        Ok(finish.apply(response))
    }

    async fn dispatch(self, deadline: Option<Instant>) -> Result<Response<Body>, Fault> {
        let endpoint = match self.permit.destination() {
            Destination::Reply(reply) => return Ok(respond::reply(reply.clone())),
            other => self.connection.shared.host.endpoint(other),
        };
        match endpoint {
            Endpoint::Missing(reason) => Err(Fault::Missing(reason)),
            Endpoint::Embedded(service) => {
                let (request, context) = self.into_call()?;
                let mut response = service.call(request, context).await;
                strip(response.headers_mut());
                response.headers_mut().remove(header::CONTENT_LENGTH);
                match response.status().is_informational() {
                    true => Err(Fault::Broken("an interim answer in place of a final one")),
                    false => Ok(response),
                }
            }
            Endpoint::Tcp { authority, http2 } => {
                if http2 || self.admitted.head.is_grpc() {
                    self.over_http2(&authority, deadline).await
                } else {
                    self.over_http1(&authority, deadline).await
                }
            }
        }
    }

    fn into_call(self) -> Result<(Request<Body>, CallContext), Fault> {
        let context = CallContext {
            caller: self.permit.caller().clone(),
            entrance: self.admitted.head.entrance,
            scheme: self.admitted.head.scheme,
            authority: self.admitted.head.authority.clone(),
            peer: self.admitted.head.peer,
            workload: self.admitted.head.workload.clone(),
        };
        let host = &*self.connection.shared.host;
        let (mut request, authority) = request(host, self.permit, self.admitted, self.body)?;
        request.headers_mut().remove(header::UPGRADE);
        request.headers_mut().insert(header::HOST, authority);
        Ok((request, context))
    }

    async fn over_http1(
        self,
        upstream: &Arc<str>,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Fault> {
        let Self {
            connection,
            permit,
            admitted,
            body,
            on_upgrade,
            progress,
        } = self;
        let limits = &connection.shared.limits;
        let head_only = admitted.head.method == Method::HEAD;
        let trailers = admitted.trailers;
        let tunnel = on_upgrade.filter(|_| admitted.websocket);
        let host = &*connection.shared.host;
        let (mut request, authority) = request(host, permit, admitted, body)?;
        request.headers_mut().insert(header::HOST, authority);
        let Some(on_upgrade) = tunnel else {
            request.headers_mut().remove(header::UPGRADE);
            let sent = http1(upstream, request, progress, limits).await;
            let (response, reuse) = sent.map_err(|error| error.fault(progress))?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Fault::Broken("switched protocols without being asked"));
            }
            return Ok(inbound(
                response,
                Some(reuse),
                deadline,
                head_only,
                trailers,
            ));
        };
        let upgrade = HeaderValue::from_static("upgrade");
        request.headers_mut().insert(header::CONNECTION, upgrade);
        let mut fresh = pool::new_http1(upstream, limits)
            .await
            .map_err(|error| SendError::Connect(error).fault(progress))?;
        let response = fresh.sender.send_request(request).await.map_err(|error| {
            tracing::info!(%upstream, %error, "no answer from an upstream");
            Fault::Broken("the upstream broke off before it answered")
        })?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(inbound(response, None, deadline, false, trailers));
        }
        tunnel::open(connection, on_upgrade, response)
    }

    async fn over_http2(
        self,
        upstream: &Arc<str>,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Fault> {
        let limits = &self.connection.shared.limits;
        let progress = self.progress;
        let trailers = self.admitted.trailers;
        let head_only = self.admitted.head.method == Method::HEAD;
        let trailers_back = trailers || self.admitted.head.is_grpc();
        let host = &*self.connection.shared.host;
        let (mut request, authority) = request(host, self.permit, self.admitted, self.body)?;
        let headers = request.headers_mut();
        headers.remove(header::UPGRADE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(http::uri::Scheme::HTTP);
        uri.authority = http::uri::Authority::try_from(authority.as_bytes()).ok();
        *request.uri_mut() =
            Uri::from_parts(uri).map_err(|_| Fault::Broken("the authority cannot be forwarded"))?;
        let response = http2(upstream, request, limits)
            .await
            .map_err(|error| error.fault(progress))?;
        Ok(inbound(response, None, deadline, head_only, trailers_back))
    }
}

/// What happens to a response at the end.
struct Finish {
    changes: HeaderChanges,
    cors: Option<HeaderValue>,
}

impl Finish {
    fn apply(self, mut response: Response<Body>) -> Response<Body> {
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        for change in self.changes.iter() {
            change.apply(headers);
        }
        if !self.changes.is_empty() && !switching {
            strip(headers);
        }
        if let Some(origin) = self.cors
            && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
        {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        response
    }
}

/// The request as it goes out, in origin form, and its authority. Uses up the
/// permit: there is no other way to make one.
fn request(
    host: &dyn Host,
    permit: Permit,
    admitted: Admitted,
    body: Body,
) -> Result<(Request<Body>, HeaderValue), Fault> {
    let head = admitted.head;
    let told = permit.audience();
    let told = told.and_then(|to| host.signed_identity(to, permit.caller()));
    let unsendable = || Fault::Broken("the rewritten request cannot be forwarded");
    let target = match permit.path_and_query() {
        Some(rewritten) => rewritten.to_owned(),
        None => head.path_and_query(),
    };
    let authority = permit.authority().unwrap_or(&head.authority);
    let authority = HeaderValue::try_from(authority).map_err(|_| unsendable())?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = Uri::try_from(target).map_err(|_| unsendable())?;
    let upgrade = admitted.websocket;
    *request.headers_mut() = head.headers;
    let headers = request.headers_mut();
    if !permit.request_headers().is_empty() {
        for change in permit.request_headers().iter() {
            change.apply(headers);
        }
        // Routes that set `connection: upgrade` mean what happens here anyway.
        strip(headers);
        headers.remove(header::CONTENT_LENGTH);
        if upgrade {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
    }
    if permit.audience().is_some() {
        // A key that has done its work could be used again by whoever gets it.
        let keys = headers.iter().filter(|(n, v)| policy::is_api_key(n, v));
        let keys: Vec<HeaderName> = keys.map(|(name, _)| name.clone()).collect();
        for name in keys {
            headers.remove(name);
        }
    }
    // No route changes it.
    if let Some((name, value)) = told {
        headers.insert(name, value);
    }
    Ok((request, authority))
}

/// The response as it comes back: its connection's headers stay there, and its
/// length is derived anew from its body. Interim responses never get here.
fn inbound(
    response: Response<Incoming>,
    reuse: Option<Reuse>,
    deadline: Option<Instant>,
    head_only: bool,
    trailers: bool,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let keep_length = head_only && !parts.headers.contains_key(header::TRANSFER_ENCODING);
    strip(&mut parts.headers);
    if !keep_length {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let body = Body::response(ResponseBody::new(body, reuse, deadline, trailers));
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

/// Removes what is about the connection, and what the sender said is.
fn strip(headers: &mut HeaderMap) {
    let mut gone: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    gone.extend(
        headers
            .keys()
            .filter(|name| names::is_hop_by_hop(name))
            .cloned(),
    );
    for name in gone {
        headers.remove(name);
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("{0}")]
    Connect(ConnectError),
    #[error("{0}")]
    Exchange(hyper::Error),
}

impl SendError {
    fn fault(&self, progress: Option<&Arc<Progress>>) -> Fault {
        if let Some(fault) = progress.and_then(|progress| progress.fault()) {
            return Fault::Body(fault);
        }
        match self {
            Self::Connect(error) => Fault::Unreachable(error.reason()),
            Self::Exchange(error) if error.is_parse() => {
                Fault::Broken("the upstream's response cannot be read")
            }
            Self::Exchange(_) => Fault::Broken("the upstream broke off before it answered"),
        }
    }
}

/// Sends over HTTP/1.1. When a connection that was used before turns out to be
/// dead, the request goes out once more on a new one: if nothing of it was
/// written, or if it has no body and is idempotent (RFC 9110 §9.2.2).
pub(crate) async fn http1(
    upstream: &Arc<str>,
    request: Request<Body>,
    progress: Option<&Arc<Progress>>,
    limits: &crate::config::Limits,
) -> Result<(Response<Incoming>, Reuse), SendError> {
    let mut connection = pool::http1(upstream, limits)
        .await
        .map_err(SendError::Connect)?;
    let spare = (connection.reused && progress.is_none() && request.method().is_idempotent())
        .then(|| copy(&request));
    let sent = connection.sender.try_send_request(request).await;
    let response = match sent {
        Ok(response) => response,
        Err(mut error) => {
            let unsent = error.take_message();
            let again = match connection.reused && !error.error().is_parse() {
                true => unsent.or(spare),
                false => None,
            };
            let Some(request) = again else {
                let error = error.into_error();
                tracing::info!(%upstream, %error, "no answer from an upstream");
                return Err(SendError::Exchange(error));
            };
            connection = pool::new_http1(upstream, limits)
                .await
                .map_err(SendError::Connect)?;
            let sent = connection.sender.send_request(request).await;
            sent.map_err(SendError::Exchange)?
        }
    };
    let reuse = Reuse {
        authority: Arc::clone(upstream),
        sender: connection.sender,
        most: limits.upstream_idle_connections,
        request: progress.cloned(),
    };
    Ok((response, reuse))
}

fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// Sends over HTTP/2 with prior knowledge; once more if nothing was sent.
pub(crate) async fn http2(
    upstream: &Arc<str>,
    request: Request<Body>,
    limits: &crate::config::Limits,
) -> Result<Response<Incoming>, SendError> {
    let mut request = request;
    let mut retried = false;
    loop {
        let mut sender = pool::http2(upstream, limits)
            .await
            .map_err(SendError::Connect)?;
        match sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(mut error) => match error.take_message().filter(|_| !retried) {
                Some(unsent) => {
                    retried = true;
                    request = unsent;
                }
                None => {
                    let error = error.into_error();
                    tracing::info!(%upstream, %error, "no answer from an upstream");
                    return Err(SendError::Exchange(error));
                }
            },
        }
    }
}
