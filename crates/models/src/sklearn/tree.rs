//! Decision trees and forests of them.

use super::part::Part;
use super::several::Outputs;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{RawTree, Trees, Work, argmax, sum};
use crate::labels::Labels;
use crate::pickle::Id;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

pub(super) fn is_tree(name: &str) -> bool {
    matches!(
        name,
        "DecisionTreeClassifier"
            | "DecisionTreeRegressor"
            | "ExtraTreeClassifier"
            | "ExtraTreeRegressor"
    )
}

/// What trees and forests have in common.
struct Task {
    features: usize,
    classes: Option<Labels>,
    /// Of a classifier with several outputs.
    several: Option<Outputs>,
    /// The shape of the values of a leaf: outputs, and the most classes that one has.
    shape: [usize; 2],
}

pub(super) fn read_tree(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let task = task(part)?;
    let mut trees = Trees::new(task.features, task.width());
    add(part, &task, &mut trees)?;
    let missing = allows_missing(part);
    Ok(task.fitted(part, trees, missing, false))
}

pub(super) fn read_forest(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let task = task(part)?;
    let estimators = part.list("estimators_")?;
    if estimators.is_empty() {
        return Err(part.damaged("expected at least one tree in `estimators_`"));
    }
    let mut trees = Trees::new(task.features, task.width());
    let mut missing = false;
    for (index, id) in estimators.iter().enumerate() {
        let tree = part.inner(*id, &format!("estimators_[{index}]"))?;
        if tree.kind().0 != "sklearn.tree" {
            return Err(tree.unsupported());
        }
        if index == 0 {
            missing = allows_missing(&tree);
        }
        add(&tree, &task, &mut trees)?;
    }
    Ok(task.fitted(part, trees, missing, true))
}

fn task(part: &Part<'_, '_>) -> Result<Task, LoadError> {
    let features = part
        .features()
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let outputs = part.count("n_outputs_").unwrap_or(1);
    let (mut several, mut classes, mut most) = (None, None, 1);
    if part.name().ends_with("Classifier") {
        let labels = match Outputs::find(part)? {
            None => {
                let labels = part.labels()?;
                most = labels.len();
                labels
            }
            Some((found, labels)) => {
                most = found.sizes().max().unwrap_or(0);
                several = Some(found);
                as_answered(part, labels)?
            }
        };
        let found = several.as_ref().map_or(1, Outputs::count);
        if found != outputs {
            return Err(part.damaged("expected classes for each of `n_outputs_`"));
        }
        classes = Some(labels);
    }
    if outputs == 0 || outputs.checked_mul(most).is_none() {
        return Err(part.damaged("expected at least one output, and not too many"));
    }
    Ok(Task {
        features,
        classes,
        several,
        shape: [outputs, most],
    })
}

/// The classes of several outputs as the version answers them: in 0.20 as floats, whatever they are.
fn as_answered(part: &Part<'_, '_>, labels: Labels) -> Result<Labels, LoadError> {
    if part.version() >= (0, 21) {
        return Ok(labels);
    }
    let labels = labels.numbers().map(Labels::Floats);
    labels.ok_or_else(|| part.setting("several outputs that are text"))
}

impl Task {
    /// Values in a leaf.
    fn width(&self) -> usize {
        self.shape.iter().product()
    }

    fn fitted(self, part: &Part<'_, '_>, trees: Trees, missing: bool, forest: bool) -> Fitted {
        let model = Forest {
            intake: tree_intake(part, missing),
            mean: Mean {
                trees: trees.finished(),
                forest,
            },
            classifies: self.classes.is_some(),
            several: self.several,
            most: self.shape[1],
        };
        Fitted::new(model, Some(self.features), self.classes)
    }
}

/// What trees check of their input, which they round to single precision.
pub(super) fn tree_intake(part: &Part<'_, '_>, missing: bool) -> Intake {
    Intake {
        missing,
        single: true,
        ..part.intake()
    }
}

/// Which trees take missing values, by the tags of each version: 1.3 the trees with the best splitter and the usual
/// criteria, forests from 1.4 on with the same criteria, and 1.6 the extremely randomised ones.
pub(super) fn allows_missing(part: &Part<'_, '_>) -> bool {
    let criterion = matches!(
        part.text("criterion"),
        Some("gini" | "log_loss" | "entropy" | "squared_error" | "friedman_mse" | "poisson")
    );
    let plain = criterion && part.set("monotonic_cst").is_none();
    match part.text("splitter") {
        Some("best") => plain && part.version() >= (1, 3),
        Some("random") => plain && part.version() >= (1, 6),
        _ => false,
    }
}

fn add(part: &Part<'_, '_>, task: &Task, trees: &mut Trees) -> Result<(), LoadError> {
    let [_, classes] = task.shape;
    let (tree, mut raw) = raw_tree(part, task.features, task.shape)?;
    // Leaves hold counts until 1.3 and fractions since. scikit-learn divides on every call; the result is the same.
    if task.classes.is_some() && part.version() < (1, 4) {
        for row in raw.values.chunks_exact_mut(classes) {
            let total = sum(row);
            if total != 0.0 {
                row.iter_mut().for_each(|value| *value /= total);
            }
        }
    }
    add_raw(&tree, &raw, trees)
}

/// Values that the columns of a tree take while it is read, with so many values in a node.
fn cost(nodes: usize, width: usize) -> usize {
    nodes.saturating_mul(width.saturating_add(5))
}

/// Adds a tree that was read, of which only what the kernel makes of it is kept.
pub(super) fn add_raw(
    tree: &Part<'_, '_>,
    raw: &RawTree,
    trees: &mut Trees,
) -> Result<(), LoadError> {
    let before = trees.bytes();
    trees.add(raw).map_err(|what| tree.damaged(what))?;
    let kept = trees.bytes().saturating_sub(before);
    tree.keep(cost(raw.left.len(), trees.width()), kept);
    Ok(())
}

/// The columns of the `sklearn.tree._tree.Tree` of an estimator, whose state is `node_count`, `nodes` and `values`. The
/// values of a node have the shape `[outputs, classes]`.
pub(super) fn raw_tree<'r, 'a>(
    part: &Part<'r, 'a>,
    features: usize,
    [outputs, classes]: [usize; 2],
) -> Result<(Part<'r, 'a>, RawTree), LoadError> {
    let id: Id = part.required("tree_")?;
    let tree = part.inner(id, "tree_")?;
    if tree.name() != "Tree" {
        return Err(tree.unsupported());
    }
    let graph = tree.graph();
    let nodes = tree.array("nodes")?;
    let values = tree.array("values")?;
    let count = nodes.count();
    let width = outputs.saturating_mul(classes);
    if nodes.shape.len() != 1
        || values.shape != [count, outputs, classes]
        || width.checked_mul(count).is_none()
    {
        return Err(tree.damaged(format!(
            "expected `values` of the shape [{count}, {outputs}, {classes}]"
        )));
    }
    if tree
        .arguments()
        .first()
        .and_then(|id| graph.integer(*id))
        .is_none_or(|n| usize::try_from(n) != Ok(features))
    {
        return Err(tree.damaged(format!("expected a tree of {features} features")));
    }
    tree.pay(cost(count, width))?;
    let bad = |what: String| tree.damaged(what);
    let integers = |field| nodes.integers(graph, Some(field)).map_err(bad);
    let raw = RawTree {
        left: integers("left_child")?,
        right: integers("right_child")?,
        feature: integers("feature")?,
        threshold: nodes.floats(graph, Some("threshold")).map_err(bad)?,
        missing_left: if nodes.has_field("missing_go_to_left") {
            Some(integers("missing_go_to_left")?)
        } else {
            None
        },
        values: values.floats(graph, None).map_err(bad)?,
    };
    Ok((tree, raw))
}

/// The mean of the leaves of all trees.
#[derive(Debug)]
struct Mean {
    trees: Trees,
    /// Whether it is divided by the number of trees.
    forest: bool,
}

impl Mean {
    /// The leaves are summed in the order of the trees.
    fn of(&self, row: &[f64], work: &mut Work, out: &mut Vec<f64>) {
        let start = out.len();
        out.resize(start + self.trees.width(), 0.0);
        let sums = out.get_mut(start..).unwrap_or_default();
        self.trees.add_up(row, work, sums);
        if self.forest {
            let trees = self.trees.count() as f64;
            sums.iter_mut().for_each(|sum| *sum /= trees);
        }
    }
}

#[derive(Debug)]
struct Forest {
    intake: Intake,
    mean: Mean,
    classifies: bool,
    /// Of a classifier with several outputs, and the most classes that one has.
    several: Option<Outputs>,
    most: usize,
}

impl Forest {
    fn means(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let width = self.mean.trees.width();
        let mut work = Work::default();
        let mut out = Vec::with_capacity(rows.count().saturating_mul(width));
        rows.each(|row| self.mean.of(row, &mut work, &mut out));
        Ok(Grid::double(out, width))
    }
}

impl Predict for Forest {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let means = self.means(data)?;
        Ok(if let Some(outputs) = &self.several {
            let mut classes = Vec::new();
            for row in means.rows() {
                outputs.choose(row, self.most, &mut classes);
            }
            outputs.table(classes)
        } else if self.classifies {
            let classes = means.rows().map(|row| argmax(row.iter().copied()));
            Output::Classes(classes.collect())
        } else if means.columns == 1 {
            Output::Values(means.values, Precision::Double)
        } else {
            means.into()
        })
    }

    /// Of several outputs they are one table for each, which no server has an answer for.
    fn has_probabilities(&self) -> bool {
        self.classifies && self.several.is_none()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.means(data)
    }
}
