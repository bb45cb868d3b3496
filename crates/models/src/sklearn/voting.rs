//! Averages of estimators: `VotingClassifier`, `VotingRegressor`, `BaggingClassifier`, `BaggingRegressor`.

use super::member::{Member, largest, seen, values};
use super::part::Part;
use super::predicting;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

/// The weights of the estimators that were not dropped.
fn weights(part: &Part<'_, '_>, members: usize) -> Result<Option<Vec<f64>>, LoadError> {
    let Some(id) = part.set("weights") else {
        return Ok(None);
    };
    let graph = part.graph();
    let all = match graph.node(id) {
        Node::Array(_) => part.numbers_at(id, "weights")?,
        _ => {
            let list = part.list_at(id, "weights")?.iter();
            let weights: Option<Vec<f64>> = list.map(|id| graph.float(*id)).collect();
            weights.ok_or_else(|| part.damaged("expected numbers in `weights`"))?
        }
    };
    let estimators = super::pipeline::named(part, "estimators")?;
    let kept = all.iter().zip(&estimators);
    let kept = kept.filter(|(_, id)| graph.text(**id) != Some("drop"));
    let kept: Vec<f64> = kept.map(|(weight, _)| *weight).collect();
    if kept.len() != members || kept.iter().any(|weight| !weight.is_finite()) {
        return Err(part.damaged("expected a weight for each estimator"));
    }
    Ok(Some(kept))
}

pub(super) fn read_classifier(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let mut members = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        members.push(Member::numbered(&inner, classes.len())?);
    }
    let soft = match part.text("voting") {
        Some("hard") => false,
        Some("soft") if members.iter().all(|member| member.flow.has_probabilities()) => true,
        _ => return Err(part.unknown("voting")),
    };
    // Without a number of its own it is what its estimators say.
    let features = part
        .features()
        .or_else(|| members.first().and_then(|member| member.flow.takes()));
    let model = Votes {
        weights: weights(part, members.len())?,
        members,
        soft,
        classes: classes.len(),
    };
    Ok(Fitted::new(model, features, Some(classes)))
}

#[derive(Debug)]
struct Votes {
    members: Vec<Member>,
    weights: Option<Vec<f64>>,
    soft: bool,
    classes: usize,
}

impl Predict for Votes {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        if self.soft {
            return Ok(largest(&self.probabilities(data)?));
        }
        let mut votes = vec![0.0; data.rows() * self.classes];
        for (index, member) in self.members.iter().enumerate() {
            let weight = self.weights.as_ref().and_then(|w| w.get(index).copied());
            let rows = votes.chunks_exact_mut(self.classes);
            for (row, class) in rows.zip(member.classes(&data)?) {
                if let Some(votes) = usize::try_from(class).ok().and_then(|c| row.get_mut(c)) {
                    *votes += weight.unwrap_or(1.0);
                }
            }
        }
        Ok(largest(&Grid::double(votes, self.classes)))
    }

    fn has_probabilities(&self) -> bool {
        self.soft
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let each = self
            .members
            .iter()
            .map(|member| member.probabilities(&data));
        let each = each.map(|grid| grid.map(|grid| grid.values));
        let values = average(each, self.weights.as_deref())?;
        Ok(Grid::double(values, self.classes))
    }
}

/// `numpy.average` over estimators.
fn average(
    each: impl Iterator<Item = Result<Vec<f64>, InputError>>,
    weights: Option<&[f64]>,
) -> Result<Vec<f64>, InputError> {
    let mut sums: Vec<f64> = Vec::new();
    let mut count = 0_usize;
    for (index, values) in each.enumerate() {
        let values = values?;
        let weight = weights.and_then(|weights| weights.get(index).copied());
        sums.resize(values.len(), 0.0);
        for (sum, value) in sums.iter_mut().zip(&values) {
            *sum += weight.map_or(*value, |weight| value * weight);
        }
        count += 1;
    }
    let scale = weights.map_or(count as f64, |weights| weights.iter().sum());
    sums.iter_mut().for_each(|sum| *sum /= scale);
    Ok(sums)
}

/// `VotingRegressor` and `BaggingRegressor`
pub(super) fn read_regressor(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let features = part.features();
    let mut members = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        members.push((predicting(&inner)?, columns(part, index, features)?));
    }
    if members.is_empty() || members.iter().any(|(flow, _)| flow.classes().is_some()) {
        return Err(part.damaged("expected regressors in `estimators_`"));
    }
    let features = features.or_else(|| members.first().and_then(|(flow, _)| flow.takes()));
    let model = Average {
        weights: match part.name() {
            "VotingRegressor" => weights(part, members.len())?,
            _ => None,
        },
        intake: bagging_intake(part),
        members,
    };
    Ok(Fitted::new(model, features, None))
}

/// What bagging checks; voting leaves it to its members.
fn bagging_intake(part: &Part<'_, '_>) -> Option<Intake> {
    part.name().starts_with("Bagging").then(|| Intake {
        infinite: true,
        ..part.lenient_intake()
    })
}

/// The columns of an estimator of bagging, where these are not all in their order.
fn columns(
    part: &Part<'_, '_>,
    index: usize,
    features: Option<usize>,
) -> Result<Option<Vec<usize>>, LoadError> {
    let name = "estimators_features_";
    let (Some(id), Some(features)) = (part.set(name), features) else {
        return Ok(None);
    };
    let Some(columns) = part.list_at(id, name)?.get(index) else {
        return Err(part.damaged(format!("expected columns for each estimator in `{name}`")));
    };
    let columns = part.indices_at(*columns, name, features)?;
    let all = columns.len() == features && columns.iter().enumerate().all(|(a, b)| a == *b);
    Ok((!all).then_some(columns))
}

#[derive(Debug)]
struct Average {
    intake: Option<Intake>,
    members: Vec<(Flow, Option<Vec<usize>>)>,
    weights: Option<Vec<f64>>,
}

impl Predict for Average {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let data = match &self.intake {
            Some(intake) => Data::Rows(intake.numbers(data)?),
            None => data,
        };
        let rows = data.rows();
        let each = self
            .members
            .iter()
            .map(|(flow, columns)| values(flow, seen(&data, columns.as_deref())?));
        let values = average(each, self.weights.as_deref())?;
        Ok(match values.len() / rows.max(1) {
            0 | 1 => Output::Values(values, Precision::Double),
            columns => Grid::double(values, columns).into(),
        })
    }
}

pub(super) fn read_bagging(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let features = part.features();
    let mut members = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        let member = Member::numbered(&inner, classes.len())?;
        members.push(member.with_columns(columns(part, index, features)?));
    }
    if members.is_empty() {
        return Err(part.damaged("expected at least one estimator in `estimators_`"));
    }
    let model = Bagging {
        intake: Intake {
            infinite: true,
            ..part.lenient_intake()
        },
        soft: members.iter().all(|member| member.flow.has_probabilities()),
        members,
        classes: classes.len(),
    };
    Ok(Fitted::new(model, features, Some(classes)))
}

#[derive(Debug)]
struct Bagging {
    intake: Intake,
    members: Vec<Member>,
    /// Whether the estimators have probabilities; else each has one vote.
    soft: bool,
    classes: usize,
}

impl Predict for Bagging {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(largest(&self.probabilities(data)?))
    }

    fn has_decisions(&self) -> bool {
        self.members.iter().all(|member| member.decides())
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let data = Data::Rows(self.intake.numbers(data)?);
        let columns = if self.classes == 2 { 1 } else { self.classes };
        let each = self.members.iter().map(|member| member.decisions(&data));
        Ok(Grid::double(average(each, None)?, columns))
    }

    fn has_probabilities(&self) -> bool {
        true
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let data = Data::Rows(self.intake.numbers(data)?);
        let each = self.members.iter().map(|member| {
            if self.soft {
                return member.probabilities(&data).map(|grid| grid.values);
            }
            let mut votes = vec![0.0; data.rows() * self.classes];
            let rows = votes.chunks_exact_mut(self.classes);
            for (row, class) in rows.zip(member.classes(&data)?) {
                if let Some(vote) = usize::try_from(class).ok().and_then(|c| row.get_mut(c)) {
                    *vote = 1.0;
                }
            }
            Ok(votes)
        });
        Ok(Grid::double(average(each, None)?, self.classes))
    }
}
