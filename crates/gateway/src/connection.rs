//! A client's connection as its requests see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;
use policy::Entrance;
use tokio::sync::{Notify, mpsc};

use crate::gateway::Shared;

/// A client's connection, shared by its requests and its tunnel.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entrance: Entrance,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: HeaderValue,
    requests: AtomicU32,
    /// Requests and responses with bytes to come.
    busy: AtomicU32,
    aborted: AtomicU32,
    abuse: Notify,
    _open: mpsc::Sender<()>,
}

impl Connection {
    pub(crate) fn open(
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
            peer_text: HeaderValue::try_from(peer.ip().to_canonical().to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            requests: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            aborted: AtomicU32::new(0),
            abuse: Notify::new(),
            _open: open,
        };
        (before < shared.limits.connections).then_some(connection)
    }

    /// How many requests there have been.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Marks the connection as busy for as long as the mark lives.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Waits until the client is found to abort most of what it asks for.
    pub(crate) async fn abused(&self) {
        self.abuse.notified().await;
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

/// Bytes of a request or a response are still to come.
pub(crate) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
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
