//! A node while it is compiled: its attributes, and what is known of its inputs.

use super::operator::Operator;
use super::proto::{Attribute, Graph, Node};
use super::tensor::{ElementType, Tensor, short};
use crate::labels::{IntegerType, Labels};
use std::sync::Arc;

/// A node with what is known of its inputs.
#[derive(Debug)]
pub(super) struct Site<'s, 'b> {
    pub(super) node: &'s Node<'b>,
    /// The version of the operators of its domain.
    pub(super) version: i64,
    /// The type of each input, `None` for one that is left out.
    pub(super) elements: Vec<Option<ElementType>>,
    /// The values of inputs that are part of the file.
    pub(super) constants: Vec<Option<&'s Tensor>>,
}

/// A compiled node.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) operator: Arc<dyn Operator>,
    pub(super) outputs: Vec<ElementType>,
    /// The names of the columns of a table that stands for a list of maps.
    pub(super) keys: Option<Labels>,
}

impl Built {
    /// A node whose first outputs are of these types; further ones are not made.
    pub(super) fn new(operator: impl Operator + 'static, outputs: &[ElementType]) -> Self {
        Self {
            operator: Arc::new(operator),
            outputs: outputs.to_vec(),
            keys: None,
        }
    }
}

type Read<T> = Result<T, String>;

impl<'s, 'b> Site<'s, 'b> {
    /// The type of an input that must be there.
    pub(super) fn element(&self, index: usize) -> Read<ElementType> {
        let element = self.elements.get(index).copied().flatten();
        element.ok_or_else(|| format!("expected at least {} inputs", index + 1))
    }

    /// Whether an input is there.
    pub(super) fn has(&self, index: usize) -> bool {
        self.elements
            .get(index)
            .is_some_and(|element| element.is_some())
    }

    /// The type of all inputs, which must be one.
    pub(super) fn same(&self) -> Read<ElementType> {
        let first = self.element(0)?;
        let mut others = self.elements.iter().flatten();
        match others.find(|element| **element != first) {
            None => Ok(first),
            Some(other) => Err(format!(
                "expected inputs of one type, found {} and {}",
                first.name(),
                other.name()
            )),
        }
    }

    /// The type of the first input, which must be one of `allowed`.
    pub(super) fn of(&self, index: usize, allowed: &[ElementType]) -> Read<ElementType> {
        let element = self.element(index)?;
        if allowed.contains(&element) {
            return Ok(element);
        }
        let names: Vec<&str> = allowed.iter().map(|element| element.name()).collect();
        Err(format!(
            "expected an input of {}, found {}",
            names.join(" or "),
            element.name()
        ))
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'s Attribute<'b>> {
        self.node
            .attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    fn find<T>(
        &self,
        name: &str,
        kind: &str,
        get: impl Fn(&'s Attribute<'b>) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(attribute) = self.attribute(name) else {
            return Ok(None);
        };
        if attribute.reference {
            return Err(format!("the attribute `{name}` is one of a function"));
        }
        let found = get(attribute).map(Some);
        found.ok_or_else(|| format!("expected {kind} in the attribute `{name}`"))
    }

    pub(super) fn int(&self, name: &str) -> Read<Option<i64>> {
        self.find(name, "a whole number", |attribute| attribute.int)
    }

    pub(super) fn float(&self, name: &str) -> Read<Option<f32>> {
        self.find(name, "a float", |attribute| attribute.float)
    }

    pub(super) fn text(&self, name: &str) -> Read<Option<&'s str>> {
        self.find(name, "text", |attribute| {
            attribute.text.and_then(|text| str::from_utf8(text).ok())
        })
    }

    pub(super) fn tensor(&self, name: &str) -> Read<Option<Tensor>> {
        let found = self.find(name, "a tensor", |attribute| attribute.tensor.as_ref())?;
        found.map(Tensor::read).transpose()
    }

    pub(super) fn graph(&self, name: &str) -> Read<&'s Graph<'b>> {
        let found = self.find(name, "a graph", |attribute| attribute.graph.as_ref())?;
        found.ok_or_else(|| format!("expected the attribute `{name}`"))
    }

    /// The floats of an attribute, none if it is not there.
    pub(super) fn floats(&self, name: &str) -> Read<&'s [f32]> {
        self.list(name, "floats", |attribute| &attribute.floats)
    }

    /// The whole numbers of an attribute, none if it is not there.
    pub(super) fn ints(&self, name: &str) -> Read<&'s [i64]> {
        self.list(name, "whole numbers", |attribute| &attribute.ints)
    }

    /// The texts of an attribute, none if it is not there.
    pub(super) fn texts(&self, name: &str) -> Read<Vec<String>> {
        let texts = self.list(name, "texts", |attribute| &attribute.texts)?;
        let texts = texts
            .iter()
            .map(|text| str::from_utf8(text).map(str::to_owned));
        texts
            .collect::<Result<_, _>>()
            .map_err(|_| format!("expected text in UTF-8 in the attribute `{name}`"))
    }

    fn list<T>(
        &self,
        name: &str,
        kind: &str,
        get: impl Fn(&'s Attribute<'b>) -> &'s Vec<T>,
    ) -> Read<&'s [T]> {
        let Some(attribute) = self.attribute(name) else {
            return Ok(&[]);
        };
        let list = get(attribute);
        let others = attribute.ints.len()
            + attribute.floats.len()
            + attribute.texts.len()
            + usize::from(attribute.tensor.is_some());
        if list.len() < others || attribute.reference {
            return Err(format!("expected {kind} in the attribute `{name}`"));
        }
        Ok(list)
    }

    /// Numbers of double precision: those of the attribute `NAME_as_tensor`, or the floats of `NAME`.
    pub(super) fn doubles(&self, name: &str) -> Read<Vec<f64>> {
        use super::tensor::Values;
        if let Some(tensor) = self.tensor(&format!("{name}_as_tensor"))? {
            return match tensor.values() {
                Values::Double(values) => Ok(values.clone()),
                Values::Float(values) => Ok(values.iter().map(|value| f64::from(*value)).collect()),
                _ => Err(format!("expected floats in `{name}_as_tensor`")),
            };
        }
        Ok(self
            .floats(name)?
            .iter()
            .map(|value| f64::from(*value))
            .collect())
    }

    /// Labels: text of one attribute, or whole numbers of another. There is at least one.
    pub(super) fn labels(&self, texts: &str, ints: &str) -> Read<Labels> {
        let found = self.texts(texts)?;
        if !found.is_empty() {
            return Ok(Labels::Strings(found));
        }
        match self.ints(ints)? {
            [] => Err(format!("expected labels in `{texts}` or `{ints}`")),
            found => Ok(Labels::Integers(found.to_vec(), IntegerType::Int64)),
        }
    }

    /// An input that is a list of whole numbers in the file, or an attribute before a version of the operators.
    pub(super) fn axes(&self, index: usize, name: &str, before: i64) -> Read<Source> {
        if self.version < before {
            return Ok(match self.attribute(name) {
                None => Source::None,
                Some(_) => Source::Known(self.ints(name)?.to_vec()),
            });
        }
        Ok(match self.constants.get(index).copied().flatten() {
            Some(tensor) => Source::Known(tensor.ints()?),
            None if self.has(index) => Source::Input(index),
            None => Source::None,
        })
    }
}

/// Where whole numbers come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    None,
    Known(Vec<i64>),
    Input(usize),
}

/// The place of an operator, for messages.
pub(super) fn place(node: &Node<'_>) -> String {
    format!("`{}` ({})", called(node), short(node.operator))
}

/// The name of a node, or of what it makes where it has none.
pub(super) fn called(node: &Node<'_>) -> String {
    short(match node.name {
        "" => node.outputs.first().copied().unwrap_or_default(),
        name => name,
    })
}
