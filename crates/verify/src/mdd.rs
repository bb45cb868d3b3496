//! Sets of points of a finite product space, as reduced ordered multi-valued
//! decision diagrams: equal sets have equal ids.
//!
//! A dimension has a number of classes, laid out from the most ordinary to the
//! oddest, so that the first way down is the witness people want to read.

#![expect(
    clippy::indexing_slicing,
    reason = "ids and ranges are made by the arena that they index"
)]

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

/// A set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Set(u32);

impl Set {
    /// The empty set.
    pub(crate) const NONE: Self = Self(0);
    /// Every point.
    pub(crate) const ALL: Self = Self(1);

    /// Whether no point is in it.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// Position of a dimension in the order.
pub(crate) type Dim = u16;

#[derive(Clone, Copy, Debug)]
struct Node {
    dim: Dim,
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    And,
    Or,
    Minus,
}

/// Sets of one node's classes: most dimensions have few.
type Kids = SmallVec<[Set; 12]>;

impl Node {
    fn kids(self, all: &[Set]) -> &[Set] {
        &all[self.start as usize..(self.start + self.len) as usize]
    }
}

fn hash_of(dim: Dim, kids: &[Set]) -> u64 {
    let mut hasher = FxBuildHasher.build_hasher();
    hasher.write_u16(dim);
    for kid in kids {
        hasher.write_u32(kid.0);
    }
    hasher.finish()
}

/// Arena of sets.
#[derive(Debug)]
pub(crate) struct Sets {
    nodes: Vec<Node>,
    kids: Vec<Set>,
    /// Ids of all nodes, found by what they are.
    unique: HashTable<u32>,
    memo: [FxHashMap<u64, Set>; 3],
    remapped: FxHashMap<(Set, u32), Set>,
    maps: FxHashMap<(Dim, Box<[u16]>), u32>,
    /// Steps taken.
    work: u64,
    /// A bound was hit; what was computed since is not to be trusted.
    exhausted: bool,
}

/// Beyond this an analysis is given up as undecided: about 200 MB.
const MAX_NODES: usize = 1_000_000;
const MAX_KIDS: usize = 12_000_000;

/// The same for steps: some seconds.
const MAX_WORK: u64 = 100_000_000;

const TERMINAL: Dim = Dim::MAX;

impl Default for Sets {
    fn default() -> Self {
        let terminal = Node {
            dim: TERMINAL,
            start: 0,
            len: 0,
        };
        Self {
            nodes: vec![terminal; 2],
            kids: Vec::new(),
            unique: HashTable::new(),
            memo: Default::default(),
            remapped: FxHashMap::default(),
            maps: FxHashMap::default(),
            work: 0,
            exhausted: false,
        }
    }
}

impl Sets {
    /// Whether the bound on the number of sets was hit.
    pub(crate) fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// Takes part of what may be done in all.
    pub(crate) fn spend(&mut self, steps: u64) {
        self.work = self.work.saturating_add(steps);
        self.exhausted |= self.work > MAX_WORK;
    }

    /// The points whose class in `dim` has its bit set.
    pub(crate) fn classes(&mut self, dim: Dim, holds: impl IntoIterator<Item = bool>) -> Set {
        let kids: Kids = holds
            .into_iter()
            .map(|holds| if holds { Set::ALL } else { Set::NONE })
            .collect();
        self.node(dim, &kids)
    }

    fn node(&mut self, dim: Dim, kids: &[Set]) -> Set {
        let Some(first) = kids.first() else {
            return Set::NONE;
        };
        if kids.iter().all(|kid| kid == first) {
            return *first;
        }
        let hash = hash_of(dim, kids);
        let known = self.unique.find(hash, |id| {
            let id = Set(*id);
            self.dim(id) == dim && self.kids(id) == kids
        });
        if let Some(known) = known {
            return Set(*known);
        }
        if self.nodes.len() >= MAX_NODES || self.kids.len() >= MAX_KIDS {
            self.exhausted = true;
            return Set::NONE;
        }
        let start = u32::try_from(self.kids.len()).unwrap_or(u32::MAX);
        let id = Set(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.kids.extend_from_slice(kids);
        self.nodes.push(Node {
            dim,
            start,
            len: u32::try_from(kids.len()).unwrap_or(u32::MAX),
        });
        let (nodes, all) = (&self.nodes, &self.kids);
        self.unique.insert_unique(hash, id.0, |id| {
            let node = nodes[*id as usize];
            hash_of(node.dim, node.kids(all))
        });
        id
    }

    fn dim(&self, set: Set) -> Dim {
        self.nodes[set.0 as usize].dim
    }

    fn kids(&self, set: Set) -> &[Set] {
        self.nodes[set.0 as usize].kids(&self.kids)
    }

    /// Points in both.
    pub(crate) fn and(&mut self, a: Set, b: Set) -> Set {
        if a == b || b == Set::ALL {
            return a;
        }
        if a == Set::ALL {
            return b;
        }
        if a.is_none() || b.is_none() {
            return Set::NONE;
        }
        self.apply(Op::And, a.min(b), a.max(b))
    }

    /// Points in either.
    pub(crate) fn or(&mut self, a: Set, b: Set) -> Set {
        if a == b || b.is_none() {
            return a;
        }
        if a.is_none() {
            return b;
        }
        if a == Set::ALL || b == Set::ALL {
            return Set::ALL;
        }
        self.apply(Op::Or, a.min(b), a.max(b))
    }

    /// Points of `a` that are not in `b`.
    pub(crate) fn minus(&mut self, a: Set, b: Set) -> Set {
        if a.is_none() || a == b || b == Set::ALL {
            return Set::NONE;
        }
        if b.is_none() {
            return a;
        }
        self.apply(Op::Minus, a, b)
    }

    /// Points that are not in it.
    pub(crate) fn not(&mut self, a: Set) -> Set {
        self.minus(Set::ALL, a)
    }

    fn apply(&mut self, op: Op, a: Set, b: Set) -> Set {
        let key = u64::from(a.0) << 32 | u64::from(b.0);
        if let Some(known) = self.memo[op as usize].get(&key) {
            return *known;
        }
        if self.exhausted {
            return Set::NONE;
        }
        let (da, db) = (self.dim(a), self.dim(b));
        let dim = da.min(db);
        let width = if da <= db {
            self.kids(a).len()
        } else {
            self.kids(b).len()
        };
        self.spend(u64::try_from(width).unwrap_or(u64::MAX));
        let mut kids = Kids::with_capacity(width);
        for class in 0..width {
            let ka = if da == dim { self.kids(a)[class] } else { a };
            let kb = if db == dim { self.kids(b)[class] } else { b };
            kids.push(match op {
                Op::And => self.and(ka, kb),
                Op::Or => self.or(ka, kb),
                Op::Minus => self.minus(ka, kb),
            });
        }
        let result = self.node(dim, &kids);
        self.memo[op as usize].insert(key, result);
        result
    }

    /// The points whose image is in `set`, where the image of class `c` of
    /// `dim` is class `map[c]`. A constant map fixes the dimension.
    pub(crate) fn remap(&mut self, set: Set, dim: Dim, map: &[u16]) -> Set {
        if self.dim(set) > dim {
            return set;
        }
        let next = u32::try_from(self.maps.len()).unwrap_or(u32::MAX);
        let map_id = *self.maps.entry((dim, map.into())).or_insert(next);
        self.remap_at(set, dim, map, map_id)
    }

    fn remap_at(&mut self, set: Set, dim: Dim, map: &[u16], map_id: u32) -> Set {
        let here = self.dim(set);
        if here > dim {
            return set;
        }
        if self.exhausted {
            return Set::NONE;
        }
        self.spend(1);
        if let Some(known) = self.remapped.get(&(set, map_id)) {
            return *known;
        }
        let result = if here == dim {
            let old = self.kids(set);
            let kids: Kids = map
                .iter()
                .map(|class| old.get(usize::from(*class)).copied().unwrap_or(Set::NONE))
                .collect();
            self.node(dim, &kids)
        } else {
            let old = Kids::from_slice(self.kids(set));
            let kids: Kids = old
                .into_iter()
                .map(|kid| self.remap_at(kid, dim, map, map_id))
                .collect();
            self.node(here, &kids)
        };
        self.remapped.insert((set, map_id), result);
        result
    }

    /// The points that share the class of the first dimension with one in the set.
    pub(crate) fn widened(&mut self, set: Set) -> Set {
        match self.dim(set) {
            0 => {
                let kids: SmallVec<[bool; 12]> =
                    self.kids(set).iter().map(|kid| !kid.is_none()).collect();
                self.classes(0, kids)
            }
            _ if set.is_none() => Set::NONE,
            _ => Set::ALL,
        }
    }

    /// Dimensions that decide membership, in order.
    pub(crate) fn support(&self, set: Set) -> Vec<Dim> {
        let mut seen = rustc_hash::FxHashSet::default();
        let mut dims = std::collections::BTreeSet::new();
        let mut todo = vec![set];
        while let Some(set) = todo.pop() {
            if self.dim(set) != TERMINAL && seen.insert(set) {
                dims.insert(self.dim(set));
                todo.extend_from_slice(self.kids(set));
            }
        }
        dims.into_iter().collect()
    }

    /// The first point, as the classes of the dimensions that matter; `None`
    /// for the empty set.
    pub(crate) fn first(&self, set: Set) -> Option<Vec<(Dim, u16)>> {
        let mut at = set;
        let mut point = Vec::new();
        while self.dim(at) != TERMINAL {
            let mut kids = self.kids(at).iter().enumerate();
            let (class, kid) = kids.find(|(_, kid)| !kid.is_none())?;
            point.push((self.dim(at), u16::try_from(class).unwrap_or(u16::MAX)));
            at = *kid;
        }
        (at == Set::ALL).then_some(point)
    }

    /// Whether a point is in it, given the class of each dimension that matters.
    pub(crate) fn contains(&self, set: Set, class: impl Fn(Dim) -> Option<u16>) -> Option<bool> {
        let mut at = set;
        while self.dim(at) != TERMINAL {
            at = *self.kids(at).get(usize::from(class(self.dim(at))?))?;
        }
        Some(at == Set::ALL)
    }

    /// The set without the points that share all these classes.
    pub(crate) fn without(
        &mut self,
        set: Set,
        point: &[(Dim, u16)],
        width: impl Fn(Dim) -> usize,
    ) -> Set {
        let mut all = Set::ALL;
        for (dim, class) in point {
            let this = self.classes(*dim, (0..width(*dim)).map(|c| c == usize::from(*class)));
            all = self.and(all, this);
        }
        self.minus(set, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two dimensions of three and two classes, all subsets by their bits.
    fn of(sets: &mut Sets, bits: u8) -> Set {
        let mut out = Set::NONE;
        for point in 0..6u8 {
            if bits >> point & 1 == 1 {
                let x = sets.classes(0, (0..3).map(|c| c == point / 2));
                let y = sets.classes(1, (0..2).map(|c| c == point % 2));
                let both = sets.and(x, y);
                out = sets.or(out, both);
            }
        }
        out
    }

    #[test]
    fn algebra_of_all_subsets() {
        let mut sets = Sets::default();
        for a in 0..64u8 {
            for b in 0..64u8 {
                let (x, y) = (of(&mut sets, a), of(&mut sets, b));
                let and = sets.and(x, y);
                let or = sets.or(x, y);
                let minus = sets.minus(x, y);
                assert_eq!(and, of(&mut sets, a & b));
                assert_eq!(or, of(&mut sets, a | b));
                assert_eq!(minus, of(&mut sets, a & !b));
            }
            let x = of(&mut sets, a);
            assert_eq!(sets.not(x), of(&mut sets, !a & 63));
            assert_eq!(sets.first(x).is_none(), a == 0);
        }
    }

    #[test]
    fn a_remapped_set_holds_the_points_whose_image_is_in_it() {
        let mut sets = Sets::default();
        for a in 0..64u8 {
            let x = of(&mut sets, a);
            let fixed = sets.remap(x, 0, &[2, 2, 2]);
            let mut expected = 0u8;
            for point in 0..6u8 {
                expected |= (a >> (4 + point % 2) & 1) << point;
            }
            assert_eq!(fixed, of(&mut sets, expected), "{a:06b}");
        }
    }
}
