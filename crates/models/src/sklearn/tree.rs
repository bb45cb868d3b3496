//! Decision trees and forests of them.

use super::Fitted;
use super::part::Part;
use crate::LoadError;
use crate::kernels::{Model, RawTree, Trees, TreesKind};
use crate::labels::Labels;
use crate::pickle::Id;

/// What trees and forests have in common.
struct Task {
    features: usize,
    classes: Option<Labels>,
    /// Values in a leaf.
    width: usize,
}

pub(super) fn read_tree(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let task = task(part)?;
    let mut trees = Trees::new(task.features, task.width, kind(&task), allows_missing(part));
    add(part, part.required("tree_")?, &task, &mut trees)?;
    Ok(Fitted {
        features: task.features,
        model: Model::Trees(trees),
        classes: task.classes,
    })
}

pub(super) fn read_forest(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let task = task(part)?;
    let graph = part.graph();
    let estimators = graph
        .sequence(part.required("estimators_")?)
        .unwrap_or_default();
    if estimators.is_empty() {
        return Err(part.damaged("expected at least one tree in `estimators_`"));
    }
    let mut trees = Trees::new(task.features, task.width, kind(&task).of_forest(), false);
    for (index, id) in estimators.iter().enumerate() {
        let tree = part.inner(*id, &format!("estimators_[{index}]"))?;
        if tree.kind().0 != "sklearn.tree" {
            return Err(tree.unsupported());
        }
        if index == 0 {
            trees.allow_missing(allows_missing(&tree));
        }
        add(&tree, tree.required("tree_")?, &task, &mut trees)?;
    }
    Ok(Fitted {
        features: task.features,
        model: Model::Trees(trees),
        classes: task.classes,
    })
}

fn task(part: &Part<'_, '_>) -> Result<Task, LoadError> {
    if part.count("n_outputs_").is_some_and(|outputs| outputs != 1) {
        return Err(part.setting("several outputs"));
    }
    // `n_features_` until 0.24.
    let features = part
        .count("n_features_in_")
        .or_else(|| part.count("n_features_"));
    let features = features
        .filter(|features| *features > 0)
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let classes = if part.kind().1.ends_with("Classifier") {
        Some(part.labels()?)
    } else {
        None
    };
    let width = classes.as_ref().map_or(1, Labels::len);
    Ok(Task {
        features,
        classes,
        width,
    })
}

fn kind(task: &Task) -> TreesKind {
    if task.classes.is_some() {
        TreesKind::Classifier
    } else {
        TreesKind::Regressor
    }
}

/// Which trees take missing values, by the tags of each version: 1.3 the trees with the best splitter and the usual
/// criteria, forests from 1.4 on with the same criteria, and 1.6 the extremely randomised ones.
fn allows_missing(part: &Part<'_, '_>) -> bool {
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

/// Adds one fitted tree, a `sklearn.tree._tree.Tree` with the state `node_count`, `nodes`, `values`.
fn add(part: &Part<'_, '_>, id: Id, task: &Task, trees: &mut Trees) -> Result<(), LoadError> {
    let tree = part.inner(id, "tree_")?;
    if tree.kind().1 != "Tree" {
        return Err(tree.unsupported());
    }
    let graph = tree.graph();
    let nodes = tree.array("nodes")?;
    let values = tree.array("values")?;
    let count = nodes.count();
    let columns = task.width.checked_mul(count);
    if nodes.shape.len() != 1 || values.shape != [count, 1, task.width] || columns.is_none() {
        return Err(tree.damaged(format!(
            "expected `values` of the shape [{count}, 1, {}]",
            task.width
        )));
    }
    if tree
        .arguments()
        .first()
        .and_then(|id| graph.integer(*id))
        .is_none_or(|n| usize::try_from(n) != Ok(task.features))
    {
        return Err(tree.damaged(format!("expected a tree of {} features", task.features)));
    }
    tree.pay(count.saturating_mul(5 + task.width))?;
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
        // Leaves hold counts until 1.3 and fractions since.
        counts: part.version() < (1, 4),
    };
    trees.add(&raw).map_err(|what| tree.damaged(what))
}
