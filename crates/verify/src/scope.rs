//! Rules gathered by what they do, evaluated cell by cell.

use rustc_hash::FxHashMap;

use crate::mdd::{Set, Sets};
use crate::paths::{Cell, Head, Strings};
use crate::terms::Term;

/// For each step of a listener, the requests of a cell that its rules match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Front(pub(crate) Vec<Set>);

impl Front {
    fn none(steps: usize) -> Self {
        Self(vec![Set::NONE; steps])
    }

    fn add(&mut self, sets: &mut Sets, step: usize, set: Set) {
        if let Some(slot) = self.0.get_mut(step) {
            *slot = sets.or(*slot, set);
        }
    }

    pub(crate) fn or(mut self, sets: &mut Sets, other: &Self) -> Self {
        for (slot, set) in self.0.iter_mut().zip(&other.0) {
            *slot = sets.or(*slot, *set);
        }
        self
    }

    /// What the rules of a step match.
    pub(crate) fn at(&self, step: usize) -> Set {
        self.0.get(step).copied().unwrap_or(Set::NONE)
    }
}

/// Rules of one scope: a whole listener, or one virtual host.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Terms that hold below one string only: the sets to add there.
    exact: FxHashMap<String, Vec<(usize, Set)>>,
    prefix: FxHashMap<String, Vec<(usize, Set)>>,
    /// Terms without a path.
    always: Vec<(usize, Set)>,
    /// Terms with exceptions, looked at one by one.
    others: Vec<(usize, Term)>,
    lengths: Vec<usize>,
    always_front: Option<Front>,
}

impl Scope {
    pub(crate) fn add(&mut self, step: usize, term: Term) {
        if !term.outside.is_empty() {
            self.others.push((step, term));
            return;
        }
        let Some(within) = term.within else {
            self.always.push((step, term.rest));
            return;
        };
        for head in within {
            let (map, text) = match head {
                Head::Exact(text) => (&mut self.exact, text),
                Head::Prefix(text) => (&mut self.prefix, text),
            };
            if let Err(at) = self.lengths.binary_search(&text.len()) {
                self.lengths.insert(at, text.len());
            }
            map.entry(text).or_default().push((step, term.rest));
        }
    }

    /// Adds the strings that divide paths here.
    pub(crate) fn strings(&self, into: &mut Strings) {
        for text in self.exact.keys().chain(self.prefix.keys()) {
            into.add(text);
        }
        for text in self.others.iter().flat_map(|(_, t)| t.strings()) {
            into.add(text);
        }
    }

    /// What the rules do on a cell of a partition that knows all strings here;
    /// `steps` is the number of steps of the listener.
    pub(crate) fn at(&mut self, sets: &mut Sets, steps: usize, cell: Cell<'_>) -> Front {
        let mut front = match &self.always_front {
            Some(front) => front.clone(),
            None => {
                let mut front = Front::none(steps);
                for (step, set) in &self.always {
                    front.add(sets, *step, *set);
                }
                self.always_front = Some(front.clone());
                front
            }
        };
        for length in &self.lengths {
            let Some(head) = cell.text.get(..*length) else {
                continue;
            };
            for (step, set) in self.prefix.get(head).into_iter().flatten() {
                front.add(sets, *step, *set);
            }
            if *length == cell.text.len() && !cell.region {
                for (step, set) in self.exact.get(head).into_iter().flatten() {
                    front.add(sets, *step, *set);
                }
            }
        }
        for (step, term) in &self.others {
            if term.covers(cell) {
                front.add(sets, *step, term.rest);
            }
        }
        front
    }
}
