//! Bodies on their way through: bounded, never gathered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::connection::Busy;
use crate::pool::Reuse;

/// What goes wrong with a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request or response body.
pub struct Body {
    kind: Kind,
    /// Keeps its connection from being parked.
    busy: Option<Busy>,
}

enum Kind {
    Full(Bytes),
    Request(Box<RequestBody>),
    Response(Box<ResponseBody>),
    Other(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Full(bytes.into()))
    }

    /// Any other body.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        use http_body_util::BodyExt as _;
        Self::of(Kind::Other(body.map_err(Into::into).boxed_unsync()))
    }

    pub(crate) fn request(body: RequestBody) -> Self {
        Self::of(Kind::Request(Box::new(body)))
    }

    pub(crate) fn response(body: ResponseBody) -> Self {
        Self::of(Kind::Response(Box::new(body)))
    }

    pub(crate) fn hold(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }

    fn of(kind: Kind) -> Self {
        Self { kind, busy: None }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::full(bytes)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Request(body) => body.poll(cx),
            Kind::Response(body) => body.poll(cx),
            Kind::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Request(body) => body.inner.is_end_stream(),
            Kind::Response(body) => body.inner.is_end_stream(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Request(body) => body.inner.size_hint(),
            Kind::Response(body) => body.inner.size_hint(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

/// How a request body fares, seen by those who wait for the response.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

/// Why a request body was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("request body too large")]
    TooLarge,
    #[error("request body stalled")]
    Stalled,
    #[error("request body broken off")]
    Broken,
}

const ENDED: u8 = 1;
const TOO_LARGE: u8 = 2;
const STALLED: u8 = 3;
const BROKEN: u8 = 4;

impl Progress {
    pub(crate) fn ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) == ENDED
    }

    pub(crate) fn fault(&self) -> Option<BodyFault> {
        match self.0.load(Ordering::Relaxed) {
            TOO_LARGE => Some(BodyFault::TooLarge),
            STALLED => Some(BodyFault::Stalled),
            BROKEN => Some(BodyFault::Broken),
            _ => None,
        }
    }

    fn set(&self, to: u8) {
        self.0.store(to, Ordering::Relaxed);
    }
}

/// A client's body: at most so long, never still for longer than so.
pub(crate) struct RequestBody {
    inner: Incoming,
    left: u64,
    stall: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    trailers: bool,
    progress: Arc<Progress>,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, limit: u64, stall: Duration, trailers: bool) -> Self {
        Self {
            inner,
            left: limit,
            stall,
            timer: None,
            trailers,
            progress: Arc::default(),
        }
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            let stall = self.stall;
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
            ready!(timer.as_mut().poll(cx));
            self.progress.set(STALLED);
            return Poll::Ready(Some(Err(Box::new(BodyFault::Stalled))));
        };
        self.timer = None;
        let frame = match frame {
            None => {
                self.progress.set(ENDED);
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                self.progress.set(BROKEN);
                return Poll::Ready(Some(Err(error.into())));
            }
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref() {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    self.progress.set(TOO_LARGE);
                    return Poll::Ready(Some(Err(Box::new(BodyFault::TooLarge))));
                }
            }
        }
        if self.inner.is_end_stream() {
            self.progress.set(ENDED);
        }
        Poll::Ready(only_wanted(frame, self.trailers).map(Ok))
    }
}

/// An upstream's body; gives its connection back when it ends.
pub(crate) struct ResponseBody {
    inner: Incoming,
    reuse: Option<Reuse>,
    deadline: Option<Pin<Box<Sleep>>>,
    trailers: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("upstream did not complete its response within the time of the route")]
struct RouteTimeout;

impl ResponseBody {
    pub(crate) fn new(
        inner: Incoming,
        reuse: Option<Reuse>,
        deadline: Option<Instant>,
        trailers: bool,
    ) -> Self {
        let mut body = Self {
            inner,
            reuse,
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            trailers,
        };
        body.release_at_end();
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if let Some(deadline) = &mut self.deadline {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(Some(Err(Box::new(RouteTimeout))));
            }
            return Poll::Pending;
        };
        match frame {
            None => {
                self.release();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.reuse = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Some(Ok(frame)) => {
                self.release_at_end();
                Poll::Ready(only_wanted(frame, self.trailers).map(Ok))
            }
        }
    }

    fn release_at_end(&mut self) {
        // Servers stop polling once a body says that it has ended.
        if self.inner.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(reuse) = self.reuse.take() {
            reuse.give_back();
        }
    }
}

/// Trailers pass only where somebody asked for them, and never carry what the
/// head may not.
fn only_wanted(frame: Frame<Bytes>, trailers: bool) -> Option<Frame<Bytes>> {
    match frame.into_trailers() {
        Ok(map) => trailers.then(|| Frame::trailers(harmless(map))),
        Err(frame) => Some(frame),
    }
}

fn harmless(map: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(map.len());
    let mut last = None;
    for (name, value) in map {
        if name.is_some() {
            last = name;
        }
        if let Some(name) = last
            .as_ref()
            .filter(|name| !edge::names::forbidden_in_trailers(name))
        {
            kept.append(name.clone(), value);
        }
    }
    kept
}
