//! Accepting connections and speaking HTTP on them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use policy::Entrance;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::body::Body;
use crate::connection::Connection;
use crate::gateway::{Phase, Shared, leaving};
use crate::http1;
use crate::http2;
use crate::request;
use crate::transport::{Protocol, Transport};

/// Accepts until the gateway drains.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    entrance: Entrance,
    listener: TcpListener,
    mut phases: watch::Receiver<Phase>,
    open: mpsc::Sender<()>,
) {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut pause = PAUSE;
    let for_connections = phases.clone();
    let start = |stream, peer| {
        if let Some(connection) = Connection::open(&shared, entrance, peer, open.clone()) {
            tokio::spawn(serve(Arc::new(connection), stream, for_connections.clone()));
        }
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = leaving(&mut phases) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = PAUSE;
                start(stream, peer);
            }
            Err(error) => match gravity(&error) {
                Gravity::OneConnection => {}
                Gravity::Pressure => {
                    tracing::warn!(%error, "cannot accept, pausing");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Gravity::Fatal => {
                    tracing::error!(%error, "a listener failed");
                    return;
                }
            },
        }
    }
    // Closing the socket would reset connections that the kernel has completed.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        start(stream, peer);
    }
}

/// What an error of `accept` means (accept(2)).
#[derive(Debug, PartialEq, Eq)]
enum Gravity {
    OneConnection,
    Pressure,
    Fatal,
}

fn gravity(error: &io::Error) -> Gravity {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::Interrupted => Gravity::OneConnection,
        io::ErrorKind::InvalidInput => Gravity::Fatal,
        _ => Gravity::Pressure,
    }
}

async fn serve(connection: Arc<Connection>, mut stream: TcpStream, phases: watch::Receiver<Phase>) {
    let limits = &connection.shared.limits;
    let _ = stream.set_nodelay(true);
    let Some(first) = first_bytes(&mut stream, phases.clone(), limits.idle_timeout).await else {
        return;
    };
    let detection = Transport::detect(stream, first, limits.stall_timeout);
    let Ok(Ok(Some((protocol, transport)))) = timeout(limits.header_timeout, detection).await
    else {
        return;
    };
    // Boxed each by itself, so that an idle connection is no larger than its own protocol.
    let served: BoxFuture<'_, _> = match protocol {
        Protocol::Http1 => Box::pin(http1::serve(&connection, transport, phases)),
        Protocol::Http2 => Box::pin(http2::serve(&connection, transport, phases)),
    };
    if let Err(error) = served.await {
        tracing::debug!(peer = %connection.peer, %error, "connection ended");
    }
}

/// Waits for a client to say something. Clients that have not may go when the gateway does.
async fn first_bytes(
    stream: &mut TcpStream,
    mut phases: watch::Receiver<Phase>,
    limit: Duration,
) -> Option<Bytes> {
    let mut read = BytesMut::with_capacity(2048);
    let count = tokio::select! {
        biased;
        count = stream.read_buf(&mut read) => count.ok()?,
        () = leaving(&mut phases) => return None,
        () = tokio::time::sleep(limit) => return None,
    };
    (count > 0).then(|| read.freeze())
}

/// Answers the requests of a connection.
pub(crate) struct Requests(pub(crate) Arc<Connection>);

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let guard = self.0.request();
        let connection = Arc::clone(&self.0);
        Box::pin(async move {
            let busy = connection.busy();
            let mut response = request::answer(&connection, request).await;
            response.body_mut().hold(busy);
            guard.answered();
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_listener_ends_accepting() {
        for (number, expected) in [
            (103, Gravity::OneConnection), // ECONNABORTED
            (104, Gravity::OneConnection), // ECONNRESET
            (1, Gravity::OneConnection),   // EPERM, a firewall rule
            (24, Gravity::Pressure),       // EMFILE
            (23, Gravity::Pressure),       // ENFILE
            (12, Gravity::Pressure),       // ENOMEM
            (22, Gravity::Fatal),          // EINVAL
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(gravity(&error), expected, "{error}");
        }
    }
}
