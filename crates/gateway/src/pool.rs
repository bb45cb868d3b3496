//! Connections to upstreams: a pool per thread over hyper's `SendRequest`.
//!
//! Nothing is shared between threads, so nothing is locked. A connection is in
//! the pool only while it is idle; whoever takes one out owns it until the
//! response body ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::body::Body;
use crate::config::Limits;

type Sender1 = http1::SendRequest<Body>;
type Sender2 = http2::SendRequest<Body>;

/// How long a connection may take to become ready again.
const SETTLE: Duration = Duration::from_millis(50);

thread_local! {
    static POOL: RefCell<HashMap<Arc<str>, Idle>> = RefCell::default();
}

#[derive(Default)]
struct Idle {
    /// Most recently used last.
    http1: Vec<(Sender1, Instant)>,
    http2: Option<Sender2>,
}

/// A connection with nothing on it.
pub(crate) struct Http1 {
    pub(crate) sender: Sender1,
    /// Has carried a request before.
    pub(crate) reused: bool,
}

/// The way back into the pool.
pub(crate) struct Reuse {
    pub(crate) authority: Arc<str>,
    pub(crate) sender: Sender1,
    pub(crate) most: usize,
    /// The request may still be on its way when its response ends; such a
    /// connection is not used again.
    pub(crate) request: Option<Arc<crate::body::Progress>>,
}

impl Reuse {
    pub(crate) fn give_back(self) {
        let complete = self.request.is_none_or(|progress| progress.ended());
        if !complete || self.sender.is_closed() {
            return;
        }
        let (authority, sender, most) = (self.authority, self.sender, self.most);
        with(|pool| {
            let idle = pool.entry(authority).or_default();
            if idle.http1.len() < most {
                idle.http1.push((sender, Instant::now()));
            }
        });
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connection refused")]
    Refused,
    #[error("connecting took too long")]
    Timeout,
    #[error("no such host, or no way to it")]
    Unreachable,
    #[error("the upstream does not speak the protocol")]
    Protocol,
}

impl ConnectError {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Timeout => "connecting took too long",
            Self::Unreachable => "no such host, or no way to it",
            Self::Protocol => "the upstream does not speak the protocol",
        }
    }
}

/// Takes an idle HTTP/1 connection, or makes one.
pub(crate) async fn http1(authority: &Arc<str>, limits: &Limits) -> Result<Http1, ConnectError> {
    while let Some(mut sender) = take_idle(authority, limits.upstream_idle) {
        // The connection's own task may not have run since the last response ended.
        if sender.is_ready() || matches!(timeout(SETTLE, sender.ready()).await, Ok(Ok(()))) {
            return Ok(Http1 {
                sender,
                reused: true,
            });
        }
    }
    new_http1(authority, limits).await
}

/// Makes an HTTP/1 connection that may become a tunnel.
pub(crate) async fn new_http1(authority: &str, limits: &Limits) -> Result<Http1, ConnectError> {
    let io = TokioIo::new(connect(authority, limits.connect_timeout).await?);
    let (sender, connection) = http1::Builder::new()
        .max_header_size(limits.upstream_header_bytes)
        .max_buf_size(limits.upstream_header_bytes.max(8192))
        .handshake(io)
        .await
        .map_err(|_| ConnectError::Protocol)?;
    tokio::spawn(async move {
        if let Err(error) = Box::pin(connection.with_upgrades()).await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(Http1 {
        sender,
        reused: false,
    })
}

/// The HTTP/2 connection to an upstream; requests share it.
pub(crate) async fn http2(authority: &Arc<str>, limits: &Limits) -> Result<Sender2, ConnectError> {
    let known = with(|pool| pool.get(authority).and_then(|idle| idle.http2.clone()));
    if let Some(mut sender) = known
        && !sender.is_closed()
        && sender.ready().await.is_ok()
    {
        return Ok(sender);
    }
    let io = TokioIo::new(connect(authority, limits.connect_timeout).await?);
    let header_list = u32::try_from(limits.upstream_header_bytes).unwrap_or(u32::MAX);
    let handshake = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(header_list)
        .max_send_buf_size(64 * 1024)
        .handshake(io);
    let (sender, connection) = timeout(limits.connect_timeout, handshake)
        .await
        .map_err(|_| ConnectError::Timeout)?
        .map_err(|_| ConnectError::Protocol)?;
    tokio::spawn(async move {
        if let Err(error) = Box::pin(connection).await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    with(|pool| {
        pool.entry(Arc::clone(authority)).or_default().http2 = Some(sender.clone());
    });
    Ok(sender)
}

async fn connect(authority: &str, limit: Duration) -> Result<TcpStream, ConnectError> {
    let stream = timeout(limit, TcpStream::connect(authority))
        .await
        .map_err(|_| ConnectError::Timeout)?
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ConnectError::Refused,
            std::io::ErrorKind::TimedOut => ConnectError::Timeout,
            _ => ConnectError::Unreachable,
        })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn take_idle(authority: &str, most_idle: Duration) -> Option<Sender1> {
    with(|pool| {
        let idle = pool.get_mut(authority)?;
        while let Some((sender, since)) = idle.http1.pop() {
            if !sender.is_closed() && since.elapsed() < most_idle {
                return Some(sender);
            }
        }
        None
    })
}

/// Closes connections that nobody used for a while.
pub(crate) async fn reap(most_idle: Duration) {
    let mut tick = tokio::time::interval((most_idle / 2).max(Duration::from_millis(100)));
    loop {
        tick.tick().await;
        with(|pool| {
            pool.retain(|_, idle| {
                idle.http1
                    .retain(|(sender, since)| !sender.is_closed() && since.elapsed() < most_idle);
                if idle.http2.as_ref().is_some_and(Sender2::is_closed) {
                    idle.http2 = None;
                }
                !idle.http1.is_empty() || idle.http2.is_some()
            });
        });
    }
}

fn with<T>(work: impl FnOnce(&mut HashMap<Arc<str>, Idle>) -> T) -> T {
    // Dropping a sender never comes back here, so the cell is never borrowed twice.
    POOL.with_borrow_mut(work)
}
