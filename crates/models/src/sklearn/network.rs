//! `MLPClassifier` and `MLPRegressor`

use super::part::Part;
use super::several::yes_or_no;
use crate::data::{Data, Intake, Rows};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{Linear, argmax, expit, normalise};
use crate::matrix::round;
use crate::predictor::Output;
use crate::{InputError, LoadError, Matrix, Precision};
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activation {
    Identity,
    Logistic,
    Tanh,
    Relu,
    Softmax,
    Exponential,
}

#[derive(Debug)]
struct Network {
    intake: Intake,
    layers: Vec<Linear>,
    hidden: Activation,
    output: Activation,
    classifies: bool,
    /// Whether a row has any number of labels.
    several: bool,
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let binarizer = match part.name() {
        "MLPClassifier" => Some(part.part("_label_binarizer")?),
        _ => None,
    };
    let several = binarizer
        .as_ref()
        .is_some_and(|binarizer| binarizer.text("y_type_") == Some("multilabel-indicator"));
    let classes = match (&binarizer, part.attribute("classes_")) {
        (Some(_), Some(_)) => Some(part.labels()?),
        (Some(binarizer), None) => Some(binarizer.labels()?),
        (None, _) => None,
    };
    let (weights, offsets) = (part.list("coefs_")?, part.list("intercepts_")?);
    if weights.is_empty() || weights.len() != offsets.len() {
        return Err(part.damaged("expected `intercepts_` for each of `coefs_`"));
    }
    let mut layers: Vec<Linear> = Vec::new();
    for (weights, offsets) in weights.iter().zip(offsets) {
        let array = part.array_at(*weights, "coefs_")?;
        let [inputs, outputs] = array.shape.as_slice() else {
            return Err(part.damaged("expected a matrix in `coefs_`"));
        };
        let (inputs, outputs) = (*inputs, *outputs);
        let single = array.dtype.size == 4;
        let values = part.numbers_at(*weights, "coefs_")?;
        let offsets = part.numbers_at(*offsets, "intercepts_")?;
        // scikit-learn keeps one column for each output; here it is one row.
        let row = |output: usize| values.iter().skip(output).step_by(outputs.max(1)).copied();
        let rows = (0..outputs).flat_map(row).collect();
        let precision = if single {
            Precision::Single
        } else {
            Precision::Double
        };
        if layers.last().is_some_and(|layer| layer.outputs() != inputs) || offsets.len() != outputs
        {
            return Err(part.damaged("expected layers that fit to each other"));
        }
        let layer = Linear::new(rows, offsets, inputs, precision);
        layers.push(layer.ok_or_else(|| part.damaged("expected layers that are not empty"))?);
    }
    let output = activation(part, "out_activation_")?;
    let outputs = layers.last().map_or(0, Linear::outputs);
    if let Some(classes) = &classes {
        let (expected, fitting) = match classes.len() {
            count if several => (count, Activation::Logistic),
            2 => (1, Activation::Logistic),
            count => (count, Activation::Softmax),
        };
        if outputs != expected || output != fitting {
            return Err(part.damaged("expected an output for each class, one for two"));
        }
    }
    let classes = match classes {
        Some(_) if several => Some(yes_or_no()),
        classes => classes,
    };
    let features = layers.first().map(Linear::features);
    let model = Network {
        intake: part.intake(),
        layers,
        hidden: activation(part, "activation")?,
        output,
        classifies: classes.is_some(),
        several,
    };
    Ok(Fitted::new(model, features, classes))
}

fn activation(part: &Part<'_, '_>, name: &str) -> Result<Activation, LoadError> {
    Ok(match part.text(name) {
        Some("identity") => Activation::Identity,
        Some("logistic") => Activation::Logistic,
        Some("tanh") => Activation::Tanh,
        Some("relu") => Activation::Relu,
        Some("softmax") => Activation::Softmax,
        Some("exp") => Activation::Exponential,
        _ => return Err(part.unknown(name)),
    })
}

impl Activation {
    fn apply(self, row: &mut [f64], precision: Precision) {
        let each = |row: &mut [f64], function: fn(f64) -> f64| {
            row.iter_mut()
                .for_each(|value| *value = round(function(*value), precision));
        };
        match self {
            Self::Identity => {}
            Self::Logistic => each(row, expit),
            Self::Tanh => each(row, f64::tanh),
            Self::Relu => each(row, |value| value.max(0.0)),
            Self::Exponential => each(row, f64::exp),
            Self::Softmax => {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.iter_mut()
                    .for_each(|value| *value = round((*value - largest).exp(), precision));
                normalise(row);
                row.iter_mut()
                    .for_each(|value| *value = round(*value, precision));
            }
        }
    }
}

impl Network {
    fn forward(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut rows = self.intake.numbers(data)?;
        let count = rows.count();
        let mut grid = Grid::double(Vec::new(), 1);
        for (index, layer) in self.layers.iter().enumerate() {
            let precision = layer.precision(&rows);
            let mut values = layer.decide(&rows);
            let columns = layer.outputs();
            let last = index + 1 == self.layers.len();
            let activation = if last { self.output } else { self.hidden };
            for row in values.chunks_exact_mut(columns) {
                activation.apply(row, precision);
            }
            if last {
                grid = Grid {
                    values,
                    columns,
                    precision,
                };
            } else {
                let matrix = Matrix::new(values, count, columns, precision);
                rows = Rows::Dense(Cow::Owned(matrix.ok_or(InputError::TooLarge)?));
            }
        }
        Ok(grid)
    }
}

impl Predict for Network {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let grid = self.forward(data)?;
        if self.several {
            return Ok(Output::ClassTable {
                classes: grid.values.iter().map(|v| u32::from(*v > 0.5)).collect(),
                columns: grid.columns,
            });
        }
        if self.classifies {
            let class = |row: &[f64]| match row {
                [value] => u32::from(*value > 0.5),
                row => argmax(row.iter().copied()),
            };
            return Ok(Output::Classes(grid.rows().map(class).collect()));
        }
        Ok(if grid.columns == 1 {
            Output::Values(grid.values, grid.precision)
        } else {
            grid.into()
        })
    }

    fn has_probabilities(&self) -> bool {
        self.classifies
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let grid = self.forward(data)?;
        if grid.columns > 1 || self.several {
            return Ok(grid);
        }
        let pairs = grid.values.iter();
        let pairs = pairs.flat_map(|value| [round(1.0 - value, grid.precision), *value]);
        Ok(Grid {
            values: pairs.collect(),
            columns: 2,
            precision: grid.precision,
        })
    }
}
