//! Trees with the weights of their leaves, read from the attributes of all versions.

use super::scores::Transform;
use crate::kernels::{BranchTest as Test, BranchTrees, BranchWork, Branching};
use crate::onnx::operator::Work;
use crate::onnx::real::{Real, reals};
use crate::onnx::site::Site;
use crate::onnx::tensor::Values;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// Trees with the weights of their leaves, in the precision of their thresholds.
#[derive(Debug)]
pub(super) struct Forest<T> {
    pub(super) trees: BranchTrees<T>,
    /// Where the weights of a leaf begin; those of the next leaf follow.
    pub(super) starts: Vec<u32>,
    pub(super) weights: Vec<(u32, T)>,
    pub(super) outputs: usize,
    pub(super) base: Vec<T>,
    pub(super) aggregate: Aggregate,
    pub(super) transform: Transform,
}

pub(super) type Settings = (usize, Aggregate, Transform);

impl<T: Real> Forest<T> {
    /// The form up to version 4: columns with one value for each node of all trees, and others with one for each weight.
    pub(super) fn of_columns(
        site: &Site<'_, '_>,
        kind: &str,
        (outputs, aggregate, transform): Settings,
    ) -> Result<Self, String> {
        let tree_of = site.ints("nodes_treeids")?;
        let count = tree_of.len();
        let node_of = column(site, "nodes_nodeids", count)?;
        let features = column(site, "nodes_featureids", count)?;
        let yes = column(site, "nodes_truenodeids", count)?;
        let no = column(site, "nodes_falsenodeids", count)?;
        let modes = site.texts("nodes_modes")?;
        let thresholds: Vec<T> = floats(site, "nodes_values")?;
        if modes.len() != count || thresholds.len() != count {
            return Err("expected a mode and a value for each node".to_owned());
        }
        let tracks = site.ints("nodes_missing_value_tracks_true")?;
        let mut places = HashMap::new();
        for (place, key) in tree_of.iter().zip(node_of).enumerate() {
            if places.insert(key, place).is_some() {
                return Err(format!("node {} of tree {} is there twice", key.1, key.0));
            }
        }
        let (starts, weights) = weights(site, kind, outputs, &places, count)?;
        let mut trees = BranchTrees::new();
        let missing = |place: usize| format!("the node {place} does not exist");
        let mut previous = None;
        for (root, tree) in tree_of.iter().enumerate() {
            if previous.replace(tree) == Some(tree) {
                continue;
            }
            trees.add(root, count, |place| {
                let mode = modes.get(place).ok_or_else(|| missing(place))?;
                let Some(test) = Test::named(mode)? else {
                    return Ok(Branching::Leaf {
                        number: u32::try_from(place).map_err(|_| missing(place))?,
                    });
                };
                let child = |column: &[i64]| {
                    let id = column.get(place);
                    let found = id.and_then(|id| places.get(&(tree, id)));
                    found.copied().ok_or_else(|| missing(place))
                };
                Ok(Branching::Split {
                    test,
                    threshold: *thresholds.get(place).ok_or_else(|| missing(place))?,
                    set: &[],
                    feature: features
                        .get(place)
                        .and_then(|feature| usize::try_from(*feature).ok())
                        .ok_or_else(|| format!("node {place} looks at no feature"))?,
                    missing_yes: tracks.get(place) == Some(&1),
                    yes: child(yes)?,
                    no: child(no)?,
                })
            })?;
        }
        let forest = Self {
            trees: trees.finished()?,
            starts,
            weights,
            outputs,
            base: floats(site, "base_values")?,
            aggregate,
            transform,
        };
        forest.checked()
    }

    pub(super) fn of_lists(
        site: &Site<'_, '_>,
        (outputs, aggregate, transform): Settings,
    ) -> Result<Self, String> {
        let features = site.ints("nodes_featureids")?;
        let count = features.len();
        let yes = column(site, "nodes_truenodeids", count)?;
        let no = column(site, "nodes_falsenodeids", count)?;
        let yes_leaf = column(site, "nodes_trueleafs", count)?;
        let no_leaf = column(site, "nodes_falseleafs", count)?;
        let tracks = site.ints("nodes_missing_value_tracks_true")?;
        let tensor = |name: &str| {
            let found = site.tensor(name)?;
            found.ok_or_else(|| format!("expected the attribute `{name}`"))
        };
        let splits = tensor("nodes_splits")?;
        let splits = reals::<T>(splits.values())?.into_owned();
        let modes = modes(site, count)?;
        let leaf_weights = tensor("leaf_weights")?;
        let leaf_weights = reals::<T>(leaf_weights.values())?.into_owned();
        let targets = column(site, "leaf_targetids", leaf_weights.len())?;
        if splits.len() != count {
            return Err("expected a split for each node".to_owned());
        }
        let mut weights = Vec::new();
        for (target, weight) in targets.iter().zip(&leaf_weights) {
            let target = u32::try_from(*target).ok();
            let target = target
                .filter(|target| usize::try_from(*target).is_ok_and(|target| target < outputs));
            let target = target.ok_or("a leaf has a target that does not exist")?;
            weights.push((target, *weight));
        }
        let members = site.tensor("membership_values")?;
        let members = match &members {
            Some(tensor) => reals::<T>(tensor.values())?.into_owned(),
            None => Vec::new(),
        };
        // Sets stand one after the other, each closed by NaN.
        let mut sets: Vec<&[T]> = Vec::new();
        let mut open = members.split(|value| value.nan());
        let mut set_of: Vec<usize> = Vec::new();
        for mode in &modes {
            set_of.push(sets.len());
            if *mode == Test::Member {
                sets.push(open.next().ok_or("expected a set for each such node")?);
            }
        }
        let mut trees = BranchTrees::new();
        let missing = |place: usize| format!("the node {place} does not exist");
        let leaves = leaf_weights.len();
        for root in site.ints("tree_roots")? {
            let root = usize::try_from(*root).map_err(|_| "a root does not exist".to_owned())?;
            // Leaves are numbered behind nodes.
            trees.add(root, count.saturating_add(leaves), |place| {
                if let Some(leaf) = place.checked_sub(count) {
                    let number = u32::try_from(leaf).ok().filter(|_| leaf < leaves);
                    let number = number.ok_or("a leaf does not exist")?;
                    return Ok(Branching::Leaf { number });
                }
                let child = |ids: &[i64], leaf: &[i64]| {
                    let id = ids.get(place).and_then(|id| usize::try_from(*id).ok());
                    let id = id.ok_or_else(|| missing(place))?;
                    match leaf.get(place) {
                        Some(0) if id < count => Ok(id),
                        Some(1) => id.checked_add(count).ok_or_else(|| missing(place)),
                        _ => Err(missing(place)),
                    }
                };
                let set = set_of.get(place).and_then(|set| sets.get(*set));
                let test = *modes.get(place).ok_or_else(|| missing(place))?;
                Ok(Branching::Split {
                    test,
                    threshold: *splits.get(place).ok_or_else(|| missing(place))?,
                    set: set.copied().unwrap_or_default(),
                    feature: features
                        .get(place)
                        .and_then(|feature| usize::try_from(*feature).ok())
                        .ok_or_else(|| format!("node {place} looks at no feature"))?,
                    missing_yes: tracks.get(place) == Some(&1),
                    yes: child(yes, yes_leaf)?,
                    no: child(no, no_leaf)?,
                })
            })?;
        }
        let starts = (0..=u32::try_from(leaves).map_err(|_| "too many leaves")?).collect();
        let forest = Self {
            trees: trees.finished()?,
            starts,
            weights,
            outputs,
            base: Vec::new(),
            aggregate,
            transform,
        };
        forest.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if self.trees.count() == 0 {
            return Err("expected at least one tree".to_owned());
        }
        if self.base.len() > self.outputs.max(2) {
            return Err("expected at most one base value for each output".to_owned());
        }
        Ok(self)
    }

    fn leaf(&self, leaf: usize) -> &[(u32, T)] {
        let at = |index: usize| {
            let start = self.starts.get(index).copied().unwrap_or(0);
            usize::try_from(start).unwrap_or(0)
        };
        self.weights
            .get(at(leaf)..at(leaf.saturating_add(1)))
            .unwrap_or_default()
    }

    /// Gathers the weights of the leaves of a row: a score for each output, and whether there is one.
    pub(super) fn gather(
        &self,
        row: &[T],
        walks: &mut BranchWork,
        scores: &mut Vec<T>,
        there: &mut Vec<bool>,
    ) {
        scores.clear();
        scores.resize(self.outputs, T::default());
        there.clear();
        there.resize(self.outputs, false);
        self.trees.leaves(row, walks, &mut |leaf| {
            for (target, weight) in self.leaf(leaf) {
                let target = usize::try_from(*target).unwrap_or(usize::MAX);
                if let (Some(score), Some(there)) = (scores.get_mut(target), there.get_mut(target))
                {
                    let first = !std::mem::replace(there, true);
                    match self.aggregate {
                        Aggregate::Sum | Aggregate::Average => *score += *weight,
                        Aggregate::Min if first || *weight < *score => *score = *weight,
                        Aggregate::Max if first || *weight > *score => *score = *weight,
                        Aggregate::Min | Aggregate::Max => {}
                    }
                }
            }
        });
    }

    pub(super) fn finish(&self, scores: &mut Vec<T>) {
        if self.aggregate == Aggregate::Average {
            let count = T::of(self.trees.count() as f64);
            scores.iter_mut().for_each(|score| *score /= count);
        }
        if self.base.len() == scores.len() {
            for (score, base) in scores.iter_mut().zip(&self.base) {
                *score += *base;
            }
        }
        match (scores.as_mut_slice(), self.transform) {
            // A single output has no other transform in the runtime.
            ([_], Transform::Probit) | ([_, _, ..], _) => self.transform.apply(scores),
            _ => {}
        }
    }

    pub(super) fn rows<'t>(
        &self,
        values: &'t Values,
        (rows, columns): (usize, usize),
        work: &mut Work,
    ) -> Result<std::borrow::Cow<'t, [T]>, String> {
        if columns < self.trees.features() {
            return Err(format!(
                "expected at least {} columns, found {columns}",
                self.trees.features()
            ));
        }
        work.steps(&[rows, self.trees.count()])?;
        if T::find(values).is_none() {
            work.room(T::ELEMENT, &[rows, columns])?;
        }
        reals::<T>(values)
    }
}

fn modes(site: &Site<'_, '_>, count: usize) -> Result<Vec<Test>, String> {
    use crate::onnx::proto::Tensor;
    let attribute = site.attribute("nodes_modes");
    let tensor = attribute.and_then(|attribute| attribute.tensor.as_ref());
    let tensor: &Tensor<'_> = tensor.ok_or("expected a tensor in `nodes_modes`")?;
    let numbers: Vec<i64> = match tensor.raw {
        Some(raw) => raw.iter().map(|byte| i64::from(*byte)).collect(),
        None => tensor.ints.clone(),
    };
    if tensor.kind != 2 || numbers.len() != count {
        return Err("expected a mode of one byte for each node".to_owned());
    }
    numbers
        .into_iter()
        .map(|number| {
            Ok(match number {
                0 => Test::AtMost,
                1 => Test::Below,
                2 => Test::AtLeast,
                3 => Test::Above,
                4 => Test::Equal,
                5 => Test::Unequal,
                6 => Test::Member,
                _ => return Err("a mode is none that there is".to_owned()),
            })
        })
        .collect()
}

type Weights<T> = (Vec<u32>, Vec<(u32, T)>);

/// The weights of each node, in the order of the file, and where those of a node begin.
fn weights<T: Real>(
    site: &Site<'_, '_>,
    kind: &str,
    outputs: usize,
    places: &HashMap<(&i64, &i64), usize>,
    count: usize,
) -> Result<Weights<T>, String> {
    let values: Vec<T> = floats(site, &format!("{kind}_weights"))?;
    let ids = column(site, &format!("{kind}_ids"), values.len())?;
    let trees = column(site, &format!("{kind}_treeids"), values.len())?;
    let nodes = column(site, &format!("{kind}_nodeids"), values.len())?;
    let mut listed = Vec::with_capacity(values.len());
    for (((id, tree), node), value) in ids.iter().zip(trees).zip(nodes).zip(values) {
        let place = places.get(&(tree, node)).copied();
        let place = place.ok_or_else(|| format!("node {node} of tree {tree} does not exist"))?;
        let id = u32::try_from(*id).ok();
        let id = id.filter(|id| usize::try_from(*id).is_ok_and(|id| id < outputs));
        listed.push((place, (id.ok_or("a weight is of no output")?, value)));
    }
    // Stable: weights of a leaf stay in their order.
    listed.sort_by_key(|(place, _)| *place);
    let mut starts = Vec::with_capacity(count.saturating_add(1));
    let mut next = 0_usize;
    for place in 0..=count {
        while listed.get(next).is_some_and(|(of, _)| *of < place) {
            next += 1;
        }
        starts.push(u32::try_from(next).map_err(|_| "more weights than are supported")?);
    }
    Ok((
        starts,
        listed.into_iter().map(|(_, weight)| weight).collect(),
    ))
}

fn column<'s>(site: &Site<'s, '_>, name: &str, count: usize) -> Result<&'s [i64], String> {
    let values = site.ints(name)?;
    if values.len() == count {
        Ok(values)
    } else {
        Err(format!(
            "expected {count} values in `{name}`, found {}",
            values.len()
        ))
    }
}

fn floats<T: Real>(site: &Site<'_, '_>, name: &str) -> Result<Vec<T>, String> {
    Ok(site.doubles(name)?.into_iter().map(T::of).collect())
}
