//! What tests of the program share: starting it ([`Sidegate`]), asking it
//! ([`curl`], [`Socket`]) and standing behind it ([`Upstream`]).
//!
//! Everything here has a deadline and returns what went wrong with the
//! program's own output in it, so that a test may just unwrap.

pub mod clients;
mod curl;
mod error;
mod explosion;
mod http2;
mod message;
mod program;
mod socket;
mod synthetic;
mod upstream;

pub use curl::{Answer, curl};
pub use error::Error;
pub use explosion::explosion;
pub use http2::Call;
pub use message::{Message, Protocol};
pub use program::{Sidegate, Start};
pub use socket::Socket;
pub use synthetic::Synthetic;
pub use upstream::Upstream;
