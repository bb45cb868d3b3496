//! What every object has: metadata, a place in a file, a name to call it by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Standard object metadata, as far as decisions read it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Object name, unique per kind and namespace.
    pub name: String,
    /// Namespace; empty for cluster-scoped objects. The loader fills in
    /// `default` for namespaced kinds that leave it out.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339 time of creation; `None` sorts first, like a zero time in Istio.
    pub creation_timestamp: Option<String>,
}

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Source {
    /// File as the user named it; `-` for standard input.
    pub file: Arc<str>,
    /// 1-based line of the document's first line.
    pub line: u32,
    /// The object whose controller would have made this one, if it is not in
    /// the YAML itself.
    pub generated_from: Option<ObjectRef>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if let Some(parent) = &self.generated_from {
            write!(f, " (generated for {parent})")?;
        }
        Ok(())
    }
}

/// Kind, namespace and name: how messages call an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    /// Kind, for example `VirtualService`.
    pub kind: Arc<str>,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One object of a known kind.
#[derive(Clone, Debug)]
pub struct Object<T> {
    /// Kind as written in the YAML.
    pub kind: Arc<str>,
    /// Metadata.
    pub meta: Metadata,
    /// The part that is specific to the kind.
    pub spec: T,
    /// Where it comes from.
    pub source: Source,
}

impl<T> Object<T> {
    /// How messages call this object.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(&self.kind, &self.meta.namespace, &self.meta.name)
    }

    /// Istio's order among objects of a kind: creation time, name, namespace
    /// (`pilot/pkg/model/config.go`, `configCompareByCreationTime`).
    pub fn age_order(&self) -> (Option<&str>, &str, &str) {
        (
            self.meta.creation_timestamp.as_deref(),
            &self.meta.name,
            &self.meta.namespace,
        )
    }
}

/// A Service by namespace and name, independent of how its host is spelled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ServiceName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ServiceName {
    /// Reads `name`, `name.ns`, `name.ns.svc` or `name.ns.svc.cluster.local`,
    /// resolving a bare name in `namespace`. `None` for any other host.
    pub fn from_host(host: &str, namespace: &str) -> Option<Self> {
        let host = host.strip_suffix(".cluster.local").unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let mut parts = host.split('.');
        let name = parts.next().filter(|n| !n.is_empty() && *n != "*")?;
        let namespace = match (parts.next(), parts.next()) {
            (None, _) => namespace,
            (Some(ns), None) if !ns.is_empty() => ns,
            _ => return None,
        };
        Some(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The fully qualified in-cluster host.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
