//! XGBoost's estimators for scikit-learn.

use super::member::largest;
use super::part::Part;
use crate::boosted::{Xgboost, pickled_xgboost};
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::softmax;
use crate::labels::{IntegerType, Labels};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError};

#[derive(Debug)]
struct Estimator {
    intake: Intake,
    model: Xgboost,
    /// What is missing beside NaN.
    missing: f64,
    /// The number of classes of a classifier.
    classes: Option<usize>,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    // An objective of one's own is a function.
    if let Some(id) = part.set("objective")
        && !matches!(part.graph().node(id), Node::Str(_))
    {
        return Err(part.unknown("objective"));
    }
    let booster = part.part("_Booster")?;
    if booster.kind() != ("xgboost.core", "Booster") {
        return Err(booster.unsupported());
    }
    let handle = booster.graph().bytes(booster.required("handle")?);
    let handle = handle.ok_or_else(|| booster.damaged("expected a model in `handle`"))?;
    // The same bytes may be found in many places.
    booster.pay(handle.len() / 8)?;
    let mut model =
        pickled_xgboost(handle, &booster.limits()).map_err(|what| booster.damaged(what))?;
    booster.pay(model.bytes() / 8)?;
    if let Some(best) = booster.count("best_iteration").or(model.best_round()) {
        let rounds = best.saturating_add(1);
        // Before 1.6 only this tells how many trees a round has.
        let parallel = booster
            .count("best_ntree_limit")
            .map_or(1, |trees| trees / rounds);
        model.keep_rounds(rounds, parallel);
    }
    let linear = part.text("booster") == Some("gblinear");
    let classes = match part.name() {
        "XGBClassifier" | "XGBRFClassifier" => Some(classes(part, &model)?),
        _ => None,
    };
    let features = model.features;
    let names = model.feature_names.clone();
    let estimator = Estimator {
        intake: Intake {
            estimator: part.name().to_owned(),
            features: Some(features),
            missing: true,
            // Trees are asked in place, where numbers are not looked at first.
            infinite: !linear,
            single: true,
        },
        missing: match part.set("missing") {
            Some(_) => part.float("missing")?,
            None => f64::NAN,
        },
        classes: classes.as_ref().map(Labels::len),
        model,
    };
    Ok(Fitted::new(estimator, Some(features), classes).with_names(names))
}

/// What an estimator makes of a booster's file, which has no more classes than numbers from 0.
///
/// # Errors
/// A classifier of something that has no classes.
pub(crate) fn estimator_of(name: &str, model: Xgboost, classifies: bool) -> Result<Fitted, String> {
    let features = model.features;
    let classes = if classifies {
        let count = model.outputs().max(2);
        let count = i64::try_from(count).map_err(|error| error.to_string())?;
        if model.outputs() == 2 {
            return Err("several labels for each row are not supported".to_owned());
        }
        let kind = match model.answers_classes() {
            true => IntegerType::Int32,
            false => IntegerType::Int64,
        };
        Some(Labels::Integers((0..count).collect(), kind))
    } else {
        None
    };
    let estimator = Estimator {
        intake: Intake {
            estimator: name.to_owned(),
            features: Some(features),
            missing: true,
            infinite: true,
            single: true,
        },
        missing: f64::NAN,
        classes: classes.as_ref().map(Labels::len),
        model,
    };
    Ok(Fitted::new(estimator, Some(features), classes))
}

/// Numbers from 0 since 1.6; before, an encoder could know others.
fn classes(part: &Part<'_, '_>, model: &Xgboost) -> Result<Labels, LoadError> {
    let labels = if part.set("_le").is_some() {
        part.part("_le")?.labels()?
    } else {
        let count = part.count("n_classes_").filter(|count| *count <= 1 << 16);
        let count = count.ok_or_else(|| part.damaged("expected `n_classes_`"))?;
        let count = i64::try_from(count).unwrap_or(0);
        let kind = match model.answers_classes() {
            true => IntegerType::Int32,
            false => IntegerType::Int64,
        };
        Labels::Integers((0..count).collect(), kind)
    };
    // Several columns for two classes are several labels.
    let expected = if labels.len() == 2 { 1 } else { labels.len() };
    if labels.len() < 2 || model.outputs() != expected {
        return Err(part.setting(format!(
            "{} classes for {} outputs",
            labels.len(),
            model.outputs()
        )));
    }
    Ok(labels)
}

impl Estimator {
    fn grid(&self, data: Data<'_>, finished: bool) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        self.model.grid(&rows, self.missing, finished)
    }
}

impl Predict for Estimator {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let grid = self.grid(data, true)?;
        if self.classes.is_none() {
            return Ok(grid.into_output());
        }
        if self.model.answers_classes() {
            return Ok(Output::Classes(
                grid.values.iter().map(|class| *class as u32).collect(),
            ));
        }
        Ok(match grid.columns {
            1 => Output::Classes(
                grid.values
                    .iter()
                    .map(|second| u32::from(*second > 0.5))
                    .collect(),
            ),
            _ => largest(&grid),
        })
    }

    fn has_probabilities(&self) -> bool {
        self.classes.is_some()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        if self.model.answers_classes() {
            let mut sums = self.grid(data, false)?;
            sums.values
                .chunks_exact_mut(sums.columns.max(1))
                .for_each(softmax);
            sums.values
                .iter_mut()
                .for_each(|value| *value = f64::from(*value as f32));
            return Ok(sums);
        }
        let grid = self.grid(data, true)?;
        if grid.columns > 1 {
            return Ok(grid);
        }
        let first = |second: f64| f64::from(1.0 - second as f32);
        Ok(Grid {
            values: grid
                .values
                .iter()
                .flat_map(|second| [first(*second), *second])
                .collect(),
            columns: 2,
            precision: grid.precision,
        })
    }
}
