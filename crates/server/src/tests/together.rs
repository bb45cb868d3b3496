//! Answers to requests that came together, and how often the connection is read and written for them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::*;

#[derive(Default)]
struct Calls {
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Calls {
    fn so_far(&self) -> (usize, usize) {
        let of = |calls: &AtomicUsize| calls.load(Ordering::Relaxed);
        (of(&self.reads), of(&self.writes))
    }
}

/// A connection that counts what would be calls of the system.
struct Counted<S>(S, Arc<Calls>);

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        // A socket that is known to have nothing is not asked.
        if read.is_ready() {
            self.1.reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.1.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Reads and writes of the server for so many requests at once, after one that opens the connection.
async fn calls_for(many: usize) -> (usize, usize) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let calls = Arc::new(Calls::default());
    let (_leave, leaving) = watch::channel(false);
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let stream = Counted(theirs, Arc::clone(&calls));
    let (service, how) = (Arc::new(Answers), Answering::InPlace);
    tokio::spawn(serve(service, stream, peer, how, LIMIT * 50, leaving));
    let client = over_http2(ours).await;
    let ask = || {
        let mut client = client.clone();
        let request = Request::builder().uri("http://a/some");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        async move {
            let response = client.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), SOME);
        }
    };
    ask().await;
    let before = calls.so_far();
    let all: Vec<_> = (0..many).map(|_| tokio::spawn(ask())).collect();
    for one in all {
        one.await.unwrap();
    }
    let after = calls.so_far();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn what_came_together_is_read_and_answered_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (reads, writes) = runtime.block_on(calls_for(16));
    // One each, and frames of the protocol itself.
    assert!(reads <= 4, "{reads} reads");
    assert!(writes <= 4, "{writes} writes");
}
