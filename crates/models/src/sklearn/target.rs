//! `TransformedTargetRegressor` and `RANSACRegressor`: a regressor inside of another.

use super::function::Function;
use super::part::Part;
use super::{predicting, wrapped};
use crate::data::Data;
use crate::flow::{Fitted, Flow, Predict};
use crate::predictor::Output;
use crate::{InputError, LoadError};

/// `RANSACRegressor`
pub(super) fn read_ransac(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    wrapped(part, "estimator_")
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let flow = predicting(&part.part("regressor_")?)?;
    let inner = part.part("transformer_")?;
    let vector = |name: &str| inner.vector(name, inner.array(name)?.count());
    let switched = |switch: &str| inner.truth(switch) != Some(false);
    let mut back = Vec::new();
    match inner.kind() {
        ("sklearn.preprocessing", "StandardScaler") => {
            if switched("with_std") {
                back.push(Back::Multiply(vector("scale_")?));
            }
            if switched("with_mean") {
                back.push(Back::Add(vector("mean_")?));
            }
        }
        ("sklearn.preprocessing", "MinMaxScaler") => {
            back.push(Back::Subtract(vector("min_")?));
            back.push(Back::Divide(vector("scale_")?));
        }
        ("sklearn.preprocessing", "MaxAbsScaler") => back.push(Back::Multiply(vector("scale_")?)),
        ("sklearn.preprocessing", "RobustScaler") => {
            if switched("with_scaling") {
                back.push(Back::Multiply(vector("scale_")?));
            }
            if switched("with_centering") {
                back.push(Back::Add(vector("center_")?));
            }
        }
        ("sklearn.preprocessing", "FunctionTransformer") => {
            back.push(Back::Apply(Function::read(&inner, "inverse_func")?));
        }
        _ => return Err(inner.unsupported()),
    }
    let takes = flow.takes();
    Ok(Fitted::new(Target { flow, back }, takes, None))
}

/// A step back from the transformed values to those of the target, by column.
#[derive(Debug)]
enum Back {
    Add(Vec<f64>),
    Subtract(Vec<f64>),
    Multiply(Vec<f64>),
    Divide(Vec<f64>),
    Apply(Function),
}

impl Back {
    fn apply(&self, value: f64, column: usize) -> f64 {
        let at = |values: &[f64]| values.get(column).copied().unwrap_or(f64::NAN);
        match self {
            Self::Add(values) => value + at(values),
            Self::Subtract(values) => value - at(values),
            Self::Multiply(values) => value * at(values),
            Self::Divide(values) => value / at(values),
            Self::Apply(function) => function.apply(value),
        }
    }
}

#[derive(Debug)]
struct Target {
    flow: Flow,
    back: Vec<Back>,
}

impl Predict for Target {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let mut output = self.flow.predict(data)?;
        let (values, columns) = match &mut output {
            Output::Values(values, _) => (values, 1),
            Output::Table {
                values, columns, ..
            } => (values, *columns),
            Output::Classes(_) | Output::ClassTable { .. } => return Err(InputError::NoPrediction),
        };
        for (index, value) in values.iter_mut().enumerate() {
            for step in &self.back {
                *value = step.apply(*value, index % columns.max(1));
            }
        }
        Ok(output)
    }
}
