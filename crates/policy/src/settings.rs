//! What compilation is told besides the resources, and what it tells back.

use std::fmt;

use resources::{Object, ObjectRef, Places, Source};

pub use crate::versions::IstioVersion;

/// Inputs of [`Snapshot::compile`](crate::Snapshot::compile) that are not in the YAML.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Istio version that overrides the Sidegate object and the mesh annotation.
    pub istio_version: Option<IstioVersion>,
    /// Exact paths of the identity provider that are open to everyone, for
    /// example `/dex/auth`.
    pub provider_paths: Vec<String>,
    /// Exact paths that the embedded login answers on platform routes: callback
    /// and logout.
    pub login_paths: Vec<String>,
    /// Issuer of the tokens that stand behind a person's login.
    pub login_issuer: Option<String>,
    /// Issuer of ServiceAccount tokens.
    pub cluster_issuer: Option<String>,
}

/// Something about the configuration that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object.
    pub object: Option<ObjectRef>,
    /// Where it is.
    pub source: Option<Source>,
    /// What is wrong, with the field.
    pub message: String,
}

impl Problem {
    pub(crate) fn of<T>(object: &Object<T>, message: impl Into<String>) -> Self {
        Self {
            object: Some(object.reference()),
            source: Some(object.source.clone()),
            message: message.into(),
        }
    }

    /// The same, with the line of the field that it begins with.
    pub(crate) fn located(mut self, places: &Places) -> Self {
        let field = self.message.split_once(": ").map(|(field, _)| field);
        let field = field.filter(|field| field.starts_with("spec."));
        if let (Some(field), Some(object), Some(source)) = (field, &self.object, &mut self.source)
            && source.generated_from.is_none()
            && let Some(line) = places.line(object, field)
        {
            source.line = line;
        }
        self
    }

    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self {
            object: None,
            source: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)
    }
}
