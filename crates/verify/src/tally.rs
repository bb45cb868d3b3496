//! What was found at all virtual hosts, put together: what the same rules
//! decide at several of them is one finding. It is kept, and the answers of a
//! few virtual hosts can be exchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::claims::Claim;
use crate::report::{Finding, Report};

/// What was found at one virtual host of a listener, or about its rules.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) cells: usize,
    /// Each with a number, in their order.
    pub(crate) findings: Vec<(usize, Told)>,
    pub(crate) undecided: BTreeMap<Claim, Vec<String>>,
    /// Claims that speak of some request here.
    pub(crate) concerned: BTreeSet<Claim>,
}

/// A finding, and what makes it another one.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) cause: Arc<Cause>,
    pub(crate) finding: Arc<Finding>,
}

/// Findings with the same cause are one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause {
    claim: Claim,
    /// A rule that holds on several listeners is read otherwise once.
    listener: String,
    key: String,
}

impl Told {
    pub(crate) fn new(finding: Finding, key: String) -> Self {
        let listener = match finding.claim {
            Claim::OneReading => String::new(),
            _ => finding.listener.clone(),
        };
        let claim = finding.claim.clone();
        Self {
            cause: Arc::new(Cause {
                claim,
                listener,
                key,
            }),
            finding: Arc::new(finding),
        }
    }
}

/// Whose answers they are, in the order in which they count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// The virtual host of that name.
    Host(Arc<str>),
    /// The rules of the listener, whatever the host.
    Rules,
}

/// Answers by listener.
pub(crate) type Place = (usize, Whose);

#[derive(Debug, Default)]
pub(crate) struct Tally {
    cells: usize,
    /// How many answers say so.
    concerned: BTreeMap<Claim, usize>,
    undecided: BTreeMap<Claim, BTreeMap<String, usize>>,
    groups: BTreeMap<Arc<Cause>, Group>,
}

/// Findings with the same cause.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    members: BTreeMap<(Place, usize), Arc<Finding>>,
    /// All of them as one, until they change.
    whole: Option<Arc<Finding>>,
}

impl Group {
    /// The first of those that the plainest request shows.
    fn whole(&mut self) -> Option<&Arc<Finding>> {
        if self.whole.is_none() {
            let members = self.members.values();
            let plainest = members.min_by(|a, b| a.witness.cost().cmp(&b.witness.cost()))?;
            self.whole = Some(match plainest.count == self.count {
                true => Arc::clone(plainest),
                false => Arc::new(Finding {
                    count: self.count,
                    ..Finding::clone(plainest)
                }),
            });
        }
        self.whole.as_ref()
    }
}

impl Tally {
    /// Counts other answers in the place of those that were counted there.
    pub(crate) fn exchange(&mut self, place: &Place, was: Option<&Answers>, is: Option<&Answers>) {
        self.cells -= was.map_or(0, |was| was.cells);
        self.cells += is.map_or(0, |is| is.cells);
        for claim in is.into_iter().flat_map(|is| &is.concerned) {
            *self.concerned.entry(claim.clone()).or_default() += 1;
        }
        for claim in was.into_iter().flat_map(|was| &was.concerned) {
            count_off(&mut self.concerned, claim);
        }
        for (claim, reason) in reasons(is) {
            let known = self.undecided.entry(claim.clone()).or_default();
            *known.entry(reason.clone()).or_default() += 1;
        }
        for (claim, reason) in reasons(was) {
            if let Some(known) = self.undecided.get_mut(claim) {
                count_off(known, reason);
                if known.is_empty() {
                    self.undecided.remove(claim);
                }
            }
        }
        let findings = |answers: Option<&Answers>| -> BTreeMap<usize, Told> {
            let findings = answers.into_iter().flat_map(|answers| &answers.findings);
            findings.cloned().collect()
        };
        let mut old = findings(was);
        for (number, told) in findings(is) {
            let known = old.remove(&number);
            let same = |known: &Told| Arc::ptr_eq(&known.finding, &told.finding);
            if known.as_ref().is_some_and(same) {
                continue;
            }
            let place = (place.clone(), number);
            if let Some(known) = known {
                self.remove(&place, &known);
            }
            self.add(place, told);
        }
        for (number, told) in old {
            self.remove(&(place.clone(), number), &told);
        }
    }

    fn add(&mut self, place: (Place, usize), told: Told) {
        let group = self.groups.entry(told.cause).or_default();
        group.whole = None;
        group.count += told.finding.count;
        group.members.insert(place, told.finding);
    }

    fn remove(&mut self, place: &(Place, usize), told: &Told) {
        let Some(group) = self.groups.get_mut(&told.cause) else {
            return;
        };
        group.whole = None;
        if let Some(known) = group.members.remove(place) {
            group.count -= known.count;
        }
        if group.members.is_empty() {
            self.groups.remove(&told.cause);
        }
    }

    /// The answers for a whole configuration.
    pub(crate) fn report(&mut self, claims: Vec<Claim>, given_up: &[String]) -> Report {
        let mut out = Report {
            cells: self.cells,
            ..Report::default()
        };
        let groups = self.groups.values_mut();
        out.findings = groups.filter_map(|group| group.whole().cloned()).collect();
        for (claim, reasons) in &self.undecided {
            out.undecided
                .insert(claim.clone(), reasons.keys().cloned().collect());
        }
        for claim in &claims {
            if !given_up.is_empty() {
                let reasons = out.undecided.entry(claim.clone()).or_default();
                reasons.extend(given_up.iter().cloned());
                reasons.sort();
                reasons.dedup();
            }
            if let Claim::Intent(intent) = claim
                && !self.concerned.contains_key(claim)
            {
                let why = intent.void.clone();
                let why = why.unwrap_or_else(|| "no route serves a request like that".to_owned());
                out.vacuous.insert(claim.clone(), why);
            }
        }
        out.claims = claims;
        out
    }
}

fn reasons(answers: Option<&Answers>) -> impl Iterator<Item = (&Claim, &String)> {
    let all = answers.into_iter().flat_map(|answers| &answers.undecided);
    all.flat_map(|(claim, reasons)| reasons.iter().map(move |reason| (claim, reason)))
}

fn count_off<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
