//! Walks down trees: many at once, so that steps that wait for memory wait together.
//!
//! Walks go on for some steps in turn without a look at which of them have ended; then those that have not are moved together,
//! and go on. So a tree costs about the steps that its own walk takes, and no step depends on a branch.

use super::node::Node;
use super::walk::Walk;

/// Trees that are walked together.
const BLOCK: usize = 128;
/// Walks that go on in turn.
const LANES: usize = 16;
/// Where walks and trees of a block are listed, with room for those that read and write many at once.
pub(super) const ROOM: usize = BLOCK + super::wide::WALKS;

/// Walks all trees. The row has a value behind its columns.
pub(super) fn walk<N: Node, const MODE: u8>(
    trees: &Walk,
    nodes: &[N],
    row: &[N::Key],
    each: &mut dyn FnMut(usize, &[u32]),
) {
    if row.len() <= trees.columns || nodes.is_empty() {
        return;
    }
    let walker = Walker::<N, MODE> { trees, nodes, row };
    let mut before = 0;
    for roots in trees.roots.chunks(BLOCK) {
        match roots {
            [root] => each(before, &[walker.one(*root)]),
            roots if trees.pace.ends_at_once() && !N::at_once(&walker) => {
                let mut numbers = [0; BLOCK];
                walker.whole(roots, &mut numbers);
                each(before, numbers.get(..roots.len()).unwrap_or_default());
            }
            roots => {
                let mut open = Open::of(roots);
                walker.block(&mut open);
                each(before, open.numbers.get(..roots.len()).unwrap_or_default());
            }
        }
        before += roots.len();
    }
}

/// Walks of a block of trees.
pub(super) struct Open {
    /// Where those are that have not ended. Behind them are places of nodes too.
    pub(super) places: [u32; ROOM],
    /// Which tree of the block each is in; all are below the length of `numbers`.
    pub(super) trees: [u32; ROOM],
    pub(super) count: usize,
    /// The numbers of the leaves where walks ended, by tree.
    pub(super) numbers: [u32; ROOM],
}

impl Open {
    /// At the roots of so many trees as fit, of which there are nodes.
    pub(super) fn of(roots: &[u32]) -> Self {
        let mut places = [0; ROOM];
        for (place, root) in places.iter_mut().zip(roots).take(BLOCK) {
            *place = *root;
        }
        Self {
            places,
            trees: std::array::from_fn(|tree| tree as u32),
            count: roots.len().min(BLOCK),
            numbers: [0; ROOM],
        }
    }
}

/// What walks have in common.
pub(super) struct Walker<'w, N: Node, const MODE: u8> {
    pub(super) trees: &'w Walk,
    pub(super) nodes: &'w [N],
    pub(super) row: &'w [N::Key],
}

impl<N: Node, const MODE: u8> Walker<'_, N, MODE> {
    /// Goes on until all walks have ended.
    fn block(&self, open: &mut Open) {
        let mut steps = self.trees.pace.first;
        while open.count > 0 {
            if !N::advance(self, open, steps) {
                self.advance(open, steps);
            }
            steps = self.trees.pace.then;
        }
    }

    /// Walks all trees of a block to their ends, as many steps in each as the deepest has: for shallow trees, where a look at
    /// which walks have ended costs more than it saves.
    fn whole(&self, roots: &[u32], numbers: &mut [u32; BLOCK]) {
        for (roots, numbers) in roots.chunks(LANES).zip(numbers.chunks_mut(LANES)) {
            let mut places = [roots.first().copied().unwrap_or(0); LANES];
            for (place, root) in places.iter_mut().zip(roots) {
                *place = *root;
            }
            for _ in 0..self.trees.pace.first {
                for place in &mut places {
                    *place = self.step(*place);
                }
            }
            for (number, place) in numbers.iter_mut().zip(places) {
                *number = self.nodes.get(place as usize).map_or(0, |n| n.number());
            }
        }
    }

    /// Lets all walks go on for some steps.
    pub(super) fn advance(&self, open: &mut Open, steps: u32) {
        let (mut at, mut kept) = (0, 0);
        while at < open.count {
            if open.count - at > 4 {
                kept = self.lanes::<LANES>(open, steps, at, kept);
                at += LANES;
            } else {
                kept = self.lanes::<4>(open, steps, at, kept);
                at += 4;
            }
        }
        open.count = kept;
    }

    /// Lets the walks from one on go on in turn, and puts those that have not ended behind the `kept` that have not.
    #[inline(always)]
    fn lanes<const COUNT: usize>(
        &self,
        open: &mut Open,
        steps: u32,
        at: usize,
        mut kept: usize,
    ) -> usize {
        let places = open
            .places
            .get(at..)
            .and_then(<[u32]>::first_chunk::<COUNT>);
        let Some(mut places) = places.copied() else {
            return kept;
        };
        for _ in 0..steps {
            for place in &mut places {
                *place = self.step(*place);
            }
        }
        let walks = at..open.count;
        for (walk, place) in walks.zip(places) {
            let (Some(node), Some(tree)) = (
                self.nodes.get(place as usize),
                open.trees.get(walk).copied(),
            ) else {
                return kept;
            };
            if let Some(number) = open.numbers.get_mut(tree as usize) {
                *number = node.number();
            }
            if let (Some(to), Some(of)) = (open.places.get_mut(kept), open.trees.get_mut(kept)) {
                (*to, *of) = (place, tree);
            }
            kept += usize::from(node.distance() != 0);
        }
        kept
    }

    fn one(&self, root: u32) -> u32 {
        let mut place = root;
        loop {
            let next = self.step(place);
            if next == place {
                let node = self.nodes.get(place as usize);
                return node.map_or(0, |node| node.number());
            }
            place = next;
        }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "two checks less for each of thousands of steps")]
    fn step(&self, place: u32) -> u32 {
        // SAFETY: roots and children are nodes, and columns, that of leaves among them, are below the length of the row:
        // `add` places no other nodes, and `walk` looks at the length.
        let (node, key) = unsafe {
            let node = self.nodes.get_unchecked(place as usize);
            (node, *self.row.get_unchecked(node.column()))
        };
        let second = u32::from(node.goes_second::<MODE>(key, self.trees));
        place.wrapping_add(node.distance()).wrapping_add(second)
    }
}
