//! How much each column matters to an estimator: `coef_`, or what the splits of its trees gain.

use super::part::Part;
use crate::LoadError;
use crate::kernels::sum;

/// What scikit-learn's `_get_feature_importances` finds.
pub(super) fn of(estimator: &Part<'_, '_>, norm_is_one: bool) -> Result<Vec<f64>, LoadError> {
    match estimator.kind() {
        ("sklearn.tree", _) => tree(estimator, true),
        ("sklearn.ensemble", _) if estimator.attribute("estimators_").is_some() => {
            ensemble(estimator)
        }
        _ => coefficients(estimator, norm_is_one),
    }
}

fn coefficients(estimator: &Part<'_, '_>, norm_is_one: bool) -> Result<Vec<f64>, LoadError> {
    if estimator.attribute("coef_").is_none() {
        return Err(estimator.unsupported());
    }
    let values = estimator.numbers("coef_")?;
    match estimator.array("coef_")?.shape.as_slice() {
        [_] | [1, _] => Ok(values.into_iter().map(f64::abs).collect()),
        [_, columns] if norm_is_one => {
            let mut sums = vec![0.0; *columns];
            for row in values.chunks_exact((*columns).max(1)) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += value.abs();
                }
            }
            Ok(sums)
        }
        _ => Err(estimator.setting("several rows in `coef_` with another norm than 1")),
    }
}

/// `Tree.compute_feature_importances`: the impurity that the splits by each feature take away.
fn tree(estimator: &Part<'_, '_>, normalised: bool) -> Result<Vec<f64>, LoadError> {
    let features = estimator
        .features()
        .ok_or_else(|| estimator.damaged("expected `n_features_in_`"))?;
    let tree = estimator.part("tree_")?;
    let nodes = tree.array("nodes")?;
    let graph = tree.graph();
    tree.pay(nodes.count().saturating_mul(5).saturating_add(features))?;
    let bad = |what: String| tree.damaged(what);
    let integers = |field| nodes.integers(graph, Some(field)).map_err(bad);
    let (left, right, feature) = (
        integers("left_child")?,
        integers("right_child")?,
        integers("feature")?,
    );
    let impurity = nodes.floats(graph, Some("impurity")).map_err(bad)?;
    let samples = nodes
        .floats(graph, Some("weighted_n_node_samples"))
        .map_err(bad)?;
    let weight = |node: usize| Some(samples.get(node)? * impurity.get(node)?);
    let mut sums = vec![0.0; features];
    for node in 0..left.len() {
        let child = |children: &[i64]| usize::try_from(*children.get(node)?).ok();
        // Only leaves have no children.
        let (Some(left), Some(right)) = (child(&left), child(&right)) else {
            continue;
        };
        let gain = weight(node)
            .zip(weight(left))
            .zip(weight(right))
            .map(|((whole, left), right)| whole - left - right);
        let sum = child(&feature).and_then(|feature| sums.get_mut(feature));
        let (Some(gain), Some(sum)) = (gain, sum) else {
            return Err(tree.damaged(format!("node {node} points to nothing")));
        };
        *sum += gain;
    }
    let total = samples.first().copied().unwrap_or(1.0);
    sums.iter_mut().for_each(|sum| *sum /= total);
    if normalised {
        normalise(&mut sums);
    }
    Ok(sums)
}

fn normalise(sums: &mut [f64]) {
    let total = sum(sums);
    if total > 0.0 {
        sums.iter_mut().for_each(|sum| *sum /= total);
    }
}

/// The mean over the trees that split at all.
fn ensemble(estimator: &Part<'_, '_>) -> Result<Vec<f64>, LoadError> {
    let boosted = estimator.name().starts_with("GradientBoosting");
    let mut mean: Vec<f64> = Vec::new();
    let mut count = 0_u32;
    for (index, id) in estimator.list("estimators_")?.iter().enumerate() {
        let member = estimator.inner(*id, &format!("estimators_[{index}]"))?;
        if member.kind().0 != "sklearn.tree" {
            return Err(member.unsupported());
        }
        let importances = tree(&member, !boosted)?;
        mean.resize(importances.len(), 0.0);
        if member.part("tree_")?.array("nodes")?.count() > 1 {
            mean.iter_mut()
                .zip(&importances)
                .for_each(|(sum, value)| *sum += value);
            count += 1;
        }
    }
    mean.iter_mut()
        .for_each(|sum| *sum /= f64::from(count.max(1)));
    normalise(&mut mean);
    Ok(mean)
}
