//! What compilation is told besides the resources, and what it tells back.

use std::fmt;

use resources::{Object, ObjectRef, Source};

/// Inputs of [`Snapshot::compile`](crate::Snapshot::compile) that are not in the YAML.
#[derive(Clone, Debug, Default)]
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

/// An Istio minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IstioVersion {
    /// Always 1 so far.
    pub major: u16,
    /// The minor version: 16 of 1.16.
    pub minor: u16,
}

impl IstioVersion {
    /// The newest version whose semantics are implemented.
    pub const NEWEST: Self = Self {
        major: 1,
        minor: 31,
    };

    /// First version in which EnvoyFilters that match by Envoy's old filter
    /// names match nothing (istio commit c2225561517).
    pub const DEPRECATED_NAMES_DEAD: Self = Self {
        major: 1,
        minor: 19,
    };

    /// First version in which a broken provider denies only the requests its
    /// policies match, instead of all.
    pub const BAD_PROVIDER_SCOPED: Self = Self {
        major: 1,
        minor: 20,
    };

    /// First version with path templates.
    pub const PATH_TEMPLATES: Self = Self {
        major: 1,
        minor: 22,
    };

    /// First version that checks the characters of provider names, and in which
    /// a dry run of a CUSTOM policy denies.
    pub const PROVIDER_NAMES_CHECKED: Self = Self {
        major: 1,
        minor: 30,
    };

    /// Reads `1.16` or `1.16.4`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.split('-').next()?.parse().ok()?;
        (major == 1).then_some(Self { major, minor })
    }
}

impl fmt::Display for IstioVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
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
