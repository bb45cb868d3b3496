//! What the rules of a listener's steps match, as one number.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::mdd::{Dim, Set};
use crate::paths::Cell;

/// For each step of a listener, the requests of a cell that its rules match.
/// Equal fronts have equal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FrontId(u32);

/// All fronts that were met.
#[derive(Debug, Default)]
pub(crate) struct Fronts {
    all: Vec<Entry>,
    ids: FxHashMap<Rc<[Set]>, FrontId>,
    joined: FxHashMap<(FrontId, FrontId), FrontId>,
}

#[derive(Debug)]
struct Entry {
    sets: Rc<[Set]>,
    /// Some of its sets depend on more of the path than where the cell is.
    about_paths: bool,
}

impl Fronts {
    fn entry(&self, front: FrontId) -> Option<&Entry> {
        self.all.get(usize::try_from(front.0).ok()?)
    }

    /// What the rules of a step match.
    pub(crate) fn at(&self, front: FrontId, step: usize) -> Set {
        let entry = self.entry(front);
        entry
            .and_then(|entry| entry.sets.get(step).copied())
            .unwrap_or(Set::NONE)
    }

    pub(crate) fn is_about_paths(&self, front: FrontId) -> bool {
        self.entry(front).is_some_and(|entry| entry.about_paths)
    }
}

impl Engine {
    /// The front of these sets, by step.
    pub(crate) fn front(&mut self, steps: usize, added: &[(usize, Set)]) -> FrontId {
        let mut sets = vec![Set::NONE; steps];
        for (step, set) in added {
            if let Some(slot) = sets.get_mut(*step) {
                *slot = self.sets.or(*slot, *set);
            }
        }
        self.intern(sets)
    }

    fn intern(&mut self, sets: Vec<Set>) -> FrontId {
        let sets: Rc<[Set]> = sets.into();
        if let Some(known) = self.fronts.ids.get(&sets) {
            return *known;
        }
        let about_paths = sets.iter().any(|set| self.looks_at_path(*set));
        let id = FrontId(u32::try_from(self.fronts.all.len()).unwrap_or(u32::MAX));
        self.fronts.all.push(Entry {
            sets: Rc::clone(&sets),
            about_paths,
        });
        self.fronts.ids.insert(sets, id);
        id
    }

    /// What the rules of either match.
    pub(crate) fn join(&mut self, a: FrontId, b: FrontId) -> FrontId {
        if a == b {
            return a;
        }
        let key = (a.min(b), a.max(b));
        if let Some(known) = self.fronts.joined.get(&key) {
            return *known;
        }
        let (Some(left), Some(right)) = (self.fronts.entry(a), self.fronts.entry(b)) else {
            return a;
        };
        let (left, right) = (Rc::clone(&left.sets), Rc::clone(&right.sets));
        let both = left.iter().zip(right.iter());
        let sets = both.map(|(a, b)| self.sets.or(*a, *b)).collect();
        let id = self.intern(sets);
        self.fronts.joined.insert(key, id);
        id
    }

    /// Fixes what the cell already says about suffixes and path patterns.
    pub(crate) fn settle_front(&mut self, front: FrontId, cell: Cell<'_>) -> FrontId {
        if !self.fronts.is_about_paths(front) {
            return front;
        }
        let Some(entry) = self.fronts.entry(front) else {
            return front;
        };
        let sets = Rc::clone(&entry.sets);
        let settled = sets.iter().map(|set| self.settle(*set, cell)).collect();
        self.intern(settled)
    }

    /// A set of requests as they are after header changes, in the classes
    /// before them.
    pub(crate) fn mapped(&mut self, set: Set, maps: &[&(Dim, Vec<u16>)]) -> Set {
        let mut set = set;
        for (dim, map) in maps.iter().rev() {
            set = self.sets.remap(set, *dim, map);
        }
        set
    }
}
