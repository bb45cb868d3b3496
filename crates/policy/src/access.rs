//! Access levels and owners: what a route needs, by listener and by who owns it.

use std::sync::Arc;

use resources::rbac::ModelKind;

use crate::caller::{ServiceAccount, TokenHolder};

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
    /// What `model` is one of.
    pub kind: ModelKind,
    /// The InferenceService or InferenceGraph of that namespace that it was made for.
    pub model: Option<Arc<str>>,
}

/// Who has a role of Kubernetes that lets them `get` a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bindings {
    /// Those of all bindings; without any, nobody gets through.
    pub bound: Vec<Bound>,
    /// The cluster's API server knows better, where there is one.
    pub reviewed: bool,
}

/// Somebody who has such a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// Who.
    pub whom: Whom,
    /// The binding, for `explain`: `RoleBinding team-a/viewers`.
    pub by: Arc<str>,
}

/// A subject of Kubernetes RBAC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// A user by name: an e-mail address, `service:<name>`.
    User(Arc<str>),
    /// Members of a group.
    Group(Arc<str>),
    /// A ServiceAccount.
    Account(ServiceAccount),
    /// All ServiceAccounts of a namespace (`system:serviceaccounts:<namespace>`).
    AccountsOf(Arc<str>),
    /// All ServiceAccounts (`system:serviceaccounts`).
    Accounts,
    /// Everybody who is known (`system:authenticated`).
    Everybody,
}

impl Bindings {
    /// The binding that lets a holder through, if one does.
    pub fn allows(&self, holder: &TokenHolder) -> Option<&Bound> {
        self.bound.iter().find(|bound| bound.whom.is(holder))
    }
}

impl Whom {
    /// Whether somebody is meant (`appliesToUser` of Kubernetes'
    /// `plugin/pkg/auth/authorizer/rbac/rbac.go`). Groups of people are those
    /// of their login, never those that Kubernetes gives.
    fn is(&self, holder: &TokenHolder) -> bool {
        match (self, holder) {
            (Self::Everybody, _) => true,
            (Self::User(name), TokenHolder::Person(person)) => *name == person.email,
            (Self::User(name), TokenHolder::Service(service)) => {
                name.strip_prefix("service:") == Some(&*service.name)
            }
            (Self::Group(name), TokenHolder::Person(person)) => person.groups.contains(name),
            (Self::Group(name), TokenHolder::Service(service)) => service.groups.contains(name),
            (Self::Account(bound), TokenHolder::ServiceAccount(account)) => bound == account,
            (Self::AccountsOf(namespace), TokenHolder::ServiceAccount(account)) => {
                *namespace == account.namespace
            }
            (Self::Accounts, TokenHolder::ServiceAccount(_)) => true,
            (Self::User(_) | Self::Group(_), TokenHolder::ServiceAccount(_))
            | (
                Self::Account(_) | Self::AccountsOf(_) | Self::Accounts,
                TokenHolder::Person(_) | TokenHolder::Service(_),
            ) => false,
        }
    }
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
    /// Who may see the model, where that counts.
    pub bindings: Option<Arc<Bindings>>,
}

impl RouteAccess {
    /// Whether it needs what another does, of everybody who is calling: keys for
    /// some models and roles tell models apart.
    pub fn needs_what(&self, other: &Self) -> bool {
        // Whoever adds a field decides here whether callers meet it.
        let Self {
            owner,
            external,
            local,
            limits,
            target,
            bindings,
        } = other;
        (self.owner != Owner::Model || self.target == *target)
            && self.owner == *owner
            && self.external == *external
            && self.local == *local
            && self.limits == *limits
            && self.bindings == *bindings
    }

    /// Whether any person with a session gets through from outside, and no limit
    /// is set.
    pub fn opens_to_sessions(&self) -> bool {
        self.owner == Owner::Platform
            && self.external == AccessLevel::Login
            && self.limits.is_empty()
            && self.bindings.is_none()
    }
}
