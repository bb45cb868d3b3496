//! gRPC over HTTP/2: length-prefixed messages and trailers
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use crate::answer::Body;
use crate::bodies::{Unread, inflate, linger, read};
use crate::budget::Share;
use crate::pool::Undone;
use crate::reflection;
use crate::serve::Shared;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;
use inference::encoding::Coding;
use inference::grpc::{self, Code, SERVICE, Status};
use std::sync::Arc;
use wire::framing::{PREFIX, frame, percent, unframe};
use wire::{Decode, Encoder, Malformed, Value};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const HEALTH: &str = "grpc.health.v1.Health";

/// Whether a request is a call.
pub(crate) fn is_meant(parts: &Parts) -> bool {
    let kind = parts.headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
        && parts.method == Method::POST
        && parts.version == Version::HTTP_2
}

pub(crate) async fn answer(
    shared: Arc<Shared>,
    parts: Parts,
    mut body: Incoming,
) -> Response<Body> {
    let path = parts.uri.path();
    let (service, method) = path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .unwrap_or_default();
    if reflection::SERVICES.contains(&service) && method == "ServerReflectionInfo" {
        return reflection::answer(&shared, body);
    }
    // Without waiting for the end of its messages: those of a stream come as answers do.
    if !(service == SERVICE && grpc::has(method) || service == HEALTH && method == "Check") {
        linger(&mut body).await;
        return failed(&Status::new(Code::Unimplemented, "Method not found!"));
    }
    let mut share = shared.bodies.share();
    let result = match message(&shared, &parts.headers, body, &mut share).await {
        Ok(message) => call(&shared, service, method, message).await,
        Err(status) => Err(status),
    };
    drop(share);
    let limit = shared.limits.send;
    match result {
        Ok(reply) if reply.len() > limit => failed(&Status::new(
            Code::ResourceExhausted,
            format!(
                "the answer has {} bytes, which is more than {limit}",
                reply.len()
            ),
        )),
        Ok(reply) => succeeded(&reply),
        Err(status) => failed(&status),
    }
}

async fn call(
    shared: &Shared,
    service: &str,
    method: &str,
    message: Bytes,
) -> Result<Vec<u8>, Status> {
    match service {
        SERVICE => {
            let task = grpc::task(&*shared.models, method, &message);
            let bytes = message.len();
            let (models, method) = (Arc::clone(&shared.models), method.to_owned());
            let manner = shared.manner.clone();
            let compute = move || grpc::call(&*models, &manner, &method, message);
            let placed = shared.bodies.placed(task, bytes, false, compute).await;
            placed.unwrap_or_else(|why| match why {
                Undone::Full => Err(Status::new(
                    Code::ResourceExhausted,
                    "too many requests wait for this model: try again",
                )),
                Undone::Failed => Err(Status::new(Code::Internal, "Internal server error")),
            })
        }
        HEALTH if method == "Check" => health(shared, message),
        // A client that may not watch asks again, or takes the server for healthy (health.proto).
        _ => Err(Status::new(Code::Unimplemented, "Method not found!")),
    }
}

/// `grpc.health.v1.Health/Check`: the server, its service, or a model by its name.
fn health(shared: &Shared, message: Bytes) -> Result<Vec<u8>, Status> {
    #[derive(Default)]
    struct Request(String);
    impl Decode for Request {
        fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
            if number == 1 {
                self.0 = value.text()?;
            }
            Ok(())
        }
    }
    let Request(name) = Request::decode(message)
        .map_err(|Malformed| Status::new(Code::InvalidArgument, "the message cannot be read"))?;
    let ready = if name.is_empty() || name == SERVICE {
        inference::ready(&*shared.models, &shared.manner)
    } else if shared.models.find(&name).is_some() {
        true
    } else {
        let index = shared.models.index();
        if !index.iter().any(|entry| entry.name == name) {
            return Err(Status::new(Code::NotFound, "unknown service"));
        }
        false
    };
    // SERVING, NOT_SERVING.
    let state = if ready { 1 } else { 2 };
    Ok(Encoder::default().number(1, state).finish())
}

/// The one message of a call that takes one.
async fn message(
    shared: &Shared,
    headers: &HeaderMap,
    body: Incoming,
    share: &mut Share,
) -> Result<Bytes, Status> {
    let limit = shared.limits.receive;
    let too_large = || {
        Status::new(
            Code::ResourceExhausted,
            format!("the message is larger than {limit} bytes"),
        )
    };
    let body = read(
        body,
        limit.saturating_add(PREFIX),
        shared.limits.stall,
        share,
    )
    .await;
    let refused = |why| match why {
        Unread::TooLarge => too_large(),
        Unread::Busy => busy(),
        Unread::Damaged => Status::new(
            Code::Internal,
            "the message is not compressed as its encoding says",
        ),
        Unread::Stalled => Status::new(Code::InvalidArgument, "the message did not arrive in time"),
        Unread::Broken => Status::new(Code::Internal, "the call ended early"),
    };
    let body = body.map_err(refused)?;
    let (compressed, message) = match unframe(&body) {
        Some((compressed, message, used)) if used == body.len() => (compressed, message),
        Some(_) => {
            return Err(Status::new(
                Code::Internal,
                "expected one message, found more",
            ));
        }
        None => return Err(Status::new(Code::Internal, "the message ended early")),
    };
    if !compressed {
        return Ok(message);
    }
    let coding = headers
        .get("grpc-encoding")
        .map_or(Some(""), |name| name.to_str().ok());
    let Some(Some(coding)) = coding.and_then(Coding::named) else {
        return Err(Status::new(
            Code::Unimplemented,
            "the encoding of the message is not supported: expected gzip or deflate",
        ));
    };
    inflate(coding, &message, limit, share).map_err(refused)
}

fn busy() -> Status {
    Status::new(
        Code::ResourceExhausted,
        "the messages of all calls together are too large: try again",
    )
}

fn succeeded(reply: &[u8]) -> Response<Body> {
    // A stream and not a full body with trailers, which would have a content-length: clients stop reading there.
    let frames = [Frame::data(frame(reply)), Frame::trailers(ended(None))];
    let body = StreamBody::new(stream::iter(frames.map(Ok)));
    response(body.boxed_unsync())
}

/// An answer that is only trailers.
fn failed(status: &Status) -> Response<Body> {
    let mut response = response(Empty::new().boxed_unsync());
    response.headers_mut().extend(ended(Some(status)));
    response
}

pub(crate) fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(
        HeaderName::from_static("grpc-accept-encoding"),
        HeaderValue::from_static("identity, deflate, gzip"),
    );
    response
}

/// The trailers of a call.
pub(crate) fn ended(status: Option<&Status>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let code = status.map_or(0, |status| status.code as u16);
    trailers.insert(STATUS, HeaderValue::from(code));
    if let Some(message) = status.and_then(|s| HeaderValue::try_from(percent(&s.message)).ok()) {
        trailers.insert(MESSAGE, message);
    }
    trailers
}
