//! LightGBM's estimators for scikit-learn, and its pickled boosters.

use super::member::largest;
use super::part::Part;
use crate::boosted::{Lightgbm, pickled_lightgbm};
use crate::data::Data;
use crate::flow::{Fitted, Grid, Predict};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError};

#[derive(Debug)]
struct Estimator {
    name: String,
    model: Lightgbm,
    /// Whether it has two classes, of which the model answers the probability of the second.
    two: bool,
    classifies: bool,
    /// Classifiers have a decision function since 4.7.
    decides: bool,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    // An objective of one's own is a function; `_fobj` kept it in 3.x.
    for (name, known) in [("_objective", true), ("_fobj", false)] {
        let known = match part.set(name).map(|id| part.graph().node(id)) {
            Some(node) => known && matches!(node, Node::Str(_)),
            None => true,
        };
        if !known {
            return Err(part.unknown(name));
        }
    }
    let booster = part.part("_Booster")?;
    if booster.kind() != ("lightgbm.basic", "Booster") {
        return Err(booster.unsupported());
    }
    let model = model(&booster)?;
    let classes = match part.name() {
        "LGBMClassifier" => Some(part.labels_at(part.required("_classes")?)?),
        _ => None,
    };
    if let Some(classes) = &classes
        && (classes.len() < 2
            || (if classes.len() == 2 { 1 } else { classes.len() }) != model.outputs())
    {
        return Err(part.setting(format!(
            "{} classes for {} outputs",
            classes.len(),
            model.outputs()
        )));
    }
    let (features, names) = (model.features(), names(&model));
    let estimator = Estimator {
        name: part.name().to_owned(),
        two: model.outputs() == 1,
        classifies: classes.is_some(),
        decides: classes.is_some() && part.attribute("_fitted_with_feature_names").is_some(),
        model,
    };
    Ok(Fitted::new(estimator, Some(features), classes).with_names(names))
}

/// A pickled booster, which is asked like an estimator.
pub(super) fn read_booster(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let model = model(part)?;
    let (features, names) = (model.features(), names(&model));
    Ok(Fitted::new(model, Some(features), None).with_names(names))
}

/// The model up to its best round, if training stopped early.
fn model(booster: &Part<'_, '_>) -> Result<Lightgbm, LoadError> {
    let text = booster.text("_handle").or_else(|| booster.text("handle"));
    let text = text.ok_or_else(|| booster.damaged("expected a model in `_handle`"))?;
    // The same text may be found in many places.
    booster.pay(text.len() / 8)?;
    let mut model =
        pickled_lightgbm(text, &booster.limits()).map_err(|what| booster.damaged(what))?;
    booster.pay(model.bytes() / 8)?;
    if let Some(best) = booster.count("best_iteration").filter(|best| *best > 0) {
        model.keep_rounds(best);
    }
    Ok(model)
}

/// The names of the columns of a data frame.
fn names(model: &Lightgbm) -> Option<Vec<String>> {
    let names = model.feature_names();
    (!unnamed(names)).then(|| names.to_vec())
}

/// Whether these are the names that LightGBM gives to the columns of an array, which those around it take over.
pub(super) fn unnamed(names: &[String]) -> bool {
    let mut names = names.iter().enumerate();
    names.all(|(index, name)| *name == format!("Column_{index}"))
}

impl Predict for Estimator {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        if self.classifies {
            return Ok(largest(&self.probabilities(data)?));
        }
        Ok(self.model.grid(data, &self.name, true)?.into_output())
    }

    fn has_probabilities(&self) -> bool {
        self.classifies
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let grid = self.model.grid(data, &self.name, true)?;
        if !self.two {
            return Ok(grid);
        }
        let both = grid
            .values
            .iter()
            .flat_map(|second| [1.0 - second, *second]);
        Ok(Grid::double(both.collect(), 2))
    }

    fn has_decisions(&self) -> bool {
        self.decides
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.model.grid(data, &self.name, false)
    }
}
