//! An estimator inside of another.

use super::part::Part;
use super::predicting;
use crate::data::{Data, Rows};
use crate::flow::{Flow, Grid};
use crate::kernels::argmax;
use crate::labels::Labels;
use crate::predictor::Output;
use crate::{InputError, LoadError};
use std::borrow::Cow;

/// A classifier that was fitted on the classes of the one around it, or on their numbers.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) flow: Flow,
    /// The class of the outer classifier for each of the inner one.
    places: Vec<u32>,
    /// Columns that it sees, where these are not all.
    columns: Option<Vec<usize>>,
    outer: usize,
}

impl Member {
    /// A classifier whose classes are those in `outer`.
    pub(super) fn of(part: &Part<'_, '_>, outer: &Labels) -> Result<Self, LoadError> {
        Self::new(part, outer.len(), |inner, index| {
            outer.position(inner, index)
        })
    }

    /// A classifier whose classes are the numbers below `outer`.
    pub(super) fn numbered(part: &Part<'_, '_>, outer: usize) -> Result<Self, LoadError> {
        Self::new(part, outer, |inner, index| match inner {
            Labels::Integers(values, _) => usize::try_from(*values.get(index)?).ok(),
            Labels::Floats(values) => {
                let value = *values.get(index)?;
                (value >= 0.0 && value.fract() == 0.0).then_some(value as usize)
            }
            Labels::Booleans(values) => values.get(index).map(|truth| usize::from(*truth)),
            Labels::Strings(_) => None,
        })
    }

    fn new(
        part: &Part<'_, '_>,
        outer: usize,
        place: impl Fn(&Labels, usize) -> Option<usize>,
    ) -> Result<Self, LoadError> {
        let flow = predicting(part)?;
        let Some(classes) = flow.classes() else {
            return Err(part.damaged("expected a classifier"));
        };
        let places = (0..classes.len()).map(|index| {
            let place = place(classes, index).filter(|place| *place < outer)?;
            u32::try_from(place).ok()
        });
        let places: Option<Vec<u32>> = places.collect();
        let places = places.ok_or_else(|| part.damaged("its classes are not those around it"))?;
        Ok(Self {
            flow,
            places,
            columns: None,
            outer,
        })
    }

    pub(super) fn with_columns(self, columns: Option<Vec<usize>>) -> Self {
        Self { columns, ..self }
    }

    /// The outer class of each row.
    pub(super) fn classes(&self, data: &Data<'_>) -> Result<Vec<u32>, InputError> {
        match self.flow.predict(seen(data, self.columns.as_deref())?)? {
            Output::Classes(classes) => {
                let place = |class: &u32| {
                    let index = usize::try_from(*class).unwrap_or(usize::MAX);
                    self.places.get(index).copied().unwrap_or(0)
                };
                Ok(classes.iter().map(place).collect())
            }
            _ => Err(InputError::NoPrediction),
        }
    }

    /// Whether it decides between all outer classes.
    pub(super) fn decides(&self) -> bool {
        self.places.len() == self.outer && self.flow.has_decisions()
    }

    pub(super) fn decisions(&self, data: &Data<'_>) -> Result<Vec<f64>, InputError> {
        let seen = seen(data, self.columns.as_deref())?;
        let decisions = self.flow.decisions(seen)?;
        decisions
            .map(|grid| grid.values)
            .ok_or(InputError::NoPrediction)
    }

    /// A probability for each outer class.
    pub(super) fn probabilities(&self, data: &Data<'_>) -> Result<Grid, InputError> {
        let inner = self
            .flow
            .probabilities(seen(data, self.columns.as_deref())?)?;
        let same =
            self.places.len() == self.outer && (0_u32..).zip(&self.places).all(|(a, b)| a == *b);
        if same {
            return Ok(inner);
        }
        let mut values = Vec::new();
        for row in inner.rows() {
            let start = values.len();
            values.resize(start + self.outer, 0.0);
            for (value, place) in row.iter().zip(&self.places) {
                let place = usize::try_from(*place).unwrap_or(usize::MAX);
                if let Some(cell) = values.get_mut(start.saturating_add(place)) {
                    *cell = *value;
                }
            }
        }
        Ok(Grid::double(values, self.outer))
    }
}

/// The values that a regressor answers, one or more for each row.
pub(super) fn values(flow: &Flow, data: Data<'_>) -> Result<Vec<f64>, InputError> {
    match flow.predict(data)? {
        Output::Values(values, _) | Output::Table { values, .. } => Ok(values),
        Output::Classes(_) | Output::ClassTable { .. } => Err(InputError::NoPrediction),
    }
}

/// What a member sees of the data.
pub(super) fn seen<'d>(
    data: &'d Data<'_>,
    columns: Option<&[usize]>,
) -> Result<Data<'d>, InputError> {
    match (columns, data) {
        (None, _) => Ok(data.by_ref()),
        (Some(columns), Data::Rows(rows)) => rows.select(columns).map(Data::Rows),
        (Some(_), Data::Table(_)) => Err(InputError::NoPrediction),
    }
}

/// Rows of numbers as data, borrowed.
pub(super) fn borrowed<'d>(rows: &'d Rows<'_>) -> Data<'d> {
    Data::Rows(match rows {
        Rows::Dense(matrix) => Rows::Dense(Cow::Borrowed(matrix)),
        Rows::Sparse(sparse) => Rows::Sparse(Cow::Borrowed(sparse)),
    })
}

/// The class with the largest value in each row.
pub(super) fn largest(grid: &Grid) -> Output {
    Output::Classes(grid.rows().map(|row| argmax(row.iter().copied())).collect())
}
