//! `Pipeline` and the transformers inside it.

use super::part::Part;
use super::{Fitted, estimator};
use crate::LoadError;
use crate::kernels::Scaler;
use crate::pickle::{Id, Node};

const PIPELINE: (&str, &str) = ("sklearn.pipeline", "Pipeline");

/// Compiles an estimator, with the steps of pipelines around it appended to `steps`.
pub(super) fn flatten(
    part: &Part<'_, '_>,
    steps: &mut Vec<Scaler>,
    depth: usize,
) -> Result<Fitted, LoadError> {
    if part.kind() != PIPELINE {
        let fitted = estimator(part)?;
        return match steps.last() {
            Some(step) if step.columns() != fitted.features => Err(part.damaged(format!(
                "expected {} features as the step before it makes, found {}",
                step.columns(),
                fitted.features
            ))),
            _ => Ok(fitted),
        };
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(part.too_deep());
    };
    let all = steps_of(part)?;
    let Some((last, before)) = all.split_last() else {
        return Err(part.damaged("expected at least one step"));
    };
    for (index, id) in before.iter().enumerate() {
        if is_passthrough(part, *id) {
            continue;
        }
        let step = part.inner(*id, &format!("steps[{index}]"))?;
        let scaler = match step.kind() {
            ("sklearn.preprocessing", "StandardScaler") => standard_scaler(&step)?,
            _ => return Err(step.unsupported()),
        };
        if steps
            .last()
            .is_some_and(|before| before.columns() != scaler.columns())
        {
            return Err(step.damaged("its number of features differs from the step before it"));
        }
        steps.push(scaler);
    }
    flatten(
        &part.inner(*last, &format!("steps[{}]", before.len()))?,
        steps,
        depth,
    )
}

/// `feature_names_in_` of the first estimator that sees the input.
pub(super) fn feature_names(
    part: &Part<'_, '_>,
    features: usize,
    depth: usize,
) -> Result<Option<Vec<String>>, LoadError> {
    if part.kind() == PIPELINE {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(None);
        };
        let first = steps_of(part)?
            .into_iter()
            .find(|id| !is_passthrough(part, *id));
        return match first {
            Some(id) => feature_names(&part.inner(id, "steps[0]")?, features, depth),
            None => Ok(None),
        };
    }
    let Some(id) = part.set("feature_names_in_") else {
        return Ok(None);
    };
    let array = part.array_at(id, "feature_names_in_")?;
    let graph = part.graph();
    part.pay(
        array
            .count()
            .saturating_mul(array.dtype.size.div_ceil(8).saturating_add(3)),
    )?;
    let names = match array.elements(graph) {
        Some(elements) => {
            let names = elements.iter().map(|id| graph.text(*id));
            part.pay(names.clone().flatten().map(|text| text.len() / 8 + 1).sum())?;
            names
                .map(|name| name.map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        }
        None => array.strings(graph).ok(),
    };
    match names {
        Some(names) if names.len() == features => Ok(Some(names)),
        _ => Err(part.damaged(format!("expected {features} names in `feature_names_in_`"))),
    }
}

fn steps_of(part: &Part<'_, '_>) -> Result<Vec<Id>, LoadError> {
    let graph = part.graph();
    let steps = graph.sequence(part.required("steps")?).unwrap_or_default();
    part.pay(steps.len())?;
    let estimator = |step: &Id| match graph.sequence(*step) {
        Some([_, estimator]) => Some(*estimator),
        _ => None,
    };
    let steps: Option<Vec<Id>> = steps.iter().map(estimator).collect();
    steps.ok_or_else(|| part.damaged("expected pairs of name and estimator in `steps`"))
}

fn is_passthrough(part: &Part<'_, '_>, id: Id) -> bool {
    match part.graph().node(id) {
        Node::None => true,
        Node::Str(text) => text == "passthrough",
        _ => false,
    }
}

/// `StandardScaler`: `mean_` and `scale_` are there as `with_mean` and `with_std` say.
fn standard_scaler(part: &Part<'_, '_>) -> Result<Scaler, LoadError> {
    let optional = |switch: &str, name: &str| match part.truth(switch) {
        Some(false) => Ok(None),
        _ => {
            let length = part.array(name)?.count();
            part.floats(name, &[length]).map(Some)
        }
    };
    let mean = optional("with_mean", "mean_")?;
    let scale = optional("with_std", "scale_")?;
    let columns = mean
        .as_ref()
        .or(scale.as_ref())
        .map(Vec::len)
        .or_else(|| part.count("n_features_in_"));
    // From scikit-learn 1.8 on the parameters are rounded to single precision first when the input is.
    let rounds = part.version() >= (1, 8);
    let scaler = columns.and_then(|columns| Scaler::new(columns, mean, scale, rounds));
    scaler.ok_or_else(|| part.damaged("expected as many means as scales"))
}
