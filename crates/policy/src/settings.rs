//! What compilation is told besides the resources, and what it tells back.

use std::fmt;

use resources::{Object, ObjectRef, Source};

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
