//! A client's socket: with what was read to recognise the protocol put back,
//! and with a limit on how long a client may refuse to take bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// With prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// Recognises a protocol by the first bytes; `None` while they can still become either.
fn recognise(read: &[u8]) -> Option<Protocol> {
    if read.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(read) {
        None
    } else {
        Some(Protocol::Http1)
    }
}

/// A client's socket.
pub(crate) struct Transport {
    stream: TcpStream,
    prefix: Bytes,
    stall: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    state: Arc<State>,
}

/// What can be seen of a socket while HTTP owns it.
#[derive(Debug, Default)]
pub(crate) struct State {
    reads: AtomicU32,
    blocked: AtomicBool,
}

impl State {
    /// How often there was something to read.
    pub(crate) fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Whether bytes wait for the client to take them.
    pub(crate) fn blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

impl Transport {
    /// Reads until the protocol is clear. `None` when the client goes away first.
    pub(crate) async fn detect(
        mut stream: TcpStream,
        first: Bytes,
        stall: Duration,
    ) -> io::Result<Option<(Protocol, Self)>> {
        let mut read = BytesMut::from(first);
        let protocol = loop {
            if let Some(protocol) = recognise(&read) {
                break protocol;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(None);
            }
        };
        let transport = Self {
            stream,
            prefix: read.freeze(),
            stall,
            timer: None,
            state: Arc::default(),
        };
        Ok(Some((protocol, transport)))
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Waits until there is something to read, the end included.
    pub(crate) async fn readable(&self) -> bool {
        self.stream.readable().await.is_ok()
    }

    /// Has these bytes read first.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.state
            .blocked
            .store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let stall = self.stall;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            if read.is_ready() {
                self.state.reads.fetch_add(1, Ordering::Relaxed);
            }
            return read;
        }
        let take = self.prefix.len().min(buf.remaining());
        if let Some(part) = self.prefix.get(..take) {
            buf.put_slice(part);
        }
        self.prefix.advance(take);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart_as_early_as_possible() {
        for (read, expected) in [
            (&b""[..], None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Protocol::Http2)),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
                Some(Protocol::Http2),
            ),
            (b"PO", Some(Protocol::Http1)),
            (b"GET / HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
        ] {
            assert_eq!(recognise(read), expected, "{read:?}");
        }
    }
}
