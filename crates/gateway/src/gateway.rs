//! Binding, serving on one thread per core, draining.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Limits, Listen};
use crate::host::Host;
use crate::pool;
use crate::serve;

/// Bound sockets, not serving yet.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    addresses: Vec<SocketAddr>,
    /// One set of listeners per thread, in the order of the configuration.
    sockets: Vec<Vec<TcpListener>>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` (option `{option}`): {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The option it came from.
    pub option: String,
    /// Why.
    pub source: io::Error,
}

impl Gateway {
    /// Binds all listeners.
    ///
    /// # Errors
    /// The first address that cannot be had, also when another process listens
    /// on it in a way that would share its connections.
    pub fn bind(mut config: Config) -> Result<Self, BindError> {
        let threads = config
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, Into::into);
        config.threads = threads.try_into().ok();
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
        for listen in &config.listeners {
            let failed = |source| BindError {
                address: listen.address,
                option: listen.option.clone(),
                source,
            };
            addresses.push(bind_all(listen, &mut sockets).map_err(failed)?);
        }
        Ok(Self {
            config,
            addresses,
            sockets,
        })
    }

    /// The bound addresses, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts serving, on threads of its own.
    ///
    /// # Errors
    /// When threads or their runtimes cannot be made.
    pub fn run(self, host: Arc<dyn Host>) -> io::Result<Running> {
        let shared = Arc::new(Shared {
            host,
            limits: self.config.limits.clone(),
            connections: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
        });
        let (phase, phases) = watch::channel(Phase::Serving);
        let (alive, finished) = mpsc::channel(1);
        let running = Running {
            shared: Arc::clone(&shared),
            phase,
            finished,
        };
        for (index, sockets) in self.sockets.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(4)
                .build()?;
            let listeners: Vec<_> = self
                .config
                .listeners
                .iter()
                .map(|listen| listen.entrance)
                .zip(sockets)
                .collect();
            let worker = Worker {
                shared: Arc::clone(&shared),
                phases: phases.clone(),
                alive: alive.clone(),
            };
            thread::Builder::new()
                .name(format!("gateway-{index}"))
                .spawn(move || {
                    runtime.block_on(worker.serve(listeners));
                    runtime.shutdown_background();
                })?;
        }
        Ok(running)
    }
}

fn bind_all(listen: &Listen, threads: &mut [Vec<TcpListener>]) -> io::Result<SocketAddr> {
    let mut address = listen.address;
    // Shared ports would let a second process take a part of the connections
    // unnoticed, so the port has to be free for one that does not share.
    drop(open(address, false)?);
    for sockets in threads {
        let socket = open(address, true)?;
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(address)
}

fn open(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) limits: Limits,
    pub(crate) connections: AtomicUsize,
    pub(crate) parked: AtomicUsize,
}

/// How far the end of the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// No new connections; what is in flight completes.
    Draining,
    /// Everything ends now.
    Ended,
}

/// Waits until the gateway drains or ends.
pub(crate) async fn leaving(phases: &mut watch::Receiver<Phase>) {
    // An error means that nobody can say so any more.
    let _ = phases.wait_for(|phase| *phase != Phase::Serving).await;
}

struct Worker {
    shared: Arc<Shared>,
    phases: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
}

impl Worker {
    async fn serve(mut self, listeners: Vec<(policy::Entrance, TcpListener)>) {
        // Each connection holds a clone of `open`; when the last is dropped, all are done.
        let (open, mut done) = mpsc::channel::<()>(1);
        for (entrance, listener) in listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    tokio::spawn(serve::accept(
                        Arc::clone(&self.shared),
                        entrance,
                        listener,
                        self.phases.clone(),
                        open.clone(),
                    ));
                }
                Err(error) => tracing::error!(%error, "a listener cannot be served"),
            }
        }
        drop(open);
        tokio::spawn(pool::reap(self.shared.limits.upstream_idle));
        let ended = async {
            let _ = self.phases.wait_for(|phase| *phase == Phase::Ended).await;
        };
        tokio::select! {
            () = ended => {}
            _ = done.recv() => {}
        }
        drop(self.alive);
    }
}

/// A gateway at work. Dropping it ends it at once; [`Running::drain`] lets
/// requests complete.
pub struct Running {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    finished: mpsc::Receiver<()>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open at the deadline, and were cut.
    pub cut: usize,
}

impl Running {
    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Those of them that are idle and hold no buffers.
    pub fn parked(&self) -> usize {
        self.shared.parked.load(Ordering::Relaxed)
    }

    /// Stops accepting, closes idle connections, lets requests in flight
    /// complete (their responses say `connection: close`; HTTP/2 connections
    /// get GOAWAY), and ends what is left at the deadline.
    pub async fn drain(mut self, deadline: Duration) -> Drained {
        self.phase.send_replace(Phase::Draining);
        let in_time = tokio::time::timeout(deadline, self.finished.recv()).await;
        let cut = match in_time {
            Ok(_) => 0,
            Err(_) => self.connections(),
        };
        self.phase.send_replace(Phase::Ended);
        self.finished.recv().await;
        Drained { cut }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Ended);
    }
}
