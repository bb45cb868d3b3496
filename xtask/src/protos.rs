//! Which fields messages of Protocol Buffers have in JSON, read from their source.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

/// Messages and enumerations by their full names.
#[derive(Default)]
pub(crate) struct Protos {
    messages: BTreeMap<String, Vec<Field>>,
    words: BTreeMap<String, Vec<String>>,
}

struct Field {
    name: String,
    kind: Kind,
}

enum Kind {
    One(String),
    Many(String),
    /// Of texts to these.
    Map(String),
    /// A name that earlier versions had.
    Gone,
}

impl Protos {
    /// Adds what a file declares.
    pub(crate) fn read(&mut self, text: &str) -> Result<()> {
        let mut reader = Reader {
            words: words(text).into_iter(),
            protos: self,
        };
        let mut package = String::new();
        while let Some(word) = reader.words.next() {
            match word.as_str() {
                "package" => package = reader.next()?,
                "message" => reader.message(&package)?,
                "enum" => reader.enumeration(&package)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The shape of a message, as in the schemas of kinds.
    pub(crate) fn shape(&self, message: &str) -> Result<Value> {
        if !self.messages.contains_key(message) {
            bail!("no message `{message}`");
        }
        Ok(self.of_message(message, &mut Vec::new()))
    }

    fn of_message(&self, message: &str, within: &mut Vec<String>) -> Value {
        if within.iter().any(|outer| outer == message) {
            return json!("any");
        }
        within.push(message.to_owned());
        let fields = self.messages.get(message).into_iter().flatten();
        let fields: Map<String, Value> = fields
            .map(|field| {
                let shape = match &field.kind {
                    Kind::One(name) => self.of(name, message, within),
                    Kind::Many(name) => json!({"[]": self.of(name, message, within)}),
                    Kind::Map(name) => json!({"*": self.of(name, message, within)}),
                    Kind::Gone => json!("any"),
                };
                (in_json(&field.name), shape)
            })
            .collect();
        within.pop();
        fields.into()
    }

    /// A type as it is named in a message: of the innermost scope that has it.
    fn of(&self, name: &str, message: &str, within: &mut Vec<String>) -> Value {
        let mut scope = Some(message);
        while let Some(outer) = scope {
            let full = format!("{outer}.{name}");
            if self.messages.contains_key(&full) {
                return self.of_message(&full, within);
            }
            if let Some(words) = self.words.get(&full) {
                return json!(words);
            }
            scope = outer.rsplit_once('.').map(|(outer, _)| outer);
        }
        if self.messages.contains_key(name) {
            return self.of_message(name, within);
        }
        match name {
            "string" | "bytes" => json!("string"),
            "bool" | "google.protobuf.BoolValue" => json!("boolean"),
            "google.protobuf.Duration" | "google.protobuf.StringValue" => json!("string"),
            "google.protobuf.UInt32Value" | "google.protobuf.Int32Value" => json!("integer"),
            _ if name.contains("int") && !name.contains('.') => json!("integer"),
            "double" | "float" | "google.protobuf.DoubleValue" => json!("number"),
            // Of other packages.
            _ => json!("any"),
        }
    }
}

/// `trust_domain` is `trustDomain`.
fn in_json(name: &str) -> String {
    let mut parts = name.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.extend(letters);
    }
    text
}

/// Names, texts in quotes and signs, without comments.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            let end = rest.get(1..).and_then(|inside| inside.find('"'));
            end.map_or(rest.len(), |end| end + 2)
        } else {
            let part = |c: char| c.is_alphanumeric() || "_.-".contains(c);
            match rest.find(|c: char| !part(c)) {
                Some(0) => first.len_utf8(),
                Some(end) => end,
                None => rest.len(),
            }
        };
        let (word, after) = rest.split_at(length);
        if !word.starts_with("//") && !word.starts_with("/*") {
            found.push(word.to_owned());
        }
        rest = after.trim_start();
    }
    found
}

struct Reader<'a> {
    words: std::vec::IntoIter<String>,
    protos: &'a mut Protos,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<String> {
        self.words.next().context("the file ends too early")
    }

    fn message(&mut self, scope: &str) -> Result<()> {
        let full = format!("{scope}.{}", self.next()?);
        self.next()?;
        let mut fields = Vec::new();
        // Braces of `oneof` are on one level with the message.
        let mut depth = 1;
        while depth > 0 {
            let word = self.next()?;
            match word.as_str() {
                "}" => depth -= 1,
                ";" => {}
                "message" => self.message(&full)?,
                "enum" => self.enumeration(&full)?,
                "oneof" => {
                    self.next()?;
                    self.next()?;
                    depth += 1;
                }
                "option" | "extensions" => drop(self.statement()?),
                "reserved" => fields.extend(gone(&self.statement()?)),
                _ => {
                    let statement = self.statement()?;
                    fields.push(field(&word, &statement)?);
                }
            }
        }
        self.protos.messages.insert(full, fields);
        Ok(())
    }

    fn enumeration(&mut self, scope: &str) -> Result<()> {
        let full = format!("{scope}.{}", self.next()?);
        self.next()?;
        let mut words = Vec::new();
        loop {
            match self.next()?.as_str() {
                "}" => break,
                "option" => drop(self.statement()?),
                "reserved" => {
                    let statement = self.statement()?;
                    words.extend(gone(&statement).map(|field| field.name));
                }
                word => {
                    words.push(word.to_owned());
                    self.statement()?;
                }
            }
        }
        self.protos.words.insert(full, words);
        Ok(())
    }

    /// What comes before the next semicolon.
    fn statement(&mut self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        loop {
            match self.next()? {
                end if end == ";" => return Ok(found),
                word => found.push(word),
            }
        }
    }
}

fn gone(statement: &[String]) -> impl Iterator<Item = Field> {
    let names = statement.iter().filter(|word| word.starts_with('"'));
    names.map(|name| Field {
        name: name.trim_matches('"').to_owned(),
        kind: Kind::Gone,
    })
}

fn field(first: &str, rest: &[String]) -> Result<Field> {
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    let (kind, name) = match (first, parts.as_slice()) {
        ("map", ["<", _, ",", value, ">", name, "=", ..]) => {
            (Kind::Map((*value).to_owned()), *name)
        }
        ("repeated", [of, name, "=", ..]) => (Kind::Many((*of).to_owned()), *name),
        ("optional", [of, name, "=", ..]) => (Kind::One((*of).to_owned()), *name),
        (of, [name, "=", ..]) => (Kind::One(of.to_owned()), *name),
        _ => bail!("`{first} {}` is no field", parts.join(" ")),
    };
    Ok(Field {
        name: name.to_owned(),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_shapes() {
        let mut protos = Protos::default();
        let text = r#"
            syntax = "proto3"; // a comment; message X {}
            package a.b;
            message Outer {
              /* no message */ reserved "old_name";
              reserved 5;
              enum Mode { reserved 2; NONE = 0; ALL = 1 [deprecated = true]; }
              Mode mode = 1;
              repeated Inner inner_list = 2 [deprecated = true];
              oneof one { string some_text = 3; Other other = 4; }
              map<string, Mode> by_name = 6;
              google.protobuf.BoolValue flag = 7;
              c.d.Foreign foreign = 8;
              Outer again = 9;
              message Inner { uint32 number = 1; }
            }
            message Other { google.protobuf.Duration time = 1; }
        "#;
        protos.read(text).unwrap();
        assert_eq!(
            protos.shape("a.b.Outer").unwrap(),
            json!({
                "oldName": "any", "mode": ["NONE", "ALL"], "innerList": {"[]": {"number": "integer"}},
                "someText": "string", "other": {"time": "string"}, "byName": {"*": ["NONE", "ALL"]},
                "flag": "boolean", "foreign": "any", "again": "any",
            })
        );
        assert!(protos.shape("a.b.Missing").is_err());
        assert!(protos.read("message A {").is_err());
    }
}
