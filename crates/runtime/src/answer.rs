//! From a request to its answer.

use crate::grpc;
use crate::server::Shared;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use inference::Head;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bodies up to this size are answered where they are read: changing threads costs more than small models do.
const SMALL: usize = 64 << 10;

/// How long, and for how many bytes, the end of a body that is refused is waited for.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 1 << 20;

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// More than is allowed.
    TooLarge,
    /// The client paused too long.
    Stalled,
    /// The connection ended, or what it sent was no HTTP.
    Broken,
}

pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if grpc::is_meant(&parts) {
        return grpc::answer(shared, parts, body).await;
    }
    let limits = &shared.limits;
    let body = match read(body, limits.body, limits.stall).await {
        Ok(body) => body,
        Err(why) => return unread(why, limits.body, parts.version),
    };
    let heavy = body.len() > SMALL || inference::loads(Head::from(&parts));
    let models = Arc::clone(&shared.models);
    let compute = move || inference::handle(&*models, Head::from(&parts), &body);
    let response = if heavy {
        elsewhere(compute).await.unwrap_or_else(|| {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the model failed inside")
        })
    } else {
        compute()
    };
    response.map(|body| Full::new(body).boxed_unsync())
}

/// Runs work that takes a while where it keeps nobody waiting. `None` if it panicked.
pub(crate) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Reads a body whole. Of one that is too large a little more is read and dropped: a client that is still sending when its
/// stream or connection ends does not see the refusal.
pub(crate) async fn read(
    mut body: Incoming,
    limit: usize,
    stall: Duration,
) -> Result<Bytes, Unread> {
    let read = collect(&mut body, limit, stall).await;
    if read == Err(Unread::TooLarge) {
        let rest = async {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(length) else {
                    break;
                };
                left = less;
            }
        };
        drop(timeout(LINGER, rest).await);
    }
    read
}

async fn collect(body: &mut Incoming, limit: usize, stall: Duration) -> Result<Bytes, Unread> {
    let limit_of = u64::try_from(limit).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit_of {
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let frame = match timeout(stall, body.frame()).await {
            Err(_) => return Err(Unread::Stalled),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(Unread::TooLarge);
        }
        // Most bodies come in one piece, which is not copied.
        if all.is_empty() && first.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn unread(why: Unread, limit: usize, version: Version) -> Response<Body> {
    let mut response = match why {
        Unread::TooLarge => refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body is larger than {limit} bytes"),
        ),
        Unread::Stalled => refusal(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        ),
        Unread::Broken => refusal(StatusCode::BAD_REQUEST, "the body ended early"),
    };
    // What is left of the body would be taken for the next request.
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response.map(|body| Full::new(body).boxed_unsync())
}

/// `message` needs no escaping in JSON.
fn refusal(status: StatusCode, message: &str) -> Response<Bytes> {
    let body = format!(r#"{{"error":"{message}"}}"#);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(CONTENT_LENGTH);
    response
}
