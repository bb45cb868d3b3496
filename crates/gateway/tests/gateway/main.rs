//! The gateway on real sockets, judged by what its upstream saw.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "what goes wrong here is a failed test"
)]

mod client;
mod forwarding;
mod framing;
mod grpc;
mod headers;
mod lifecycle;
mod mutations;
mod regressions;
mod timeouts;
mod upstream;
mod world;
