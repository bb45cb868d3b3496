//! Sockets, connections and their end.

use crate::answer;
use crate::bodies::Bodies;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use inference::{Manner, Repository};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// What clients may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a connection may be idle, and a head may take.
    pub keep_alive: Duration,
    /// How long a body may pause.
    pub stall: Duration,
    /// Bytes of an HTTP body.
    pub body: usize,
    /// Bytes of all bodies together that are being read or answered.
    pub bodies: usize,
    /// Bytes of a message of gRPC that comes in.
    pub receive: usize,
    /// Bytes of a message of gRPC that goes out.
    pub send: usize,
    /// Connections at the same time.
    pub connections: usize,
}

impl Default for Limits {
    /// KServe's, where it has one: keep-alive a little longer than that of proxies in front, 8 MiB for messages.
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(65),
            stall: Duration::from_secs(60),
            body: 256 << 20,
            bodies: 1 << 30,
            receive: 8 << 20,
            send: 8 << 20,
            connections: 8192,
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Open sockets.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) models: Arc<dyn Repository>,
    pub(crate) manner: Manner,
    pub(crate) bodies: Bodies,
    pub(crate) limits: Limits,
}

impl Server {
    /// Opens the sockets, on all of which both protocols are spoken.
    ///
    /// # Errors
    /// An address that is taken or not of this machine.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for address in addresses {
            let listener = listen(*address).and_then(|listener| {
                bound.push(listener.local_addr()?);
                Ok(listener)
            });
            listeners.push(listener.map_err(|source| BindError {
                address: *address,
                source,
            })?);
        }
        Ok(Self {
            listeners,
            addresses: bound,
        })
    }

    /// The addresses, in order, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until `until`, then lets requests under way complete for at most `grace`. Whether all did.
    pub async fn run(
        self,
        models: Arc<dyn Repository>,
        manner: Manner,
        limits: Limits,
        until: impl Future<Output = ()>,
        grace: Duration,
    ) -> bool {
        let slots = Arc::new(tokio::sync::Semaphore::new(limits.connections));
        let shared = Arc::new(Shared {
            models,
            manner,
            bodies: Bodies::new(limits.body, limits.bodies, limits.stall),
            limits,
        });
        let (leave, leaving) = watch::channel(false);
        let (open, mut closed) = mpsc::channel::<()>(1);
        for listener in self.listeners {
            let (shared, slots) = (Arc::clone(&shared), Arc::clone(&slots));
            tokio::spawn(accept(
                shared,
                listener,
                slots,
                leaving.clone(),
                open.clone(),
            ));
        }
        drop((open, leaving));
        until.await;
        let _ = leave.send(true);
        // Nothing is ever sent: it ends when the last connection has dropped its end.
        timeout(grace, closed.recv()).await.is_ok()
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    slots: Arc<tokio::sync::Semaphore>,
    mut leaving: watch::Receiver<bool>,
    open: mpsc::Sender<()>,
) {
    const PAUSE: Duration = Duration::from_millis(20);
    loop {
        // Beyond the bound, connections wait in the kernel.
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let accepted = tokio::select! {
            biased;
            () = left(&mut leaving) => return,
            accepted = next => accepted,
        };
        match accepted {
            (Ok(slot), Ok((stream, _))) => {
                let (shared, leaving, open) = (Arc::clone(&shared), leaving.clone(), open.clone());
                tokio::spawn(async move {
                    serve(shared, stream, leaving).await;
                    drop((slot, open));
                });
            }
            (_, Err(error)) => {
                tracing::debug!(%error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
            (Err(_), _) => return,
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, mut leaving: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let limits = &shared.limits;
    let asked = Arc::new(AtomicBool::new(false));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.keep_alive);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keep_alive)
        .max_concurrent_streams(256)
        .max_header_list_size(64 << 10)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let service = {
        let (shared, asked) = (Arc::clone(&shared), Arc::clone(&asked));
        service_fn(move |request: http::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer::answer(shared, request).await) }
        })
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // Who says nothing, or never ends the first head, is not waited for.
        () = silent(&asked, limits.keep_alive) => return,
        () = left(&mut leaving) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn left(leaving: &mut watch::Receiver<bool>) {
    drop(leaving.wait_for(|leaving| *leaving).await);
}

/// Returns if nothing was asked in time, and else never.
async fn silent(asked: &AtomicBool, limit: Duration) {
    tokio::time::sleep(limit).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
