//! One estimator while it is read: attributes with their errors, and the budget of all together.

use crate::data::Intake;
use crate::pickle::{Array, Graph, Id, Kind, Node, Object};
use crate::predictor::Inner;
use crate::{Limits, LoadError, Precision};
use std::cell::{Cell, RefCell};

/// What the reading of all parts shares.
pub(super) struct Reader<'g, 'a> {
    graph: &'g Graph<'a>,
    limits: &'g Limits,
    left: Cell<usize>,
    /// Of the bytes that were paid for, those of what is kept no longer.
    returned: Cell<usize>,
    met: RefCell<Vec<Inner>>,
}

impl<'g, 'a> Reader<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>, limits: &'g Limits) -> Self {
        Self {
            graph,
            limits,
            left: Cell::new(limits.compiled_bytes),
            returned: Cell::new(0),
            met: RefCell::default(),
        }
    }

    /// The estimators that were met, and the bytes that all together keep.
    pub(super) fn met(self) -> (Vec<Inner>, usize) {
        let paid = self.limits.compiled_bytes - self.left.get();
        let kept = paid.saturating_sub(self.returned.get());
        (self.met.into_inner(), kept)
    }

    /// Pays for `bytes` bytes. A graph may share values, so a small file could describe a huge model.
    fn pay(&self, bytes: usize) -> Result<(), LoadError> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(LoadError::Limit {
                what: "bytes of compiled model",
                limit: self.limits.compiled_bytes,
            }),
        }
    }
}

pub(super) struct Part<'r, 'a> {
    reader: &'r Reader<'r, 'a>,
    object: &'r Object,
    class: String,
    place: String,
    /// Estimators that this one is inside of.
    depth: usize,
}

impl<'r, 'a> Part<'r, 'a> {
    /// The whole model.
    pub(super) fn top(reader: &'r Reader<'r, 'a>, id: Id) -> Result<Self, LoadError> {
        Self::new(reader, id, "model", 0)
    }

    /// The object at `id`, found at `place` in the model.
    fn new(
        reader: &'r Reader<'r, 'a>,
        id: Id,
        place: &str,
        depth: usize,
    ) -> Result<Self, LoadError> {
        if depth > reader.limits.depth {
            return Err(LoadError::Limit {
                what: "estimators inside estimators",
                limit: reader.limits.depth,
            });
        }
        // What a part costs beyond its arrays, so that repeating one part is bounded too.
        reader.pay(256)?;
        let graph = reader.graph;
        let found = match graph.node(id) {
            Node::Object(object) => graph.class(object).map(|class| (object, class)),
            _ => None,
        };
        match found {
            Some((object, class)) => Ok(Self {
                reader,
                object,
                class: format!("{}.{}", class.module, class.name),
                place: place.to_owned(),
                depth,
            }),
            None => Err(LoadError::State {
                class: kind_of(graph.node(id)).to_owned(),
                place: place.to_owned(),
                what: "expected an estimator".to_owned(),
            }),
        }
    }

    /// Notes that this is an estimator that is understood.
    pub(super) fn meet(&self) {
        self.reader.met.borrow_mut().push(Inner {
            place: self.place.clone(),
            class: self.class.clone(),
            depth: self.depth,
        });
    }

    /// A part of this part.
    pub(super) fn inner(&self, id: Id, step: &str) -> Result<Part<'r, 'a>, LoadError> {
        let place = if self.place == "model" {
            step.to_owned()
        } else {
            format!("{}.{step}", self.place)
        };
        Part::new(self.reader, id, &place, self.depth + 1)
    }

    /// The full dotted name of the class as the file has it.
    pub(super) fn class(&self) -> &str {
        &self.class
    }

    /// Public package and class name: modules below the package moved between versions, `sklearn.svm.classes.SVC` is
    /// `sklearn.svm._classes.SVC` since 0.22.
    pub(super) fn kind(&self) -> (&str, &str) {
        let name = self.class.rsplit('.').next().unwrap_or_default();
        let end = self.class.match_indices('.').nth(1).map_or(0, |(at, _)| at);
        (self.class.get(..end).unwrap_or_default(), name)
    }

    pub(super) fn graph(&self) -> &'r Graph<'a> {
        self.reader.graph
    }

    /// The first argument of the object's construction, and those after it.
    pub(super) fn arguments(&self) -> &'r [Id] {
        self.graph()
            .sequence(self.object.arguments)
            .unwrap_or_default()
    }

    /// What is left to spend on a model inside of this part.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            compiled_bytes: self.reader.left.get(),
            ..self.reader.limits.clone()
        }
    }

    pub(super) fn unsupported(&self) -> LoadError {
        LoadError::Class {
            class: self.class.clone(),
            place: self.place.clone(),
        }
    }

    pub(super) fn setting(&self, what: impl Into<String>) -> LoadError {
        LoadError::Setting {
            class: self.class.clone(),
            place: self.place.clone(),
            what: what.into(),
        }
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> LoadError {
        LoadError::State {
            class: self.class.clone(),
            place: self.place.clone(),
            what: what.into(),
        }
    }

    /// Pays for `count` values of 8 bytes.
    pub(super) fn pay(&self, count: usize) -> Result<(), LoadError> {
        self.reader.pay(count.saturating_mul(8))
    }

    /// Says that of `count` values of 8 bytes that were paid for, `kept` bytes are kept. The budget stays as it is: it
    /// bounds the work too.
    pub(super) fn keep(&self, count: usize, kept: usize) {
        let returned = count.saturating_mul(8).saturating_sub(kept);
        let returned = self.reader.returned.get().saturating_add(returned);
        self.reader.returned.set(returned);
    }

    pub(super) fn attribute(&self, name: &str) -> Option<Id> {
        self.graph().attribute(self.object, name)
    }

    /// An attribute that is there and not `None`.
    pub(super) fn set(&self, name: &str) -> Option<Id> {
        self.attribute(name)
            .filter(|id| !matches!(self.graph().node(*id), Node::None))
    }

    pub(super) fn required(&self, name: &str) -> Result<Id, LoadError> {
        self.attribute(name)
            .ok_or_else(|| self.damaged(format!("expected the attribute `{name}`")))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'r str> {
        self.graph().text(self.attribute(name)?)
    }

    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.graph().truth(self.attribute(name)?)
    }

    pub(super) fn float(&self, name: &str) -> Result<f64, LoadError> {
        let value = self.graph().float(self.required(name)?);
        value.ok_or_else(|| self.damaged(format!("expected a number in `{name}`")))
    }

    /// A count, such as `n_features_in_`.
    pub(super) fn count(&self, name: &str) -> Option<usize> {
        self.graph()
            .integer(self.attribute(name)?)
            .and_then(|value| usize::try_from(value).ok())
    }

    pub(super) fn version_text(&self) -> Option<&'r str> {
        self.text("_sklearn_version")
    }

    /// Major and minor version of the scikit-learn that wrote the part; files without are from before 0.18.
    pub(super) fn version(&self) -> (u32, u32) {
        let mut numbers = self
            .version_text()
            .unwrap_or_default()
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    pub(super) fn array_at(&self, id: Id, name: &str) -> Result<&'r Array, LoadError> {
        match self.graph().node(id) {
            Node::Array(array) => Ok(array),
            _ => Err(self.damaged(format!("expected an array in `{name}`"))),
        }
    }

    pub(super) fn array(&self, name: &str) -> Result<&'r Array, LoadError> {
        self.array_at(self.required(name)?, name)
    }

    /// The finite numbers of an array of exactly this shape, in C order.
    pub(super) fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, LoadError> {
        let array = self.array(name)?;
        if array.shape != shape {
            return Err(self.damaged(format!(
                "expected the shape {shape:?} of `{name}`, found {:?}",
                array.shape
            )));
        }
        self.pay(array.count())?;
        let values = array
            .floats(self.graph(), None)
            .map_err(|what| self.damaged(format!("`{name}` is {what}")))?;
        self.finite(name, values)
    }

    /// The numbers of an array of any shape, in C order; they may be missing or infinite.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>, LoadError> {
        self.numbers_at(self.required(name)?, name)
    }

    pub(super) fn numbers_at(&self, id: Id, name: &str) -> Result<Vec<f64>, LoadError> {
        let array = self.array_at(id, name)?;
        self.pay(array.count())?;
        array
            .floats(self.graph(), None)
            .map_err(|what| self.damaged(format!("`{name}` is {what}")))
    }

    /// The finite numbers of an array of `count` values, whatever its shape.
    pub(super) fn vector(&self, name: &str, count: usize) -> Result<Vec<f64>, LoadError> {
        let values = self.numbers(name)?;
        if values.len() != count {
            return Err(self.damaged(format!(
                "expected {count} values in `{name}`, found {}",
                values.len()
            )));
        }
        self.finite(name, values)
    }

    fn finite(&self, name: &str, values: Vec<f64>) -> Result<Vec<f64>, LoadError> {
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(self.damaged(format!("`{name}` has a value that is not finite")))
        }
    }

    /// The finite numbers of a matrix, and its columns.
    pub(super) fn matrix(&self, name: &str) -> Result<(Vec<f64>, usize), LoadError> {
        match self.array(name)?.shape.as_slice() {
            [rows, columns] if *rows > 0 && *columns > 0 => {
                Ok((self.floats(name, &[*rows, *columns])?, *columns))
            }
            shape => Err(self.damaged(format!(
                "expected a matrix in `{name}`, found the shape {shape:?}"
            ))),
        }
    }

    /// Indices below `bound`.
    pub(super) fn indices_at(
        &self,
        id: Id,
        name: &str,
        bound: usize,
    ) -> Result<Vec<usize>, LoadError> {
        let bad = || self.damaged(format!("expected numbers below {bound} in `{name}`"));
        let integers = match self.graph().node(id) {
            Node::Array(array) if array.elements(self.graph()).is_none() => {
                self.pay(array.count())?;
                array.integers(self.graph(), None).map_err(|_| bad())?
            }
            _ => {
                let list = self.list_at(id, name)?;
                let integers = list.iter().map(|id| self.graph().integer(*id));
                integers.collect::<Option<_>>().ok_or_else(bad)?
            }
        };
        let index = |value: i64| usize::try_from(value).ok().filter(|index| *index < bound);
        integers
            .into_iter()
            .map(index)
            .collect::<Option<_>>()
            .ok_or_else(bad)
    }

    /// One finite number, alone or as an array of one.
    pub(super) fn scalar(&self, name: &str) -> Result<f64, LoadError> {
        let id = self.required(name)?;
        let value = match self.graph().node(id) {
            Node::Array(array) if array.count() == 1 => self.numbers_at(id, name)?.first().copied(),
            _ => self.graph().float(id),
        };
        value
            .filter(|value| value.is_finite())
            .ok_or_else(|| self.damaged(format!("expected a number in `{name}`")))
    }

    /// The precision of an array.
    pub(super) fn precision(&self, name: &str) -> Precision {
        let single = self
            .array(name)
            .is_ok_and(|array| array.dtype.kind == Kind::Float && array.dtype.size == 4);
        if single {
            Precision::Single
        } else {
            Precision::Double
        }
    }

    /// The elements of a list, a tuple or an array of objects.
    pub(super) fn list(&self, name: &str) -> Result<&'r [Id], LoadError> {
        self.list_at(self.required(name)?, name)
    }

    pub(super) fn list_at(&self, id: Id, name: &str) -> Result<&'r [Id], LoadError> {
        let graph = self.graph();
        let found = match graph.node(id) {
            Node::Array(array) => array.elements(graph),
            _ => graph.sequence(id),
        };
        let found = found.ok_or_else(|| self.damaged(format!("expected a list in `{name}`")))?;
        self.pay(found.len())?;
        Ok(found)
    }

    /// The text of an array or list.
    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, LoadError> {
        self.strings_at(self.required(name)?, name)
    }

    fn strings_at(&self, id: Id, name: &str) -> Result<Vec<String>, LoadError> {
        let graph = self.graph();
        let bad = || self.damaged(format!("expected text in `{name}`"));
        if let Node::Array(array) = graph.node(id)
            && array.elements(graph).is_none()
        {
            let words = array.dtype.size.div_ceil(8).saturating_add(3);
            self.pay(array.count().saturating_mul(words))?;
            return array.strings(graph).map_err(|_| bad());
        }
        let texts = self.list_at(id, name)?.iter().map(|id| graph.text(*id));
        // Shared text is copied here.
        self.pay(texts.clone().flatten().map(|text| text.len() / 8 + 3).sum())?;
        texts
            .map(|text| text.map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(bad)
    }

    /// The names of the columns that the estimator was fitted on, if these had any.
    pub(super) fn column_names(&self) -> Result<Option<Vec<String>>, LoadError> {
        if self.set("feature_names_in_").is_some() {
            return self.strings("feature_names_in_").map(Some);
        }
        // Until 0.24 `ColumnTransformer` kept pandas' index of them: a call with a dict that holds the array.
        let graph = self.graph();
        let index = self.set("_df_columns").map(|id| graph.node(id));
        let Some(Node::Object(index)) = index else {
            return Ok(None);
        };
        let arguments = graph.sequence(index.arguments).unwrap_or_default();
        let data = match arguments.get(1).map(|id| graph.node(*id)) {
            Some(Node::Dict(items)) => graph.entry(items, "data"),
            _ => None,
        };
        let data = data.ok_or_else(|| self.damaged("expected names in `_df_columns`"))?;
        self.strings_at(data, "_df_columns").map(Some)
    }

    /// The estimator in that attribute.
    pub(super) fn part(&self, name: &str) -> Result<Part<'r, 'a>, LoadError> {
        self.inner(self.required(name)?, name)
    }

    /// Short class name.
    pub(super) fn name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// The columns that the estimator was fitted on. Until 0.22 few said so, each in its own way; `n_features_` are those of
    /// trees until 0.24, and those that are left of an elimination.
    pub(super) fn features(&self) -> Option<usize> {
        let known = match self.name() {
            "RFE" | "RFECV" => None,
            "PolynomialFeatures" => self.count("n_input_features_"),
            "MissingIndicator" => self.count("_n_features"),
            _ => self.count("n_features_"),
        };
        let features = self.count("n_features_in_").or(known);
        features.filter(|features| *features > 0)
    }

    /// What an estimator that takes no missing values checks of its input.
    pub(super) fn intake(&self) -> Intake {
        Intake {
            estimator: self.name().to_owned(),
            features: self.features(),
            missing: false,
            infinite: false,
            single: false,
        }
    }

    /// What an estimator that takes missing values checks of its input.
    pub(super) fn lenient_intake(&self) -> Intake {
        Intake {
            missing: true,
            ..self.intake()
        }
    }

    /// The error of an attribute whose value is not supported.
    pub(super) fn unknown(&self, name: &str) -> LoadError {
        let value = match self.attribute(name).map(|id| self.graph().node(id)) {
            Some(Node::Str(text)) => {
                format!("'{}'", text.chars().take(64).collect::<String>())
            }
            Some(node) => format!("a {}", kind_of(node)),
            None => "nothing".to_owned(),
        };
        self.setting(format!("`{name}` = {value}"))
    }

    /// The integers of an array of one dimension.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, LoadError> {
        let array = self.array(name)?;
        self.pay(array.count())?;
        array
            .integers(self.graph(), None)
            .map_err(|what| self.damaged(format!("`{name}` is {what}")))
    }
}

fn kind_of(node: &Node<'_>) -> &'static str {
    match node {
        Node::None => "None",
        Node::Bool(_) => "bool",
        Node::Int(_) | Node::BigInt => "int",
        Node::Float(_) => "float",
        Node::Str(_) => "str",
        Node::Bytes(_) => "bytes",
        Node::Tuple(_) => "tuple",
        Node::List(_) => "list",
        Node::Dict(_) => "dict",
        Node::Set(_) => "set",
        Node::Global(_) => "class",
        Node::Object(_) => "object",
        Node::Array(_) => "numpy.ndarray",
    }
}
