//! The decision.

use crate::answers::{Answers, Question};
use crate::denial::Denial;
use crate::permit::Permit;
use crate::request::RequestHead;
use crate::snapshot::Snapshot;
use crate::trace::Trace;

/// The outcome of one call of [`decide`].
#[derive(Debug)]
pub enum Verdict {
    /// May be forwarded.
    Permit(Box<Permit>),
    /// May not.
    Denial(Box<Denial>),
    /// Not decided yet: this has to be found out first.
    Ask(Question),
}

/// Decides one request.
pub fn decide(
    snapshot: &Snapshot,
    head: &RequestHead,
    answers: &Answers,
    trace: &mut impl Trace,
) -> Verdict {
    let _ = (snapshot, head, answers, trace);
    Verdict::Denial(Box::new(Denial {
        refusal: crate::Refusal::NoRoute,
        reason: String::new(),
    }))
}
