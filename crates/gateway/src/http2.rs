//! HTTP/2 with prior knowledge on a client's connection.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;

use crate::connection::Connection;
use crate::gateway::{Phase, leaving};
use crate::serve::Requests;
use crate::transport::Transport;

/// Serves until one side has had enough.
pub(crate) async fn serve(
    connection: &Arc<Connection>,
    transport: Transport,
    mut phases: watch::Receiver<Phase>,
) -> hyper::Result<()> {
    let limits = &connection.shared.limits;
    let mut http = Box::pin(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            .max_header_list_size(limits.header_bytes)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .serve_connection(TokioIo::new(transport), Requests(Arc::clone(connection))),
    );
    let mut seen = 0;
    let mut quiet = tokio::time::interval(limits.idle_timeout.max(Duration::from_millis(1)));
    quiet.tick().await;
    let mut going = false;
    loop {
        tokio::select! {
            biased;
            served = &mut http => return served,
            () = connection.abused() => {
                tracing::info!(peer = %connection.peer, "connection closed: most of its streams were aborted");
                return Ok(());
            }
            () = leaving(&mut phases), if !going => {
                going = true;
                quiet.reset_after(limits.stall_timeout);
                http.as_mut().graceful_shutdown();
            }
            _ = quiet.tick() => {
                if going {
                    // To go gracefully takes a client that answers (RFC 9113 §6.8).
                    if !connection.is_busy() {
                        return Ok(());
                    }
                } else {
                    // Streams that are still open complete after GOAWAY.
                    let now = connection.requests();
                    going = now == seen;
                    seen = now;
                    if going {
                        quiet.reset_after(limits.stall_timeout);
                        http.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}
