//! The gateway on real sockets, judged by what its upstream saw.

mod client;
mod forwarding;
mod framing;
mod grpc;
mod headers;
mod lifecycle;
mod regressions;
mod timeouts;
mod upstream;
mod world;
