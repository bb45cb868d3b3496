//! A compiled model.

use crate::data::{Data, Input};
use crate::flow::{Flow, Grid};
use crate::labels::Labels;
use crate::{InputError, Matrix, Precision};

/// An estimator inside a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// Where it is, such as `steps[1].estimators_[0]`.
    pub place: String,
    /// The full dotted name of its class, as the file has it.
    pub class: String,
    /// Estimators that it is inside of.
    pub depth: usize,
}

/// What a model file says about its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The full dotted name of the outermost class, as the file has it.
    pub class: String,
    /// The short name of the outermost class.
    pub estimator: String,
    /// The version of scikit-learn that wrote the file.
    pub sklearn_version: Option<String>,
    /// The number of columns that the model expects; 1 for a model of texts.
    pub features: usize,
    /// The names of the columns, if the model was fitted on named ones.
    pub feature_names: Option<Vec<String>>,
    /// The estimators inside it, each before those inside of it. Trees of a forest are none.
    pub parts: Vec<Inner>,
    /// Bytes of what it computes with, where they were counted.
    pub compiled_bytes: Option<usize>,
}

/// What a model says about rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The class of each row, as an index into [`Predictor::classes`].
    Classes(Vec<u32>),
    /// The class of each output of each row, as indices into [`Predictor::classes`].
    ClassTable {
        /// The indices in row-major order.
        classes: Vec<u32>,
        /// Outputs of a row.
        columns: usize,
    },
    /// One number for each row.
    Values(Vec<f64>, Precision),
    /// A matrix with one row for each row, such as one probability for each class.
    Table {
        /// The values in row-major order.
        values: Vec<f64>,
        /// Values in a row.
        columns: usize,
        /// Whether the values are of single precision.
        precision: Precision,
    },
}

/// A model that can be asked. Everything in it was validated when it was loaded: asking it fails only for rows that the
/// model does not take, and never panics.
#[derive(Debug, Clone)]
pub struct Predictor {
    about: About,
    flow: Flow,
}

impl Predictor {
    pub(crate) fn new(about: About, flow: Flow) -> Self {
        Self { about, flow }
    }

    /// What the file says about the model.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The number of columns that the model expects.
    pub fn features(&self) -> usize {
        self.about.features
    }

    /// The classes of a classifier, the numbers of clusters.
    pub fn classes(&self) -> Option<&Labels> {
        self.flow.classes()
    }

    /// Whether the model takes one text for each row.
    pub fn takes_texts(&self) -> bool {
        self.flow.takes_texts()
    }

    /// Whether the model predicts: a pipeline may end in a transformer.
    pub fn predicts(&self) -> bool {
        self.flow.last.is_some()
    }

    /// The class (of a classifier) or values (of a regressor) of each row.
    ///
    /// # Errors
    /// Rows that the model does not take, or a model that only transforms.
    pub fn predict<'i>(&self, rows: impl Into<Input<'i>>) -> Result<Output, InputError> {
        self.flow.predict(rows.into().into())
    }

    /// Whether the model has probabilities: an SVC only has them if it was fitted with `probability=True`.
    pub fn has_probabilities(&self) -> bool {
        self.classes().is_some() && self.flow.has_probabilities()
    }

    /// The probability of each class for each row.
    ///
    /// # Errors
    /// Rows that the model does not take, or a model without probabilities.
    pub fn predict_proba<'i>(&self, rows: impl Into<Input<'i>>) -> Result<Output, InputError> {
        match self.classes() {
            Some(_) if self.flow.has_probabilities() => self
                .flow
                .probabilities(rows.into().into())
                .map(Output::from),
            _ => Err(InputError::NoProbabilities {
                estimator: self.about.estimator.clone(),
            }),
        }
    }

    /// Whether the model has a decision function.
    pub fn decides(&self) -> bool {
        self.flow.has_decisions()
    }

    /// scikit-learn's `decision_function`: one value for each row of two classes, else a table. `None` for models that
    /// have none.
    ///
    /// # Errors
    /// Rows that the model does not take.
    pub fn decision_function<'i>(
        &self,
        rows: impl Into<Input<'i>>,
    ) -> Result<Option<Output>, InputError> {
        let decisions = self.flow.decisions(rows.into().into())?;
        Ok(decisions.map(Grid::into_output))
    }

    /// What the steps make of rows, for a pipeline that ends in a transformer.
    ///
    /// # Errors
    /// Rows that a step does not take, or a result that is too large or holds text.
    pub fn transform<'i>(&self, rows: impl Into<Input<'i>>) -> Result<Matrix, InputError> {
        match self.flow.run(rows.into().into())? {
            Data::Rows(rows) => rows.dense().map(std::borrow::Cow::into_owned),
            Data::Table(_) => Err(InputError::NotNumbers {
                estimator: self.about.estimator.clone(),
            }),
        }
    }
}
