//! Rules gathered by what they do, evaluated cell by cell.

use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::mdd::Set;
use crate::paths::{Cell, Head, Strings};
use crate::terms::Term;

/// Terms, each with a number: the rules of a whole listener or of one virtual
/// host by step, or the routes of one by position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Terms that hold below one string only: the sets to add there.
    exact: FxHashMap<String, Vec<(usize, Set)>>,
    prefix: FxHashMap<String, Vec<(usize, Set)>>,
    /// Terms without a path.
    always: Vec<(usize, Set)>,
    /// Terms with exceptions, looked at one by one.
    others: Vec<(usize, Term)>,
    lengths: Vec<usize>,
    always_front: Option<FrontId>,
}

impl Scope {
    pub(crate) fn add(&mut self, number: usize, term: Term) {
        if !term.outside.is_empty() {
            self.others.push((number, term));
            return;
        }
        let Some(within) = term.within else {
            self.always.push((number, term.rest));
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
            map.entry(text).or_default().push((number, term.rest));
        }
    }

    /// The same, to add more to it.
    pub(crate) fn more(&self) -> Self {
        Self {
            always_front: None,
            ..self.clone()
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

    /// The sets of the terms with these numbers.
    pub(crate) fn sets_of(&self, wanted: impl Fn(usize) -> bool) -> Vec<Set> {
        let named = self.exact.values().chain(self.prefix.values()).flatten();
        let all = named.chain(&self.always).copied();
        let others = self
            .others
            .iter()
            .map(|(number, term)| (*number, term.rest));
        let wanted = all.chain(others).filter(|(number, _)| wanted(*number));
        wanted.map(|(_, set)| set).collect()
    }

    /// Whether one of the terms looks at more of a path than where its cell is.
    pub(crate) fn looks_at_paths(&self, engine: &mut Engine) -> bool {
        let named = self.exact.values().chain(self.prefix.values()).flatten();
        let mut sets = named
            .chain(&self.always)
            .map(|(_, set)| *set)
            .chain(self.others.iter().map(|(_, term)| term.rest));
        sets.any(|set| engine.looks_at_path(set))
    }

    /// What holds on a cell of a partition that knows all strings here: the
    /// sets, by number. What the cell says about suffixes and patterns is not
    /// settled yet.
    pub(crate) fn covering(&self, cell: Cell<'_>) -> Vec<(usize, Set)> {
        let mut out = Vec::new();
        for length in &self.lengths {
            let Some(head) = cell.text.get(..*length) else {
                continue;
            };
            out.extend(self.prefix.get(head).into_iter().flatten());
            if *length == cell.text.len() && !cell.region {
                out.extend(self.exact.get(head).into_iter().flatten());
            }
        }
        let others = self.others.iter().filter(|(_, term)| term.covers(cell));
        out.extend(others.map(|(number, term)| (*number, term.rest)));
        out
    }

    /// Whether nothing holds there.
    pub(crate) fn is_empty_at(&self, cell: Cell<'_>) -> bool {
        self.always.is_empty() && self.covering(cell).is_empty()
    }

    /// What the rules do there, by step of the listener.
    pub(crate) fn front(&mut self, engine: &mut Engine, steps: usize, cell: Cell<'_>) -> FrontId {
        let always = match self.always_front {
            Some(front) => front,
            None => {
                let front = engine.front(steps, &self.always);
                self.always_front = Some(front);
                front
            }
        };
        let covering = self.covering(cell);
        if covering.is_empty() {
            return always;
        }
        let here = engine.front(steps, &covering);
        engine.join(always, here)
    }

    /// What holds there, in order of their numbers, each number once.
    pub(crate) fn in_order(&self, engine: &mut Engine, cell: Cell<'_>) -> Vec<(usize, Set)> {
        let mut all = self.covering(cell);
        all.extend(&self.always);
        all.sort_unstable();
        let mut out: Vec<(usize, Set)> = Vec::with_capacity(all.len());
        for (number, set) in all {
            match out.last_mut().filter(|(last, _)| *last == number) {
                Some((_, known)) => *known = engine.sets.or(*known, set),
                None => out.push((number, set)),
            }
        }
        out
    }
}
