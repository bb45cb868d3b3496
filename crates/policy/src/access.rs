//! Access levels and owners: what a route needs, by listener and by who owns it.

use std::sync::Arc;

/// Who gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessLevel {
    /// A person with a session, or a bearer token of the same provider.
    Login,
    /// A valid token.
    Token,
    /// Any workload on the cluster-local listener.
    Cluster,
    /// Everyone.
    Public,
    /// Whatever the cluster's own policies say.
    AsWritten,
}

impl AccessLevel {
    /// The name used in annotations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Token => "token",
            Self::Cluster => "cluster",
            Self::Public => "public",
            Self::AsWritten => "as-written",
        }
    }

    /// Reads an annotation value.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Login,
            Self::Token,
            Self::Cluster,
            Self::Public,
            Self::AsWritten,
        ]
        .into_iter()
        .find(|level| level.name() == name)
    }
}

/// Who a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The platform: dashboard, notebooks, pipelines.
    Platform,
    /// An InferenceService.
    Model,
    /// The login machinery itself.
    LoginMachinery,
    /// Everybody else.
    Foreign,
}

impl Owner {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Model => "model",
            Self::LoginMachinery => "login machinery",
            Self::Foreign => "foreign",
        }
    }
}

/// Optional limits of a level; an empty list limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Namespaces of ServiceAccounts and workloads.
    pub namespaces: Vec<Arc<str>>,
    /// ServiceAccounts, `ns/name`.
    pub service_accounts: Vec<Arc<str>>,
    /// E-mail addresses.
    pub users: Vec<Arc<str>>,
    /// Groups.
    pub groups: Vec<Arc<str>>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.service_accounts.is_empty()
            && self.users.is_empty()
            && self.groups.is_empty()
    }
}

/// What a route leads to, for callers who may use only some of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteTarget {
    /// Namespace of the object that wrote the route.
    pub namespace: Arc<str>,
    /// The InferenceService of that namespace that it was made for.
    pub model: Option<Arc<str>>,
}

/// What a route needs on each listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteAccess {
    /// Owner.
    pub owner: Owner,
    /// Level on the external listener.
    pub external: AccessLevel,
    /// Level on the cluster-local listener.
    pub local: AccessLevel,
    /// Limits on both.
    pub limits: Limits,
    /// What it leads to.
    pub target: RouteTarget,
}
