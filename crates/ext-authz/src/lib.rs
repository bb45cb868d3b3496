//! The decision behind Envoy's external authorization protocol.
//!
//! [`Authorizer`] answers `envoy.service.auth.v3.Authorization/Check` and HTTP
//! checks on one port. Envoy routes, rewrites and applies the policies as
//! written; what is answered here is the access level of the route at one
//! crossing of a gateway ([`policy::Crossing`]), and who is calling.
//!
//! - **Which listener** a check is about comes from the port that Envoy says it
//!   was (gRPC), or from the path prefix of the provider (HTTP); never from a
//!   header of the client.
//! - **Method, host and path** are those of the check itself, read by the one
//!   parser that the gateway has. What has another reading is refused. Headers
//!   say them only under the prefix `/forwarded`, for gateways that write them.
//! - **A reply** allows by consuming a [`policy::Permit`], or denies; no value
//!   does both ([`CheckReply`]).
//! - **A request that comes back** to a listener of ours carries a keyed [mark]
//!   (KeyRing) of what the first check found out.

mod asked;
mod body;
mod check;
mod cookies;
mod grpc;
mod host;
mod http_check;
mod mark;
mod pass;
mod place;
mod question;
mod readings;
mod reply;
mod seen;
mod service;

pub use host::{Host, Settings};
pub use mark::{BadKeys, KeyRing, MARK};
pub use pass::{BadPassKey, PASS_COOKIE, PASS_ISSUER, PASS_SCOPE, Passes};
pub use reply::{CheckReply, Mutations, handed};
pub use seen::seen;
pub use service::Authorizer;

#[cfg(test)]
mod tests;
