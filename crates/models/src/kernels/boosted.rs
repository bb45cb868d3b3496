//! Trees of boosted models: numeric and categorical splits, and a way for missing values.
//!
//! Rows and thresholds are of double precision. XGBoost's `x < t` in single precision is `x <= t'`, where `t'` is the next
//! single precision number below `t`.

/// What a split asks. The first child is for yes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'q> {
    /// Whether the value is at most this.
    AtMost(f64),
    /// Whether the value, cut to a whole number, has its bit set in these words.
    Among(&'q [u32]),
}

/// A node of a tree as its file has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fork<'q> {
    Leaf {
        /// The number of the leaf, by which the caller finds its values.
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

/// The second child lies behind the first.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The threshold; the place of the words and their number for categories.
    threshold: u64,
    /// The column, or [`LEAF`], and flags above.
    feature: u32,
    /// The first child, or the number of the leaf.
    next: u32,
}

const LEAF: u32 = 0x1fff_ffff;
const MISSING_YES: u32 = 1 << 31;
const CATEGORICAL: u32 = 1 << 30;
const ZERO_MISSING: u32 = 1 << 29;

#[derive(Debug, Clone, Default)]
pub(crate) struct BoostedTrees {
    nodes: Vec<Node>,
    roots: Vec<u32>,
    words: Vec<u32>,
}

impl BoostedTrees {
    /// Adds a tree of at most `count` nodes, breadth first. `node` tells about one of them; its indices are checked here.
    ///
    /// # Errors
    /// What `node` says, a cycle, or a node, feature or threshold that cannot be.
    pub(crate) fn add<'q>(
        &mut self,
        count: usize,
        features: usize,
        mut node: impl FnMut(usize) -> Result<Fork<'q>, String>,
    ) -> Result<(), String> {
        let base = self.nodes.len();
        let placed = |index: usize| {
            u32::try_from(base.saturating_add(index))
                .map_err(|_| "more nodes than are supported".to_owned())
        };
        self.roots.push(placed(0)?);
        let mut order = vec![0_usize];
        let mut at = 0;
        while let Some(index) = order.get(at).copied() {
            at += 1;
            let made = match node(index)? {
                Fork::Leaf { number } => Node {
                    threshold: 0,
                    feature: LEAF,
                    next: number,
                },
                Fork::Split {
                    feature,
                    question,
                    missing_yes,
                    zero_is_missing,
                    yes,
                    no,
                } => {
                    let next = placed(order.len())?;
                    order.extend([yes, no]);
                    if order.len() > count || yes >= count || no >= count {
                        return Err(format!("node {index} is in a cycle or has no children"));
                    }
                    let column = u32::try_from(feature).ok();
                    let column = column.filter(|column| feature < features && *column < LEAF);
                    let column = column.ok_or_else(|| {
                        format!("node {index} looks at a feature that does not exist")
                    })?;
                    let (threshold, categorical) = self.question(question, index)?;
                    let missing_yes = if missing_yes { MISSING_YES } else { 0 };
                    let zero_missing = if zero_is_missing { ZERO_MISSING } else { 0 };
                    Node {
                        threshold,
                        feature: column | categorical | missing_yes | zero_missing,
                        next,
                    }
                }
            };
            self.nodes.push(made);
        }
        Ok(())
    }

    fn question(&mut self, question: Question<'_>, index: usize) -> Result<(u64, u32), String> {
        match question {
            Question::AtMost(threshold) if threshold.is_nan() => {
                Err(format!("node {index} has no threshold"))
            }
            Question::AtMost(threshold) => Ok((threshold.to_bits(), 0)),
            Question::Among(words) => {
                let place = u32::try_from(self.words.len());
                let count = u32::try_from(words.len());
                let (Ok(place), Ok(count)) = (place, count) else {
                    return Err("more categories than are supported".to_owned());
                };
                self.words.extend_from_slice(words);
                Ok(((u64::from(place) << 32) | u64::from(count), CATEGORICAL))
            }
        }
    }

    /// Bytes that the trees take.
    pub(crate) fn bytes(&self) -> usize {
        let nodes = self.nodes.len().saturating_mul(size_of::<Node>());
        nodes.saturating_add(self.words.len().saturating_mul(4))
    }

    /// Leaves out the trees behind the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.roots.truncate(count);
    }

    /// The number of trees.
    pub(crate) fn count(&self) -> usize {
        self.roots.len()
    }

    /// The number of the leaf of each tree, in the order of the trees. Columns that a row has not are missing.
    pub(crate) fn leaves<'t>(&'t self, row: &'t [f64]) -> impl Iterator<Item = usize> + 't {
        self.roots.iter().map(|root| self.descend(*root, row))
    }

    fn descend(&self, root: u32, row: &[f64]) -> usize {
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
                .unwrap_or(f64::NAN);
            at = node.next + u32::from(!self.yes(node, value));
        }
        usize::MAX
    }

    fn yes(&self, node: &Node, value: f64) -> bool {
        if value.is_nan() || (node.feature & ZERO_MISSING != 0 && value == 0.0) {
            return node.feature & MISSING_YES != 0;
        }
        if node.feature & CATEGORICAL == 0 {
            return value <= f64::from_bits(node.threshold);
        }
        // Cut to a whole number, as a cast in C++ does; what does not fit is no category.
        if value <= -1.0 || value >= f64::from(i32::MAX) {
            return false;
        }
        let category = value as usize;
        let start = usize::try_from(node.threshold >> 32).unwrap_or(usize::MAX);
        let count = usize::try_from(node.threshold & 0xffff_ffff).unwrap_or(0);
        let word = category / 32;
        word < count
            && start
                .checked_add(word)
                .and_then(|place| self.words.get(place))
                .is_some_and(|word| (word >> (category % 32)) & 1 == 1)
    }
}
