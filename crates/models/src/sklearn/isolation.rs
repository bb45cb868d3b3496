//! `IsolationForest`: how soon a row is alone.

use super::part::Part;
use super::tree::{add_raw, raw_tree, tree_intake};
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{RawTree, Trees, Work};
use crate::labels::{IntegerType, Labels};
use crate::predictor::Output;
use crate::{InputError, LoadError};

/// `numpy.euler_gamma`
const EULER: f64 = 0.577_215_664_901_532_9;

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let features = part
        .features()
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let estimators = part.list("estimators_")?;
    let columns = part.list("estimators_features_")?;
    if estimators.is_empty() || estimators.len() != columns.len() {
        return Err(
            part.damaged("expected a tree in `estimators_` for each of `estimators_features_`")
        );
    }
    let old = part.version() < (0, 21);
    let mut trees = Trees::new(features, 1);
    for (index, (id, columns)) in estimators.iter().zip(columns).enumerate() {
        let tree = part.inner(*id, &format!("estimators_[{index}]"))?;
        if tree.kind().0 != "sklearn.tree" {
            return Err(tree.unsupported());
        }
        let columns = part.indices_at(*columns, "estimators_features_", features)?;
        let (inner, mut raw) = raw_tree(&tree, columns.len(), [1, 1])?;
        for feature in &mut raw.feature {
            let column = usize::try_from(*feature)
                .ok()
                .and_then(|at| columns.get(at));
            *feature = column.and_then(|c| i64::try_from(*c).ok()).unwrap_or(-1);
        }
        let nodes = inner.array("nodes")?;
        let samples = nodes
            .integers(inner.graph(), Some("n_node_samples"))
            .map_err(|what| inner.damaged(what))?;
        raw.values =
            lengths(&raw, &samples, old).ok_or_else(|| inner.damaged("a node is in a circle"))?;
        add_raw(&inner, &raw, &mut trees)?;
    }
    let samples = part
        .count("_max_samples")
        .or_else(|| part.count("max_samples_"))
        .ok_or_else(|| part.damaged("expected `max_samples_`"))?;
    let model = Isolation {
        intake: Intake {
            missing: part.version() >= (1, 3),
            infinite: part.version() >= (1, 6),
            ..tree_intake(part, false)
        },
        count: match old {
            true => trees.count() as f64,
            false => 1.0,
        },
        scale: match old {
            true => average_path_of_0_20(samples as f64),
            false => trees.count() as f64 * average_path(samples as f64),
        },
        trees: trees.finished(),
        offset: part.scalar("offset_")?,
        border: match part.text("behaviour") {
            Some("old") if part.set("_threshold_").is_some() => part.scalar("_threshold_")?,
            _ => 0.0,
        },
    };
    let classes = Labels::Integers(vec![-1, 1], IntegerType::Int64);
    Ok(Fitted::new(model, Some(features), Some(classes)))
}

/// What each node adds as a leaf: its depth, and how much deeper its samples would lie.
fn lengths(tree: &RawTree, samples: &[i64], old: bool) -> Option<Vec<f64>> {
    let mut lengths = vec![0.0; tree.left.len()];
    let mut open = vec![(0_usize, 1.0)];
    let mut steps = 0;
    while let Some((node, depth)) = open.pop() {
        steps += 1;
        if steps > tree.left.len() {
            return None;
        }
        let samples = *samples.get(node)? as f64;
        *lengths.get_mut(node)? = match old {
            true => depth - 1.0 + average_path_of_0_20(samples),
            false => depth + average_path(samples) - 1.0,
        };
        let left = *tree.left.get(node)?;
        if left != -1 {
            open.push((usize::try_from(left).ok()?, depth + 1.0));
            open.push((usize::try_from(*tree.right.get(node)?).ok()?, depth + 1.0));
        }
    }
    Some(lengths)
}

/// scikit-learn's `_average_path_length`.
fn average_path(samples: f64) -> f64 {
    if samples <= 1.0 {
        0.0
    } else if samples == 2.0 {
        1.0
    } else {
        2.0 * ((samples - 1.0).ln() + EULER) - 2.0 * (samples - 1.0) / samples
    }
}

fn average_path_of_0_20(samples: f64) -> f64 {
    if samples <= 1.0 {
        1.0
    } else {
        2.0 * ((samples - 1.0).ln() + EULER) - 2.0 * (samples - 1.0) / samples
    }
}

#[derive(Debug)]
struct Isolation {
    intake: Intake,
    trees: Trees,
    /// What the sum of the trees is divided by, one after the other: 0.20 had a mean first.
    count: f64,
    scale: f64,
    offset: f64,
    /// Decisions below it are outliers: not zero for `behaviour='old'`, the default until 0.21.
    border: f64,
}

impl Isolation {
    fn decide(&self, data: Data<'_>) -> Result<Vec<f64>, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut work = Work::default();
        let mut out = Vec::with_capacity(rows.count());
        rows.each(|row| {
            let mut depth = 0.0;
            let sums = std::slice::from_mut(&mut depth);
            self.trees.add_up(row, &mut work, sums);
            let share = if self.scale == 0.0 {
                1.0
            } else {
                depth / self.count / self.scale
            };
            out.push(-(2.0_f64.powf(-share)) - self.offset);
        });
        Ok(out)
    }
}

impl Predict for Isolation {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let decisions = self.decide(data)?;
        Ok(Output::Classes(
            decisions
                .iter()
                .map(|value| u32::from(*value >= self.border))
                .collect(),
        ))
    }

    fn has_decisions(&self) -> bool {
        true
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(Grid::double(self.decide(data)?, 1))
    }
}
