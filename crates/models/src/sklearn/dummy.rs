//! `DummyClassifier` and `DummyRegressor`: the same answer for every row.

use super::part::Part;
use crate::data::Data;
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::argmax;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

#[derive(Debug)]
struct Constant {
    class: Option<u32>,
    /// The values of a regressor, or a probability for each class.
    values: Vec<f64>,
}

pub(super) fn read_classifier(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let mut values = part.vector("class_prior_", classes.len())?;
    let largest = argmax(values.iter().copied());
    match part.text("strategy") {
        Some("prior") => {}
        Some("most_frequent") => {
            for (index, value) in (0_u32..).zip(&mut values) {
                *value = f64::from(u8::from(index == largest));
            }
        }
        // The others draw at random, or answer a constant that may be no class.
        _ => return Err(part.unknown("strategy")),
    }
    let class = Some(largest);
    Ok(Fitted::new(Constant { class, values }, None, Some(classes)))
}

pub(super) fn read_regressor(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let count = part.array("constant_")?.count();
    let values = part.vector("constant_", count)?;
    if values.is_empty() {
        return Err(part.damaged("expected a value in `constant_`"));
    }
    let class = None;
    Ok(Fitted::new(Constant { class, values }, None, None))
}

impl Constant {
    fn repeated(&self, data: &Data<'_>) -> Vec<f64> {
        self.values.repeat(data.rows())
    }
}

impl Predict for Constant {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(match (self.class, self.values.len()) {
            (Some(class), _) => Output::Classes(vec![class; data.rows()]),
            (None, 1) => Output::Values(self.repeated(&data), Precision::Double),
            (None, columns) => Grid::double(self.repeated(&data), columns).into(),
        })
    }

    fn has_probabilities(&self) -> bool {
        self.class.is_some()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(Grid::double(self.repeated(&data), self.values.len()))
    }
}
