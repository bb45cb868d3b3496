//! What every edge of the program does alike with a request from outside: one
//! reading of names, host and path ([`names`], [`authority`], [`target`]), those
//! that upstreams may have ([`upstream`]), and one wording of refusals ([`refusal`]).

pub mod authority;
pub mod names;
pub mod refusal;
pub mod target;
pub mod upstream;

/// An upstream may read the path as one that is not open.
pub const CLIMBS: Ambiguous = Ambiguous("this path is open, and may be read as one that is not");

/// Why something of a request has no single reading; the client gets 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(pub &'static str);
