//! Answers to the built-in questions.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::Destination;
use resources::{ObjectRef, Source};

use crate::alike::Contrast;
use crate::claims::Claim;
use crate::witness::Witness;

/// What came out for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It holds for every request.
    Holds,
    /// A request breaks it.
    Violated,
    /// Not known; the reasons are given.
    NotDecided,
    /// It speaks of no request: neither true nor false of anything.
    Vacuous,
}

/// One way in which a claim is broken.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// The shortest request that shows it.
    pub witness: Arc<Witness>,
    /// Listener, as people call it.
    pub listener: String,
    /// Where the request ends up.
    pub destination: Option<Destination>,
    /// The last route, and where it is written.
    pub route: (ObjectRef, Source, String),
    /// Groups of requests with the same cause, this one included.
    pub count: usize,
    /// What the backend makes of it, where that is the point.
    pub contrast: Option<Contrast>,
}

/// The answers to all questions.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The claims, built-in ones first.
    pub claims: Vec<Claim>,
    /// What breaks a claim, grouped by destination and deciding rules.
    pub findings: Vec<Arc<Finding>>,
    /// Reasons for which a claim was not decided, by claim.
    pub undecided: BTreeMap<Claim, Vec<String>>,
    /// Why an intent speaks of no request, by claim.
    pub vacuous: BTreeMap<Claim, String>,
    /// Cells that were looked at.
    pub cells: usize,
}

impl Report {
    /// What came out for a claim.
    pub fn verdict(&self, claim: &Claim) -> Verdict {
        if self.findings.iter().any(|f| f.claim == *claim) {
            Verdict::Violated
        } else if self.undecided.contains_key(claim) {
            Verdict::NotDecided
        } else if self.vacuous.contains_key(claim) {
            Verdict::Vacuous
        } else {
            Verdict::Holds
        }
    }

    /// How many claims came out so.
    pub fn count(&self, verdict: Verdict) -> usize {
        let all = self.claims.iter();
        all.filter(|claim| self.verdict(claim) == verdict).count()
    }

    /// The worst of all. An intent that says nothing counts as not decided.
    pub fn overall(&self) -> Verdict {
        let open = self.count(Verdict::NotDecided) + self.count(Verdict::Vacuous);
        match (self.count(Verdict::Violated), open) {
            (0, 0) => Verdict::Holds,
            (0, _) => Verdict::NotDecided,
            _ => Verdict::Violated,
        }
    }
}
