//! `sklearn.feature_selection`: some of the columns.

use super::importance;
use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Flow, Step, Transform};
use crate::pickle::Node;
use crate::{InputError, LoadError};

#[derive(Debug)]
struct Selection {
    intake: Intake,
    columns: Vec<usize>,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let mask = match part.name() {
        "VarianceThreshold" => {
            let threshold = part.scalar("threshold")?;
            mask(part, "variances_", |variance| variance > threshold)?
        }
        "SelectKBest" => best(part)?,
        "SelectPercentile" => percentile(part)?,
        "SelectFpr" => {
            let alpha = part.scalar("alpha")?;
            mask(part, "pvalues_", |value| value < alpha)?
        }
        "SelectFwe" => {
            let alpha = part.scalar("alpha")? / part.array("pvalues_")?.count() as f64;
            mask(part, "pvalues_", |value| value < alpha)?
        }
        "SelectFdr" => false_discovery(part)?,
        "SelectFromModel" => important(part)?,
        _ => mask(part, "support_", |value| value != 0.0)?,
    };
    let features = part.features().unwrap_or(mask.len());
    if mask.len() != features {
        return Err(part.damaged(format!("expected a choice for each of {features} features")));
    }
    let chosen = mask.iter().enumerate().filter(|(_, chosen)| **chosen);
    let columns: Vec<usize> = chosen.map(|(index, _)| index).collect();
    let gives = columns.len();
    let step = Selection {
        intake: Intake {
            features: Some(features),
            infinite: true,
            ..part.lenient_intake()
        },
        columns,
    };
    Ok(Step::new(step, Some(features), Some(gives)))
}

/// `RFE` and `RFECV` as what they predict: the estimator sees the columns that are left.
pub(super) fn read_eliminated(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let step = read(part)?;
    let takes = step.takes;
    let flow = super::predicting(&part.part("estimator_")?)?;
    let classes = flow.classes().cloned();
    let mut steps = vec![step];
    steps.extend(flow.steps);
    let last = flow.last;
    Ok(Fitted::new(Flow { steps, last }, takes, classes))
}

fn mask(
    part: &Part<'_, '_>,
    name: &str,
    chosen: impl Fn(f64) -> bool,
) -> Result<Vec<bool>, LoadError> {
    Ok(part.numbers(name)?.into_iter().map(chosen).collect())
}

/// The scores, with those that are no number below all others.
fn scores(part: &Part<'_, '_>) -> Result<Vec<f64>, LoadError> {
    let clean = |score: f64| if score.is_nan() { f64::MIN } else { score };
    Ok(part.numbers("scores_")?.into_iter().map(clean).collect())
}

/// `SelectKBest`: of equal scores the last.
fn best(part: &Part<'_, '_>) -> Result<Vec<bool>, LoadError> {
    let scores = scores(part)?;
    if part.text("k") == Some("all") {
        return Ok(vec![true; scores.len()]);
    }
    let k = part.count("k").ok_or_else(|| part.unknown("k"))?;
    let mut order: Vec<(usize, f64)> = scores.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut mask = vec![false; scores.len()];
    for (index, _) in order.iter().rev().take(k) {
        if let Some(chosen) = mask.get_mut(*index) {
            *chosen = true;
        }
    }
    Ok(mask)
}

fn percentile(part: &Part<'_, '_>) -> Result<Vec<bool>, LoadError> {
    let scores = scores(part)?;
    let share = part.scalar("percentile")?;
    if share >= 100.0 {
        return Ok(vec![true; scores.len()]);
    }
    if share <= 0.0 {
        return Ok(vec![false; scores.len()]);
    }
    let mut sorted = scores.clone();
    sorted.sort_by(f64::total_cmp);
    // `numpy.percentile` with linear interpolation.
    let place = (100.0 - share) / 100.0 * (sorted.len() as f64 - 1.0);
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (low, high, fraction) = (at(place.floor()), at(place.ceil()), place.fract());
    let threshold = if fraction >= 0.5 {
        high - (high - low) * (1.0 - fraction)
    } else {
        low + (high - low) * fraction
    };
    let mut mask: Vec<bool> = scores.iter().map(|score| *score > threshold).collect();
    let wanted = (scores.len() as f64 * share / 100.0) as usize;
    let mut left = wanted.saturating_sub(mask.iter().filter(|chosen| **chosen).count());
    for (chosen, score) in mask.iter_mut().zip(&scores) {
        if *score == threshold && left > 0 {
            *chosen = true;
            left -= 1;
        }
    }
    Ok(mask)
}

/// Benjamini and Hochberg's procedure.
fn false_discovery(part: &Part<'_, '_>) -> Result<Vec<bool>, LoadError> {
    let values = part.numbers("pvalues_")?;
    let alpha = part.scalar("alpha")?;
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let ranked = (1_u32..).zip(&sorted);
    let passed = ranked.filter(|(rank, value)| **value <= alpha / count * f64::from(*rank));
    let Some(largest) = passed.map(|(_, value)| *value).reduce(f64::max) else {
        return Ok(vec![false; values.len()]);
    };
    Ok(values.iter().map(|value| *value <= largest).collect())
}

/// `SelectFromModel`: columns whose coefficients are large enough.
fn important(part: &Part<'_, '_>) -> Result<Vec<bool>, LoadError> {
    let estimator = match part.set("estimator_") {
        Some(_) => part.part("estimator_")?,
        None => part.part("estimator")?,
    };
    if part.set("importance_getter").is_some() && part.text("importance_getter") != Some("auto") {
        return Err(part.unknown("importance_getter"));
    }
    let one = part.float("norm_order").is_ok_and(|order| order == 1.0);
    let importances = importance::of(&estimator, one)?;
    let mean = crate::kernels::sum(&importances) / importances.len() as f64;
    let threshold = match part.attribute("threshold").map(|id| part.graph().node(id)) {
        None | Some(Node::None) => {
            let lasso = estimator.name().contains("Lasso")
                || estimator.text("penalty") == Some("l1")
                || estimator.float("l1_ratio").is_ok_and(|ratio| ratio == 1.0);
            if lasso { 1e-5 } else { mean }
        }
        Some(Node::Str(text)) => {
            threshold_of(text, &importances, mean).ok_or_else(|| part.unknown("threshold"))?
        }
        Some(_) => part.scalar("threshold")?,
    };
    let mut mask: Vec<bool> = importances
        .iter()
        .map(|value| *value >= threshold)
        .collect();
    let most = match part
        .count("max_features_")
        .or_else(|| part.count("max_features"))
    {
        None if part.set("max_features").is_some() => return Err(part.unknown("max_features")),
        most => most.unwrap_or(usize::MAX),
    };
    let mut order: Vec<(usize, f64)> = importances.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (index, _) in order.iter().skip(most) {
        if let Some(chosen) = mask.get_mut(*index) {
            *chosen = false;
        }
    }
    Ok(mask)
}

/// `mean`, `median`, or such with a factor: `1.25*mean`.
fn threshold_of(text: &str, importances: &[f64], mean: f64) -> Option<f64> {
    let (factor, reference) = match text.split_once('*') {
        Some((factor, reference)) => (factor.trim().parse().ok()?, reference.trim()),
        None => (1.0, text.trim()),
    };
    let mut sorted = importances.to_vec();
    sorted.sort_by(f64::total_cmp);
    let reference = match reference {
        "mean" => mean,
        "median" => {
            let (half, at) = (sorted.len() / 2, |index: usize| sorted.get(index).copied());
            if sorted.len() % 2 == 1 {
                at(half)?
            } else {
                (at(half.checked_sub(1)?)? + at(half)?) / 2.0
            }
        }
        _ => return None,
    };
    Some(factor * reference)
}

impl Transform for Selection {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        rows.select(&self.columns).map(Data::Rows)
    }
}
