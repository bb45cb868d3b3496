//! Everything that is wrong with some YAML, at once.

use std::fmt;
use std::sync::Arc;

use crate::meta::{ObjectRef, Source};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// File as the user named it.
    pub file: Arc<str>,
    /// 1-based line; 0 when the whole file is meant.
    pub line: u32,
    /// The object, if it is known.
    pub object: Option<ObjectRef>,
    /// Path of the field, for example `spec.http[0].match`.
    pub field: Option<String>,
    /// What was expected and what was found.
    pub message: String,
}

impl LoadError {
    pub(crate) fn new(
        source: &Source,
        object: Option<&ObjectRef>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: source.file.clone(),
            line: source.line,
            object: object.cloned(),
            field: None,
            message: message.into(),
        }
    }

    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        let field = field.into();
        self.field = (!field.is_empty() && field != ".").then_some(field);
        self
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Nobody reads more than this at once.
const MAX_SHOWN: usize = 100;

/// Every error of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadErrors {
    /// The errors, in the order of files and lines.
    pub errors: Vec<LoadError>,
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().take(MAX_SHOWN).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        match self.errors.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for LoadErrors {}
