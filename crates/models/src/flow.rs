//! Estimators as they are asked: steps, one after the other, and what stands at their end.

use crate::data::Data;
use crate::labels::Labels;
use crate::predictor::Output;
use crate::{InputError, Precision};
use std::fmt::Debug;
use std::sync::Arc;

/// A fitted transformer. It was validated when it was made: it fails only for rows that it does not take.
pub(crate) trait Transform: Debug + Send + Sync {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError>;
}

/// A fitted classifier, regressor or clusterer, validated when it was made.
pub(crate) trait Predict: Debug + Send + Sync {
    /// The index of the class of each row, or the values of a regressor.
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError>;

    fn has_probabilities(&self) -> bool {
        false
    }

    /// One probability for each class, row by row. Asked only of those that have them.
    fn probabilities(&self, _: Data<'_>) -> Result<Grid, InputError> {
        Err(InputError::NoPrediction)
    }

    fn has_decisions(&self) -> bool {
        false
    }

    /// The decision function, one column for two classes. Asked only of those that have one.
    fn decisions(&self, _: Data<'_>) -> Result<Grid, InputError> {
        Err(InputError::NoPrediction)
    }
}

/// Probabilities or decisions: `columns` values for each row.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) values: Vec<f64>,
    pub(crate) columns: usize,
    pub(crate) precision: Precision,
}

/// A transformer with the columns that it takes and gives, where these are known.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) takes: Option<usize>,
    pub(crate) gives: Option<usize>,
    /// Whether it takes one text for each row.
    pub(crate) texts: bool,
}

/// An estimator with a prediction.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub(crate) model: Arc<dyn Predict>,
    /// Columns that it takes, where it says so.
    pub(crate) takes: Option<usize>,
    /// The classes of a classifier, the numbers of clusters.
    pub(crate) classes: Option<Labels>,
    /// The names of the columns, where the model itself keeps them.
    pub(crate) names: Option<Vec<String>>,
}

/// Steps and what is behind them; without, a transformer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    pub(crate) steps: Vec<Step>,
    pub(crate) last: Option<Fitted>,
}

impl Flow {
    /// Columns that the first estimator takes.
    pub(crate) fn takes(&self) -> Option<usize> {
        match self.steps.first() {
            Some(step) => step.takes,
            None => self.last.as_ref().and_then(|last| last.takes),
        }
    }

    /// Whether the first step takes one text for each row.
    pub(crate) fn takes_texts(&self) -> bool {
        self.steps.first().is_some_and(|step| step.texts)
    }

    /// The names of the columns that a model without steps before it keeps.
    pub(crate) fn names(&self) -> Option<&[String]> {
        let last = self.last.as_ref().filter(|_| self.steps.is_empty())?;
        last.names.as_deref()
    }

    /// Columns that the last step gives.
    pub(crate) fn gives(&self) -> Option<usize> {
        self.steps.last().and_then(|step| step.gives)
    }

    pub(crate) fn classes(&self) -> Option<&Labels> {
        self.last.as_ref().and_then(|last| last.classes.as_ref())
    }

    /// The data behind the last step.
    pub(crate) fn run<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        self.steps
            .iter()
            .try_fold(data, |data, step| step.transform.transform(data))
    }

    pub(crate) fn has_probabilities(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| last.model.has_probabilities())
    }

    pub(crate) fn has_decisions(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| last.model.has_decisions())
    }

    pub(crate) fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        match &self.last {
            Some(last) => last.model.predict(self.run(data)?),
            None => Err(InputError::NoPrediction),
        }
    }

    pub(crate) fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        match &self.last {
            Some(last) => last.model.probabilities(self.run(data)?),
            None => Err(InputError::NoPrediction),
        }
    }

    pub(crate) fn decisions(&self, data: Data<'_>) -> Result<Option<Grid>, InputError> {
        match &self.last {
            Some(last) if last.model.has_decisions() => {
                last.model.decisions(self.run(data)?).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A pipeline inside of another estimator is a transformer.
impl Transform for Flow {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        self.run(data)
    }
}

/// A pipeline inside of another estimator that answers for it.
impl Predict for Flow {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        self.predict(data)
    }

    fn has_probabilities(&self) -> bool {
        self.has_probabilities()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.probabilities(data)
    }

    fn has_decisions(&self) -> bool {
        self.has_decisions()
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.decisions(data)?.ok_or(InputError::NoPrediction)
    }
}

impl Fitted {
    pub(crate) fn new(
        model: impl Predict + 'static,
        takes: Option<usize>,
        classes: Option<Labels>,
    ) -> Self {
        Self {
            model: Arc::new(model),
            takes,
            classes,
            names: None,
        }
    }

    pub(crate) fn with_names(self, names: Option<Vec<String>>) -> Self {
        Self { names, ..self }
    }
}

impl Step {
    pub(crate) fn new(
        transform: impl Transform + 'static,
        takes: Option<usize>,
        gives: Option<usize>,
    ) -> Self {
        Self {
            transform: Arc::new(transform),
            takes,
            gives,
            texts: false,
        }
    }

    /// A step that takes one text for each row.
    pub(crate) fn of_texts(transform: impl Transform + 'static, gives: Option<usize>) -> Self {
        Self {
            texts: true,
            ..Self::new(transform, Some(1), gives)
        }
    }
}

impl Grid {
    pub(crate) fn double(values: Vec<f64>, columns: usize) -> Self {
        Self {
            values,
            columns,
            precision: Precision::Double,
        }
    }

    /// One number for each row where there is one column, else a table.
    pub(crate) fn into_output(self) -> Output {
        match self.columns {
            1 => Output::Values(self.values, self.precision),
            _ => self.into(),
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns.max(1))
    }
}

impl From<Grid> for Output {
    fn from(grid: Grid) -> Self {
        Self::Table {
            values: grid.values,
            columns: grid.columns,
            precision: grid.precision,
        }
    }
}
