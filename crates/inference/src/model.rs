//! A model with a name.

use crate::ModelSettings;
use crate::batch::{Batcher, Batching};
use crate::cost::{Cost, Writing};
use crate::graph;
use crate::metrics::Durations;
use crate::probe::{self, Probe};
use crate::records::Asked;
use crate::reply::{Reply, datatype};
use crate::write::Style;
use models::{Graph, GraphReader, Input, InputError, Limits, Output, Predictor};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How a model is served.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Answer with probabilities where the model has them, as `PREDICT_PROBA=true` does in KServe.
    pub predict_proba: bool,
    /// What the file may cost.
    pub limits: Limits,
    /// Whether requests are answered together.
    pub batching: Option<Batching>,
    /// Boosters of XGBoost are estimators for scikit-learn, as in MLServer.
    pub estimators: bool,
    /// What reads graphs of ONNX that are not read here.
    pub graphs: Option<Arc<dyn GraphReader>>,
}

/// Why a model file cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A name whose ending says that it is no model file.
    #[error(
        "`{file_name}` is not a model that is supported: expected a name ending in .joblib, .pkl, .pickle, .skops, .bst, .json, .ubj, .cbm, .bin or .onnx"
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
    engine: Engine,
    predict_proba: bool,
    estimators: bool,
    durations: Arc<Durations>,
    batcher: Option<Arc<Batcher>>,
    probe: Arc<Probe>,
    settings: ModelSettings,
}

/// What answers.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Predictor(Box<Predictor>),
    Graph(Graph),
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
        let refused = |error: models::LoadError| LoadError::File {
            file_name: file_name.to_owned(),
            error,
        };
        let known = [
            ".joblib", ".pkl", ".pickle", ".skops", ".bst", ".json", ".ubj", ".cbm", ".bin",
        ];
        let engine = if file_name.ends_with(".onnx") {
            let graph = match &options.graphs {
                Some(other) => Graph::load_or(bytes, &options.limits, &**other),
                None => Graph::load(bytes, &options.limits),
            };
            Engine::Graph(graph.map_err(refused)?)
        } else if known.iter().any(|ending| file_name.ends_with(ending)) {
            let load = if options.estimators {
                models::load_estimator
            } else {
                models::load
            };
            let predictor = load(bytes, &options.limits).map_err(refused)?;
            Engine::Predictor(Box::new(predictor))
        } else {
            return Err(LoadError::FileName {
                file_name: file_name.to_owned(),
            });
        };
        let predict_proba = match &engine {
            Engine::Predictor(predictor) => options.predict_proba && predictor.has_probabilities(),
            Engine::Graph(_) => false,
        };
        let mut model = Self {
            name: name.to_owned(),
            engine,
            predict_proba,
            estimators: options.estimators,
            durations: Arc::default(),
            batcher: options
                .batching
                .map(|batching| Arc::new(Batcher::new(batching))),
            probe: Arc::default(),
            settings: ModelSettings::default(),
        };
        model.probe = Arc::new(probe::of(&model));
        let columns = model.describe().features;
        model.durations = Arc::new(Durations::of_rows(model.probe.row, columns));
        Ok(model)
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

    /// Whether its answers may wait for other requests, to be asked with them. Graphs are never asked together, for their
    /// outputs need not have a value for each row.
    pub fn waits(&self) -> bool {
        matches!(self.engine, Engine::Predictor(_)) && self.batcher.is_some()
    }

    /// How many nanoseconds a request with such a body will take, see [`Cost::of`]. Of a graph that something else runs
    /// nothing is known, for it may wait.
    pub fn expected(&self, writing: Writing, bytes: usize) -> Option<u64> {
        match &self.engine {
            Engine::Graph(graph) if graph.is_foreign() => None,
            Engine::Graph(_) | Engine::Predictor(_) => self.cost().of(writing, bytes),
        }
    }

    /// The name that clients use.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What there is to know about the model.
    pub fn describe(&self) -> Description {
        let show = |labels: &models::Labels| {
            let labels = (0..labels.len()).filter_map(|index| labels.show(index));
            labels.collect()
        };
        match &self.engine {
            Engine::Predictor(predictor) => {
                let about = predictor.about();
                Description {
                    class: about.class.clone(),
                    sklearn_version: about.sklearn_version.clone(),
                    features: about.features,
                    feature_names: about.feature_names.clone(),
                    classes: predictor.classes().map(show),
                    answers_probabilities: self.predict_proba,
                }
            }
            Engine::Graph(graph) => Description {
                class: "onnx.ModelProto".to_owned(),
                sklearn_version: None,
                features: columns(graph),
                feature_names: graph::names(graph),
                classes: graph
                    .outputs()
                    .iter()
                    .find_map(|port| port.keys.as_ref())
                    .map(show),
                answers_probabilities: false,
            },
        }
    }

    /// What its requests cost.
    pub fn cost(&self) -> &Cost {
        self.durations.cost()
    }

    /// What it said when it was loaded.
    pub(crate) fn probe(&self) -> &Probe {
        &self.probe
    }

    /// How long its requests took.
    pub(crate) fn durations(&self) -> &Durations {
        &self.durations
    }

    /// The short name of the outermost class, as scikit-learn's messages use it.
    pub(crate) fn estimator(&self) -> &str {
        match &self.engine {
            Engine::Predictor(predictor) => &predictor.about().estimator,
            Engine::Graph(_) => "the graph",
        }
    }

    /// The names of the columns that it knows, by which those of a request are put in order. LightGBM's package itself
    /// takes columns as they come, and so does MLServer.
    pub(crate) fn columns(&self) -> Option<Vec<String>> {
        match &self.engine {
            Engine::Predictor(predictor)
                if self.estimators && predictor.about().class == "lightgbm.basic.Booster" =>
            {
                None
            }
            Engine::Predictor(predictor) => predictor.about().feature_names.clone(),
            Engine::Graph(graph) => graph::names(graph),
        }
    }

    /// Whether rows of V1 may have columns that it does not know: KServe's server for LightGBM takes those that it knows.
    pub(crate) fn has_spare_columns(&self) -> bool {
        match &self.engine {
            Engine::Predictor(predictor) => predictor.about().class == "lightgbm.basic.Booster",
            Engine::Graph(_) => false,
        }
    }

    /// Whether a row may be one text.
    pub(crate) fn takes_texts(&self) -> bool {
        match &self.engine {
            Engine::Predictor(predictor) => predictor.takes_texts(),
            Engine::Graph(graph) => {
                let texts = |port: &models::Port| port.element == models::ElementType::Text;
                matches!(graph.inputs(), [port] if texts(port))
            }
        }
    }

    /// What its predictor says about rows, which are not asked together with others.
    pub(crate) fn say(&self, predictor: &Predictor, rows: Input<'_>) -> Result<Output, InputError> {
        if self.predict_proba {
            predictor.predict_proba(rows)
        } else {
            predictor.predict(rows)
        }
    }

    /// What the model says about rows, as it is served: for a predictor with those of other requests, if it waits for them.
    ///
    /// # Errors
    /// Rows that it does not take.
    pub(crate) fn answer(&self, rows: &Asked) -> Result<Reply<'_>, String> {
        match &self.engine {
            Engine::Predictor(predictor) => {
                let say = |rows: Input<'_>| self.say(predictor, rows);
                let output = match (&self.batcher, rows.input()) {
                    (Some(batcher), Input::Matrix(matrix)) => {
                        batcher.answer(matrix, |matrix| say(matrix.into()))
                    }
                    (_, rows) => say(rows),
                };
                let output = output.map_err(|error| error.to_string())?;
                Ok(Reply::Output(output, predictor.classes()))
            }
            Engine::Graph(graph) => {
                let outputs = graph.run(graph::of_rows(graph, rows.input())?);
                let outputs = outputs.map_err(|error| error.to_string())?;
                Ok(Reply::Tensors(graph, outputs))
            }
        }
    }
}

/// Columns that a row has: those of the only input, or one for each.
fn columns(graph: &Graph) -> usize {
    match graph.inputs() {
        [port] => match port.shape.as_deref() {
            Some([_, Some(columns)]) => *columns,
            _ => 1,
        },
        several => several.len(),
    }
}

/// The body of a V1 request that the model answers: one row with the right number of columns.
pub fn example_input(model: &Model) -> String {
    if model.takes_texts() {
        return r#"{"instances":["some text"]}"#.to_owned();
    }
    let style = Style::Compact;
    // Values that differ, so that it shows which column is which.
    let number = |column: usize, out: &mut Vec<u8>| {
        let tenths = u32::try_from(column % 100).unwrap_or(0);
        style.float(f64::from(tenths + 1) / 2.0, out);
    };
    let mut out = b"{\"instances\":[".to_vec();
    match &model.engine {
        Engine::Graph(graph) if graph.inputs().len() > 1 => {
            for (index, port) in graph.inputs().iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"{" } else { b"," });
                style.text(&port.name, &mut out);
                out.push(b':');
                match datatype(port.element) {
                    "BYTES" => style.text("some text", &mut out),
                    "FP32" | "FP64" => number(index, &mut out),
                    _ => out.push(b'1'),
                }
            }
            out.push(b'}');
        }
        Engine::Graph(graph) => {
            style.list(0..columns(graph), &mut out, |column, out| {
                match graph.inputs().first().map(|port| datatype(port.element)) {
                    Some("FP32" | "FP64") => number(column, out),
                    _ => out.push(b'1'),
                }
            })
        }
        Engine::Predictor(predictor) => style.list(0..predictor.features(), &mut out, number),
    }
    out.extend_from_slice(b"]}");
    String::from_utf8_lossy(&out).into_owned()
}
