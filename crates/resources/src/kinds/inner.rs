//! Values of ConfigMaps that are YAML or JSON themselves.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{expected_found, steps, without_nulls};
use crate::document::Document;
use crate::error::LoadError;
use crate::meta::Source;
use yaml::{Step, Text, dotted, one_line, options};

/// One such value.
pub(super) struct Inner<'a> {
    pub(super) document: &'a Document,
    pub(super) key: &'a str,
    pub(super) text: &'a str,
}

/// Reads it into its type.
pub(super) fn read<T: DeserializeOwned>(
    document: &Document,
    key: &str,
    text: &str,
) -> Result<T, LoadError> {
    let inner = Inner {
        document,
        key,
        text,
    };
    inner.typed(&inner.value()?)
}

impl Inner<'_> {
    pub(super) fn value(&self) -> Result<Value, LoadError> {
        serde_saphyr::from_str_with_options(self.text, options()).map_err(|error| {
            let line = error.location().and_then(|l| u32::try_from(l.line()).ok());
            let message = one_line(&error.without_snippet().to_string());
            self.at(line, &[], format!("not YAML: {message}"))
        })
    }

    pub(super) fn typed<T: DeserializeOwned>(&self, value: &Value) -> Result<T, LoadError> {
        serde_path_to_error::deserialize(&without_nulls(value, true)).map_err(|error| {
            let path: Vec<Step> = steps(error.path()).collect();
            self.fail(&path, expected_found(&error.inner().to_string()))
        })
    }

    /// Something wrong with a field of it.
    pub(super) fn fail(&self, path: &[Step], message: String) -> LoadError {
        let line = Text::new(self.text, 1).line_of(path);
        self.at(line, path, message)
    }

    fn at(&self, line: Option<u32>, path: &[Step], message: String) -> LoadError {
        let mut place = self.document.path.clone();
        place.extend(["data", self.key].map(|key| Step::Key(key.to_owned())));
        let inside = self.document.text.inside(&place);
        let line = inside.map(|inside| inside.line(line.unwrap_or(1)));
        let source = Source {
            line: line.unwrap_or(self.document.source.line),
            ..self.document.source.clone()
        };
        let field = match path {
            [] => format!("data.{}", self.key),
            path => format!("data.{}: {}", self.key, dotted(path)),
        };
        LoadError::new(&source, Some(&self.document.reference()), message).at(field)
    }
}
