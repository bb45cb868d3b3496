//! One estimator while it is read: attributes with their errors, and the budget of all together.

use crate::labels::{IntegerType, Labels};
use crate::pickle::{Array, Graph, Id, Kind, Node, Object};
use crate::{Limits, LoadError};
use std::cell::Cell;

/// What the reading of all parts shares.
pub(super) struct Reader<'g, 'a> {
    graph: &'g Graph<'a>,
    limit: usize,
    left: Cell<usize>,
    depth: usize,
}

impl<'g, 'a> Reader<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>, limits: &Limits) -> Self {
        Self {
            graph,
            limit: limits.compiled_bytes,
            left: Cell::new(limits.compiled_bytes),
            depth: limits.depth,
        }
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
                limit: self.limit,
            }),
        }
    }
}

pub(super) struct Part<'r, 'a> {
    reader: &'r Reader<'r, 'a>,
    object: &'r Object,
    class: String,
    place: String,
}

impl<'r, 'a> Part<'r, 'a> {
    /// The object at `id`, found at `place` in the model.
    pub(super) fn new(reader: &'r Reader<'r, 'a>, id: Id, place: &str) -> Result<Self, LoadError> {
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
            }),
            None => Err(LoadError::State {
                class: kind_of(graph.node(id)).to_owned(),
                place: place.to_owned(),
                what: "expected an estimator".to_owned(),
            }),
        }
    }

    /// A part of this part.
    pub(super) fn inner(&self, id: Id, step: &str) -> Result<Part<'r, 'a>, LoadError> {
        let place = if self.place == "model" {
            step.to_owned()
        } else {
            format!("{}.{step}", self.place)
        };
        Part::new(self.reader, id, &place)
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

    /// The error of estimators too deep inside each other.
    pub(super) fn too_deep(&self) -> LoadError {
        LoadError::Limit {
            what: "pipelines inside pipelines",
            limit: self.reader.depth,
        }
    }

    /// Pays for `count` values of 8 bytes.
    pub(super) fn pay(&self, count: usize) -> Result<(), LoadError> {
        self.reader.pay(count.saturating_mul(8))
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
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(self.damaged(format!("`{name}` has a value that is not finite")))
        }
    }

    /// The integers of an array of one dimension.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, LoadError> {
        let array = self.array(name)?;
        self.pay(array.count())?;
        array
            .integers(self.graph(), None)
            .map_err(|what| self.damaged(format!("`{name}` is {what}")))
    }

    /// The classes of a classifier with one output.
    pub(super) fn labels(&self) -> Result<Labels, LoadError> {
        let id = self.required("classes_")?;
        if matches!(self.graph().node(id), Node::List(_)) {
            return Err(self.setting("several outputs"));
        }
        let array = self.array_at(id, "classes_")?;
        if array.shape.len() != 1 || array.count() == 0 {
            return Err(self.damaged("expected classes in a row in `classes_`"));
        }
        self.pay(
            array
                .count()
                .saturating_mul(array.dtype.size.div_ceil(8).saturating_add(3)),
        )?;
        let graph = self.graph();
        let what = |what: String| self.damaged(format!("`classes_` is {what}"));
        let integers = |kind| {
            array
                .integers(graph, None)
                .map(|values| Labels::Integers(values, kind))
                .map_err(what)
        };
        match (array.dtype.kind, array.dtype.size) {
            (Kind::Signed, 1) => integers(IntegerType::Int8),
            (Kind::Signed, 2) => integers(IntegerType::Int16),
            (Kind::Signed, 4) => integers(IntegerType::Int32),
            (Kind::Signed, _) => integers(IntegerType::Int64),
            (Kind::Unsigned, 1) => integers(IntegerType::Uint8),
            (Kind::Unsigned, 2) => integers(IntegerType::Uint16),
            (Kind::Unsigned, 4) => integers(IntegerType::Uint32),
            (Kind::Unsigned, _) => integers(IntegerType::Uint64),
            (Kind::Float, _) => array.floats(graph, None).map(Labels::Floats).map_err(what),
            (Kind::Text, _) => array.strings(graph).map(Labels::Strings).map_err(what),
            (Kind::Boolean, _) => {
                let values = array.integers(graph, None).map_err(what)?;
                Ok(Labels::Booleans(
                    values.into_iter().map(|value| value != 0).collect(),
                ))
            }
            (Kind::Object, _) => self.object_labels(array.elements(graph).unwrap_or_default()),
            _ => Err(self.setting("classes that are neither numbers, text nor truth values")),
        }
    }

    fn object_labels(&self, elements: &[Id]) -> Result<Labels, LoadError> {
        let graph = self.graph();
        let strings = elements.iter().map(|id| graph.text(*id));
        // Shared strings are copied here.
        self.pay(
            strings
                .clone()
                .flatten()
                .map(|text| text.len() / 8 + 1)
                .sum(),
        )?;
        if let Some(strings) = strings
            .map(|text| text.map(str::to_owned))
            .collect::<Option<Vec<_>>>()
        {
            return Ok(Labels::Strings(strings));
        }
        if let Some(truths) = elements
            .iter()
            .map(|id| graph.truth(*id))
            .collect::<Option<Vec<_>>>()
        {
            return Ok(Labels::Booleans(truths));
        }
        if let Some(integers) = elements
            .iter()
            .map(|id| graph.integer(*id))
            .collect::<Option<Vec<_>>>()
        {
            return Ok(Labels::Integers(integers, IntegerType::Int64));
        }
        Err(self.setting("classes that are neither numbers, text nor truth values"))
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
