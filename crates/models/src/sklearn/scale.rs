//! Scalers: each column, or each row, by itself.

use super::part::Part;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Step, Transform};
use crate::kernels::sum;
use crate::matrix::round;
use crate::{InputError, LoadError, Precision};

/// What happens to the values of each column, one after the other. numpy rounds after each.
#[derive(Debug)]
enum Operation {
    Add(Vec<f64>),
    Subtract(Vec<f64>),
    Multiply(Vec<f64>),
    Divide(Vec<f64>),
    Clip(f64, f64),
}

#[derive(Debug)]
struct Columns {
    intake: Intake,
    operations: Vec<Operation>,
    /// Whether numpy rounds the parameters to the precision of the rows first.
    rounds_parameters: bool,
}

fn columns(
    part: &Part<'_, '_>,
    operations: Vec<Operation>,
    rounds_parameters: bool,
) -> Result<Step, LoadError> {
    let lengths = operations.iter().filter_map(|operation| match operation {
        Operation::Add(values)
        | Operation::Subtract(values)
        | Operation::Multiply(values)
        | Operation::Divide(values) => Some(values.len()),
        Operation::Clip(..) => None,
    });
    let features = part.features().or_else(|| lengths.clone().next());
    let Some(features) = features.filter(|features| *features > 0) else {
        return Err(part.damaged("expected at least one feature"));
    };
    if lengths.clone().any(|length| length != features) {
        return Err(part.damaged(format!(
            "expected {features} parameters, one for each feature"
        )));
    }
    let step = Columns {
        intake: Intake {
            features: Some(features),
            ..part.lenient_intake()
        },
        operations,
        rounds_parameters,
    };
    Ok(Step::new(step, Some(features), Some(features)))
}

fn parameters(
    part: &Part<'_, '_>,
    switch: &str,
    name: &str,
) -> Result<Option<Vec<f64>>, LoadError> {
    match part.truth(switch) {
        Some(false) => Ok(None),
        _ => part.vector(name, part.array(name)?.count()).map(Some),
    }
}

/// `StandardScaler`: `mean_` and `scale_` are there as `with_mean` and `with_std` say.
pub(super) fn standard(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let mean = parameters(part, "with_mean", "mean_")?.map(Operation::Subtract);
    let scale = parameters(part, "with_std", "scale_")?.map(Operation::Divide);
    // From scikit-learn 1.8 on the parameters are rounded to single precision first when the input is.
    let operations = [mean, scale].into_iter().flatten().collect();
    columns(part, operations, part.version() >= (1, 8))
}

/// `MinMaxScaler`
pub(super) fn min_max(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let count = part.array("scale_")?.count();
    let mut operations = vec![
        Operation::Multiply(part.vector("scale_", count)?),
        Operation::Add(part.vector("min_", count)?),
    ];
    if part.truth("clip") == Some(true) {
        let graph = part.graph();
        let range: Vec<f64> = part
            .list("feature_range")?
            .iter()
            .filter_map(|id| graph.float(*id))
            .collect();
        match range.as_slice() {
            [low, high] if low <= high => operations.push(Operation::Clip(*low, *high)),
            _ => return Err(part.damaged("expected two numbers in `feature_range`")),
        }
    }
    columns(part, operations, false)
}

/// `MaxAbsScaler`
pub(super) fn max_abs(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let scale = part.vector("scale_", part.array("scale_")?.count())?;
    columns(part, vec![Operation::Divide(scale)], false)
}

/// `RobustScaler`
pub(super) fn robust(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let center = parameters(part, "with_centering", "center_")?.map(Operation::Subtract);
    let scale = parameters(part, "with_scaling", "scale_")?.map(Operation::Divide);
    columns(part, [center, scale].into_iter().flatten().collect(), false)
}

impl Transform for Columns {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = rows.precision();
        let parameter = |value: f64| {
            if self.rounds_parameters {
                round(value, precision)
            } else {
                value
            }
        };
        match rows {
            Rows::Dense(rows) => {
                let mut rows = rows.into_owned();
                let columns = rows.columns();
                for row in rows.values_mut().chunks_exact_mut(columns) {
                    for operation in &self.operations {
                        operation.apply(row, |value| round(value, precision), parameter);
                    }
                }
                Ok(rows.into())
            }
            // Only what keeps zeros: scikit-learn refuses the rest, and multiplies by the reciprocal.
            Rows::Sparse(rows) => {
                let mut rows = rows.into_owned();
                for operation in &self.operations {
                    let Operation::Divide(scale) = operation else {
                        return Err(InputError::Domain {
                            estimator: self.intake.estimator.clone(),
                            what: "sparse rows when it moves zeros: set with_mean=False".to_owned(),
                        });
                    };
                    for (column, value) in rows.entries_mut() {
                        let scale = usize::try_from(*column).ok().and_then(|at| scale.get(at));
                        *value = round(*value * (1.0 / scale.copied().unwrap_or(1.0)), precision);
                    }
                }
                Ok(rows.into())
            }
        }
    }
}

impl Operation {
    fn apply(&self, row: &mut [f64], round: impl Fn(f64) -> f64, parameter: impl Fn(f64) -> f64) {
        let each = |row: &mut [f64], with: &[f64], f: fn(f64, f64) -> f64| {
            row.iter_mut()
                .zip(with)
                .for_each(|(value, with)| *value = round(f(*value, parameter(*with))));
        };
        match self {
            Self::Add(values) => each(row, values, |value, with| value + with),
            Self::Subtract(values) => each(row, values, |value, with| value - with),
            Self::Multiply(values) => each(row, values, |value, with| value * with),
            Self::Divide(values) => each(row, values, |value, with| value / with),
            Self::Clip(low, high) => row.iter_mut().for_each(|value| {
                if !value.is_nan() {
                    *value = value.clamp(*low, *high);
                }
            }),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Norm {
    Absolute,
    Square,
    Largest,
    /// The largest value with its sign, as `max` was until 0.22.
    Highest,
}

#[derive(Debug)]
struct Normalizer {
    intake: Intake,
    norm: Norm,
}

/// `Normalizer`
pub(super) fn normalizer(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let norm = Norm::read(part)?;
    let intake = part.intake();
    let features = intake.features;
    Ok(Step::new(Normalizer { intake, norm }, features, features))
}

impl Transform for Normalizer {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = rows.precision();
        match rows {
            Rows::Dense(rows) => {
                let mut rows = rows.into_owned();
                let columns = rows.columns().max(1);
                for row in rows.values_mut().chunks_exact_mut(columns) {
                    let norm = self.norm.of(row);
                    let norm = round(if norm == 0.0 { 1.0 } else { norm }, precision);
                    row.iter_mut()
                        .for_each(|value| *value = round(*value / norm, precision));
                }
                Ok(rows.into())
            }
            Rows::Sparse(rows) => {
                let columns = rows.columns();
                let divide = |row: &mut [(u32, f64)]| self.norm.divide(row, columns, precision);
                Ok(rows.map_rows(divide).into())
            }
        }
    }
}

impl Norm {
    /// The norm in `norm`.
    pub(super) fn read(part: &Part<'_, '_>) -> Result<Self, LoadError> {
        match part.text("norm") {
            Some("l1") => Ok(Self::Absolute),
            Some("l2") => Ok(Self::Square),
            Some("max") if part.version() < (0, 23) => Ok(Self::Highest),
            Some("max") => Ok(Self::Largest),
            _ => Err(part.unknown("norm")),
        }
    }

    /// Divides the entries of a sparse row of so many columns by their norm, unless that is zero.
    pub(super) fn divide(self, row: &mut [(u32, f64)], columns: usize, precision: Precision) {
        let values = row.iter().map(|(_, value)| *value);
        let norm = match self {
            Self::Absolute => values.fold(0.0, |sum, value| sum + value.abs()),
            Self::Square => values.fold(0.0, |sum, value| sum + value * value).sqrt(),
            Self::Largest => values.fold(0.0, |largest, value| value.abs().max(largest)),
            Self::Highest => {
                let zero = (row.len() < columns).then_some(0.0);
                zero.into_iter()
                    .chain(values)
                    .fold(f64::NEG_INFINITY, f64::max)
            }
        };
        if norm != 0.0 {
            row.iter_mut()
                .for_each(|(_, value)| *value = round(*value / norm, precision));
        }
    }

    fn of(self, row: &[f64]) -> f64 {
        match self {
            Self::Absolute => sum(&row.iter().map(|value| value.abs()).collect::<Vec<_>>()),
            Self::Square => row
                .iter()
                .fold(0.0, |sum, value| sum + value * value)
                .sqrt(),
            Self::Largest => row
                .iter()
                .fold(0.0, |largest, value| value.abs().max(largest)),
            Self::Highest => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

#[derive(Debug)]
struct Binarizer {
    intake: Intake,
    threshold: f64,
}

/// `Binarizer`
pub(super) fn binarizer(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let intake = part.intake();
    let features = intake.features;
    let threshold = part.scalar("threshold")?;
    Ok(Step::new(
        Binarizer { intake, threshold },
        features,
        features,
    ))
}

impl Transform for Binarizer {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        // numpy compares with a threshold in the precision of the rows.
        let threshold = round(self.threshold, rows.precision());
        let mut rows = rows.dense()?.into_owned();
        rows.values_mut()
            .iter_mut()
            .for_each(|value| *value = f64::from(u8::from(*value > threshold)));
        Ok(rows.into())
    }
}
