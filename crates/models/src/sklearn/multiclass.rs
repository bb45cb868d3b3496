//! Several estimators beside each other: `sklearn.multiclass` and `sklearn.multioutput`.

use super::member::{borrowed, largest, values};
use super::part::Part;
use super::predicting;
use super::several::yes_or_no;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::kernels::{Confidence, sum};
use crate::matrix::round;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};
use std::borrow::Cow;

/// The estimators of `estimators_`, each deciding between two classes.
fn binary(part: &Part<'_, '_>) -> Result<Vec<Flow>, LoadError> {
    let mut flows = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        let flow = predicting(&inner)?;
        if flow.classes().map(crate::Labels::len) != Some(2) {
            return Err(inner.damaged("expected a classifier of two classes"));
        }
        flows.push(flow);
    }
    Ok(flows)
}

/// scikit-learn's `_predict_binary`: the decision, or else the probability of the second class.
fn score(flow: &Flow, data: Data<'_>) -> Result<Vec<f64>, InputError> {
    if flow.has_decisions() {
        return flow
            .decisions(data)?
            .map(|grid| grid.values)
            .ok_or(InputError::NoPrediction);
    }
    second(flow, data)
}

fn second(flow: &Flow, data: Data<'_>) -> Result<Vec<f64>, InputError> {
    Ok(last_column(&flow.probabilities(data)?))
}

fn last_column(grid: &Grid) -> Vec<f64> {
    let last = |row: &[f64]| row.last().copied().unwrap_or(f64::NAN);
    grid.rows().map(last).collect()
}

/// Lists of one value for each row as rows.
fn beside(columns: &[Vec<f64>], rows: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(columns.len().saturating_mul(rows));
    for row in 0..rows {
        out.extend(
            columns
                .iter()
                .map(|column| column.get(row).copied().unwrap_or(f64::NAN)),
        );
    }
    out
}

pub(super) fn read_one_vs_rest(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let binarizer = part.part("label_binarizer_")?;
    let several = match binarizer.text("y_type_") {
        None | Some("binary" | "multiclass") => false,
        Some("multilabel-indicator") if binarizer.truth("sparse_input_") != Some(true) => true,
        Some(_) => return Err(binarizer.setting("several labels for a row in sparse rows")),
    };
    let mut classes = binarizer.labels()?;
    let flows = binary(part)?;
    let expected = match classes.len() {
        2 if !several => 1,
        count => count,
    };
    if flows.len() != expected {
        return Err(part.damaged(format!("expected {expected} classifiers in `estimators_`")));
    }
    let model = OneVsRest {
        flows,
        classes: classes.len(),
        several,
    };
    if several {
        classes = yes_or_no();
    }
    Ok(Fitted::new(model, part.features(), Some(classes)))
}

#[derive(Debug)]
struct OneVsRest {
    flows: Vec<Flow>,
    classes: usize,
    /// Whether a row has any number of labels.
    several: bool,
}

impl OneVsRest {
    fn each(
        &self,
        data: &Data<'_>,
        ask: impl Fn(&Flow, Data<'_>) -> Result<Vec<f64>, InputError>,
    ) -> Result<Grid, InputError> {
        let columns: Vec<Vec<f64>> = self
            .flows
            .iter()
            .map(|flow| ask(flow, data.by_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Grid::double(beside(&columns, data.rows()), columns.len()))
    }
}

impl Predict for OneVsRest {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let scores = self.each(&data, score)?;
        if self.classes > 2 && !self.several {
            return Ok(largest(&scores));
        }
        let border = if self.flows.iter().all(Flow::has_decisions) {
            0.0
        } else {
            0.5
        };
        let classes = scores.values.iter().map(|score| u32::from(*score > border));
        let classes = classes.collect();
        Ok(match self.several {
            true => Output::ClassTable {
                classes,
                columns: scores.columns,
            },
            false => Output::Classes(classes),
        })
    }

    fn has_probabilities(&self) -> bool {
        self.flows.iter().all(Flow::has_probabilities)
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let grids = self
            .flows
            .iter()
            .map(|flow| flow.probabilities(data.by_ref()));
        let grids: Vec<Grid> = grids.collect::<Result<_, _>>()?;
        let single = grids.iter().all(|grid| grid.precision == Precision::Single);
        let precision = if single {
            Precision::Single
        } else {
            Precision::Double
        };
        let columns: Vec<Vec<f64>> = grids.iter().map(last_column).collect();
        let mut values = beside(&columns, data.rows());
        if self.several {
            // Each label has a probability of its own.
        } else if self.classes == 2 {
            let pairs = values
                .iter()
                .flat_map(|value| [round(1.0 - value, precision), *value]);
            values = pairs.collect();
        } else {
            for row in values.chunks_exact_mut(self.classes) {
                let total = match precision {
                    Precision::Single => row
                        .iter()
                        .fold(0.0, |total, value| round(total + value, precision)),
                    Precision::Double => sum(row),
                };
                let total = if total == 0.0 { 1.0 } else { total };
                row.iter_mut()
                    .for_each(|value| *value = round(*value / total, precision));
            }
        }
        Ok(Grid {
            values,
            columns: self.classes,
            precision,
        })
    }

    fn has_decisions(&self) -> bool {
        self.flows.iter().all(Flow::has_decisions)
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.each(&data, score)
    }
}

pub(super) fn read_one_vs_one(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    if part.set("pairwise_indices_").is_some() {
        return Err(part.setting("`pairwise_indices_`"));
    }
    let flows = binary(part)?;
    let k = classes.len();
    if k < 2 || flows.len() != k * (k - 1) / 2 {
        return Err(part.damaged("expected a classifier for each pair of classes in `estimators_`"));
    }
    let model = OneVsOne {
        flows,
        classes: k,
        confidence: Confidence::of_version(part.version()),
    };
    Ok(Fitted::new(model, part.features(), Some(classes)))
}

#[derive(Debug)]
struct OneVsOne {
    flows: Vec<Flow>,
    classes: usize,
    confidence: Confidence,
}

impl OneVsOne {
    /// scikit-learn's `_ovr_decision_function` over the pairs.
    fn decide(&self, data: &Data<'_>) -> Result<Grid, InputError> {
        let k = self.classes;
        let mut votes = vec![0.0; data.rows() * k];
        let mut confidences = votes.clone();
        let pairs = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j)));
        for (flow, (i, j)) in self.flows.iter().zip(pairs) {
            let scores = score(flow, data.by_ref())?;
            let Output::Classes(winners) = flow.predict(data.by_ref())? else {
                return Err(InputError::NoPrediction);
            };
            for (row, (score, winner)) in scores.iter().zip(&winners).enumerate() {
                let add = |cells: &mut Vec<f64>, class: usize, value: f64| {
                    if let Some(cell) = cells.get_mut(row * k + class) {
                        *cell += value;
                    }
                };
                add(&mut confidences, i, -score);
                add(&mut confidences, j, *score);
                add(&mut votes, if *winner == 0 { i } else { j }, 1.0);
            }
        }
        self.confidence.add_to(&mut votes, &confidences);
        Ok(Grid::double(votes, k))
    }
}

impl Predict for OneVsOne {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let decisions = self.decide(&data)?;
        if self.classes > 2 {
            return Ok(largest(&decisions));
        }
        let border = if self.flows.iter().all(Flow::has_decisions) {
            0.0
        } else {
            0.5
        };
        let second = decisions.rows().filter_map(|row| row.last());
        Ok(Output::Classes(
            second.map(|value| u32::from(*value > border)).collect(),
        ))
    }

    fn has_decisions(&self) -> bool {
        true
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let decisions = self.decide(&data)?;
        if self.classes > 2 {
            return Ok(decisions);
        }
        let second = decisions.rows().filter_map(|row| row.last().copied());
        Ok(Grid::double(second.collect(), 1))
    }
}

fn regressors(part: &Part<'_, '_>) -> Result<Vec<Flow>, LoadError> {
    let mut flows = Vec::new();
    for (index, id) in part.list("estimators_")?.iter().enumerate() {
        let inner = part.inner(*id, &format!("estimators_[{index}]"))?;
        let flow = predicting(&inner)?;
        if flow.classes().is_some() {
            return Err(inner.damaged("expected a regressor"));
        }
        flows.push(flow);
    }
    if flows.is_empty() {
        return Err(part.damaged("expected at least one estimator in `estimators_`"));
    }
    Ok(flows)
}

pub(super) fn read_multi_output(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let flows = regressors(part)?;
    let features = part.features();
    Ok(Fitted::new(MultiOutput(flows), features, None))
}

#[derive(Debug)]
struct MultiOutput(Vec<Flow>);

impl Predict for MultiOutput {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let columns: Vec<Vec<f64>> = self
            .0
            .iter()
            .map(|flow| values(flow, data.by_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Grid::double(beside(&columns, data.rows()), columns.len()).into())
    }
}

pub(super) fn read_chain(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let flows = regressors(part)?;
    let order = part.indices_at(part.required("order_")?, "order_", flows.len())?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.iter().enumerate().any(|(a, b)| a != *b) || order.len() != flows.len() {
        return Err(part.damaged("expected each output once in `order_`"));
    }
    let features = part.features();
    let model = Chain {
        intake: part.intake(),
        flows,
        order,
    };
    Ok(Fitted::new(model, features, None))
}

/// Each estimator sees what those before it predicted.
#[derive(Debug)]
struct Chain {
    intake: Intake,
    flows: Vec<Flow>,
    order: Vec<usize>,
}

impl Predict for Chain {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.intake.numbers(data)?;
        let count = rows.count();
        let mut columns = vec![Vec::new(); self.flows.len()];
        let mut wide = Rows::Dense(rows.dense()?);
        for (flow, output) in self.flows.iter().zip(&self.order) {
            let predicted = values(flow, borrowed(&wide))?;
            let mut added = predicted.iter();
            let next = wide.map(wide.columns() + 1, Precision::Double, |row, out| {
                out.extend_from_slice(row);
                out.extend(added.next());
            })?;
            wide = Rows::Dense(Cow::Owned(next));
            if let Some(column) = columns.get_mut(*output) {
                *column = predicted;
            }
        }
        Ok(Grid::double(beside(&columns, count), columns.len()).into())
    }
}
