//! Rules gathered by what they do, evaluated cell by cell.

use rustc_hash::FxHashMap;

use crate::mdd::{Set, Sets};
use crate::paths::{Cell, Head, Strings};
use crate::terms::Term;

/// What the rules of a listener do to the requests of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Front {
    /// A login service is asked.
    pub(crate) login: Set,
    /// Another authorizer is asked.
    pub(crate) asked: Set,
    /// Denied because the authorizer is broken.
    pub(crate) broken: Set,
    /// A DENY rule matches.
    pub(crate) deny: Set,
    /// An ALLOW rule matches.
    pub(crate) allow: Set,
}

impl Front {
    pub(crate) const EMPTY: Self = Self {
        login: Set::NONE,
        asked: Set::NONE,
        broken: Set::NONE,
        deny: Set::NONE,
        allow: Set::NONE,
    };

    pub(crate) fn part(&mut self, effect: Effect) -> &mut Set {
        match effect {
            Effect::Login => &mut self.login,
            Effect::Asked => &mut self.asked,
            Effect::Broken => &mut self.broken,
            Effect::Deny => &mut self.deny,
            Effect::Allow => &mut self.allow,
        }
    }

    pub(crate) fn or(self, sets: &mut Sets, other: Self) -> Self {
        Self {
            login: sets.or(self.login, other.login),
            asked: sets.or(self.asked, other.asked),
            broken: sets.or(self.broken, other.broken),
            deny: sets.or(self.deny, other.deny),
            allow: sets.or(self.allow, other.allow),
        }
    }

    pub(crate) fn each(self, mut change: impl FnMut(Set) -> Set) -> Self {
        Self {
            login: change(self.login),
            asked: change(self.asked),
            broken: change(self.broken),
            deny: change(self.deny),
            allow: change(self.allow),
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    Login,
    Asked,
    Broken,
    Deny,
    Allow,
}

/// Rules of one scope: a whole listener, or one virtual host.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Terms that hold below one string only: the sets to add there.
    exact: FxHashMap<String, Vec<(Effect, Set)>>,
    prefix: FxHashMap<String, Vec<(Effect, Set)>>,
    /// Terms without a path.
    always: Vec<(Effect, Set)>,
    /// Terms with exceptions, looked at one by one.
    others: Vec<(Effect, Term)>,
    lengths: Vec<usize>,
    always_front: Option<Front>,
}

impl Scope {
    pub(crate) fn add(&mut self, effect: Effect, term: Term) {
        if !term.outside.is_empty() {
            self.others.push((effect, term));
            return;
        }
        let Some(within) = term.within else {
            self.always.push((effect, term.rest));
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
            map.entry(text).or_default().push((effect, term.rest));
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

    /// What the rules do on a cell of a partition that knows all strings here.
    pub(crate) fn at(&mut self, sets: &mut Sets, cell: Cell<'_>) -> Front {
        let mut front = match self.always_front {
            Some(front) => front,
            None => {
                let mut front = Front::EMPTY;
                for (effect, set) in &self.always {
                    let part = front.part(*effect);
                    *part = sets.or(*part, *set);
                }
                self.always_front = Some(front);
                front
            }
        };
        let mut add = |sets: &mut Sets, list: Option<&Vec<(Effect, Set)>>| {
            for (effect, set) in list.into_iter().flatten() {
                let part = front.part(*effect);
                *part = sets.or(*part, *set);
            }
        };
        for length in &self.lengths {
            let Some(head) = cell.text.get(..*length) else {
                continue;
            };
            add(sets, self.prefix.get(head));
            if *length == cell.text.len() && !cell.region {
                add(sets, self.exact.get(head));
            }
        }
        for (effect, term) in &self.others {
            if term.covers(cell) {
                let part = front.part(*effect);
                *part = sets.or(*part, term.rest);
            }
        }
        front
    }
}
