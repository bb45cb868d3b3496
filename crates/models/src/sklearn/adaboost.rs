//! `AdaBoostClassifier` and `AdaBoostRegressor`.

use super::member::{Member, values};
use super::part::Part;
use super::predicting;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::kernels::{argmax, softmax, sum};
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

/// How an estimator says what it thinks of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vote {
    /// Its weight for its class. Until 1.2.
    Weight,
    /// Its weight for its class, and against the others. Since 1.3.
    Balanced,
    /// The logarithms of its probabilities: `algorithm='SAMME.R'`, until 1.5.
    Logarithm,
}

pub(super) fn read_classifier(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    if classes.len() < 2 {
        return Err(part.damaged("expected at least two classes"));
    }
    let mut members = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        members.push(Member::of(&inner, &classes)?);
    }
    let vote = match part.text("algorithm") {
        Some("SAMME.R") => Vote::Logarithm,
        _ if part.version() < (1, 3) => Vote::Weight,
        _ => Vote::Balanced,
    };
    if vote == Vote::Logarithm
        && members
            .iter()
            .any(|member| !member.flow.has_probabilities())
    {
        return Err(part.damaged("expected estimators with probabilities"));
    }
    let means = part.version() < (0, 22);
    let model = Classifier {
        intake: intake(part),
        weights: weights(part, members.len())?,
        members,
        vote,
        classes: classes.len(),
        means,
    };
    Ok(Fitted::new(model, part.features(), Some(classes)))
}

fn intake(part: &Part<'_, '_>) -> Intake {
    Intake {
        infinite: true,
        ..part.lenient_intake()
    }
}

/// The weights of the estimators that there are; an array may be longer.
fn weights(part: &Part<'_, '_>, members: usize) -> Result<Vec<f64>, LoadError> {
    let mut weights = part.numbers("estimator_weights_")?;
    if members == 0 || weights.len() < members {
        return Err(part.damaged("expected a weight for each estimator in `estimators_`"));
    }
    weights.truncate(members);
    Ok(weights)
}

#[derive(Debug)]
struct Classifier {
    intake: Intake,
    members: Vec<Member>,
    weights: Vec<f64>,
    vote: Vote,
    classes: usize,
    /// Whether probabilities are means of those of the estimators, as until 0.21, and not made of decisions.
    means: bool,
}

impl Classifier {
    /// What the estimators say of each class, weighed.
    fn votes(&self, data: &Data<'_>) -> Result<Vec<f64>, InputError> {
        let k = self.classes;
        let mut sums = vec![0.0; data.rows() * k];
        for (member, weight) in self.members.iter().zip(&self.weights) {
            if self.vote == Vote::Logarithm {
                let probabilities = member.probabilities(data)?;
                for (sums, row) in sums.chunks_exact_mut(k).zip(probabilities.rows()) {
                    let logs: Vec<f64> = row
                        .iter()
                        .map(|value| value.max(f64::EPSILON).ln())
                        .collect();
                    let mean = 1.0 / (k as f64) * sum(&logs);
                    for (sum, log) in sums.iter_mut().zip(&logs) {
                        *sum += (k as f64 - 1.0) * (log - mean);
                    }
                }
                continue;
            }
            let others = match self.vote {
                Vote::Balanced => -1.0 / (k as f64 - 1.0) * weight,
                _ => 0.0,
            };
            for (sums, class) in sums.chunks_exact_mut(k).zip(member.classes(data)?) {
                for (index, sum) in (0_u32..).zip(sums) {
                    *sum += if index == class { *weight } else { others };
                }
            }
        }
        let total = sum(&self.weights);
        sums.iter_mut().for_each(|sum| *sum /= total);
        Ok(sums)
    }

    fn decide(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let data = Data::Rows(self.intake.numbers(data)?);
        let (k, sums) = (self.classes, self.votes(&data)?);
        if k > 2 {
            return Ok(Grid::double(sums, k));
        }
        let (pairs, _) = sums.as_chunks::<2>();
        let decisions = pairs.iter().map(|[first, second]| -first + second);
        Ok(Grid::double(decisions.collect(), 1))
    }

    /// Exponentials of the estimators' mean, normalised.
    fn mean_probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let data = Data::Rows(self.intake.numbers(data)?);
        let k = self.classes;
        let mut values = if self.vote == Vote::Logarithm {
            self.votes(&data)?
        } else {
            let mut sums = vec![0.0; data.rows() * k];
            for (member, weight) in self.members.iter().zip(&self.weights) {
                let probabilities = member.probabilities(&data)?;
                for (sum, probability) in sums.iter_mut().zip(&probabilities.values) {
                    *sum += probability * weight;
                }
            }
            let total = sum(&self.weights);
            sums.iter_mut().for_each(|sum| *sum /= total);
            sums
        };
        for row in values.chunks_exact_mut(k) {
            row.iter_mut()
                .for_each(|value| *value = (1.0 / (k as f64 - 1.0) * *value).exp());
            let total = match sum(row) {
                0.0 => 1.0,
                total => total,
            };
            row.iter_mut().for_each(|value| *value /= total);
        }
        Ok(Grid::double(values, k))
    }
}

impl Predict for Classifier {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let decisions = self.decide(data)?;
        let class = |row: &[f64]| match row {
            [decision] => u32::from(*decision > 0.0),
            row => argmax(row.iter().copied()),
        };
        Ok(Output::Classes(decisions.rows().map(class).collect()))
    }

    fn has_probabilities(&self) -> bool {
        true
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        if self.means {
            return self.mean_probabilities(data);
        }
        let decisions = self.decide(data)?;
        let mut values = Vec::new();
        for row in decisions.rows() {
            let start = values.len();
            match row {
                [decision] => values.extend([-decision / 2.0, decision / 2.0]),
                row => {
                    let others = self.classes as f64 - 1.0;
                    values.extend(row.iter().map(|value| value / others));
                }
            }
            softmax(values.get_mut(start..).unwrap_or_default());
        }
        Ok(Grid::double(values, self.classes))
    }

    fn has_decisions(&self) -> bool {
        true
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.decide(data)
    }
}

pub(super) fn read_regressor(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let mut members = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        members.push(predicting(
            &part.inner(*id, &format!("estimators_[{index}]"))?,
        )?);
    }
    let model = Regressor {
        intake: intake(part),
        weights: weights(part, members.len())?,
        members,
    };
    Ok(Fitted::new(model, part.features(), None))
}

#[derive(Debug)]
struct Regressor {
    intake: Intake,
    members: Vec<Flow>,
    weights: Vec<f64>,
}

impl Predict for Regressor {
    /// The weighted median of the estimators.
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows: Rows<'_> = self.intake.numbers(data)?;
        let data = Data::Rows(rows);
        let each: Vec<Vec<f64>> = self
            .members
            .iter()
            .map(|flow| values(flow, data.by_ref()))
            .collect::<Result<_, _>>()?;
        let median = |row: usize| {
            let mut answers: Vec<(f64, f64)> = each
                .iter()
                .zip(&self.weights)
                .map(|(values, weight)| (values.get(row).copied().unwrap_or(f64::NAN), *weight))
                .collect();
            answers.sort_by(|a, b| a.0.total_cmp(&b.0));
            let total = answers.iter().fold(0.0, |sum, (_, weight)| sum + weight);
            let mut sum = 0.0;
            let found = answers.iter().find(|(_, weight)| {
                sum += weight;
                sum >= 0.5 * total
            });
            found.map_or(f64::NAN, |(value, _)| *value)
        };
        let values = (0..data.rows()).map(median).collect();
        Ok(Output::Values(values, Precision::Double))
    }
}
