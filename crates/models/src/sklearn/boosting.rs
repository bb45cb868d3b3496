//! `GradientBoostingClassifier` and `GradientBoostingRegressor`: sums of trees.

use super::part::Part;
use super::predicting;
use super::tree::{add_raw, raw_tree, tree_intake};
use crate::data::{Data, Intake, Rows};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::kernels::{Trees, Work, argmax, expit, softmax, sum};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// A regressor.
    Identity,
    /// A regressor of positive values.
    Exponential,
    /// Two classes.
    Logit,
    /// Two classes, `loss='exponential'`.
    HalfLogit,
    Softmax,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = if part.name() == "GradientBoostingClassifier" {
        Some(part.labels()?)
    } else {
        None
    };
    let link = match (&classes, part.text("loss")) {
        (None, _) => Link::Identity,
        (Some(_), Some("exponential")) => Link::HalfLogit,
        (Some(classes), _) if classes.len() == 2 => Link::Logit,
        (Some(_), _) => Link::Softmax,
    };
    let width = match (&classes, link) {
        (Some(classes), Link::Softmax) => classes.len(),
        _ => 1,
    };
    let features = part
        .features()
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let estimators = part.array("estimators_")?;
    let elements = part.list("estimators_")?;
    if estimators.shape.as_slice() != [elements.len() / width, width] || elements.is_empty() {
        return Err(part.damaged(format!(
            "expected {width} trees in each row of `estimators_`"
        )));
    }
    let mut trees = Trees::new(features, 1);
    for (index, id) in elements.iter().enumerate() {
        let (stage, output) = (index / width, index % width);
        let tree = part.inner(*id, &format!("estimators_[{stage},{output}]"))?;
        if tree.kind().0 != "sklearn.tree" {
            return Err(tree.unsupported());
        }
        let (inner, raw) = raw_tree(&tree, features, [1, 1])?;
        add_raw(&inner, &raw, &mut trees)?;
    }
    let start = start(part, link, width)?;
    if let (Start::Flow(flow), Some(classes)) = (&start, &classes)
        && (!flow.has_probabilities()
            || flow.classes().map(crate::Labels::len) != Some(classes.len()))
    {
        return Err(part.damaged("expected an `init_` with a probability for each class"));
    }
    let model = Boosted {
        intake: tree_intake(part, false),
        start,
        rate: part.scalar("learning_rate")?,
        trees: trees.finished(),
        width,
        link,
        // As named in each version: the bound keeps the logarithm of a certain class finite.
        epsilon: if part.version() >= (1, 8) {
            f64::EPSILON
        } else {
            f64::from(f32::EPSILON)
        },
        centred: part.version() >= (1, 4),
    };
    Ok(Fitted::new(model, Some(features), classes))
}

/// What a sum starts with.
#[derive(Debug)]
enum Start {
    /// An estimator, by default one that always answers the same.
    Flow(Flow),
    /// A number for each output: zeros, or what the estimators of 0.20 that are no others keep.
    Constant(Vec<f64>),
}

fn start(part: &Part<'_, '_>, link: Link, width: usize) -> Result<Start, LoadError> {
    let id = part.required("init_")?;
    match part.graph().node(id) {
        Node::Str(text) if text == "zero" => return Ok(Start::Constant(vec![0.0; width])),
        Node::None => return Ok(Start::Constant(vec![0.0; width])),
        _ => {}
    }
    let inner = part.inner(id, "init_")?;
    if inner.kind().0 == "sklearn.ensemble" && width > 0 {
        let constant = match inner.name() {
            "ZeroEstimator" => vec![0.0; width],
            "MeanEstimator" => vec![inner.scalar("mean")?; width],
            "QuantileEstimator" => vec![inner.scalar("quantile")?; width],
            "LogOddsEstimator" | "ScaledLogOddsEstimator" => vec![inner.scalar("prior")?; width],
            "PriorProbabilityEstimator" => inner.vector("priors", width)?,
            _ => return flow(part, &inner, link),
        };
        return Ok(Start::Constant(constant));
    }
    flow(part, &inner, link)
}

fn flow(part: &Part<'_, '_>, inner: &Part<'_, '_>, link: Link) -> Result<Start, LoadError> {
    if part.version() < (0, 21) && link.classifies() {
        return Err(part.setting("an `init_` of one's own, whose classes counted as numbers"));
    }
    predicting(inner).map(Start::Flow)
}

#[derive(Debug)]
struct Boosted {
    intake: Intake,
    start: Start,
    rate: f64,
    trees: Trees,
    width: usize,
    link: Link,
    epsilon: f64,
    /// Whether several classes start from logarithms around their mean.
    centred: bool,
}

impl Boosted {
    fn raw(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut raw = self.starts(&rows)?;
        let mut work = Work::default();
        let mut sums = raw.chunks_exact_mut(self.width);
        rows.each(|row| {
            let sums = sums.next().unwrap_or_default();
            self.trees.add_in_turn(row, &mut work, self.rate, sums);
        });
        Ok(Grid::double(raw, self.width))
    }

    /// Where each row starts.
    fn starts(&self, rows: &Rows<'_>) -> Result<Vec<f64>, InputError> {
        let count = rows.count().saturating_mul(self.width);
        let flow = match &self.start {
            Start::Flow(flow) => flow,
            Start::Constant(values) => {
                return Ok(values.iter().copied().cycle().take(count).collect());
            }
        };
        // It sees the rows as the trees do, rounded to single precision.
        let single = rows.map(rows.columns(), Precision::Single, |row, out| {
            out.extend(row.iter().map(|value| f64::from(*value as f32)));
        })?;
        let data = Data::Rows(Rows::Dense(Cow::Owned(single)));
        if self.link == Link::Identity {
            return match flow.predict(data)? {
                Output::Values(values, _) | Output::Table { values, .. }
                    if values.len() == count =>
                {
                    Ok(values)
                }
                _ => Err(InputError::NoPrediction),
            };
        }
        let probabilities = flow.probabilities(data)?;
        let clip = |value: f64| value.clamp(self.epsilon, 1.0 - self.epsilon);
        let mut raw = Vec::with_capacity(count);
        for row in probabilities.rows() {
            match (self.link, row) {
                (Link::Softmax, _) => {
                    let logs: Vec<f64> = row.iter().map(|value| clip(*value).ln()).collect();
                    if self.centred {
                        let mean = (sum(&logs) / logs.len() as f64).exp();
                        raw.extend(row.iter().map(|value| (clip(*value) / mean).ln()));
                    } else {
                        raw.extend(logs);
                    }
                }
                (link, [_, positive]) => {
                    let positive = clip(*positive);
                    let odds = (positive / (1.0 - positive)).ln();
                    raw.push(if link == Link::HalfLogit {
                        0.5 * odds
                    } else {
                        odds
                    });
                }
                _ => return Err(InputError::NoPrediction),
            }
        }
        Ok(raw)
    }
}

impl Predict for Boosted {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let raw = self.raw(data)?;
        Ok(self.link.answer(raw))
    }

    fn has_probabilities(&self) -> bool {
        self.link.classifies()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(self.link.probabilities(&self.raw(data)?))
    }

    fn has_decisions(&self) -> bool {
        self.link.classifies()
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.raw(data)
    }
}

impl Link {
    pub(super) fn classifies(self) -> bool {
        !matches!(self, Self::Identity | Self::Exponential)
    }

    /// The prediction of sums.
    pub(super) fn answer(self, mut raw: Grid) -> Output {
        match self {
            Self::Identity => Output::Values(raw.values, Precision::Double),
            Self::Exponential => {
                raw.values.iter_mut().for_each(|value| *value = value.exp());
                Output::Values(raw.values, Precision::Double)
            }
            Self::Logit | Self::HalfLogit => Output::Classes(
                raw.values
                    .iter()
                    .map(|raw| u32::from(*raw >= 0.0))
                    .collect(),
            ),
            Self::Softmax => {
                Output::Classes(raw.rows().map(|row| argmax(row.iter().copied())).collect())
            }
        }
    }

    /// The probabilities of sums.
    pub(super) fn probabilities(self, raw: &Grid) -> Grid {
        let mut values = Vec::with_capacity(raw.values.len().saturating_mul(2));
        let mut columns = 2;
        for row in raw.rows() {
            match (self, row) {
                (Self::Logit, [raw]) => values.extend([1.0 - expit(*raw), expit(*raw)]),
                (Self::HalfLogit, [raw]) => {
                    values.extend([1.0 - expit(2.0 * raw), expit(2.0 * raw)]);
                }
                _ => {
                    columns = row.len();
                    let start = values.len();
                    values.extend_from_slice(row);
                    softmax(values.get_mut(start..).unwrap_or_default());
                }
            }
        }
        Grid::double(values, columns)
    }
}
