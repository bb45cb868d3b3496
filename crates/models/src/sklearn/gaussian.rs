//! Normal distributions: `QuadraticDiscriminantAnalysis` and `GaussianMixture`.

use super::member::largest;
use super::neighbours::{posterior, ratio};
use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{Linear, sum};
use crate::labels::{IntegerType, Labels};
use crate::matrix::round;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};
use std::f64::consts::PI;

/// Scores that are a constant minus half of a square, one for each class.
#[derive(Debug)]
struct Squares {
    intake: Intake,
    parts: Vec<Square>,
    decides: bool,
    /// Whether squares of single precision rows are kept in single precision, by `GaussianMixture` since 1.7.
    rounds: bool,
}

#[derive(Debug)]
struct Square {
    /// Taken off the rows before the projection, as `QuadraticDiscriminantAnalysis` does.
    mean: Vec<f64>,
    /// Rows are projected with it; the squares of the result are added up.
    projection: Linear,
    /// A distribution whose columns do not depend on each other, by its formula: added to the projection, which holds
    /// -2 × mean × precision, and this line with the squares of the row.
    squares: Option<Linear>,
    /// Added to the squares.
    inner: f64,
    /// Added to the score.
    outer: f64,
}

pub(super) fn read_quadratic(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let k = classes.len();
    let (means, features) = part.matrix("means_")?;
    let priors = part.vector("priors_", k)?;
    let (rotations, scalings) = (part.list("rotations_")?, part.list("scalings_")?);
    if k < 2 || means.len() != k * features || rotations.len() != k || scalings.len() != k {
        return Err(part.damaged("expected means, rotations and scalings for each class"));
    }
    let mut parts = Vec::new();
    let parameters = means.chunks_exact(features).zip(&priors);
    for ((mean, prior), (rotation, scaling)) in parameters.zip(rotations.iter().zip(scalings)) {
        let rotation = part.numbers_at(*rotation, "rotations_")?;
        let scaling = part.numbers_at(*scaling, "scalings_")?;
        let outputs = scaling.len();
        if rotation.len() != features * outputs || scaling.iter().any(|s| *s <= 0.0) {
            return Err(part.damaged("expected a scaling above zero for each column of a rotation"));
        }
        let column = |output: usize| {
            let factor = scaling.get(output).copied().unwrap_or(f64::NAN).powf(-0.5);
            let column = rotation.iter().skip(output).step_by(outputs.max(1));
            column.map(move |value| value * factor).collect::<Vec<_>>()
        };
        let lines = (0..outputs).flat_map(column).collect();
        let logs: Vec<f64> = scaling.iter().map(|value| value.ln()).collect();
        let projection = Linear::new(lines, vec![0.0; outputs], features, Precision::Double)
            .ok_or_else(|| part.damaged("expected at least one feature"))?;
        parts.push(Square {
            mean: mean.to_vec(),
            projection,
            squares: None,
            inner: sum(&logs),
            outer: prior.ln(),
        });
    }
    let model = Squares {
        intake: part.intake(),
        parts,
        decides: true,
        rounds: false,
    };
    Ok(Fitted::new(model, Some(features), Some(classes)))
}

/// `GaussianMixture`: the component that most likely made each row.
pub(super) fn read_mixture(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let (means, features) = part.matrix("means_")?;
    let k = means.len() / features;
    let weights = part.vector("weights_", k)?;
    let cholesky = part.numbers("precisions_cholesky_")?;
    let kind = part.text("covariance_type");
    let size = match kind {
        Some("full") => features.saturating_mul(features),
        Some("diag") => features,
        _ => return Err(part.unknown("covariance_type")),
    };
    if cholesky.len() != k.saturating_mul(size) {
        return Err(part.damaged("expected precisions for each component"));
    }
    let linear = |lines, offsets| {
        Linear::new(lines, offsets, features, Precision::Double)
            .ok_or_else(|| part.damaged("expected at least one feature"))
    };
    let constant = features as f64 * (2.0 * PI).ln();
    let mut parts = Vec::new();
    let parameters = means.chunks_exact(features).zip(&weights);
    for ((mean, weight), cholesky) in parameters.zip(cholesky.chunks_exact(size)) {
        let logs = |step: usize| -> Vec<f64> {
            cholesky
                .iter()
                .step_by(step)
                .map(|value| value.ln())
                .collect()
        };
        let square = if size == features {
            let precisions: Vec<f64> = cholesky.iter().map(|value| value * value).collect();
            let pairs = || mean.iter().zip(&precisions);
            let terms: Vec<f64> = pairs().map(|(mean, p)| mean * mean * p).collect();
            let line = pairs().map(|(mean, p)| -2.0 * (mean * p)).collect();
            Square {
                mean: vec![0.0; features],
                projection: linear(line, vec![sum(&terms)])?,
                squares: Some(linear(precisions, vec![0.0])?),
                inner: constant,
                outer: sum(&logs(1)) + weight.ln(),
            }
        } else {
            // Columns of the factor, so that a row times each is a result.
            let column = |output: usize| cholesky.iter().skip(output).step_by(features).copied();
            let lines: Vec<f64> = (0..features).flat_map(column).collect();
            let mut offsets = Vec::new();
            linear(lines.clone(), vec![0.0; features])?.products(mean, &mut offsets);
            offsets.iter_mut().for_each(|offset| *offset = -*offset);
            Square {
                mean: vec![0.0; features],
                projection: linear(lines, offsets)?,
                squares: None,
                inner: constant,
                outer: sum(&logs(features + 1)) + weight.ln(),
            }
        };
        parts.push(square);
    }
    let model = Squares {
        intake: part.intake(),
        parts,
        decides: false,
        rounds: kind == Some("full") && part.version() >= (1, 7),
    };
    let numbers = (0..i64::try_from(k).unwrap_or(0)).collect();
    let labels = Labels::Integers(numbers, IntegerType::Int64);
    Ok(Fitted::new(model, Some(features), Some(labels)))
}

impl Squares {
    fn scores(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut out = Vec::with_capacity(rows.count() * self.parts.len());
        let (mut centred, mut squares) = (Vec::new(), Vec::new());
        let precision = if self.rounds {
            rows.precision()
        } else {
            Precision::Double
        };
        rows.each(|row| {
            for part in &self.parts {
                centred.clear();
                centred.extend(row.iter().zip(&part.mean).map(|(value, mean)| value - mean));
                part.projection.outputs_of(&centred, &mut squares);
                let square = match &part.squares {
                    None => {
                        squares.iter_mut().for_each(|value| *value *= *value);
                        round(sum(&squares), precision)
                    }
                    Some(line) => {
                        let first = squares.first().copied().unwrap_or(f64::NAN);
                        centred
                            .iter_mut()
                            .for_each(|value| *value = round(*value * *value, rows.precision()));
                        line.outputs_of(&centred, &mut squares);
                        first + squares.first().copied().unwrap_or(f64::NAN)
                    }
                };
                let inner = round(square + round(part.inner, precision), precision);
                out.push(-0.5 * inner + part.outer);
            }
        });
        Ok(Grid::double(out, self.parts.len()))
    }
}

impl Predict for Squares {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(largest(&self.scores(data)?))
    }

    fn has_probabilities(&self) -> bool {
        true
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut scores = self.scores(data)?;
        posterior(&mut scores);
        Ok(scores)
    }

    fn has_decisions(&self) -> bool {
        self.decides
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(ratio(self.scores(data)?))
    }
}
