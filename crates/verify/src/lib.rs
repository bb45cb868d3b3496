//! The same matchers as sets: what holds for all requests at once.
//!
//! `policy` decides one request; this crate reads the compiled configuration
//! through its views and divides all requests into finitely many classes that
//! no rule and no route tells apart. Paths are divided by the exact paths and
//! prefixes that are written somewhere, everything else by the classes of each
//! attribute ([`universe`]); sets of requests are decision diagrams, so that
//! union, difference and "is it empty" are exact and equal sets are equal
//! numbers. No I/O, no clock.

mod alike;
mod analysis;
mod byhost;
mod callers;
mod cells;
mod certify;
mod claims;
mod classes;
mod curl;
mod decided;
mod diff;
mod engine;
mod fix;
mod fronts;
mod globals;
mod ground;
mod inside;
mod intents;
mod language;
mod levels;
mod listener;
mod looks;
mod map;
mod mdd;
mod parts;
mod paths;
mod predict;
mod questions;
mod reading;
mod report;
mod roaming;
mod ruleset;
mod scope;
mod standins;
mod steps;
mod straight;
mod tally;
mod terms;
mod tokens;
mod universe;
mod unused;
mod verifier;
mod walk;
mod witness;

pub use alike::Contrast;
pub use analysis::{Doubt, Outcome};
pub use callers::Asker;
pub use certify::certify;
pub use claims::Claim;
pub use decided::{Decided, DecidedRequest, decision, decision_as, explained};
pub use diff::{Change, Difference, Kind, diff};
pub use fix::{Means, Proposal, fix};
pub use intents::Intent;
pub use language::{as_set, string_classes};
pub use map::{Fate, RouteFates, map};
pub use predict::predict;
pub use questions::{Asked, verify, verify_with};
pub use reading::Readings;
pub use report::{Finding, Report, Verdict};
pub use standins::stand_in;
pub use straight::{Through, straight};
pub use unused::{Unused, Why, unused};
pub use verifier::Verifier;
pub use witness::Witness;
