//! Decision trees and forests.
//!
//! scikit-learn rounds the input to single precision and compares it with a double precision threshold. Rounding each
//! threshold down to single precision keeps every comparison: no single precision number lies between the two.

use super::{argmax, sum};
use crate::Matrix;

/// Whether the trees vote for classes or give numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreesKind {
    Classifier,
    Regressor,
    ForestClassifier,
    ForestRegressor,
}

impl TreesKind {
    pub(crate) fn of_forest(self) -> Self {
        match self {
            Self::Classifier | Self::ForestClassifier => Self::ForestClassifier,
            Self::Regressor | Self::ForestRegressor => Self::ForestRegressor,
        }
    }
}

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
    /// Whether the values of a classifier are counts, not fractions.
    pub(crate) counts: bool,
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
    kind: TreesKind,
    takes_missing: bool,
    nodes: Vec<Node>,
    roots: Vec<u32>,
    /// A row of `width` values for each leaf.
    leaves: Vec<f64>,
    /// The class of each leaf, where one tree decides alone.
    winners: Vec<u32>,
}

impl Trees {
    pub(crate) fn new(features: usize, width: usize, kind: TreesKind, takes_missing: bool) -> Self {
        let (nodes, roots, leaves, winners) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            features,
            width: width.max(1),
            kind,
            takes_missing,
            nodes,
            roots,
            leaves,
            winners,
        }
    }

    pub(crate) fn allow_missing(&mut self, allow: bool) {
        self.takes_missing = allow;
    }

    pub(crate) fn takes_missing(&self) -> bool {
        self.takes_missing
    }

    pub(crate) fn is_classifier(&self) -> bool {
        matches!(
            self.kind,
            TreesKind::Classifier | TreesKind::ForestClassifier
        )
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
        if self.kind == TreesKind::Classifier {
            self.winners.push(argmax(row.iter().copied()));
        }
        // scikit-learn divides by the sum on every call; the result is the same.
        let total = if self.is_classifier() && tree.counts {
            sum(row)
        } else {
            1.0
        };
        let total = if total == 0.0 { 1.0 } else { total };
        self.leaves.extend(row.iter().map(|value| value / total));
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

    /// The mean of the leaves of all trees, summed in their order.
    fn mean(&self, row: &[f64], single: &mut Vec<f32>, out: &mut Vec<f64>) {
        round(row, single);
        out.clear();
        out.resize(self.width, 0.0);
        for root in &self.roots {
            let values = self.values(self.descend(*root, single));
            out.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += value);
        }
        if matches!(
            self.kind,
            TreesKind::ForestClassifier | TreesKind::ForestRegressor
        ) {
            let trees = self.roots.len() as f64;
            out.iter_mut().for_each(|sum| *sum /= trees);
        }
    }

    pub(crate) fn classify(&self, rows: &Matrix) -> Vec<u32> {
        let (mut single, mut mean) = (Vec::new(), Vec::new());
        let class = |row: &[f64]| match (self.kind, self.roots.as_slice()) {
            (TreesKind::Classifier, [root]) => {
                round(row, &mut single);
                self.winners
                    .get(self.descend(*root, &single))
                    .copied()
                    .unwrap_or(0)
            }
            _ => {
                self.mean(row, &mut single, &mut mean);
                argmax(mean.iter().copied())
            }
        };
        rows.iter().map(class).collect()
    }

    pub(crate) fn regress(&self, rows: &Matrix) -> Vec<f64> {
        if self.is_classifier() {
            Vec::new()
        } else {
            self.probabilities(rows)
        }
    }

    pub(crate) fn probabilities(&self, rows: &Matrix) -> Vec<f64> {
        let (mut single, mut mean) = (Vec::new(), Vec::new());
        let mut out = Vec::with_capacity(rows.rows() * self.width);
        for row in rows.iter() {
            self.mean(row, &mut single, &mut mean);
            out.extend_from_slice(&mean);
        }
        out
    }
}

fn round(row: &[f64], single: &mut Vec<f32>) {
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
