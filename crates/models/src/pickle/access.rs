//! Reading the graph.

use super::{Global, Graph, Id, Node, Object};
use crate::{Limits, LoadError};

impl<'a> Graph<'a> {
    pub(crate) fn new(stream: &'a [u8], limits: &Limits) -> Self {
        // One entry that every id resolves to in the impossible case of a foreign id.
        Self {
            stream,
            nodes: vec![Node::None],
            limit: limits.objects,
            copies: stream.len().saturating_add(1 << 20),
        }
    }

    pub(crate) fn push(&mut self, node: Node<'a>) -> Result<Id, LoadError> {
        let limit = LoadError::Limit {
            what: "objects",
            limit: self.limit,
        };
        if self.nodes.len() > self.limit {
            return Err(limit);
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| limit)?;
        self.nodes.push(node);
        Ok(Id(id))
    }

    pub(super) fn node_mut(&mut self, id: Id) -> Option<&mut Node<'a>> {
        self.nodes.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(crate) fn node(&self, id: Id) -> &Node<'a> {
        usize::try_from(id.0)
            .ok()
            .and_then(|index| self.nodes.get(index))
            .unwrap_or(&Node::None)
    }

    /// Pays for copying `bytes` bytes.
    pub(super) fn copy(&mut self, bytes: usize) -> Result<(), String> {
        let Some(left) = self.copies.checked_sub(bytes) else {
            return Err("the same bytes used over and over".to_owned());
        };
        self.copies = left;
        Ok(())
    }

    pub(super) fn stream(&self) -> &'a [u8] {
        self.stream
    }

    pub(crate) fn object(&self, id: Id) -> Option<&Object> {
        match self.node(id) {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The class of an object.
    pub(crate) fn class(&self, object: &Object) -> Option<&Global<'a>> {
        match self.node(object.class) {
            Node::Global(global) => Some(global),
            _ => None,
        }
    }

    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, id: Id) -> Option<&[u8]> {
        match self.node(id) {
            Node::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An integer, also from a truth value, as Python has it.
    pub(crate) fn integer(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(crate) fn float(&self, id: Id) -> Option<f64> {
        match self.node(id) {
            Node::Float(value) => Some(*value),
            // Integers of estimators' settings are small.
            Node::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    pub(crate) fn truth(&self, id: Id) -> Option<bool> {
        match self.node(id) {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::List(ids) | Node::Tuple(ids) => Some(ids),
            _ => None,
        }
    }

    /// The value of `key` in the flat `items` of a dict. The last one wins, as in Python.
    pub(crate) fn entry(&self, items: &[Id], key: &str) -> Option<Id> {
        items.chunks_exact(2).rev().find_map(|pair| match pair {
            [name, value] if self.text(*name) == Some(key) => Some(*value),
            _ => None,
        })
    }

    /// An attribute of an object: its state is a dict, or a pair of dicts when its class has slots.
    pub(crate) fn attribute(&self, object: &Object, key: &str) -> Option<Id> {
        match self.node(object.state?) {
            Node::Dict(items) => self.entry(items, key),
            Node::Tuple(parts) => parts.iter().rev().find_map(|part| match self.node(*part) {
                Node::Dict(items) => self.entry(items, key),
                _ => None,
            }),
            _ => None,
        }
    }
}
