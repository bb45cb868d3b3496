//! Proofs that another program can check: for each claim a list of cells that
//! together are all requests, and for each cell the rules and routes because of
//! which no request of it breaks the claim.
//!
//! The checker shares no code with the engine of `verify`: it knows no sets. It
//! follows a request of which only the cell is known through the listener, with
//! conditions that hold, do not hold, or may do either, and tells the last
//! apart by the conditions of the named rules and routes, one at a time. What
//! is not named counts as if it could match or not.

mod check;
mod course;
mod document;
mod inside;
mod levels;
mod logic;
mod onward;
mod point;
mod statement;

pub use check::{Rejected, check, closes, is_checkable, shorten};
pub use document::{
    About, CellProof, Certificate, ClaimProof, HostProof, VERSION, authorizer_name, listener_name,
    route_name, rule_name, sidecar_name,
};
