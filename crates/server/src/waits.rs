//! How long connections wait for the heads of requests.
//!
//! A timer for each head costs as much as a small request's own work; here a connection has one.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Since when a connection waits for the head of a request: from its beginning on, and over HTTP/1.1 from the last byte of an
/// answer on.
#[derive(Debug)]
pub(crate) struct Waits {
    begun: Instant,
    /// Milliseconds from there on, 0 until something is asked, or [`NOT`](Self::NOT).
    since: AtomicU64,
}

impl Waits {
    /// It does not wait.
    const NOT: u64 = u64::MAX;

    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            since: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(Self::NOT)
    }

    pub(crate) fn end(&self) {
        self.since.store(Self::NOT, Ordering::Relaxed);
    }

    pub(crate) fn again(&self) {
        self.since.store(self.now().max(1), Ordering::Relaxed);
    }

    /// A part of an answer went out, unless nothing was asked yet: then it is a protocol's own frame.
    fn wrote(&self) {
        if !matches!(self.since.load(Ordering::Relaxed), 0 | Self::NOT) {
            self.again();
        }
    }

    /// Returns when it has waited so long.
    pub(crate) async fn longer_than(&self, limit: Duration) {
        let most = u64::try_from(limit.as_millis()).unwrap_or(Self::NOT);
        loop {
            let waited = match self.since.load(Ordering::Relaxed) {
                Self::NOT => 0,
                since => self.now().saturating_sub(since),
            };
            if waited >= most {
                return;
            }
            tokio::time::sleep(Duration::from_millis(most - waited)).await;
        }
    }
}

/// A body after which the next head is waited for.
pub(crate) struct Answered<B> {
    pub(crate) body: B,
    /// Of a connection with one request at a time.
    pub(crate) waits: Option<Arc<Waits>>,
}

impl<B> Drop for Answered<B> {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.again();
        }
    }
}

impl<B> Body for Answered<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose writes are told to [`Waits`]: whoever takes an answer slowly is not waited for yet.
pub(crate) struct Told<S> {
    stream: S,
    waits: Arc<Waits>,
    /// What was read of it and is to be read again.
    before: Bytes,
    /// Whether pieces are written as they are, or have to be put together first.
    in_pieces: bool,
}

impl<S> Told<S> {
    pub(crate) fn new(stream: S, waits: Arc<Waits>) -> Self {
        Self {
            stream,
            waits,
            before: Bytes::new(),
            in_pieces: true,
        }
    }

    /// Reads that again, which was read of it before.
    pub(crate) fn again(&mut self, before: Bytes) {
        self.before = before;
    }

    /// Small answers are put together and written at once: in pieces each would be a write of its own.
    pub(crate) fn whole(&mut self) {
        self.in_pieces = false;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let count = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.waits.wrote();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        if written.is_ready() {
            self.waits.wrote();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.in_pieces && self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
