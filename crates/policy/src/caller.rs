//! Who is calling, as values: found out elsewhere, compared here.

use std::sync::Arc;

/// A Kubernetes ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAccount {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ServiceAccount {
    /// `system:serviceaccount:<namespace>:<name>`, the user name Kubernetes gives it.
    pub fn user_name(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// A workload inside the cluster, proven by the channel the request came over
/// (here: the proxy credentials that only this pod holds).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Pod name.
    pub pod: Arc<str>,
    /// The pod's ServiceAccount.
    pub service_account: ServiceAccount,
}

/// A person with a session or with a token of the login provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// E-mail address: the user id that Kubeflow knows.
    pub email: Arc<str>,
    /// `sub` of the provider.
    pub subject: Arc<str>,
    /// Groups.
    pub groups: Arc<[Arc<str>]>,
}

/// The holder of a verified bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenHolder {
    /// Token of the login provider.
    Person(Person),
    /// Token of the cluster's ServiceAccount issuer.
    ServiceAccount(ServiceAccount),
}

/// Why a bearer token was refused (RFC 6750 §3.1). The text is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError(pub String);

/// Whom a request is from, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// A person with a session cookie.
    Session(Person),
    /// The holder of a valid bearer token.
    Token(TokenHolder),
    /// A bearer token was there and is not valid.
    BadToken(TokenError),
}

impl Caller {
    /// The person, by session or by token.
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Session(person) | Self::Token(TokenHolder::Person(person)) => Some(person),
            Self::Anonymous | Self::Token(TokenHolder::ServiceAccount(_)) | Self::BadToken(_) => {
                None
            }
        }
    }
}
