//! The part of the partition of paths that virtual hosts share: strings of rules
//! that name no host, or any. There are many, and they are the same for many
//! virtual hosts, so what rules do there is computed once, and a virtual host
//! looks at one cell of each kind.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::ground::Ground;
use crate::paths::{Cell, Strings};

/// What the rules that are shared do at a cell, in one configuration or, where
/// two are compared, in two.
pub(crate) type Grounds = [FrontId; 2];

/// The partition by the strings of rules that are shared.
#[derive(Debug)]
pub(crate) struct Globals {
    texts: Vec<String>,
    /// Position of the longest listed string that a string begins with.
    parents: Vec<Option<usize>>,
    /// On the string itself, and on what is below it and below no longer
    /// string: as the rules say, and with what the cell says about suffixes and
    /// patterns settled.
    raw: Vec<[Grounds; 2]>,
    settled: Vec<[Grounds; 2]>,
    /// Cells that are alike, the shortest first.
    alike: Vec<Vec<(usize, bool)>>,
}

impl Globals {
    pub(crate) fn new(engine: &mut Engine, grounds: [&Ground; 2]) -> Self {
        let mut strings: Strings = std::iter::empty().collect();
        for ground in grounds {
            strings.extend(&ground.strings);
        }
        let texts: Vec<String> = strings.iter().map(str::to_owned).collect();
        let parents = parents(texts.iter().map(String::as_str));
        let mut raw = Vec::with_capacity(texts.len());
        let mut settled = Vec::with_capacity(texts.len());
        let mut kinds: FxHashMap<Grounds, Vec<(usize, bool)>> = FxHashMap::default();
        for (index, text) in texts.iter().enumerate() {
            let cells = [false, true].map(|region| Cell { text, region });
            let found = cells.map(|cell| grounds.map(|ground| ground.front(engine, cell)));
            let [exact, below] = cells;
            let [at, under] = found;
            let fixed = [
                at.map(|front| engine.settle_front(front, exact)),
                under.map(|front| engine.settle_front(front, below)),
            ];
            for (kind, region) in fixed.into_iter().zip([false, true]) {
                kinds.entry(kind).or_default().push((index, region));
            }
            raw.push(found);
            settled.push(fixed);
        }
        let mut alike: Vec<_> = kinds.into_values().collect();
        for cells in &mut alike {
            cells.sort_by_key(|(index, region)| {
                (texts.get(*index).map_or(0, String::len), *index, *region)
            });
        }
        alike.sort();
        Self {
            texts,
            parents,
            raw,
            settled,
            alike,
        }
    }

    fn cell(&self, (index, region): (usize, bool)) -> Option<Cell<'_>> {
        let text = self.texts.get(index)?;
        Some(Cell { text, region })
    }

    /// What the rules do at a cell of a finer partition, not settled.
    pub(crate) fn at(&self, cell: Cell<'_>) -> Option<Grounds> {
        let found = self
            .texts
            .binary_search_by(|text| text.as_str().cmp(cell.text));
        let (index, region) = match found {
            Ok(index) => (Some(index), cell.region),
            Err(next) => (self.enclosing(next, cell.text), true),
        };
        let [at, below] = self.raw.get(index?)?;
        Some(if region { *below } else { *at })
    }

    /// The cell that a path is in.
    pub(crate) fn cell_of(&self, path: &str) -> Option<Cell<'_>> {
        match self.texts.binary_search_by(|text| text.as_str().cmp(path)) {
            Ok(index) => self.cell((index, false)),
            Err(next) => self.cell((self.enclosing(next, path)?, true)),
        }
    }

    /// The longest listed string that a text begins with, given the position
    /// where the text would be listed.
    fn enclosing(&self, next: usize, text: &str) -> Option<usize> {
        let mut index = next.checked_sub(1);
        while let Some(at) = index {
            if text.starts_with(self.texts.get(at)?.as_str()) {
                return Some(at);
            }
            index = *self.parents.get(at)?;
        }
        None
    }

    /// Positions of the strings that begin with a text.
    fn below(&self, text: &str) -> std::ops::Range<usize> {
        let start = self.texts.partition_point(|t| t.as_str() < text);
        let rest = self.texts.get(start..).unwrap_or_default();
        start..start + rest.partition_point(|t| t.starts_with(text))
    }

    /// Cells that lie in the region below a string of a virtual host and below
    /// none of `longer`, its next longer strings in order: all of them, or of
    /// those that are alike one.
    pub(crate) fn inside<'g>(
        &'g self,
        text: &str,
        longer: &[&str],
        each: bool,
    ) -> Vec<(Cell<'g>, Grounds)> {
        let range = self.below(text);
        let taken: Vec<std::ops::Range<usize>> = longer.iter().map(|t| self.below(t)).collect();
        // Of sorted strings none of which begins with another: sorted ranges.
        let is_taken = |index: usize| {
            let before = taken.partition_point(|t| t.end <= index);
            taken.get(before).is_some_and(|t| t.contains(&index))
        };
        let is_own = |index: usize| {
            !range.contains(&index)
                || is_taken(index)
                || self.texts.get(index).is_some_and(|t| t == text)
        };
        let mut out = Vec::new();
        let mut add = |place: (usize, bool)| {
            let kinds = self.settled.get(place.0);
            if let (Some(cell), Some([at, below])) = (self.cell(place), kinds) {
                out.push((cell, if place.1 { *below } else { *at }));
            }
        };
        if each || range.len() <= self.alike.len() {
            let mut seen = BTreeSet::new();
            for index in range.clone().filter(|index| !is_own(*index)) {
                let Some(kinds) = self.settled.get(index) else {
                    continue;
                };
                for (kind, region) in kinds.iter().zip([false, true]) {
                    if each || seen.insert(*kind) {
                        add((index, region));
                    }
                }
            }
            return out;
        }
        for cells in &self.alike {
            if let Some(place) = cells.iter().find(|(index, _)| !is_own(*index)) {
                add(*place);
            }
        }
        out
    }

    /// Listed strings properly below a text.
    pub(crate) fn strings_below<'g>(&'g self, text: &'g str) -> impl Iterator<Item = &'g str> {
        let texts = self.texts.get(self.below(text)).unwrap_or_default();
        texts.iter().map(String::as_str).filter(move |t| *t != text)
    }

    /// Whether both configurations do the same at every cell.
    pub(crate) fn is_same(&self) -> bool {
        let mut all = self.settled.iter().flatten();
        all.all(|[a, b]| a == b)
    }
}

/// For each of sorted strings, the position of the longest other one that it
/// begins with.
pub(crate) fn parents<'a>(sorted: impl Iterator<Item = &'a str>) -> Vec<Option<usize>> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut out = Vec::new();
    for (index, text) in sorted.enumerate() {
        while open
            .last()
            .is_some_and(|(_, shorter)| !text.starts_with(shorter))
        {
            open.pop();
        }
        out.push(open.last().map(|(at, _)| *at));
        open.push((index, text));
    }
    out
}
