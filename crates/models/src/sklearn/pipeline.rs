//! `Pipeline`, and the names of the columns that its first step sees.

use super::part::Part;
use super::steps;
use crate::LoadError;
use crate::flow::Flow;
use crate::pickle::{Id, Node};

const PIPELINE: (&str, &str) = ("sklearn.pipeline", "Pipeline");

/// Puts the steps one after the other; `last` compiles the one at the end.
pub(super) fn read(
    part: &Part<'_, '_>,
    last: impl Fn(&Part<'_, '_>) -> Result<Flow, LoadError>,
) -> Result<Flow, LoadError> {
    let all = named(part, "steps")?;
    let mut flow = Flow::default();
    for (index, id) in all.iter().enumerate() {
        if is_passthrough(part, *id) {
            continue;
        }
        let step = part.inner(*id, &format!("steps[{index}]"))?;
        let next = if index + 1 == all.len() {
            last(&step)?
        } else {
            steps(&step)?
        };
        if let (Some(given), Some(taken)) = (flow.gives(), next.takes())
            && given != taken
        {
            return Err(step.damaged(format!(
                "expected {given} features as the step before it makes, found {taken}"
            )));
        }
        flow.steps.extend(next.steps);
        flow.last = next.last;
    }
    if flow.steps.is_empty() && flow.last.is_none() {
        return Err(part.damaged("expected at least one step"));
    }
    Ok(flow)
}

/// The estimators of a list of pairs, or triples, of name and estimator.
pub(super) fn named(part: &Part<'_, '_>, list: &str) -> Result<Vec<Id>, LoadError> {
    let graph = part.graph();
    let estimator = |step: &Id| match graph.sequence(*step) {
        Some([_, estimator, ..]) => Some(*estimator),
        _ => None,
    };
    let all: Option<Vec<Id>> = part.list(list)?.iter().map(estimator).collect();
    all.ok_or_else(|| part.damaged(format!("expected pairs of name and estimator in `{list}`")))
}

pub(super) fn is_passthrough(part: &Part<'_, '_>, id: Id) -> bool {
    match part.graph().node(id) {
        Node::None => true,
        Node::Str(text) => text == "passthrough",
        _ => false,
    }
}

/// `feature_names_in_` of the first estimator that sees the input.
pub(super) fn feature_names(
    part: &Part<'_, '_>,
    features: usize,
) -> Result<Option<Vec<String>>, LoadError> {
    if part.kind() == PIPELINE {
        let all = named(part, "steps")?;
        return match all.iter().find(|id| !is_passthrough(part, **id)) {
            Some(id) => feature_names(&part.inner(*id, "steps[0]")?, features),
            None => Ok(None),
        };
    }
    match part.column_names()? {
        Some(names) if super::lightgbm::unnamed(&names) => Ok(None),
        Some(names) if names.len() == features => Ok(Some(names)),
        Some(_) => Err(part.damaged(format!("expected the names of {features} columns"))),
        None => match part.set("best_estimator_") {
            Some(id) => feature_names(&part.inner(id, "best_estimator_")?, features),
            None => Ok(None),
        },
    }
}
