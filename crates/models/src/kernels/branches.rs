//! Trees whose nodes ask any of six questions, in the precision of the rows: those of ONNX.
//!
//! Two questions are enough to walk: "at most" and "equal". The others are these with their children exchanged, or with the
//! number below the threshold. Trees that ask for nothing but "at most" are walked together.

use super::walk::{Cut, Fork, Question, Walk, Work};

/// What a node asks of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
    /// Whether the value is one of a set.
    Member,
}

impl Test {
    /// The test of that name; `None` for a leaf.
    pub(crate) fn named(name: &str) -> Result<Option<Self>, String> {
        Ok(Some(match name {
            "LEAF" => return Ok(None),
            "BRANCH_LEQ" => Self::AtMost,
            "BRANCH_LT" => Self::Below,
            "BRANCH_GTE" => Self::AtLeast,
            "BRANCH_GT" => Self::Above,
            "BRANCH_EQ" => Self::Equal,
            "BRANCH_NEQ" => Self::Unequal,
            _ => return Err("a node has a mode that is none".to_owned()),
        }))
    }
}

/// A node as its file has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Branching<'s, T> {
    Leaf {
        /// The number of the leaf, by which the caller finds its values.
        number: u32,
    },
    Split {
        test: Test,
        threshold: T,
        /// The values of a set.
        set: &'s [T],
        feature: usize,
        /// Whether a missing value (NaN) counts as yes.
        missing_yes: bool,
        yes: usize,
        no: usize,
    },
}

/// Floats that can be thresholds.
pub(crate) trait Threshold: Copy + PartialOrd + std::fmt::Debug {
    fn below(self) -> Self;
    fn is_missing(self) -> bool;
    fn missing() -> Self;
    fn double(self) -> f64;
    /// No trees yet, over so many columns.
    fn walk(columns: usize) -> Walk;
}

impl Threshold for f32 {
    fn below(self) -> Self {
        self.next_down()
    }

    fn is_missing(self) -> bool {
        self.is_nan()
    }

    fn missing() -> Self {
        Self::NAN
    }

    fn double(self) -> f64 {
        self.into()
    }

    fn walk(columns: usize) -> Walk {
        Walk::single(columns)
    }
}

impl Threshold for f64 {
    fn below(self) -> Self {
        self.next_down()
    }

    fn is_missing(self) -> bool {
        self.is_nan()
    }

    fn missing() -> Self {
        Self::NAN
    }

    fn double(self) -> f64 {
        self
    }

    fn walk(columns: usize) -> Walk {
        Walk::double(columns, Cut::Whole)
    }
}

/// The second child lies behind the first.
#[derive(Debug, Clone, Copy)]
struct Node<T> {
    threshold: T,
    /// The column, or [`LEAF`], and flags above.
    feature: u32,
    /// The first child, or the number of the leaf.
    next: u32,
}

impl<T: Threshold> Node<T> {
    /// In a tree that begins at a root, for nodes that ask for a threshold.
    fn fork(&self, root: u32) -> Fork<'static> {
        let feature = self.feature & LEAF;
        if feature == LEAF {
            return Fork::Leaf { number: self.next };
        }
        let yes = self.next.saturating_sub(root) as usize;
        Fork::Split {
            feature: feature as usize,
            question: match self.threshold.is_missing() {
                true => Question::Never,
                false => Question::AtMost(self.threshold.double()),
            },
            missing_yes: self.feature & MISSING_YES != 0,
            zero_is_missing: false,
            yes,
            no: yes.saturating_add(1),
        }
    }
}

const LEAF: u32 = 0x1fff_ffff;
const MISSING_YES: u32 = 1 << 31;
const EQUAL: u32 = 1 << 30;
const MEMBER: u32 = 1 << 29;

#[derive(Debug, Clone)]
pub(crate) struct BranchTrees<T> {
    nodes: Vec<Node<T>>,
    roots: Vec<u32>,
    /// The values of sets, each closed by a missing one. A node has the place of its set in `places`.
    sets: Vec<T>,
    /// Nodes that ask for a set, ordered, with the place of it.
    places: Vec<(u32, usize)>,
    features: usize,
    count: usize,
    /// All of the trees, where these can be walked together; then the rest is empty.
    walk: Option<Walk>,
}

/// Buffers that rows share.
#[derive(Debug, Default)]
pub(crate) struct BranchWork {
    row: Vec<f64>,
    work: Work,
}

impl<T: Threshold> BranchTrees<T> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            roots: Vec::new(),
            sets: Vec::new(),
            places: Vec::new(),
            features: 0,
            count: 0,
            walk: None,
        }
    }

    /// The number of trees.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Columns that a row has at least.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// Adds a tree of at most `count` nodes from its root, breadth first. `node` tells about one of them.
    ///
    /// # Errors
    /// What `node` says, a cycle, or a feature or threshold that cannot be.
    pub(crate) fn add<'s>(
        &mut self,
        root: usize,
        count: usize,
        mut node: impl FnMut(usize) -> Result<Branching<'s, T>, String>,
    ) -> Result<(), String>
    where
        T: 's,
    {
        let base = self.nodes.len();
        let placed = |index: usize| {
            u32::try_from(base.saturating_add(index))
                .map_err(|_| "more nodes than are supported".to_owned())
        };
        self.roots.push(placed(0)?);
        let mut order = vec![root];
        let mut at = 0;
        while let Some(index) = order.get(at).copied() {
            let place = placed(at)?;
            at += 1;
            let made = match node(index)? {
                Branching::Leaf { number } => Node {
                    threshold: T::missing(),
                    feature: LEAF,
                    next: number,
                },
                Branching::Split {
                    test,
                    threshold,
                    set,
                    feature,
                    missing_yes,
                    yes,
                    no,
                } => {
                    let next = placed(order.len())?;
                    let column = u32::try_from(feature).ok().filter(|column| *column < LEAF);
                    let column =
                        column.ok_or_else(|| format!("node {index} looks at no feature"))?;
                    self.features = self.features.max(feature.saturating_add(1));
                    if threshold.is_missing() && test != Test::Member {
                        return Err(format!("node {index} has no threshold"));
                    }
                    // Exchanged, yes is no.
                    let exchanged = matches!(test, Test::AtLeast | Test::Above | Test::Unequal);
                    order.extend(if exchanged { [no, yes] } else { [yes, no] });
                    if order.len() > count {
                        return Err(format!("node {index} is in a cycle"));
                    }
                    let missing_yes = match test {
                        // A missing value is unequal to every number.
                        Test::Unequal => false,
                        _ => missing_yes != exchanged,
                    };
                    let (threshold, kind) = match test {
                        Test::AtMost | Test::Above => (threshold, 0),
                        Test::Below | Test::AtLeast => (below(threshold), 0),
                        Test::Equal | Test::Unequal => (threshold, EQUAL),
                        Test::Member => {
                            self.places.push((place, self.sets.len()));
                            self.sets.extend_from_slice(set);
                            self.sets.push(T::missing());
                            (T::missing(), MEMBER)
                        }
                    };
                    Node {
                        threshold,
                        feature: column | kind | if missing_yes { MISSING_YES } else { 0 },
                        next,
                    }
                }
            };
            self.nodes.push(made);
        }
        Ok(())
    }

    /// The same when no more trees are added.
    ///
    /// # Errors
    /// More nodes than are supported.
    pub(crate) fn finished(mut self) -> Result<Self, String> {
        self.count = self.roots.len();
        let asks =
            |node: &Node<T>| node.feature & LEAF != LEAF && node.feature & (EQUAL | MEMBER) != 0;
        if self.nodes.iter().any(asks) {
            return Ok(self);
        }
        let mut walk = T::walk(self.features);
        let ends = self.roots.iter().skip(1).copied();
        let ends = ends.chain(u32::try_from(self.nodes.len()));
        for (root, end) in self.roots.iter().zip(ends) {
            let nodes = self
                .nodes
                .get(*root as usize..end as usize)
                .unwrap_or_default();
            walk.add(nodes.len(), |index| {
                let node = nodes.get(index).ok_or("a node does not exist")?;
                Ok(node.fork(*root))
            })?;
        }
        walk.finish();
        (self.nodes, self.roots) = (Vec::new(), Vec::new());
        self.walk = Some(walk);
        Ok(self)
    }

    /// Calls `each` with the number of the leaf of each tree, in the order of the trees.
    pub(crate) fn leaves(&self, row: &[T], work: &mut BranchWork, each: &mut dyn FnMut(usize)) {
        let Some(walk) = &self.walk else {
            return self
                .roots
                .iter()
                .for_each(|root| each(self.descend(*root, row)));
        };
        work.row.clear();
        work.row.extend(row.iter().map(|value| value.double()));
        walk.leaves(&work.row, &mut work.work, &mut |_, numbers| {
            numbers.iter().for_each(|number| each(*number as usize));
        });
    }

    fn descend(&self, root: u32, row: &[T]) -> usize {
        let mut at = root;
        while let Some(node) = usize::try_from(at).ok().and_then(|at| self.nodes.get(at)) {
            let feature = node.feature & LEAF;
            if feature == LEAF {
                return usize::try_from(node.next).unwrap_or(usize::MAX);
            }
            let value = usize::try_from(feature)
                .ok()
                .and_then(|feature| row.get(feature))
                .copied()
                .unwrap_or_else(T::missing);
            let yes = if node.feature & (EQUAL | MEMBER) == 0 {
                value <= node.threshold
            } else if node.feature & EQUAL != 0 {
                value == node.threshold
            } else {
                self.is_member(at, value)
            };
            let yes = yes || (node.feature & MISSING_YES != 0 && value.is_missing());
            at = node.next + u32::from(!yes);
        }
        usize::MAX
    }

    fn is_member(&self, node: u32, value: T) -> bool {
        let place = self.places.binary_search_by_key(&node, |(node, _)| *node);
        let start = place.ok().and_then(|place| self.places.get(place));
        let set = start.and_then(|(_, start)| self.sets.get(*start..));
        set.into_iter()
            .flatten()
            .take_while(|member| !member.is_missing())
            .any(|member| *member == value)
    }
}

/// The number below, so that `<` becomes `<=`. Nothing is below negative infinity: what is at most no number.
fn below<T: Threshold>(threshold: T) -> T {
    let below = threshold.below();
    if below < threshold {
        below
    } else {
        T::missing()
    }
}
