//! Listeners, request hygiene, forwarding, upgrades, drain.
//!
//! [`Gateway::bind`] takes the addresses, [`Gateway::run`] serves them on one
//! thread per core until [`Running::drain`]. Each request is brought into one
//! normal form ([`hygiene`](self#hygiene)), decided on by [`policy::decide`],
//! and, when there is a [`policy::Permit`], forwarded or handed to an
//! [`Embedded`] service. What the gateway cannot know it asks its [`Host`].
#![doc = concat!("\n# Hygiene\n\n", include_str!("hygiene.md"))]

mod body;
mod check;
mod config;
mod connection;
mod draw;
mod forward;
mod gateway;
mod host;
mod http1;
mod http2;
mod hygiene;
mod pool;
mod request;
mod respond;
mod serve;
mod transport;
mod tunnel;

pub use body::{Body, BodyError};
pub use config::{Config, Limits, Listen};
pub use gateway::{BindError, Drained, Gateway, Running};
pub use host::{Answer, CallContext, Embedded, Endpoint, Host, UnknownWorkload};
