//! Decision trees and forests.
//!
//! scikit-learn rounds the input to single precision and compares it with a double precision threshold. Rounding each
//! threshold down to single precision keeps every comparison: no single precision number lies between the two.

use super::walk::{Fork, Question, Walk, Work};
use std::collections::HashMap;

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

/// Trees with a row of values in each leaf.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    features: usize,
    width: usize,
    walk: Walk,
    /// A row of `width` values for each leaf, those of several values once where they are equal.
    leaves: Vec<f64>,
    known: Known,
}

/// Numbers of rows of values by their bits, while trees are added.
#[derive(Debug, Clone, Default)]
struct Known {
    numbers: HashMap<Vec<u64>, u32>,
    /// The bits of the row that is looked for.
    bits: Vec<u64>,
}

/// Rows of values that are looked for among those that were.
const KNOWN: usize = 1 << 16;

impl Trees {
    /// No trees yet, of so many features, with `width` values in a leaf.
    pub(crate) fn new(features: usize, width: usize) -> Self {
        Self {
            features,
            width: width.max(1),
            walk: Walk::single(features),
            leaves: Vec::new(),
            known: Known::default(),
        }
    }

    /// The same when no more trees are added.
    pub(crate) fn finished(mut self) -> Self {
        self.known = Known::default();
        self.leaves.shrink_to_fit();
        self.walk.finish();
        self
    }

    pub(crate) fn count(&self) -> usize {
        self.walk.count()
    }

    /// Bytes that the trees take.
    pub(crate) fn bytes(&self) -> usize {
        let leaves = self.leaves.len().saturating_mul(size_of::<f64>());
        self.walk.bytes().saturating_add(leaves)
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Adds a tree after checking that it is one: every child exists, comes after its parent and has no other parent.
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
        let Self {
            features,
            width,
            walk,
            leaves,
            known,
        } = self;
        walk.add(count, |index| {
            let Some((feature, yes, no)) = children(tree, *features, index)? else {
                let values = values(tree, *width, index)?;
                let number = known.number(values, leaves)?;
                return Ok(Fork::Leaf { number });
            };
            Ok(Fork::Split {
                feature,
                question: Question::AtMost(f64::from(threshold(tree, index)?)),
                missing_yes: missing_left(tree, index),
                zero_is_missing: false,
                yes,
                no,
            })
        })
    }

    /// Adds the values of the leaf of each tree to sums, in the order of the trees. The row is rounded to single precision.
    pub(crate) fn add_up(&self, row: &[f64], work: &mut Work, sums: &mut [f64]) {
        let leaves = self.leaves.as_slice();
        match (self.width, sums) {
            (1, [a]) => self.add_few(row, work, [a], leaves.as_chunks().0),
            (2, [a, b]) => self.add_few(row, work, [a, b], leaves.as_chunks().0),
            (3, [a, b, c]) => self.add_few(row, work, [a, b, c], leaves.as_chunks().0),
            (4, [a, b, c, d]) => self.add_few(row, work, [a, b, c, d], leaves.as_chunks().0),
            (width, sums) => self.walk.leaves(row, work, &mut |_, numbers| {
                for number in numbers {
                    let start = (*number as usize).saturating_mul(width);
                    let values = leaves.get(start..).unwrap_or_default();
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value;
                    }
                }
            }),
        }
    }

    /// The same for few sums, which are kept at hand.
    fn add_few<const WIDTH: usize>(
        &self,
        row: &[f64],
        work: &mut Work,
        mut sums: [&mut f64; WIDTH],
        leaves: &[[f64; WIDTH]],
    ) {
        self.walk.leaves(row, work, &mut |_, numbers| {
            let mut at_hand = sums.each_ref().map(|sum| **sum);
            for values in numbers
                .iter()
                .filter_map(|number| leaves.get(*number as usize))
            {
                for (sum, value) in at_hand.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            for (sum, at_hand) in sums.iter_mut().zip(at_hand) {
                **sum = at_hand;
            }
        });
    }

    /// Adds the value of the leaf of each tree times `rate` to sums, in the order of the trees: the first tree's to the first
    /// sum, and after the last sum to the first again.
    pub(crate) fn add_in_turn(&self, row: &[f64], work: &mut Work, rate: f64, sums: &mut [f64]) {
        self.walk.add_up(row, work, sums, |number| {
            rate * self.leaves.get(number as usize).copied().unwrap_or(0.0)
        });
    }
}

/// The feature and children of an inner node, `None` for a leaf.
fn children(
    tree: &RawTree,
    features: usize,
    index: usize,
) -> Result<Option<(usize, usize, usize)>, String> {
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
    match usize::try_from(*feature) {
        Ok(feature) if feature < features => Ok(Some((feature, left, right))),
        _ => Err(format!(
            "node {index} looks at a feature that does not exist"
        )),
    }
}

/// The values of a leaf.
fn values(tree: &RawTree, width: usize, index: usize) -> Result<&[f64], String> {
    let start = index.checked_mul(width);
    let row = start.and_then(|start| tree.values.get(start..)?.get(..width));
    let row = row.filter(|row| row.iter().all(|value| value.is_finite()));
    row.ok_or_else(|| format!("the leaf {index} has no values"))
}

impl Known {
    /// The number of a leaf with these values. Leaves of classifiers often hold the same.
    fn number(&mut self, values: &[f64], leaves: &mut Vec<f64>) -> Result<u32, String> {
        let width = values.len();
        let next = u32::try_from(leaves.len() / width.max(1))
            .map_err(|_| "more leaves than are supported".to_owned())?;
        if width > 1 {
            self.bits.clear();
            self.bits.extend(values.iter().map(|value| value.to_bits()));
            if let Some(known) = self.numbers.get(&self.bits) {
                return Ok(*known);
            }
            if self.numbers.len() < KNOWN {
                self.numbers.insert(self.bits.clone(), next);
            }
        }
        leaves.extend_from_slice(values);
        Ok(next)
    }
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

fn missing_left(tree: &RawTree, index: usize) -> bool {
    tree.missing_left
        .as_ref()
        .and_then(|column| column.get(index))
        .is_some_and(|left| *left != 0)
}
