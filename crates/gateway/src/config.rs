//! What a gateway is told when it starts.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use policy::Entrance;

/// Listeners, bounds and threads of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listeners: Vec<Listen>,
    /// Bounds.
    pub limits: Limits,
    /// How many threads serve; one per core when absent.
    pub threads: Option<NonZeroUsize>,
}

/// One address to listen on.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Which entrance it is.
    pub entrance: Entrance,
    /// Address; port 0 takes any free one.
    pub address: SocketAddr,
    /// The option it was given by, for error messages: `--external`.
    pub option: String,
}

/// Bounds on what one client or upstream can make the gateway hold or wait for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Request line and headers, bytes (431).
    pub header_bytes: u32,
    /// Number of headers (431).
    pub headers: usize,
    /// Request body, bytes (413). Bodies are never gathered by the gateway.
    pub body_bytes: u64,
    /// From the first byte of a request to the end of its head (408).
    pub header_timeout: Duration,
    /// From the opening of a connection to its first byte, from one request to
    /// the next, and how long an HTTP/2 connection may be without new streams.
    pub idle_timeout: Duration,
    /// How long an HTTP/1 connection is quiet before its buffers are given
    /// back; only its socket waits then.
    pub park_after: Duration,
    /// Longest pause inside a request body (408), and longest time a client may
    /// refuse to take bytes of a response.
    pub stall_timeout: Duration,
    /// Open client connections; more are closed at once.
    pub connections: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub http2_streams: u32,
    /// Streams that a client may abort on one HTTP/2 connection, when they are
    /// at least half of all; then the connection is closed (CVE-2023-44487).
    pub http2_aborted: u32,
    /// To connect to an upstream (503).
    pub connect_timeout: Duration,
    /// How long an unused upstream connection is kept; below the five seconds
    /// of uvicorn and Node.
    pub upstream_idle: Duration,
    /// Unused upstream connections kept per upstream and thread.
    pub upstream_idle_connections: usize,
    /// Headers of an upstream's response, bytes (502).
    pub upstream_header_bytes: usize,
    /// Body of an external authorizer's answer, bytes.
    pub check_body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            headers: 100,
            body_bytes: 100 * 1024 * 1024,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            park_after: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(30),
            connections: 20_000,
            http2_streams: 100,
            http2_aborted: 200,
            connect_timeout: Duration::from_secs(5),
            upstream_idle: Duration::from_secs(4),
            upstream_idle_connections: 64,
            upstream_header_bytes: 64 * 1024,
            check_body_bytes: 64 * 1024,
        }
    }
}
