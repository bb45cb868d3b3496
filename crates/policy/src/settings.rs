//! What compilation is told besides the resources, and what it tells back.

use std::fmt;

use resources::sidegate::Mode;
use resources::{Cluster, Object, ObjectRef, Places, Source};

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

pub(crate) fn check_platform(cluster: &Cluster, errors: &mut Vec<Problem>) {
    let Some(sidegate) = &cluster.sidegate else {
        return;
    };
    let named = sidegate
        .spec
        .platform
        .gateways
        .iter()
        .map(|g| ("platform.gateways", g));
    let entrances = &sidegate.spec.entrances;
    let with_principals = &sidegate.spec.workloads.principals;
    let named = named
        .chain(entrances.external.iter().map(|g| ("entrances.external", g)))
        .chain(entrances.local.iter().map(|g| ("entrances.local", g)))
        .chain(with_principals.iter().map(|g| ("workloads.principals", g)));
    for (field, name) in named {
        if !cluster
            .gateways
            .iter()
            .any(|g| format!("{}/{}", g.meta.namespace, g.meta.name) == *name)
        {
            errors.push(Problem::of(
                sidegate,
                format!("spec.{field}: no Gateway `{name}`, expected `namespace/name` of one"),
            ));
        }
    }
    if sidegate.spec.mode == Mode::Enforce && sidegate.spec.platform.namespaces.is_empty() {
        errors.push(Problem::of(
            sidegate,
            "spec.platform.namespaces: expected at least one namespace with mode `enforce`, or the platform would be nobody's and open",
        ));
    }
}
