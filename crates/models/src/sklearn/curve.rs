//! Curves for each column: `KBinsDiscretizer`, `PowerTransformer`, `QuantileTransformer`.

use super::part::Part;
use super::scale;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Step, Transform};
use crate::kernels::interpolate;
use crate::matrix::round;
use crate::sparse::Sparse;
use crate::{InputError, LoadError, Precision};

#[derive(Debug)]
struct Bins {
    intake: Intake,
    /// The inner edges of each column.
    edges: Vec<Vec<f64>>,
    encoding: Encoding,
    /// Whether codes of single precision rows are of double precision, as until 0.23.
    widens: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Ordinal,
    Sparse,
    Dense,
}

pub(super) fn read_bins(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let mut edges = Vec::new();
    for id in part.list("bin_edges_")? {
        let mut all = part.numbers_at(*id, "bin_edges_")?;
        if all.len() < 2 || all.iter().any(|edge| edge.is_nan()) || !all.is_sorted() {
            return Err(part.damaged("expected growing edges in `bin_edges_`"));
        }
        all.pop();
        all.remove(0);
        edges.push(all);
    }
    let encoding = match part.text("encode") {
        Some("ordinal") => Encoding::Ordinal,
        Some("onehot") => Encoding::Sparse,
        Some("onehot-dense") => Encoding::Dense,
        _ => return Err(part.unknown("encode")),
    };
    let features = edges.len();
    let gives = match encoding {
        Encoding::Ordinal => features,
        _ => edges.iter().map(|edges| edges.len() + 1).sum(),
    };
    let step = Bins {
        intake: Intake {
            features: Some(features),
            ..part.intake()
        },
        edges,
        encoding,
        widens: part.version() < (0, 24),
    };
    Ok(Step::new(step, Some(features), Some(gives)))
}

impl Transform for Bins {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let bin = |edges: &Vec<f64>, value: f64| edges.partition_point(|edge| *edge <= value);
        let precision = rows.precision();
        if self.encoding == Encoding::Ordinal {
            let matrix = rows.map(self.edges.len(), precision, |row, out| {
                let bins = self.edges.iter().zip(row);
                out.extend(bins.map(|(edges, value)| bin(edges, *value) as f64));
            })?;
            return Ok(matrix.into());
        }
        let precision = if self.widens {
            Precision::Double
        } else {
            precision
        };
        let width = self.edges.iter().map(|edges| edges.len() + 1).sum();
        let mut sparse = Sparse::new(width, precision);
        rows.each(|row| {
            let mut start = 0_usize;
            let entries = self.edges.iter().zip(row).filter_map(|(edges, value)| {
                let place = start + bin(edges, *value);
                start += edges.len() + 1;
                Some((u32::try_from(place).ok()?, 1.0))
            });
            sparse.push(entries);
        });
        if self.encoding == Encoding::Sparse {
            return Ok(sparse.into());
        }
        let rows = Rows::Sparse(std::borrow::Cow::Owned(sparse));
        Ok(rows.dense()?.into_owned().into())
    }
}

#[derive(Debug)]
struct Power {
    intake: Intake,
    lambdas: Vec<f64>,
    method: Method,
    scaler: Option<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    BoxCox,
    /// By powers, until 1.7.
    YeoJohnson,
    /// By `expm1` and `log1p`, since 1.8.
    StableYeoJohnson,
}

pub(super) fn read_power(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let count = part.array("lambdas_")?.count();
    let lambdas = part.vector("lambdas_", count)?;
    let method = match part.text("method") {
        Some("box-cox") => Method::BoxCox,
        Some("yeo-johnson") if part.version() >= (1, 8) => Method::StableYeoJohnson,
        Some("yeo-johnson") => Method::YeoJohnson,
        _ => return Err(part.unknown("method")),
    };
    let scaler = match part.truth("standardize") {
        Some(true) => Some(scale::standard(&part.part("_scaler")?)?),
        _ => None,
    };
    let step = Power {
        intake: Intake {
            features: Some(count),
            ..part.lenient_intake()
        },
        lambdas,
        method,
        scaler,
    };
    Ok(Step::new(step, Some(count), Some(count)))
}

impl Transform for Power {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = rows.precision();
        let mut positive = true;
        let matrix = rows.map(self.lambdas.len(), precision, |row, out| {
            for (value, lambda) in row.iter().zip(&self.lambdas) {
                positive &= *value > 0.0 || value.is_nan();
                out.push(round(self.method.apply(*value, *lambda), precision));
            }
        })?;
        if self.method == Method::BoxCox && !positive {
            return Err(InputError::Domain {
                estimator: self.intake.estimator.clone(),
                what: "values that are not above zero: box-cox is defined for no others".to_owned(),
            });
        }
        match &self.scaler {
            Some(scaler) => scaler.transform.transform(matrix.into()),
            None => Ok(matrix.into()),
        }
    }
}

impl Method {
    fn apply(self, value: f64, lambda: f64) -> f64 {
        let tiny = f64::EPSILON;
        match self {
            Self::BoxCox if lambda == 0.0 => value.ln(),
            Self::BoxCox => (lambda * value.ln()).exp_m1() / lambda,
            _ if value.is_nan() => value,
            _ if value >= 0.0 && lambda.abs() < tiny => value.ln_1p(),
            Self::YeoJohnson if value >= 0.0 => ((value + 1.0).powf(lambda) - 1.0) / lambda,
            Self::StableYeoJohnson if value >= 0.0 => (lambda * value.ln_1p()).exp_m1() / lambda,
            _ if (lambda - 2.0).abs() <= tiny => -(-value).ln_1p(),
            Self::YeoJohnson => -((1.0 - value).powf(2.0 - lambda) - 1.0) / (2.0 - lambda),
            Self::StableYeoJohnson => {
                -((2.0 - lambda) * (-value).ln_1p()).exp_m1() / (2.0 - lambda)
            }
        }
    }
}

#[derive(Debug)]
struct Quantiles {
    intake: Intake,
    /// Of each column, growing.
    quantiles: Vec<Vec<f64>>,
    references: Vec<f64>,
    /// Whether the ends reach a little further, and results keep as far from 0 and 1, as until 0.20.
    blurred: bool,
}

/// How far: scikit-learn's `BOUNDS_THRESHOLD`, and the same without the spacing of 1.
const BLUR: f64 = 1e-7;
const KEPT: f64 = BLUR - f64::EPSILON;

pub(super) fn read_quantiles(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    if part.text("output_distribution") != Some("uniform") {
        return Err(part.unknown("output_distribution"));
    }
    let (values, columns) = part.matrix("quantiles_")?;
    let count = values.len() / columns;
    let references = part.vector("references_", count)?;
    let quantiles: Vec<Vec<f64>> = (0..columns)
        .map(|column| {
            values
                .iter()
                .skip(column)
                .step_by(columns)
                .copied()
                .collect()
        })
        .collect();
    if quantiles.iter().any(|column| !column.is_sorted()) || !references.is_sorted() {
        return Err(part.damaged("expected growing numbers in `quantiles_`"));
    }
    let step = Quantiles {
        intake: Intake {
            features: Some(columns),
            ..part.lenient_intake()
        },
        quantiles,
        references,
        blurred: part.version() < (0, 21),
    };
    Ok(Step::new(step, Some(columns), Some(columns)))
}

impl Quantiles {
    /// The mean of looking from below and from above, which differ where quantiles repeat.
    fn apply(&self, value: f64, quantiles: &[f64], back: (&[f64], &[f64])) -> f64 {
        let (Some(lowest), Some(highest)) = (quantiles.first(), quantiles.last()) else {
            return f64::NAN;
        };
        if value.is_nan() {
            value
        } else if self.blurred && value - BLUR < *lowest {
            KEPT
        } else if self.blurred && value + BLUR > *highest {
            1.0 - KEPT
        } else if value == *highest {
            1.0
        } else if value == *lowest {
            0.0
        } else {
            let from_below = interpolate(value, quantiles, &self.references);
            let mean = 0.5 * (from_below - interpolate(-value, back.0, back.1));
            match self.blurred {
                true => mean.clamp(KEPT, 1.0 - KEPT),
                false => mean,
            }
        }
    }
}

impl Transform for Quantiles {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = rows.precision();
        let back = |values: &[f64]| {
            values
                .iter()
                .rev()
                .map(|value| -value)
                .collect::<Vec<f64>>()
        };
        let reversed: Vec<Vec<f64>> = self.quantiles.iter().map(|column| back(column)).collect();
        let references = back(&self.references);
        let matrix = rows.map(self.quantiles.len(), precision, |row, out| {
            let columns = row.iter().zip(self.quantiles.iter().zip(&reversed));
            out.extend(columns.map(|(value, (quantiles, reversed))| {
                let value = self.apply(*value, quantiles, (reversed, &references));
                round(value, precision)
            }));
        })?;
        Ok(matrix.into())
    }
}
