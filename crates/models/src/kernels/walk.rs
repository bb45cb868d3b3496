//! The trees of a model, checked and placed in memory so that they can be walked.
//!
//! Children of a node are neighbours, and families lie near each other, so that most steps stay in memory that is at hand.

use super::lanes::walk;
use super::node::{GENERAL, Large, MISSING, NOTHING, PLAIN, Small, key32, key64};
use super::ranks::{Ranks, rank};

/// What a split asks. The first child is for yes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'q> {
    /// Whether the value is at most this.
    AtMost(f64),
    /// Nothing: what is not missing goes to the second child.
    Never,
    /// Whether the value, cut to a whole number, has its bit set in these words.
    Among(&'q [u32]),
}

/// A node of a tree as its file has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fork<'q> {
    Leaf {
        /// What the walk ends with: a number of the caller's.
        number: u32,
    },
    Split {
        feature: usize,
        question: Question<'q>,
        /// Whether a missing value (NaN) counts as yes.
        missing_yes: bool,
        /// Whether zero is missing too.
        zero_is_missing: bool,
        yes: usize,
        no: usize,
    },
}

/// What becomes of a value that is asked for among categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cut {
    /// Cut to a whole number, as a cast in C++ does; what does not fit is no category.
    #[default]
    Whole,
    /// Cut to a whole number and then to a byte; below zero it is missing.
    Byte,
}

/// The trees of a model, which are added one by one.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    nodes: Nodes,
    pub(super) roots: Vec<u32>,
    /// The words of categories.
    words: Vec<u32>,
    cut: Cut,
    pub(super) columns: usize,
    pub(super) pace: Pace,
    /// In place of thresholds, in nodes that are small and not of single precision.
    ranks: Option<Ranks>,
    /// Whether rows are rounded to single precision.
    single: bool,
    /// Whether a node asks for more than a threshold.
    general: bool,
}

/// When it is looked which walks have ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Steps before the first look.
    pub(super) first: u32,
    /// Steps between looks.
    pub(super) then: u32,
    /// Steps to the leaf that is farthest down.
    deepest: u32,
    /// Steps of all trees, if each child is as likely as the other.
    expected: f64,
}

#[derive(Debug, Clone)]
enum Nodes {
    Small(Vec<Small>),
    Large(Vec<Large>),
}

/// Buffers that rows share.
#[derive(Debug, Default)]
pub(crate) struct Work {
    single: Vec<u32>,
    double: Vec<u64>,
}

/// Parents whose children lie together, which then fill 64 bytes.
const FAMILY: usize = 4;

impl Walk {
    /// No trees yet, over so many columns of rows that are rounded to single precision. Thresholds are of single precision.
    pub(crate) fn single(columns: usize) -> Self {
        let nodes = match columns < Small::COLUMNS {
            true => Nodes::Small(Vec::new()),
            false => Nodes::Large(Vec::new()),
        };
        Self::new(nodes, columns, true, Cut::Whole)
    }

    /// No trees yet, over so many columns of double precision.
    pub(crate) fn double(columns: usize, cut: Cut) -> Self {
        Self::new(Nodes::Large(Vec::new()), columns, false, cut)
    }

    fn new(nodes: Nodes, columns: usize, single: bool, cut: Cut) -> Self {
        Self {
            nodes,
            roots: Vec::new(),
            words: Vec::new(),
            cut,
            columns,
            pace: Pace::default(),
            ranks: None,
            single,
            general: false,
        }
    }

    /// Adds a tree of at most `count` nodes. `node` tells about one of them, each once, breadth first; its indices are checked
    /// here.
    ///
    /// # Errors
    /// What `node` says, a cycle, or a node, feature or threshold that cannot be.
    pub(crate) fn add<'q>(
        &mut self,
        count: usize,
        mut node: impl FnMut(usize) -> Result<Fork<'q>, String>,
    ) -> Result<(), String> {
        let mut order = vec![0_usize];
        let mut tree: Vec<Placed> = Vec::new();
        while let Some(index) = order.get(tree.len()).copied() {
            let placed = match node(index)? {
                Fork::Leaf { number } => Placed {
                    large: Large::leaf(number, self.columns),
                    first: 0,
                },
                Fork::Split {
                    feature,
                    question,
                    missing_yes,
                    zero_is_missing,
                    yes,
                    no,
                } => {
                    let first = order.len();
                    order.extend([yes, no]);
                    if order.len() > count || yes >= count || no >= count {
                        return Err(format!("node {index} is in a cycle or has no children"));
                    }
                    let column = u32::try_from(feature).ok();
                    let column =
                        column.filter(|column| feature < self.columns && *column < Large::COLUMNS);
                    let column = column.ok_or_else(|| {
                        format!("node {index} looks at a feature that does not exist")
                    })?;
                    let (threshold, categorical) = self.question(question, index)?;
                    self.general |= categorical || zero_is_missing;
                    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
                    Placed {
                        large: Large {
                            threshold,
                            column: column
                                | flag(!missing_yes, Large::MISSING_SECOND)
                                | flag(categorical, Large::CATEGORICAL)
                                | flag(zero_is_missing, Large::ZERO_MISSING),
                            distance: 0,
                        },
                        first,
                    }
                }
            };
            tree.push(placed);
        }
        self.place(tree)
    }

    fn question(&mut self, question: Question<'_>, index: usize) -> Result<(u64, bool), String> {
        match question {
            Question::AtMost(threshold) if threshold.is_nan() => {
                Err(format!("node {index} has no threshold"))
            }
            Question::AtMost(threshold) => Ok((key64(threshold), false)),
            Question::Never => Ok((NOTHING.into(), false)),
            Question::Among(words) => {
                let place = u32::try_from(self.words.len());
                let count = u32::try_from(words.len());
                let (Ok(place), Ok(count)) = (place, count) else {
                    return Err("more categories than are supported".to_owned());
                };
                self.words.extend_from_slice(words);
                Ok(((u64::from(place) << 32) | u64::from(count), true))
            }
        }
    }

    /// Puts the nodes of a tree, which are breadth first, behind those that are there.
    fn place(&mut self, mut tree: Vec<Placed>) -> Result<(), String> {
        let sequence = sequence(&tree);
        let mut positions = vec![0_usize; tree.len()];
        for (position, index) in sequence.iter().enumerate() {
            if let Some(cell) = positions.get_mut(*index) {
                *cell = position;
            }
        }
        let many = || "more nodes than are supported".to_owned();
        let mut farthest = 0;
        for (index, placed) in tree.iter_mut().enumerate() {
            if placed.first == 0 {
                continue;
            }
            let (own, first) = (positions.get(index), positions.get(placed.first));
            let distance = own
                .zip(first)
                .and_then(|(own, first)| first.checked_sub(*own));
            placed.large.distance = distance
                .and_then(|distance| u32::try_from(distance).ok())
                .ok_or_else(many)?;
            farthest = farthest.max(placed.large.distance);
        }
        if self.general || farthest >= Small::FARTHEST {
            self.widen();
        }
        let base = self.count_nodes();
        // The last node has a place of 32 bits too.
        u32::try_from(base.saturating_add(tree.len())).map_err(|_| many())?;
        self.roots.push(u32::try_from(base).map_err(|_| many())?);
        self.pace.add(&tree, self.roots.len());
        let nodes = sequence
            .iter()
            .filter_map(|index| tree.get(*index))
            .map(|placed| placed.large);
        match &mut self.nodes {
            Nodes::Small(small) => small.extend(nodes.map(|node| Small::of(node, self.columns))),
            Nodes::Large(large) => large.extend(nodes),
        }
        Ok(())
    }

    fn widen(&mut self) {
        if let Nodes::Small(nodes) = &self.nodes {
            let large = nodes.iter().map(|node| node.widened(self.columns));
            self.nodes = Nodes::Large(large.collect());
        }
    }

    fn count_nodes(&self) -> usize {
        match &self.nodes {
            Nodes::Small(nodes) => nodes.len(),
            Nodes::Large(nodes) => nodes.len(),
        }
    }

    /// Bytes that the trees take.
    pub(crate) fn bytes(&self) -> usize {
        let nodes = match &self.nodes {
            Nodes::Small(nodes) => nodes.len().saturating_mul(size_of::<Small>()),
            Nodes::Large(nodes) => nodes.len().saturating_mul(size_of::<Large>()),
        };
        let ranks = self.ranks.as_ref().map_or(0, Ranks::bytes);
        nodes
            .saturating_add(self.words.len().saturating_mul(4))
            .saturating_add(ranks)
    }

    /// No more trees are added: makes nodes small where ranks are worth it, and gives back memory.
    pub(crate) fn finish(&mut self) {
        self.rank();
        match &mut self.nodes {
            Nodes::Small(nodes) => nodes.shrink_to_fit(),
            Nodes::Large(nodes) => nodes.shrink_to_fit(),
        }
    }

    fn rank(&mut self) {
        let Nodes::Large(nodes) = &self.nodes else {
            return;
        };
        let near = |node: &Large| node.distance < Small::FARTHEST;
        if self.general || self.columns >= Small::COLUMNS || !nodes.iter().all(near) {
            return;
        }
        let ranks = Ranks::of(nodes, self.columns);
        // A comparison of a row's value costs about as much as a step saves twice.
        if f64::from(ranks.steps()) * 2.0 > self.pace.expected {
            return;
        }
        let small = nodes.iter().map(|node| match node.is_leaf(self.columns) {
            true => Small::of(*node, self.columns),
            false => Small::with(ranks.threshold(*node), *node),
        });
        self.nodes = Nodes::Small(small.collect());
        self.ranks = Some(ranks);
    }

    /// Leaves out the trees behind the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.roots.truncate(count);
    }

    /// The number of trees.
    pub(crate) fn count(&self) -> usize {
        self.roots.len()
    }

    /// Calls `each` with the numbers of the leaves of some trees in turn, and how many trees were before them, until all trees
    /// were. Columns that a row has not are missing.
    pub(crate) fn leaves(&self, row: &[f64], work: &mut Work, each: &mut dyn FnMut(usize, &[u32])) {
        let row = row.iter().take(self.columns);
        match &self.nodes {
            Nodes::Small(nodes) => {
                let keys = &mut work.single;
                keys.clear();
                match &self.ranks {
                    None => keys.extend(row.map(|value| key32(*value as f32))),
                    Some(ranks) => {
                        let ranked = row.zip(ranks.columns());
                        keys.extend(ranked.map(|(value, keys)| rank(keys, key64(*value))));
                    }
                }
                keys.resize(self.columns, key32(f32::NAN));
                let missing = keys.contains(&key32(f32::NAN));
                keys.push(key32(f32::NAN));
                match missing {
                    false => walk::<_, PLAIN>(self, nodes, keys, each),
                    true => walk::<_, MISSING>(self, nodes, keys, each),
                }
            }
            Nodes::Large(nodes) => {
                let keys = &mut work.double;
                keys.clear();
                match self.single {
                    true => keys.extend(row.map(|value| key64((*value as f32).into()))),
                    false => keys.extend(row.map(|value| key64(*value))),
                }
                keys.resize(self.columns, key64(f64::NAN));
                let missing = keys.contains(&key64(f64::NAN));
                keys.push(key64(f64::NAN));
                match (self.general, missing) {
                    (true, _) => walk::<_, GENERAL>(self, nodes, keys, each),
                    (_, true) => walk::<_, MISSING>(self, nodes, keys, each),
                    _ => walk::<_, PLAIN>(self, nodes, keys, each),
                }
            }
        }
    }

    /// Adds the values of leaves to sums in the order of the trees: that of the first tree to the first sum, and after the
    /// last sum to the first again.
    pub(crate) fn add_up(
        &self,
        row: &[f64],
        work: &mut Work,
        sums: &mut [f64],
        value: impl Fn(u32) -> f64,
    ) {
        match sums {
            [] => {}
            [sum] => self.leaves(row, work, &mut |_, numbers| {
                *sum = numbers
                    .iter()
                    .fold(*sum, |sum, number| sum + value(*number));
            }),
            sums => self.leaves(row, work, &mut |before, numbers| {
                let mut output = before % sums.len();
                for number in numbers {
                    if let Some(sum) = sums.get_mut(output) {
                        *sum += value(*number);
                    }
                    output += 1;
                    if output == sums.len() {
                        output = 0;
                    }
                }
            }),
        }
    }

    /// Whether a value has its bit set, `None` if it is missing.
    pub(super) fn among(&self, place: u64, value: f64) -> Option<bool> {
        let category = match self.cut {
            Cut::Byte if value < 0.0 => return None,
            Cut::Byte => usize::from((value as i32) as u8),
            Cut::Whole if value <= -1.0 || value >= f64::from(i32::MAX) => return Some(false),
            Cut::Whole => value as usize,
        };
        let start = usize::try_from(place >> 32).unwrap_or(usize::MAX);
        let count = usize::try_from(place & 0xffff_ffff).unwrap_or(0);
        let word = category / 32;
        let word = (word < count).then(|| self.words.get(start.checked_add(word)?));
        let set = word
            .flatten()
            .map(|word| (word >> (category % 32)) & 1 == 1);
        Some(set.unwrap_or(false))
    }
}

/// A node that is not placed yet.
struct Placed {
    large: Large,
    /// The first child, breadth first; zero for a leaf.
    first: usize,
}

/// The order of nodes in memory: the root, then children, pair by pair, [`FAMILY`] pairs from a parent down before those that
/// hang below them.
fn sequence(tree: &[Placed]) -> Vec<usize> {
    let mut order = Vec::with_capacity(tree.len());
    order.push(0);
    let parent = |index: usize| tree.get(index).filter(|placed| placed.first > 0);
    let mut open: Vec<usize> = parent(0).map(|_| 0).into_iter().collect();
    let mut family = std::collections::VecDeque::new();
    while let Some(top) = open.pop() {
        family.push_back(top);
        for _ in 0..FAMILY {
            let Some(first) = family.pop_front().and_then(parent).map(|p| p.first) else {
                break;
            };
            for child in [first, first + 1] {
                order.push(child);
                if parent(child).is_some() {
                    family.push_back(child);
                }
            }
        }
        open.extend(family.drain(..).rev());
    }
    order
}

impl Pace {
    /// Trees up to this depth are walked to their ends without a look.
    const SHALLOW: u32 = 8;

    /// Whether all walks have ended after the first steps.
    pub(super) fn ends_at_once(self) -> bool {
        self.first == self.deepest
    }

    /// Takes up a tree that is breadth first, the last of so many.
    fn add(&mut self, tree: &[Placed], count: usize) {
        let mut depths = vec![0_u16; tree.len()];
        for (index, placed) in tree.iter().enumerate() {
            let own = depths.get(index).copied().unwrap_or(0);
            self.deepest = self.deepest.max(own.into());
            if placed.first == 0 {
                self.expected += f64::from(own) * 0.5_f64.powi(own.into());
                continue;
            }
            let children = depths.get_mut(placed.first..).unwrap_or_default();
            let children = children.iter_mut().take(2);
            children.for_each(|depth| *depth = own.saturating_add(1));
        }
        let mean = (self.expected / count.max(1) as f64).ceil() as u32;
        (self.first, self.then) = match self.deepest <= Self::SHALLOW {
            true => (self.deepest, 1),
            false => (mean.saturating_add(1).min(self.deepest), 3),
        };
    }
}

#[cfg(test)]
mod tests;
