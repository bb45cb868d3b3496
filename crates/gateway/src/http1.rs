//! HTTP/1.1 on a client's connection, which is parked when it is quiet.
//!
//! hyper keeps two buffers of 8 KiB and its own state for each connection. A
//! quiet one gives all that back: only the socket waits, and HTTP starts anew
//! with its next byte.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Limits;
use crate::connection::Connection;
use crate::gateway::{Phase, leaving};
use crate::serve::Requests;
use crate::transport::{State, Transport};

/// Serves until one side has had enough.
pub(crate) async fn serve(
    connection: &Arc<Connection>,
    mut transport: Transport,
    mut phases: watch::Receiver<Phase>,
) -> hyper::Result<()> {
    let builder = builder(&connection.shared.limits);
    let state = transport.state();
    let mut may_park = true;
    loop {
        let requests = Requests(Arc::clone(connection));
        let mut http = Box::new(
            builder
                .serve_connection(TokioIo::new(transport), requests)
                .with_upgrades(),
        );
        let served = tokio::select! {
            biased;
            // Before the connection: a response that is ready by then says `close`.
            () = leaving(&mut phases) => {
                std::pin::Pin::new(&mut *http).graceful_shutdown();
                Some((&mut *http).await)
            }
            served = &mut *http => Some(served),
            () = quiet(connection, &state), if may_park => None,
        };
        let ended = served
            .as_ref()
            .is_none_or(|served| served.as_ref().is_err_and(hyper::Error::is_timeout));
        let parts = if ended { http.into_parts() } else { None };
        match (served, parts) {
            (None, Some(parts)) => {
                transport = parts.io.into_inner();
                if !parts.read_buf.is_empty() {
                    // A head that takes its time. It is not parked again, or
                    // its time would never be over.
                    may_park = false;
                    transport.put_back(parts.read_buf);
                } else if !park(connection, &transport, &mut phases).await {
                    return Ok(());
                }
            }
            (Some(served), Some(parts)) if !parts.read_buf.is_empty() => {
                tell_timeout(parts.io.into_inner()).await;
                return served;
            }
            (served, _) => return served.unwrap_or(Ok(())),
        }
    }
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // Wider than the limit: hyper's own refusal has no body that says why.
        .max_header_size(2 * limits.header_bytes as usize)
        .max_buf_size(2 * limits.header_bytes.max(8192) as usize);
    if limits.headers != 100 {
        // The default is kept on the stack.
        builder.max_headers(limits.headers);
    }
    builder
}

/// Waits until nothing has happened on a connection for a while.
async fn quiet(connection: &Connection, state: &State) {
    let mut before = None;
    loop {
        sleep(connection.shared.limits.park_after).await;
        let now = (state.reads(), connection.requests());
        if before == Some(now) && !connection.is_busy() && !state.blocked() {
            return;
        }
        before = Some(now);
    }
}

/// Waits for the client to say something more; `false` when it is not to be heard.
async fn park(
    connection: &Connection,
    transport: &Transport,
    phases: &mut watch::Receiver<Phase>,
) -> bool {
    let parked = &connection.shared.parked;
    parked.fetch_add(1, Ordering::Relaxed);
    let more = tokio::select! {
        biased;
        more = transport.readable() => more,
        () = leaving(phases) => false,
        () = sleep(connection.shared.limits.idle_timeout) => false,
    };
    parked.fetch_sub(1, Ordering::Relaxed);
    more
}

/// hyper closes without a word when a head takes too long.
async fn tell_timeout(mut transport: Transport) {
    const BODY: &str =
        r#"{"error":"request timeout","reason":"the head of the request did not arrive"}"#;
    let text = format!(
        "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let _ = transport.write_all(text.as_bytes()).await;
    let _ = transport.shutdown().await;
}
