//! A compiled model.

use crate::kernels::{Model, Scaler};
use crate::labels::Labels;
use crate::{InputError, Matrix, Precision};
use std::borrow::Cow;

/// What a model file says about its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The full dotted name of the outermost class, as the file has it.
    pub class: String,
    /// The short name of the outermost class.
    pub estimator: String,
    /// The version of scikit-learn that wrote the file.
    pub sklearn_version: Option<String>,
    /// The number of columns that the model expects.
    pub features: usize,
    /// The names of the columns, if the model was fitted on named ones.
    pub feature_names: Option<Vec<String>>,
}

/// What a model says about rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The class of each row, as an index into [`Predictor::classes`].
    Classes(Vec<u32>),
    /// One number for each row.
    Values(Vec<f64>),
    /// A matrix with one row for each row, such as one probability for each class.
    Table {
        /// The values in row-major order.
        values: Vec<f64>,
        /// Values in a row.
        columns: usize,
    },
}

/// A model that can be asked. Everything in it was validated when it was loaded: asking it fails only for rows that the
/// model does not take, and never panics.
#[derive(Debug, Clone)]
pub struct Predictor {
    about: About,
    steps: Vec<Scaler>,
    model: Model,
    classes: Option<Labels>,
}

impl Predictor {
    pub(crate) fn new(
        about: About,
        steps: Vec<Scaler>,
        model: Model,
        classes: Option<Labels>,
    ) -> Self {
        Self {
            about,
            steps,
            model,
            classes,
        }
    }

    /// What the file says about the model.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The number of columns that the model expects.
    pub fn features(&self) -> usize {
        self.about.features
    }

    /// The classes of a classifier.
    pub fn classes(&self) -> Option<&Labels> {
        self.classes.as_ref()
    }

    /// The class (of a classifier) or value (of a regressor) of each row.
    ///
    /// # Errors
    /// Rows that the model does not take.
    pub fn predict(&self, rows: &Matrix) -> Result<Output, InputError> {
        let rows = self.prepare(rows)?;
        Ok(match self.classes {
            Some(_) => Output::Classes(self.model.classify(&rows)),
            None => Output::Values(self.model.regress(&rows)),
        })
    }

    /// Whether the model has probabilities: an SVC only has them if it was fitted with `probability=True`.
    pub fn has_probabilities(&self) -> bool {
        self.classes.is_some() && self.model.has_probabilities()
    }

    /// The probability of each class for each row.
    ///
    /// # Errors
    /// Rows that the model does not take, or a model without probabilities.
    pub fn predict_proba(&self, rows: &Matrix) -> Result<Output, InputError> {
        match &self.classes {
            Some(classes) if self.model.has_probabilities() => {
                let values = self.model.probabilities(self.prepare(rows)?.as_ref());
                Ok(Output::Table {
                    values,
                    columns: classes.len(),
                })
            }
            _ => Err(InputError::NoProbabilities {
                estimator: self.about.estimator.clone(),
            }),
        }
    }

    /// scikit-learn's `decision_function`: one value for each row of two classes, else a table. `None` for models that
    /// have none.
    ///
    /// # Errors
    /// Rows that the model does not take.
    pub fn decision_function(&self, rows: &Matrix) -> Result<Option<Output>, InputError> {
        let rows = self.prepare(rows)?;
        Ok(self
            .model
            .decisions(&rows)
            .map(|(values, columns)| match columns {
                1 => Output::Values(values),
                _ => Output::Table { values, columns },
            }))
    }

    /// Checks the rows and takes them through the steps before the model.
    fn prepare<'m>(&self, rows: &'m Matrix) -> Result<Cow<'m, Matrix>, InputError> {
        let estimator = || self.about.estimator.clone();
        if rows.rows() == 0 {
            return Err(InputError::Empty {
                columns: rows.columns(),
                estimator: estimator(),
            });
        }
        if rows.columns() != self.about.features {
            return Err(InputError::Features {
                found: rows.columns(),
                expected: self.about.features,
                estimator: estimator(),
            });
        }
        let mut rows = Cow::Borrowed(rows);
        for step in &self.steps {
            check(&rows, rows.precision() == Precision::Single, |_, _| None)?;
            step.apply(rows.to_mut());
        }
        let domain = self.model.domain();
        check(&rows, domain.single, |row, column| {
            (!domain.missing).then(|| InputError::Missing {
                row,
                column,
                estimator: estimator(),
            })
        })?;
        Ok(rows)
    }
}

/// Refuses values that are infinite, in single precision if that is what the estimator computes in, and missing ones as
/// `missing` says.
fn check(
    rows: &Matrix,
    single: bool,
    missing: impl Fn(usize, usize) -> Option<InputError>,
) -> Result<(), InputError> {
    let finite = |value: f64| {
        if single {
            (value as f32).is_finite()
        } else {
            value.is_finite()
        }
    };
    if rows.values().iter().all(|value| finite(*value)) {
        return Ok(());
    }
    for (row, values) in rows.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            if value.is_nan() {
                if let Some(error) = missing(row, column) {
                    return Err(error);
                }
            } else if !finite(*value) {
                return Err(InputError::Infinite {
                    row,
                    column,
                    dtype: if single { "float32" } else { "float64" },
                });
            }
        }
    }
    Ok(())
}
