//! Accepting connections and speaking HTTP on them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use policy::Entrance;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use crate::body::Body;
use crate::gateway::{Phase, Shared, leaving};
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

/// A client's connection, shared by its requests and its tunnel.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entrance: Entrance,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: HeaderValue,
    requests: AtomicU32,
    aborted: AtomicU32,
    abuse: Notify,
    _open: mpsc::Sender<()>,
}

impl Connection {
    fn open(
        shared: &Arc<Shared>,
        entrance: Entrance,
        peer: SocketAddr,
        open: mpsc::Sender<()>,
    ) -> Option<Self> {
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        // From here on dropping it takes it off the count.
        let connection = Self {
            shared: Arc::clone(shared),
            entrance,
            peer,
            peer_text: HeaderValue::try_from(peer.ip().to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            requests: AtomicU32::new(0),
            aborted: AtomicU32::new(0),
            abuse: Notify::new(),
            _open: open,
        };
        (before < shared.limits.connections).then_some(connection)
    }

    /// Counts a request; the guard counts it as aborted unless told that it was answered.
    pub(crate) fn request(self: &Arc<Self>) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RequestGuard {
            connection: Arc::clone(self),
            answered: false,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that is being answered.
pub(crate) struct RequestGuard {
    connection: Arc<Connection>,
    answered: bool,
}

impl RequestGuard {
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let connection = &self.connection;
        let aborted = connection.aborted.fetch_add(1, Ordering::Relaxed) + 1;
        let all = connection.requests.load(Ordering::Relaxed);
        // h2 bounds resets that come in bursts; these come drop by drop.
        if aborted >= connection.shared.limits.http2_aborted && aborted.saturating_mul(2) >= all {
            connection.abuse.notify_one();
        }
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
        Protocol::Http1 => Box::pin(serve_http1(&connection, transport, phases)),
        Protocol::Http2 => Box::pin(serve_http2(&connection, transport, phases)),
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

async fn serve_http1(
    connection: &Arc<Connection>,
    transport: Transport,
    mut phases: watch::Receiver<Phase>,
) -> hyper::Result<()> {
    let limits = &connection.shared.limits;
    let header_bytes = limits.header_bytes.max(8192) as usize;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header_bytes as usize)
        .max_buf_size(header_bytes);
    if limits.headers != 100 {
        // The default is kept on the stack.
        builder.max_headers(limits.headers);
    }
    let requests = Requests(Arc::clone(connection));
    let mut http = Box::new(
        builder
            .serve_connection(TokioIo::new(transport), requests)
            .with_upgrades(),
    );
    let served = tokio::select! {
        biased;
        served = &mut *http => served,
        () = leaving(&mut phases) => {
            std::pin::Pin::new(&mut *http).graceful_shutdown();
            (&mut *http).await
        }
    };
    if served.as_ref().is_err_and(hyper::Error::is_timeout)
        && let Some(parts) = http.into_parts()
        && !parts.read_buf.is_empty()
    {
        tell_timeout(parts.io.into_inner()).await;
    }
    served
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

async fn serve_http2(
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
    let mut quiet = tokio::time::interval(limits.idle_timeout);
    quiet.tick().await;
    let mut going = false;
    loop {
        tokio::select! {
            biased;
            served = &mut http => return served,
            () = connection.abuse.notified() => {
                tracing::info!(peer = %connection.peer, "connection closed: most of its streams were aborted");
                return Ok(());
            }
            () = leaving(&mut phases), if !going => {
                going = true;
                http.as_mut().graceful_shutdown();
            }
            _ = quiet.tick(), if !going => {
                // Streams that are still open complete after GOAWAY.
                let now = connection.requests.load(Ordering::Relaxed);
                going = now == seen;
                seen = now;
                if going {
                    http.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Answers the requests of a connection.
struct Requests(Arc<Connection>);

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let guard = self.0.request();
        let connection = Arc::clone(&self.0);
        Box::pin(async move {
            let response = request::answer(&connection, request).await;
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
