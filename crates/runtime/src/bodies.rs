//! Bodies of requests: read whole and inflated, within bounds.

use crate::budget::{Budget, Share};
use crate::pool::{Pool, Undone};
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue,
    RETRY_AFTER,
};
use http::request::Parts;
use http::{Response, StatusCode, Version};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use inference::Task;
use inference::encoding::{Coding, InflateError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Bodies beyond this size are never answered where they are read.
const SMALL: usize = 64 << 10;

/// How long an answer may take, in nanoseconds, to be made where its request was read. Changing threads twice costs about a
/// tenth of this; others on the same connection or thread wait for so long.
const QUICK: u64 = 100_000;

/// How long, and for how many bytes, the end of a body that is refused is waited for.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 1 << 20;

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// More than is allowed.
    TooLarge,
    /// Too much together with other bodies.
    Busy,
    /// It is not compressed as its head says.
    Damaged,
    /// The client paused too long.
    Stalled,
    /// The connection ended, or what it sent was no HTTP.
    Broken,
}

/// What bodies may take. Clones share what all of them together may.
#[derive(Debug, Clone)]
pub struct Bodies {
    budget: Arc<Budget>,
    pool: Arc<Pool>,
    limit: usize,
    stall: Duration,
}

/// Requests of one model that may wait for a thread.
pub(crate) const QUEUE: usize = 1024;

impl Bodies {
    /// Bounds: bytes of one body, also when it is inflated, and of `together`, all that are being read or answered; how long
    /// one may pause.
    pub fn new(limit: usize, together: usize, stall: Duration) -> Self {
        Self {
            budget: Budget::new(together),
            pool: Arc::new(Pool::new(QUEUE)),
            limit,
            stall,
        }
    }

    /// The same with another number of requests of one model that may wait for a thread.
    #[must_use]
    pub fn with_queue(mut self, requests: usize) -> Self {
        self.pool = Arc::new(Pool::new(requests));
        self
    }

    /// What comes of work: here if it is quick, and else on a thread of the pool when it is the model's turn.
    pub(crate) async fn placed<T: Send + 'static>(
        &self,
        task: Task,
        bytes: usize,
        packed: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let large = packed || bytes > SMALL;
        match task {
            Task::Quick if !large => Ok(work()),
            Task::Quick => self.pool.run(0, None, work).await,
            Task::Loads => elsewhere(work).await.ok_or(Undone::Failed),
            Task::Asks(model, _) if model.waits() => self.pool.wait(model.cost().id(), work).await,
            Task::Asks(model, writing) => match model.expected(writing, bytes) {
                Some(expected) if expected <= QUICK && !large => Ok(work()),
                expected => self.pool.run(model.cost().id(), expected, work).await,
            },
        }
    }

    pub(crate) fn share(&self) -> Share {
        self.budget.share()
    }

    /// The answer of `compute` for a body that was read and inflated: on this thread if that is quick, and else when it is
    /// the model's turn, by what `task` says the request is about. Whether its `content-encoding` counts is `inflates`. A body that is not there is answered with the reason: 400, 408, 413, 415 or 503.
    pub async fn answered<B>(
        &self,
        parts: Parts,
        body: B,
        inflates: bool,
        task: impl FnOnce(&Parts) -> Task,
        compute: impl FnOnce(Parts, Bytes) -> Response<Bytes> + Send + 'static,
    ) -> Response<Bytes>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let limit = self.limit;
        let mut share = self.share();
        let body = match read(body, limit, self.stall, &mut share).await {
            Ok(body) => body,
            Err(why) => return unread(why, limit, parts.version),
        };
        let coding = match parts.headers.get(CONTENT_ENCODING) {
            Some(name) if inflates => match name.to_str().ok().and_then(Coding::named) {
                Some(coding) => coding,
                None => return unsupported(),
            },
            _ => None,
        };
        // By now and not before: models that are unloaded while a body is on its way go at once.
        let task = task(&parts);
        let (bytes, packed) = (body.len(), coding.is_some());
        let compute = move || {
            let body = match coding.map(|coding| inflate(coding, &body, limit, &mut share)) {
                None => body,
                Some(Ok(body)) => body,
                Some(Err(why)) => return told(why, limit),
            };
            let response = compute(parts, body);
            drop(share);
            response
        };
        let placed = self.placed(task, bytes, packed, compute);
        placed.await.unwrap_or_else(|why| match why {
            Undone::Full => crowded(),
            Undone::Failed => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the model failed inside"),
        })
    }
}

/// Runs work that takes a while where it keeps nobody waiting. `None` if it panicked.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// The body that was compressed, at most `limit` bytes of it.
pub(crate) fn inflate(
    coding: Coding,
    body: &[u8],
    limit: usize,
    share: &mut Share,
) -> Result<Bytes, Unread> {
    let (mut left, mut full) = (limit, false);
    let inflated = coding.inflate(body, &mut |more| {
        full = left >= more && !share.take(more);
        let enough = left >= more && !full;
        left = left.saturating_sub(more);
        enough
    });
    inflated.map(Bytes::from).map_err(|error| match error {
        InflateError::TooLarge if full => Unread::Busy,
        InflateError::TooLarge => Unread::TooLarge,
        InflateError::Damaged => Unread::Damaged,
    })
}

/// Reads a body whole. Of one that is too large a little more is read and dropped: a client that is still sending when its
/// stream or connection ends does not see the refusal.
pub(crate) async fn read<B: HttpBody<Data = Bytes> + Unpin>(
    mut body: B,
    limit: usize,
    stall: Duration,
    share: &mut Share,
) -> Result<Bytes, Unread> {
    let read = collect(&mut body, limit, stall, share).await;
    if matches!(read, Err(Unread::TooLarge | Unread::Busy)) {
        linger(&mut body).await;
    }
    read
}

/// Drops a little more of a body that is refused.
pub(crate) async fn linger<B: HttpBody<Data = Bytes> + Unpin>(body: &mut B) {
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

async fn collect<B: HttpBody<Data = Bytes> + Unpin>(
    body: &mut B,
    limit: usize,
    stall: Duration,
    share: &mut Share,
) -> Result<Bytes, Unread> {
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
        if !share.take(data.len()) {
            return Err(Unread::Busy);
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

fn told(why: Unread, limit: usize) -> Response<Bytes> {
    match why {
        Unread::TooLarge => refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body is larger than {limit} bytes"),
        ),
        Unread::Busy => busy(),
        Unread::Damaged => refusal(
            StatusCode::BAD_REQUEST,
            "the body is not compressed as its content-encoding says",
        ),
        Unread::Stalled => refusal(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        ),
        Unread::Broken => refusal(StatusCode::BAD_REQUEST, "the body ended early"),
    }
}

fn unread(why: Unread, limit: usize, version: Version) -> Response<Bytes> {
    let mut response = told(why, limit);
    // What is left of the body would be taken for the next request.
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn busy() -> Response<Bytes> {
    later("the bodies of all requests together are too large: try again")
}

fn crowded() -> Response<Bytes> {
    later("too many requests wait for this model: try again")
}

fn later(message: &str) -> Response<Bytes> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, message);
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, soon);
    response
}

fn unsupported() -> Response<Bytes> {
    let mut response = refusal(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the content encoding is not supported: expected gzip or deflate",
    );
    let codings = HeaderValue::from_static("gzip, deflate");
    response.headers_mut().insert(ACCEPT_ENCODING, codings);
    response
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
