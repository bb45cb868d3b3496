//! `StandardScaler`.

use crate::{Matrix, Precision};

/// Subtracts a mean from each column, then divides it by a scale.
#[derive(Debug, Clone)]
pub(crate) struct Scaler {
    columns: usize,
    mean: Option<Vec<f64>>,
    scale: Option<Vec<f64>>,
    rounds_parameters: bool,
}

impl Scaler {
    pub(crate) fn new(
        columns: usize,
        mean: Option<Vec<f64>>,
        scale: Option<Vec<f64>>,
        rounds_parameters: bool,
    ) -> Option<Self> {
        let fits = |values: &Option<Vec<f64>>| {
            values.as_ref().is_none_or(|values| values.len() == columns)
        };
        (columns > 0 && fits(&mean) && fits(&scale)).then_some(Self {
            columns,
            mean,
            scale,
            rounds_parameters,
        })
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Works in place. A single precision array stays one: numpy computes in double precision and rounds each step.
    pub(crate) fn apply(&self, rows: &mut Matrix) {
        let single = rows.precision() == Precision::Single;
        let round = |value: f64| {
            if single {
                f64::from(value as f32)
            } else {
                value
            }
        };
        let parameter = |value: f64| {
            if self.rounds_parameters {
                round(value)
            } else {
                value
            }
        };
        for row in rows.values_mut().chunks_exact_mut(self.columns) {
            if let Some(mean) = &self.mean {
                row.iter_mut()
                    .zip(mean)
                    .for_each(|(value, mean)| *value = round(*value - parameter(*mean)));
            }
            if let Some(scale) = &self.scale {
                row.iter_mut()
                    .zip(scale)
                    .for_each(|(value, scale)| *value = round(*value / parameter(*scale)));
            }
        }
    }
}
