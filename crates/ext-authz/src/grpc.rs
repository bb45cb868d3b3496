//! Checks over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Whatever cannot be read is denied in a reply of its own and never by an error
//! of the call, which `failOpen` would make an allow.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use wire::framing::{PREFIX, frame, unframe};

use crate::asked::Asked;
use crate::body::Body;
use crate::check::unfit;
use crate::host::Host;
use crate::place::Form;
use crate::question::CheckRequest;
use crate::reply::CheckReply;
use crate::service::Authorizer;

/// The method.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A check with more headers and body than this is denied: Envoy takes 60 KiB
/// of headers by default, and sends bodies only where that is configured.
const MAX_MESSAGE: usize = 1 << 20;

/// How long a check may take to arrive.
const STALL: Duration = Duration::from_secs(5);

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const KIND: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether a request is a call of the one method. Whatever else arrives is a
/// check over HTTP, where an answer of 200 would be leave: a client cannot make
/// one look like a call, since the path begins with the provider's prefix and
/// `te` is not among the headers that are passed on.
pub(crate) fn is_meant(parts: &http::request::Parts) -> bool {
    let is = |name, value: &[u8]| {
        let sent = parts.headers.get(name);
        sent.is_some_and(|sent| sent.as_bytes().starts_with(value))
    };
    parts.version == Version::HTTP_2
        && parts.method == Method::POST
        && parts.uri.path() == CHECK
        && is(header::CONTENT_TYPE, b"application/grpc")
        && is(header::TE, b"trailers")
}

impl<H: Host> Authorizer<H> {
    pub(crate) async fn over_grpc(
        &self,
        parts: http::request::Parts,
        body: Incoming,
        peer: SocketAddr,
    ) -> Response<Body> {
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let reply = match message(body).await {
            Ok(message) => self.check_message(message, authority, peer).await,
            Err(why) => unread(why, peer),
        };
        answered(frame(&reply.to_message()))
    }

    /// The reply to a `CheckRequest`, which need not be one. `authority` is that
    /// of the call.
    pub async fn check_message(
        &self,
        message: Bytes,
        authority: Option<&str>,
        peer: SocketAddr,
    ) -> CheckReply {
        match CheckRequest::read(&message) {
            Ok(check) => {
                let asked = Asked::over_grpc(check, authority, peer);
                self.check(asked, Form::Exact).await
            }
            Err(wire::Malformed) => unread("it is no CheckRequest", peer),
        }
    }
}

fn unread(why: &'static str, peer: SocketAddr) -> CheckReply {
    tracing::warn!(target: "ext_authz::access", %peer, why, "a check cannot be read and is denied");
    unfit("the authorization check cannot be read")
}

/// The one message of a call.
async fn message(mut body: Incoming) -> Result<Bytes, &'static str> {
    let read = tokio::time::timeout(STALL, whole(&mut body)).await;
    let read = read.map_err(|_| "it does not arrive in time")?;
    if read.is_err() {
        // Who is still sending would take an answer now for a reset.
        drop(tokio::time::timeout(STALL, rest(&mut body)).await);
    }
    let body = read?;
    match unframe(&body) {
        Some((false, message, used)) if used == body.len() => Ok(message),
        Some((true, ..)) => Err("it is compressed"),
        Some(_) => Err("there is more than one message"),
        None => Err("it ends early"),
    }
}

/// Without copying where it comes in one piece.
async fn whole(body: &mut Incoming) -> Result<Bytes, &'static str> {
    const MAX: usize = MAX_MESSAGE + PREFIX;
    const BROKEN: &str = "the call breaks off";
    let mut first = Bytes::new();
    while first.is_empty() {
        match body.frame().await {
            Some(frame) => first = frame.map_err(|_| BROKEN)?.into_data().unwrap_or_default(),
            None => return Ok(first),
        }
    }
    if first.len() > MAX {
        return Err("it is too large");
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut all: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BROKEN)?.into_data() else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        let all = all.get_or_insert_with(|| BytesMut::from(&*first));
        if all.len() + data.len() > MAX {
            return Err("it is too large");
        }
        all.extend_from_slice(&data);
    }
    Ok(all.map_or(first, BytesMut::freeze))
}

/// Reads on to the end, or so far.
async fn rest(body: &mut Incoming) {
    const FAR: usize = 16 << 20;
    let mut read = 0;
    while read < FAR
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn answered(message: Bytes) -> Response<Body> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let mut response = Response::new(Body::with_trailers(message, trailers));
    response.headers_mut().insert(header::CONTENT_TYPE, KIND);
    response
}
