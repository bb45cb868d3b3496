//! What is found.

use std::borrow::Cow;
use std::fmt;

use resources::{Object, ObjectRef, Source};
use serde::Serialize;

/// How grave a finding is; `Critical` sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Protection is missing altogether, or the data plane fails.
    Critical,
    /// A client gets past a rule, or a rule does not do what it says.
    High,
    /// An object has no effect, or more effect than it seems to.
    Medium,
    /// Worth knowing.
    Low,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        })
    }
}

/// A request that shows a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// As a command line.
    pub curl: String,
    /// Request line and headers.
    pub request: Vec<String>,
    /// What decided it, step by step.
    pub trace: Vec<String>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the lint.
    pub id: Cow<'static, str>,
    /// How grave it is.
    pub severity: Severity,
    /// The lint in a few words.
    pub title: Cow<'static, str>,
    /// What, why, and what to do.
    pub message: String,
    /// The object to change.
    pub object: ObjectRef,
    /// Where it is.
    pub source: Source,
    /// Path of the field, for example `spec.rules[0].to[0].operation.notPaths[1]`;
    /// empty when the whole object is meant.
    pub field: String,
    /// What to write instead.
    pub fix: Option<String>,
    /// A request that shows it.
    pub witness: Option<Witness>,
    /// How many there are like it, this one included.
    pub count: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} {}: {}: ",
            self.source, self.severity, self.id, self.object
        )?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Id, severity and title of a lint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lint(
    pub(crate) &'static str,
    pub(crate) Severity,
    pub(crate) &'static str,
);

impl Lint {
    /// A finding about a field of an object.
    pub(crate) fn on<T>(
        self,
        object: &Object<T>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Finding {
        let Self(id, severity, title) = self;
        Finding {
            id: id.into(),
            severity,
            title: title.into(),
            message: message.into(),
            object: object.reference(),
            source: object.source.clone(),
            field: field.into(),
            fix: None,
            witness: None,
            count: 1,
        }
    }
}

impl Finding {
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
