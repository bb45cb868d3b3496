//! `FixedThresholdClassifier` and `TunedThresholdClassifierCV`: two classes with another border between them.

use super::part::Part;
use super::predicting;
use crate::data::Data;
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError};

#[derive(Debug)]
struct Threshold {
    flow: Flow,
    /// Whether the border lies among probabilities; else among decisions.
    probabilities: bool,
    border: f64,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let name = match part.set("estimator_") {
        Some(_) => "estimator_",
        None => "estimator",
    };
    let flow = predicting(&part.part(name)?)?;
    let Some(classes) = flow.classes().filter(|classes| classes.len() == 2).cloned() else {
        return Err(part.damaged("expected a classifier of two classes"));
    };
    let probabilities = match part.text("response_method") {
        Some("auto") | None => flow.has_probabilities(),
        Some("predict_proba") => true,
        Some("decision_function") => false,
        Some(_) => return Err(part.unknown("response_method")),
    };
    let answers = if probabilities {
        flow.has_probabilities()
    } else {
        flow.has_decisions()
    };
    if !answers {
        return Err(part.unknown("response_method"));
    }
    let border = if part.name() == "TunedThresholdClassifierCV" {
        // Other scores may turn the classes around.
        match part.text("scoring") {
            Some("accuracy" | "balanced_accuracy") => part.scalar("best_threshold_")?,
            _ => return Err(part.unknown("scoring")),
        }
    } else {
        if part.set("pos_label").is_some() {
            return Err(part.unknown("pos_label"));
        }
        match part.attribute("threshold").map(|id| part.graph().node(id)) {
            Some(Node::Str(text)) if text == "auto" && probabilities => 0.5,
            Some(Node::Str(text)) if text == "auto" => 0.0,
            _ => part.scalar("threshold")?,
        }
    };
    let takes = flow.takes();
    let model = Threshold {
        flow,
        probabilities,
        border,
    };
    Ok(Fitted::new(model, takes, Some(classes)))
}

impl Predict for Threshold {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let scores = if self.probabilities {
            self.flow.probabilities(data)?
        } else {
            self.flow.decisions(data)?.ok_or(InputError::NoPrediction)?
        };
        let second = scores.rows().filter_map(|row| row.last());
        Ok(Output::Classes(
            second
                .map(|score| u32::from(*score >= self.border))
                .collect(),
        ))
    }

    fn has_probabilities(&self) -> bool {
        self.flow.has_probabilities()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.flow.probabilities(data)
    }

    fn has_decisions(&self) -> bool {
        self.flow.has_decisions()
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.flow.decisions(data)?.ok_or(InputError::NoPrediction)
    }
}
