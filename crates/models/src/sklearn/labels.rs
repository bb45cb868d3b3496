//! The classes of a classifier.

use super::part::Part;
use crate::LoadError;
use crate::labels::{IntegerType, Labels};
use crate::pickle::{Id, Kind, Node};

impl Part<'_, '_> {
    /// The classes of a classifier with one output.
    pub(super) fn labels(&self) -> Result<Labels, LoadError> {
        self.labels_at(self.required("classes_")?)
    }

    pub(super) fn labels_at(&self, id: Id) -> Result<Labels, LoadError> {
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
