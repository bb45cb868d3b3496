//! Lines of fields. Only errors and `kind: List` ask for them, so a text is
//! read a second time, with positions, on the first question.

use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::options;

/// One step of a path to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of an object.
    Key(String),
    /// An item of a list, 0-based.
    Index(usize),
}

/// `a.b[1].c`, as errors name a field.
pub fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(name) if text.is_empty() => text.push_str(name),
            Step::Key(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// The path that [`dotted`] writes so; no key has a dot or a bracket in it.
pub fn undotted(field: &str) -> Vec<Step> {
    let mut path = Vec::new();
    for part in field.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        path.push(Step::Key(name.to_owned()));
        let indices = indices
            .split('[')
            .filter_map(|index| index.strip_suffix(']'));
        path.extend(indices.filter_map(|index| index.parse().ok().map(Step::Index)));
    }
    path
}

/// A field and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// From the root of the document.
    pub path: Vec<Step>,
    /// Line of the file, 1-based.
    pub line: u32,
}

/// The text of a document.
#[derive(Debug)]
pub struct Text {
    text: String,
    /// 1-based line of the file that the text begins on.
    first: u32,
    tree: OnceLock<Option<Spanned<Shape>>>,
}

impl Text {
    /// A document that begins on line `first` of its file, 1-based.
    pub fn new(text: &str, first: u32) -> Self {
        Self {
            text: text.to_owned(),
            first,
            tree: OnceLock::new(),
        }
    }

    /// The line in the file of the deepest part of the path that exists: of the
    /// key, where that is a field.
    pub fn line_of(&self, path: &[Step]) -> Option<u32> {
        self.lines_of(path).map(|(key, _)| key)
    }

    /// The lines in the file of the key and of the value.
    fn lines_of(&self, path: &[Step]) -> Option<(u32, u32)> {
        let mut node = self.tree()?;
        let mut key = node.referenced;
        for step in path {
            let next = match (&node.value, step) {
                (Shape::Map(entries), Step::Key(name)) => entries
                    .iter()
                    .find(|(known, _)| known.value == *name)
                    .map(|(known, value)| (known.referenced, value)),
                (Shape::List(items), Step::Index(index)) => {
                    items.get(*index).map(|item| (item.referenced, item))
                }
                _ => None,
            };
            let Some((at, next)) = next else { break };
            (key, node) = (at, next);
        }
        Some((self.line(key)?, self.line(node.referenced)?))
    }

    /// Every field that is written, outermost first, each before what is in it.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        if let Some(tree) = self.tree() {
            self.gather(tree, &mut Vec::new(), &mut keys);
        }
        keys
    }

    fn gather(&self, node: &Spanned<Shape>, path: &mut Vec<Step>, keys: &mut Vec<Key>) {
        match &node.value {
            Shape::Map(entries) => {
                for (name, value) in entries {
                    path.push(Step::Key(name.value.clone()));
                    keys.push(Key {
                        path: path.clone(),
                        line: self.line(name.referenced).unwrap_or(self.first),
                    });
                    self.gather(value, path, keys);
                    path.pop();
                }
            }
            Shape::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.gather(item, path, keys);
                    path.pop();
                }
            }
            Shape::Leaf => {}
        }
    }

    fn tree(&self) -> Option<&Spanned<Shape>> {
        let tree = self
            .tree
            .get_or_init(|| serde_saphyr::from_str_with_options(&self.text, options()).ok());
        tree.as_ref()
    }

    fn line(&self, at: serde_saphyr::Location) -> Option<u32> {
        let line = u32::try_from(at.line()).ok()?;
        Some(self.first.saturating_add(line.saturating_sub(1)))
    }

    /// The file's line for a line inside a text value: block scalars begin
    /// below their key, other values on its line.
    pub fn line_inside(&self, path: &[Step], inner: u32) -> Option<u32> {
        let (_, line) = self.lines_of(path)?;
        let index = usize::try_from(line.saturating_sub(self.first)).ok()?;
        let text = self.text.lines().nth(index).unwrap_or_default();
        let (_, value) = text.split_once(':').unwrap_or(("", text));
        if value.trim_start().starts_with(['|', '>']) {
            Some(line.saturating_add(inner))
        } else {
            Some(line.saturating_add(inner.saturating_sub(1)))
        }
    }
}

/// A YAML value without its scalars.
#[derive(Debug)]
enum Shape {
    Map(Vec<(Spanned<String>, Spanned<Shape>)>),
    List(Vec<Spanned<Shape>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }
}
