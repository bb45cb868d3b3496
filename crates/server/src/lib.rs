//! Sockets, connections and their end: HTTP/1.1 and h2c told apart on each, bounded, with a drain.

mod heads;
mod taken;
mod waits;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::taken::Taken;
use crate::waits::{Answered, Told, Waits};

/// What is read at once of a connection with many requests at a time: those that came together, where hyper would read a few.
const READ_AHEAD: usize = 32 << 10;
/// A buffer that no read is smaller than, so that none goes through it.
const NOTHING_AHEAD: usize = 1;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What connections may cost.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// How long a connection may be idle, and a head may take.
    pub keep_alive: Duration,
    /// Connections at the same time.
    pub connections: usize,
}

impl Default for ConnectionLimits {
    /// Keep-alive a little longer than that of proxies in front.
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(65),
            connections: 8192,
        }
    }
}

/// What answers the requests of all connections.
pub trait Service: Send + Sync + 'static {
    /// Body of its answers.
    type Body: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static;

    /// Answers one request of a client at `peer`.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers one that came over HTTP/1.1 and has no body, where requests are [answered in place](Server::answering_in_place):
    /// at less cost than a [`Request`] with a body to wait for. Who does not is asked for the [answer](Self::answer) alone.
    fn answer_head(
        self: Arc<Self>,
        _: Parts,
        _: SocketAddr,
    ) -> impl Future<Output = Option<Response<Self::Body>>> + Send {
        std::future::ready(None)
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
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    answering: Answering,
}

/// Where the requests of a connection with many at a time are answered.
#[derive(Debug, Clone, Copy)]
enum Answering {
    /// Each in a task of its own.
    Apart,
    /// Where they are read, if they need not wait.
    InPlace,
}

/// What clients shake hands with.
#[derive(Debug)]
pub struct Tls(watch::Sender<Arc<ServerConfig>>);

impl Tls {
    /// With that configuration, for both protocols.
    pub fn new(config: ServerConfig) -> Self {
        Self(watch::Sender::new(for_both(config)))
    }

    /// Another one counts for handshakes from now on.
    pub fn replace(&self, config: ServerConfig) {
        self.0.send_replace(for_both(config));
    }
}

fn for_both(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
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
            tls: None,
            answering: Answering::Apart,
        })
    }

    /// Has every client shake hands first.
    #[must_use]
    pub fn over_tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.0.subscribe());
        self
    }

    /// Answers requests where they are read, as long as they need not wait for anybody: for services
    /// whose answers take microseconds, less than a task of their own would. What was read together is
    /// answered together, in one write. One that takes long holds up the others of its connection.
    #[must_use]
    pub fn answering_in_place(mut self) -> Self {
        self.answering = Answering::InPlace;
        self
    }

    /// The addresses, in order, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until `until`, then lets requests under way complete for at most `grace`. Whether all did.
    pub async fn run(
        self,
        service: Arc<impl Service>,
        limits: ConnectionLimits,
        until: impl Future<Output = ()>,
        grace: Duration,
    ) -> bool {
        let slots = Arc::new(tokio::sync::Semaphore::new(limits.connections));
        let (leave, leaving) = watch::channel(false);
        let (open, mut closed) = mpsc::channel::<()>(1);
        for listener in self.listeners {
            let accepting = Accepting {
                service: Arc::clone(&service),
                keep_alive: limits.keep_alive,
                slots: Arc::clone(&slots),
                leaving: leaving.clone(),
                open: open.clone(),
                tls: self.tls.clone(),
                answering: self.answering,
            };
            tokio::spawn(accepting.run(listener));
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

/// What accepts the connections of one socket.
struct Accepting<S> {
    service: Arc<S>,
    keep_alive: Duration,
    slots: Arc<tokio::sync::Semaphore>,
    leaving: watch::Receiver<bool>,
    open: mpsc::Sender<()>,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    answering: Answering,
}

impl<S: Service> Accepting<S> {
    async fn run(mut self, listener: TcpListener) {
        const PAUSE: Duration = Duration::from_millis(20);
        loop {
            // Beyond the bound, connections wait in the kernel.
            let next = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            let accepted = tokio::select! {
                biased;
                () = left(&mut self.leaving) => return,
                accepted = next => accepted,
            };
            match accepted {
                (Ok(slot), Ok((stream, peer))) => {
                    let service = Arc::clone(&self.service);
                    let (keep_alive, leaving) = (self.keep_alive, self.leaving.clone());
                    let how = self.answering;
                    let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
                    let (open, tls) = (self.open.clone(), tls.map(TlsAcceptor::from));
                    tokio::spawn(async move {
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => serve(service, stream, peer, how, keep_alive, leaving).await,
                            Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
                                Ok(Ok(stream)) => {
                                    serve(service, stream, peer, how, keep_alive, leaving).await;
                                }
                                Ok(Err(error)) => tracing::info!(%peer, %error, "no handshake"),
                                Err(_) => tracing::debug!(%peer, "no handshake in time"),
                            },
                        }
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
}

async fn serve<S: Service>(
    service: Arc<S>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    answering: Answering,
    keep_alive: Duration,
    mut leaving: watch::Receiver<bool>,
) {
    let waits = Arc::new(Waits::begin());
    let mut stream = Told::new(stream, Arc::clone(&waits));
    let mut ahead = NOTHING_AHEAD;
    if matches!(answering, Answering::InPlace) {
        ahead = READ_AHEAD;
        stream.whole();
        let answered = heads::answered(&service, &mut stream, peer, &waits, &leaving);
        let ended = tokio::select! {
            biased;
            ended = answered => ended,
            () = waits.longer_than(keep_alive) => return,
        };
        match ended {
            Ok(Some(read)) => stream.again(read),
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "connection ended"),
        }
    }
    let taken = Taken::of(answering);
    let mut builder = auto::Builder::new(taken.clone());
    // Its heads are waited for below, at less cost than a timer for each.
    builder.http1().header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(keep_alive)
        .max_concurrent_streams(256)
        .max_header_list_size(64 << 10)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let answer = {
        let waits = Arc::clone(&waits);
        service_fn(move |request: Request<Incoming>| {
            waits.end();
            // Over HTTP/2 others may be under way, and pings find out whether anybody is there.
            let one_at_a_time = request.version() < Version::HTTP_2;
            let waits = one_at_a_time.then(|| Arc::clone(&waits));
            let service = Arc::clone(&service);
            async move {
                let response = service.answer(request, peer).await;
                Ok::<_, Infallible>(response.map(|body| Answered { body, waits }))
            }
        })
    };
    let stream = BufReader::with_capacity(ahead, stream);
    let connection = builder.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = taken.answered(connection.as_mut()) => ended,
        // Who says nothing, or never ends the first head, is not waited for.
        () = waits.longer_than(keep_alive) => return,
        () = left(&mut leaving) => {
            connection.as_mut().graceful_shutdown();
            taken.answered(connection.as_mut()).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn left(leaving: &mut watch::Receiver<bool>) {
    drop(leaving.wait_for(|leaving| *leaving).await);
}

#[cfg(test)]
mod tests;
