//! From states to inert values.

use super::archive::Archive;
use crate::document::{Source, Value};
use crate::npy::Header;
use crate::pickle::{Array, Global, Graph, Id, Node, Object};
use crate::{Limits, LoadError, json};
use std::borrow::Cow;
use std::collections::HashMap;

pub(super) struct Reader<'a> {
    archive: Archive<'a>,
    graph: Graph<'a>,
    /// By the number that skops gave an object: a state of the same number is the same object.
    seen: HashMap<u64, Id>,
    /// By name: what files that were read hold, so that naming one again and again costs little.
    files: HashMap<String, Id>,
    /// Decompressed bytes that the archive may still have.
    left: usize,
    most: usize,
}

fn bad(what: impl Into<String>) -> LoadError {
    LoadError::Skops { what: what.into() }
}

impl<'a> Reader<'a> {
    pub(super) fn new(archive: Archive<'a>, limits: &Limits, left: usize) -> Self {
        Self {
            archive,
            graph: Graph::new(&[], limits),
            seen: HashMap::new(),
            files: HashMap::new(),
            left,
            most: limits.objects,
        }
    }

    pub(super) fn into_graph(self) -> Graph<'a> {
        self.graph
    }

    /// The value of a state, and everything in it.
    pub(super) fn value(&mut self, state: &Value) -> Result<Id, LoadError> {
        let number = match state.find("__id__") {
            Some(Value::Number(number)) => Some(number.to_bits()),
            _ => None,
        };
        if let Some(known) = number.and_then(|number| self.seen.get(&number)) {
            return Ok(*known);
        }
        let id = self.made(state)?;
        if let Some(number) = number {
            self.seen.insert(number, id);
        }
        Ok(id)
    }

    fn made(&mut self, state: &Value) -> Result<Id, LoadError> {
        let loader = state.text("__loader__").map_err(bad)?;
        match loader {
            "JsonNode" => self.scalar(state),
            "DictNode" => self.dict(state),
            "DefaultDictNode" | "_DictWithDeprecatedKeysNode" => {
                self.value(content(state)?.at("main").map_err(bad)?)
            }
            "ListNode" => self.sequence(state, Node::List),
            "TupleNode" => self.sequence(state, Node::Tuple),
            "SetNode" => self.sequence(state, Node::Set),
            "BytesNode" | "BytearrayNode" => self.file(state, |_, bytes| Ok(bytes)),
            "SliceNode" => self.slice(state),
            "TypeNode" => self.class(state),
            "FunctionNode" => self.function(state),
            "MethodNode" => self.method(state),
            "OperatorFuncNode" => {
                let arguments = self.value(state.at("attrs").map_err(bad)?)?;
                self.object(state, Some(arguments), None)
            }
            "PartialNode" => self.partial(state),
            "ObjectNode" => {
                let inner = match state.find("content") {
                    Some(inner) => Some(self.value(inner)?),
                    None => None,
                };
                self.object(state, None, inner)
            }
            "ConstructorFromReduceNode" => {
                let arguments = self.value(content(state)?)?;
                self.object(state, Some(arguments), None)
            }
            // `SGDNode` is what `LossNode` was called at first.
            "TreeNode" | "SGDNode" | "LossNode" => {
                let arguments = state
                    .at("__reduce__")
                    .and_then(|reduce| reduce.at("args"))
                    .map_err(bad)?;
                let arguments = self.value(arguments)?;
                let inner = self.value(content(state)?)?;
                self.object(state, Some(arguments), Some(inner))
            }
            "NdArrayNode" => self.array(state),
            "DTypeNode" => self.dtype(content(state)?),
            "SparseMatrixNode" => self.sparse(state),
            // Nothing in them decides how a fitted model answers.
            "MaskedArrayNode" | "RandomStateNode" | "RandomGeneratorNode" => {
                self.object(state, None, None)
            }
            other => {
                let other: String = other.chars().take(64).collect();
                Err(bad(format!("found a state for the loader `{other}`")))
            }
        }
    }

    /// A value that skops leaves to JSON, as text.
    fn scalar(&mut self, state: &Value) -> Result<Id, LoadError> {
        let text = state.text("content").map_err(bad)?.trim();
        let node = match text {
            "null" => Node::None,
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "NaN" => Node::Float(f64::NAN),
            "Infinity" => Node::Float(f64::INFINITY),
            "-Infinity" => Node::Float(f64::NEG_INFINITY),
            _ if text.starts_with('"') => {
                match json::read(&mut Source::new(text.as_bytes(), 1)).map_err(bad)? {
                    Value::Text(text) => Node::Str(Cow::Owned(text)),
                    _ => return Err(bad("found text that is none")),
                }
            }
            _ => number(text).ok_or_else(|| bad("found a value that is no number and no text"))?,
        };
        self.graph.push(node)
    }

    fn dict(&mut self, state: &Value) -> Result<Id, LoadError> {
        let Value::Object(entries) = content(state)? else {
            return Err(bad("expected names and values in a dict"));
        };
        let types = self.value(state.at("key_types").map_err(bad)?)?;
        let types = self.graph.sequence(types).unwrap_or_default().to_vec();
        if types.len() != entries.len() {
            return Err(bad(format!(
                "found {} types for the {} keys of a dict",
                types.len(),
                entries.len()
            )));
        }
        let mut items = Vec::with_capacity(entries.len() * 2);
        for ((key, value), kind) in entries.iter().zip(types) {
            let key = self.key(key, kind)?;
            items.extend([key, self.value(value)?]);
        }
        if is_builtin(state, "dict") {
            return self.graph.push(Node::Dict(items));
        }
        let object = Object {
            class: self.class(state)?,
            arguments: self.graph.push(Node::Tuple(Vec::new()))?,
            state: None,
            items,
        };
        self.graph.push(Node::Object(Box::new(object)))
    }

    /// A key, which JSON has as text, of the type that it had.
    fn key(&mut self, text: &str, kind: Id) -> Result<Id, LoadError> {
        let name = match self.graph.node(kind) {
            Node::Global(global) => global.name.as_ref(),
            _ => "",
        };
        let node = match (name, text) {
            ("str" | "str_", text) => Some(Node::Str(Cow::Owned(text.to_owned()))),
            ("bool" | "bool_", "true") => Some(Node::Bool(true)),
            ("bool" | "bool_", "false") => Some(Node::Bool(false)),
            ("NoneType", "null") => Some(Node::None),
            ("float", "NaN") => Some(Node::Float(f64::NAN)),
            ("float" | "float64" | "float32", text) => text.parse().ok().map(Node::Float),
            (name, text) if name.trim_start_matches('u').starts_with("int") => number(text),
            _ => None,
        };
        self.graph
            .push(node.ok_or_else(|| bad("found a key of a dict that is not of its type"))?)
    }

    fn sequence(&mut self, state: &Value, kind: fn(Vec<Id>) -> Node<'a>) -> Result<Id, LoadError> {
        let list = state.list("content").map_err(bad)?;
        let ids = list.iter().map(|value| self.value(value));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let all = self.graph.push(kind(ids))?;
        match ["list", "tuple", "set"].map(|name| is_builtin(state, name)) {
            [false, false, false] => self.object(state, Some(all), None),
            _ => Ok(all),
        }
    }

    /// What the file that a state names holds: its bytes, or what is made of them.
    fn file(
        &mut self,
        state: &Value,
        make: impl FnOnce(&mut Self, Id) -> Result<Id, LoadError>,
    ) -> Result<Id, LoadError> {
        let name = state.text("file").map_err(bad)?;
        if let Some(known) = self.files.get(name) {
            return Ok(*known);
        }
        let bytes = self.archive.file(name, self.left).map_err(bad)?;
        self.spend(bytes.len())?;
        let id = self.graph.push(Node::Bytes(bytes))?;
        let id = make(self, id)?;
        self.files.insert(name.to_owned(), id);
        Ok(id)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), LoadError> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| bad("more decompressed bytes than the limit"))?;
        Ok(())
    }

    fn slice(&mut self, state: &Value) -> Result<Id, LoadError> {
        let mut parts = Vec::new();
        for name in ["start", "stop", "step"] {
            let node = match content(state)?.at(name).map_err(bad)? {
                Value::Null => Node::None,
                Value::Text(text) => Node::Str(Cow::Owned(text.clone())),
                // Written by Python as whole numbers.
                Value::Number(value) if value.fract() == 0.0 => Node::Int(*value as i64),
                _ => return Err(bad("found a slice that is not of numbers or names")),
            };
            parts.push(self.graph.push(node)?);
        }
        let arguments = self.graph.push(Node::Tuple(parts))?;
        self.object(state, Some(arguments), None)
    }

    /// The class or function that a state names.
    fn class(&mut self, state: &Value) -> Result<Id, LoadError> {
        let module = state.text("__module__").map_err(bad)?;
        let name = state.text("__class__").map_err(bad)?;
        self.global(module, name)
    }

    fn global(&mut self, module: &str, name: &str) -> Result<Id, LoadError> {
        // As in pickles: naming one again and again costs little.
        if module.len() + name.len() > 512 {
            return Err(bad("found a class whose name is no short text"));
        }
        let global = Global {
            module: Cow::Owned(module.to_owned()),
            name: Cow::Owned(name.to_owned()),
        };
        self.graph.push(Node::Global(Box::new(global)))
    }

    fn function(&mut self, state: &Value) -> Result<Id, LoadError> {
        // Protocol 0 has the name in its content.
        match state.find("content") {
            Some(content) => {
                let module = content.text("module_path").map_err(bad)?;
                let name = content.text("function").map_err(bad)?;
                self.global(module, name)
            }
            None => self.class(state),
        }
    }

    /// A method bound to an object is a function of its own, and refused where one is not expected.
    fn method(&mut self, state: &Value) -> Result<Id, LoadError> {
        let module = state.text("__module__").map_err(bad)?;
        let class = state.text("__class__").map_err(bad)?;
        let name = content(state)?.text("func").map_err(bad)?;
        self.global(&format!("{module}.{class}"), name)
    }

    fn partial(&mut self, state: &Value) -> Result<Id, LoadError> {
        let inner = content(state)?;
        let mut parts = Vec::new();
        for name in ["func", "args", "kwds", "namespace"] {
            parts.push(self.value(inner.at(name).map_err(bad)?)?);
        }
        let function = parts.iter().copied().take(1).collect();
        let arguments = self.graph.push(Node::Tuple(function))?;
        let all = self.graph.push(Node::Tuple(parts))?;
        self.object(state, Some(arguments), Some(all))
    }

    fn object(
        &mut self,
        state: &Value,
        arguments: Option<Id>,
        inner: Option<Id>,
    ) -> Result<Id, LoadError> {
        let class = self.class(state)?;
        let arguments = match arguments {
            Some(arguments) => arguments,
            None => self.graph.push(Node::Tuple(Vec::new()))?,
        };
        let object = Object {
            class,
            arguments,
            state: inner,
            items: Vec::new(),
        };
        self.graph.push(Node::Object(Box::new(object)))
    }

    /// An array, or a scalar of numpy, which is an array without dimensions.
    fn array(&mut self, state: &Value) -> Result<Id, LoadError> {
        let id = match state.text("type").map_err(bad)? {
            "numpy" => self.file(state, Self::npy)?,
            "json" => {
                let shape = self.value(state.at("shape").map_err(bad)?)?;
                let shape = self.shape(shape)?;
                let mut ids = Vec::new();
                self.elements(state, &shape, &mut ids)?;
                let list = self.graph.push(Node::List(ids))?;
                let array = Array::of_objects(&self.graph, shape, list);
                let array = array.map_err(|what| bad(found(&what)))?;
                self.graph.push(Node::Array(Box::new(array)))?
            }
            _ => return Err(bad("found an array of an unknown kind")),
        };
        let scalar = match self.graph.node(id) {
            Node::Array(array) if state.text("__class__") != Ok("ndarray") => {
                array.scalar(&self.graph)
            }
            _ => None,
        };
        match scalar {
            Some(scalar) => self.graph.push(scalar),
            None => Ok(id),
        }
    }

    /// The array in a file of numpy.
    fn npy(&mut self, file: Id) -> Result<Id, LoadError> {
        let bytes = self.graph.bytes(file).unwrap_or_default();
        let (header, data) = Header::read(bytes)
            .map_err(|what| bad(format!("an array in it is no file of numpy: {what}")))?;
        let start = bytes.len() - data.len();
        let Header {
            dtype,
            fortran,
            shape,
        } = header;
        if shape.len() > 8 {
            return Err(bad("found an array of more than 8 dimensions"));
        }
        let array = Array::of_bytes(&self.graph, dtype, shape, fortran, file, start);
        let array = array.map_err(|what| bad(found(&what)))?;
        self.graph.push(Node::Array(Box::new(array)))
    }

    fn shape(&self, id: Id) -> Result<Vec<usize>, LoadError> {
        let sizes = self.graph.sequence(id).unwrap_or_default();
        if sizes.is_empty() || sizes.len() > 8 {
            return Err(bad(
                "found an array of objects of no or too many dimensions",
            ));
        }
        let size = |id: &Id| usize::try_from(self.graph.integer(*id)?).ok();
        let sizes: Option<_> = sizes.iter().map(size).collect();
        sizes.ok_or_else(|| bad("found an array of impossible shape"))
    }

    /// The objects of an array, which are lists of lists.
    fn elements(
        &mut self,
        state: &Value,
        shape: &[usize],
        out: &mut Vec<Id>,
    ) -> Result<(), LoadError> {
        let list = state.list("content").map_err(bad)?;
        let Some((size, inner)) = shape.split_first() else {
            return Ok(());
        };
        if list.len() != *size {
            return Err(bad("found an array whose values do not fill its shape"));
        }
        for value in list {
            if inner.is_empty() {
                out.push(self.value(value)?);
            } else {
                self.elements(value, inner, out)?;
            }
        }
        Ok(())
    }

    /// skops keeps a type as an empty array of it.
    fn dtype(&mut self, empty: &Value) -> Result<Id, LoadError> {
        let array = self.value(empty)?;
        let code = match self.graph.node(array) {
            Node::Array(array) => array.dtype.code(),
            _ => return Err(bad("expected an array of a type")),
        };
        let code = self.graph.push(Node::Str(Cow::Owned(code)))?;
        let arguments = self.graph.push(Node::Tuple(vec![code]))?;
        let object = Object {
            class: self.global("numpy", "dtype")?,
            arguments,
            state: None,
            items: Vec::new(),
        };
        self.graph.push(Node::Object(Box::new(object)))
    }

    /// A sparse matrix, an archive of its arrays inside of the archive; they become its attributes.
    fn sparse(&mut self, state: &Value) -> Result<Id, LoadError> {
        let attributes = self.file(state, Self::npz)?;
        self.object(state, None, Some(attributes))
    }

    /// A dict of the arrays in an archive.
    fn npz(&mut self, file: Id) -> Result<Id, LoadError> {
        let bytes = self.graph.bytes(file).unwrap_or_default();
        let archive = Archive::open(bytes, self.most).map_err(bad)?;
        let mut arrays = Vec::new();
        let mut left = self.left;
        for name in archive.names() {
            // Not the text that says which kind of matrix it is: the class does.
            let Some(key) = name.strip_suffix(".npy").filter(|key| *key != "format") else {
                continue;
            };
            let array = archive.file(name, left).map_err(bad)?.into_owned();
            left = left.saturating_sub(array.len());
            arrays.push((key.to_owned(), array));
        }
        self.left = left;
        let mut items = Vec::new();
        for (key, array) in arrays {
            let bytes = self.graph.push(Node::Bytes(Cow::Owned(array)))?;
            items.push(self.graph.push(Node::Str(Cow::Owned(key)))?);
            items.push(self.npy(bytes)?);
        }
        self.graph.push(Node::Dict(items))
    }
}

fn content(state: &Value) -> Result<&Value, LoadError> {
    state.at("content").map_err(bad)
}

fn found(what: &str) -> String {
    format!("found {what}")
}

fn is_builtin(state: &Value, name: &str) -> bool {
    state.text("__module__") == Ok("builtins") && state.text("__class__") == Ok(name)
}

fn number<'a>(text: &str) -> Option<Node<'a>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(Node::BigInt, Node::Int));
    }
    text.parse().ok().map(Node::Float)
}
