//! Decision trees and forests.
//!
//! scikit-learn rounds the input to single precision and compares it with a double precision threshold. Rounding each
//! threshold down to single precision keeps every comparison: no single precision number lies between the two.

/// The columns of one fitted tree, not validated.
#[derive(Debug)]
pub(crate) struct RawTree {
    pub(crate) left: Vec<i64>,
    pub(crate) right: Vec<i64>,
    pub(crate) feature: Vec<i64>,
    pub(crate) threshold: Vec<f64>,
    pub(crate) missing_left: Option<Vec<i64>>,
    /// One row of values for each node.
    pub(crate) values: Vec<f64>,
}

/// A node. The right child lies after the left one.
#[derive(Debug, Clone, Copy)]
struct Node {
    threshold: f32,
    /// The column to look at, [`LEAF`], and in the highest bit whether a missing value goes left.
    feature: u32,
    /// The left child, or the number of the leaf.
    next: u32,
}

const LEAF: u32 = 0x7fff_ffff;
const MISSING_LEFT: u32 = 0x8000_0000;

#[derive(Debug, Clone)]
pub(crate) struct Trees {
    features: usize,
    width: usize,
    nodes: Vec<Node>,
    roots: Vec<u32>,
    /// A row of `width` values for each leaf.
    leaves: Vec<f64>,
}

impl Trees {
    /// No trees yet, of so many features, with `width` values in a leaf.
    pub(crate) fn new(features: usize, width: usize) -> Self {
        Self {
            features,
            width: width.max(1),
            nodes: Vec::new(),
            roots: Vec::new(),
            leaves: Vec::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.roots.len()
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Adds a tree, breadth first, after checking that it is one: every child exists, comes after its parent and has no
    /// other parent.
    pub(crate) fn add(&mut self, tree: &RawTree) -> Result<(), String> {
        let count = tree.left.len();
        let even = [tree.right.len(), tree.feature.len(), tree.threshold.len()]
            .iter()
            .all(|length| *length == count);
        if count == 0
            || !even
            || tree
                .missing_left
                .as_ref()
                .is_some_and(|column| column.len() != count)
        {
            return Err("expected a tree with at least one node".to_owned());
        }
        let base = self.nodes.len();
        let placed = |index: usize| {
            let place = u32::try_from(base.saturating_add(index))
                .ok()
                .filter(|place| *place < LEAF);
            place.ok_or_else(|| "more nodes than are supported".to_owned())
        };
        self.roots.push(placed(0)?);
        let mut order = vec![0_usize];
        let mut at = 0;
        while let Some(index) = order.get(at).copied() {
            at += 1;
            let node = match self.children(tree, index)? {
                None => Node {
                    threshold: 0.0,
                    feature: LEAF,
                    next: self.leaf(tree, index)?,
                },
                Some((feature, left, right)) => {
                    let next = placed(order.len())?;
                    order.extend([left, right]);
                    if order.len() > count {
                        return Err("a node has two parents".to_owned());
                    }
                    Node {
                        threshold: threshold(tree, index)?,
                        feature: feature | missing(tree, index),
                        next,
                    }
                }
            };
            self.nodes.push(node);
        }
        Ok(())
    }

    /// The feature and children of an inner node, `None` for a leaf.
    fn children(
        &self,
        tree: &RawTree,
        index: usize,
    ) -> Result<Option<(u32, usize, usize)>, String> {
        let (Some(left), Some(right), Some(feature)) = (
            tree.left.get(index),
            tree.right.get(index),
            tree.feature.get(index),
        ) else {
            return Err(format!("node {index} does not exist"));
        };
        if *left == -1 {
            return Ok(None);
        }
        let child = |child: i64| {
            usize::try_from(child)
                .ok()
                .filter(|child| *child > index && *child < tree.left.len())
        };
        let (Some(left), Some(right)) = (child(*left), child(*right)) else {
            return Err(format!("node {index} has a child that is not after it"));
        };
        let known = usize::try_from(*feature).is_ok_and(|feature| feature < self.features);
        match u32::try_from(*feature) {
            Ok(feature) if known && feature < LEAF => Ok(Some((feature, left, right))),
            _ => Err(format!(
                "node {index} looks at a feature that does not exist"
            )),
        }
    }

    fn leaf(&mut self, tree: &RawTree, index: usize) -> Result<u32, String> {
        let number = u32::try_from(self.leaves.len() / self.width)
            .map_err(|_| "more leaves than are supported".to_owned())?;
        let row = index
            .checked_mul(self.width)
            .and_then(|start| tree.values.get(start..)?.get(..self.width));
        let row = row.filter(|row| row.iter().all(|value| value.is_finite()));
        let row = row.ok_or_else(|| format!("the leaf {index} has no values"))?;
        self.leaves.extend_from_slice(row);
        Ok(number)
    }

    /// The leaf of a row that was rounded to single precision.
    fn descend(&self, root: u32, row: &[f32]) -> usize {
        let mut at = root;
        while let Some(node) = usize::try_from(at).ok().and_then(|at| self.nodes.get(at)) {
            let feature = node.feature & LEAF;
            if feature == LEAF {
                return usize::try_from(node.next).unwrap_or(0);
            }
            let value = usize::try_from(feature)
                .ok()
                .and_then(|feature| row.get(feature))
                .copied()
                .unwrap_or(f32::NAN);
            let left =
                value <= node.threshold || (value.is_nan() && node.feature & MISSING_LEFT != 0);
            at = node.next + u32::from(!left);
        }
        0
    }

    fn values(&self, leaf: usize) -> &[f64] {
        self.leaves
            .get(leaf * self.width..)
            .and_then(|rest| rest.get(..self.width))
            .unwrap_or_default()
    }

    /// The values of the leaf of each tree, in the order of the trees.
    pub(crate) fn leaves<'t>(&'t self, row: &'t [f32]) -> impl Iterator<Item = &'t [f64]> {
        self.roots
            .iter()
            .map(|root| self.values(self.descend(*root, row)))
    }
}

/// Rounds a row to single precision, as scikit-learn's trees do.
pub(crate) fn to_single(row: &[f64], single: &mut Vec<f32>) {
    single.clear();
    single.extend(row.iter().map(|value| *value as f32));
}

fn threshold(tree: &RawTree, index: usize) -> Result<f32, String> {
    let threshold = tree
        .threshold
        .get(index)
        .copied()
        .filter(|threshold| !threshold.is_nan());
    let threshold = threshold.ok_or_else(|| format!("node {index} has no threshold"))?;
    let single = threshold as f32;
    Ok(if f64::from(single) > threshold {
        single.next_down()
    } else {
        single
    })
}

fn missing(tree: &RawTree, index: usize) -> u32 {
    let left = tree
        .missing_left
        .as_ref()
        .and_then(|column| column.get(index))
        .is_some_and(|left| *left != 0);
    if left { MISSING_LEFT } else { 0 }
}
