//! A model with a name.

use crate::ModelSettings;
use crate::batch::{Batcher, Batching};
use crate::metrics::Durations;
use crate::write::Style;
use models::{Input, Limits, Predictor};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How a model is served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Answer with probabilities where the model has them, as `PREDICT_PROBA=true` does in KServe.
    pub predict_proba: bool,
    /// What the file may cost.
    pub limits: Limits,
    /// Whether requests are answered together.
    pub batching: Option<Batching>,
}

/// Why a model file cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A name whose ending says that it is no model file.
    #[error(
        "`{file_name}` is not a model that is supported: expected a name ending in .joblib, .pkl, .pickle, .bst, .json, .ubj or .cbm"
    )]
    FileName {
        /// The name given.
        file_name: String,
    },
    /// The file was refused.
    #[error("`{file_name}`: {error}")]
    File {
        /// The name given.
        file_name: String,
        /// Why.
        #[source]
        error: models::LoadError,
    },
}

/// A compiled model under the name that clients use.
#[derive(Debug, Clone)]
pub struct Model {
    name: String,
    predictor: Predictor,
    predict_proba: bool,
    durations: Arc<Durations>,
    batcher: Option<Arc<Batcher>>,
    settings: ModelSettings,
}

/// What there is to know about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The full dotted name of its class.
    pub class: String,
    /// The version of scikit-learn that wrote it.
    pub sklearn_version: Option<String>,
    /// The number of columns that it expects.
    pub features: usize,
    /// The names of the columns, if it knows them.
    pub feature_names: Option<Vec<String>>,
    /// The classes of a classifier, for people.
    pub classes: Option<Vec<String>>,
    /// Whether it answers with probabilities.
    pub answers_probabilities: bool,
}

impl Model {
    /// Reads a model file as it is stored under `file_name`.
    ///
    /// # Errors
    /// Another kind of file, a damaged one, or a model that is not supported.
    pub fn load(
        name: &str,
        file_name: &str,
        bytes: &[u8],
        options: &Options,
    ) -> Result<Self, LoadError> {
        if ![
            ".joblib", ".pkl", ".pickle", ".bst", ".json", ".ubj", ".cbm",
        ]
        .iter()
        .any(|ending| file_name.ends_with(ending))
        {
            return Err(LoadError::FileName {
                file_name: file_name.to_owned(),
            });
        }
        let predictor = models::load(bytes, &options.limits).map_err(|error| LoadError::File {
            file_name: file_name.to_owned(),
            error,
        })?;
        let predict_proba = options.predict_proba && predictor.has_probabilities();
        Ok(Self {
            name: name.to_owned(),
            predictor,
            predict_proba,
            durations: Arc::default(),
            batcher: options
                .batching
                .map(|batching| Arc::new(Batcher::new(batching))),
            settings: ModelSettings::default(),
        })
    }

    /// The same model with what MLServer's settings say of it.
    #[must_use]
    pub fn with_settings(mut self, settings: ModelSettings) -> Self {
        if let Some((rows, milliseconds)) = settings.batch {
            self.batcher = Some(Arc::new(Batcher::new(Batching {
                rows,
                wait: Duration::from_millis(milliseconds),
            })));
        }
        self.settings = settings;
        self
    }

    /// What MLServer's settings say of it.
    pub fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    /// Whether its answers may wait for other requests.
    pub fn waits(&self) -> bool {
        self.batcher.is_some()
    }

    /// The name that clients use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The compiled model.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// What there is to know about the model.
    pub fn describe(&self) -> Description {
        let about = self.predictor.about();
        let classes = self.predictor.classes();
        Description {
            class: about.class.clone(),
            sklearn_version: about.sklearn_version.clone(),
            features: about.features,
            feature_names: about.feature_names.clone(),
            classes: classes.map(|labels| {
                (0..labels.len())
                    .filter_map(|index| labels.show(index))
                    .collect()
            }),
            answers_probabilities: self.predict_proba,
        }
    }

    /// How long its requests took.
    pub(crate) fn durations(&self) -> &Durations {
        &self.durations
    }

    /// The short name of the outermost class, as scikit-learn's messages use it.
    pub(crate) fn estimator(&self) -> &str {
        &self.predictor.about().estimator
    }

    fn say(&self, rows: Input<'_>) -> Result<models::Output, models::InputError> {
        if self.predict_proba {
            self.predictor.predict_proba(rows)
        } else {
            self.predictor.predict(rows)
        }
    }

    /// What the model says about rows, as it is served.
    pub(crate) fn answer(&self, rows: Input<'_>) -> Result<models::Output, models::InputError> {
        match (&self.batcher, rows) {
            (Some(batcher), Input::Matrix(matrix)) => {
                batcher.answer(matrix, |matrix| self.say(matrix.into()))
            }
            _ => self.say(rows),
        }
    }
}

/// The body of a V1 request that the model answers: one row with the right number of columns.
pub fn example_input(model: &Model) -> String {
    if model.predictor.takes_texts() {
        return r#"{"instances":["some text"]}"#.to_owned();
    }
    let mut out = b"{\"instances\":[".to_vec();
    // Values that differ, so that it shows which column is which.
    Style::Compact.list(0..model.predictor.features(), &mut out, |column, out| {
        let tenths = u32::try_from(column % 100).unwrap_or(0);
        Style::Compact.float(f64::from(tenths + 1) / 2.0, out);
    });
    out.extend_from_slice(b"]}");
    String::from_utf8_lossy(&out).into_owned()
}
