//! Answers to the built-in questions.

use std::collections::BTreeMap;

use policy::Destination;
use resources::{ObjectRef, Source};

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
}

/// One way in which a claim is broken.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// The shortest request that shows it.
    pub witness: Witness,
    /// Listener, as people call it.
    pub listener: String,
    /// Where the request ends up.
    pub destination: Option<Destination>,
    /// The last route, and where it is written.
    pub route: (ObjectRef, Source, String),
    /// Groups of requests with the same cause, this one included.
    pub count: usize,
}

/// The answers to all questions.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What breaks a claim, grouped by destination and deciding rules.
    pub findings: Vec<Finding>,
    /// Reasons for which a claim was not decided, by claim.
    pub undecided: BTreeMap<Claim, Vec<String>>,
    /// Cells that were looked at.
    pub cells: usize,
}

impl Report {
    /// What came out for a claim.
    pub fn verdict(&self, claim: Claim) -> Verdict {
        if self.findings.iter().any(|f| f.claim == claim) {
            Verdict::Violated
        } else if self.undecided.contains_key(&claim) {
            Verdict::NotDecided
        } else {
            Verdict::Holds
        }
    }

    /// The worst of all.
    pub fn overall(&self) -> Verdict {
        let all = Claim::ALL.into_iter().map(|claim| self.verdict(claim));
        let mut worst = Verdict::Holds;
        for verdict in all {
            worst = match (worst, verdict) {
                (Verdict::Violated, _) | (_, Verdict::Violated) => Verdict::Violated,
                (Verdict::NotDecided, _) | (_, Verdict::NotDecided) => Verdict::NotDecided,
                _ => Verdict::Holds,
            };
        }
        worst
    }
}
