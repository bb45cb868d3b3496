//! Lines of fields. Only errors and `kind: List` ask for them, so a text is
//! read a second time, with positions, on the first question.

use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

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

/// Where a text stands that is the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// In a literal block: line by line, from this line of the file on.
    From(u32),
    /// Its lines are no lines of the file; the field is on this one.
    At(u32),
}

impl Inside {
    /// The line of the file for a line of the text, 1-based, as near as can be.
    pub fn line(self, inner: u32) -> u32 {
        match self {
            Self::From(first) => first.saturating_add(inner.saturating_sub(1)),
            Self::At(line) => line,
        }
    }
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
        self.line(self.find(path)?.0)
    }

    /// Where the text stands that is the value of a field that is there.
    pub fn inside(&self, path: &[Step]) -> Option<Inside> {
        let (key, value) = self.find(path)?;
        // An alias stands for what is written at its anchor.
        Some(match self.literal(value.defined) {
            Some(first) => Inside::From(first),
            None => Inside::At(self.line(key)?),
        })
    }

    /// Where the deepest part of the path is that exists, and its value.
    fn find(&self, path: &[Step]) -> Option<(Location, &Spanned<Shape>)> {
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
        Some((key, node))
    }

    /// The first line of the file of a literal block, whose lines are those of its text (YAML 1.2.2, 8.1.2), by the
    /// place of its first letter: the line below its header.
    fn literal(&self, at: Location) -> Option<u32> {
        let row = usize::try_from(at.line()).ok()?.checked_sub(1)?;
        let column = usize::try_from(at.column()).ok()?.checked_sub(1)?;
        let lines: Vec<&str> = self.text.lines().take(row + 1).collect();
        let (first, before) = lines.split_last()?;
        let mut indent = first.chars().take(column);
        let above = before.iter().rposition(|line| !line.trim().is_empty())?;
        let begins = indent.all(|letter| letter == ' ') && is_literal(before.get(above)?);
        let header = begins.then(|| u32::try_from(above).ok())??;
        Some(self.first.saturating_add(header).saturating_add(1))
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

    fn line(&self, at: Location) -> Option<u32> {
        let line = u32::try_from(at.line()).ok()?;
        Some(self.first.saturating_add(line.saturating_sub(1)))
    }
}

/// Whether a line ends with the header of a literal block (YAML 1.2.2, 8.1.1), and maybe a comment.
fn is_literal(line: &str) -> bool {
    let ends = line.match_indices(" #").map(|(at, _)| at);
    let mut parts = ends.chain([line.len()]).filter_map(|end| line.get(..end));
    parts.any(|part| {
        let word = part.split_whitespace().next_back().unwrap_or_default();
        let indicators = word.strip_prefix('|');
        indicators.is_some_and(|rest| {
            rest.len() <= 2
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"+-".contains(&b))
        })
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the value of `data.config.yaml` of a document that begins on line 11 stands.
    #[track_caller]
    fn check(text: &str, expected: Inside) {
        let path = ["data", "config.yaml"].map(|key| Step::Key(key.to_owned()));
        let found = Text::new(text, 11).inside(&path);
        assert_eq!(found, Some(expected), "{text}");
    }

    #[test]
    fn lines_of_a_literal_block_are_lines_of_the_file() {
        for header in ["|", "|-", "|+", "|2", "|-2 # of Dex", "&dex |", "!!str |-"] {
            let text = format!("data:\n  config.yaml: {header}\n    issuer: a\n    b: c\n");
            check(&text, Inside::From(13));
        }
        check("data:\n  config.yaml:\n    |\n    a: b\n", Inside::From(14));
        check(
            "data:\n  \"config.yaml\": |\n\n    a: b\n",
            Inside::From(13),
        );
        check("data:\n  config.yaml: |\n\n\n    a: b\n", Inside::From(13));
        check(
            "x: &dex |\n  a: b\ndata:\n  config.yaml: *dex\n",
            Inside::From(12),
        );
    }

    #[test]
    fn of_other_texts_the_line_of_the_key_is_known() {
        for value in [
            "\"a: b\\nc: |\\n  d\"",
            "'a: b\n\n    c: d'",
            ">\n    a: b\n    c: d",
            "a",
            "\n    'a: b'",
            "\"| a\"",
            "*dex",
            "|",
        ] {
            let text = format!("x: &dex 'a: b'\ndata:\n  config.yaml: {value}\n");
            check(&text, Inside::At(13));
        }
        check(
            "{\"data\": {\"config.yaml\": \"a: b\\nc: |\\n\"}}",
            Inside::At(11),
        );
    }

    #[test]
    fn lines_are_counted_from_where_the_text_begins() {
        assert_eq!(
            [1, 2, 0].map(|inner| Inside::From(13).line(inner)),
            [13, 14, 13]
        );
        assert_eq!([1, 2].map(|inner| Inside::At(13).line(inner)), [13, 13]);
    }
}
