//! Who is calling, as values: found out elsewhere, compared here.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::access::RouteTarget;

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

impl Workload {
    /// The workload whose certificate has this SPIFFE ID,
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<name>`, in one of the mesh's
    /// trust domains ([`trust_domains`](crate::trust_domains)). Which pod it is
    /// of is not in it. The certificate has to have been verified.
    pub fn of_principal(id: &str, trust_domains: &[String]) -> Option<Self> {
        let mut parts = id.strip_prefix("spiffe://")?.split('/');
        let mut part = || parts.next();
        let (domain, ns, namespace, sa, name) = (part()?, part()?, part()?, part()?, part()?);
        let is_name = |text: &str| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| known(byte) || b"-.".contains(&byte))
        };
        let right = trust_domains.iter().any(|known| known == domain)
            && (ns, sa) == ("ns", "sa")
            && is_name(namespace)
            && is_name(name)
            && parts.next().is_none();
        right.then(|| Self {
            pod: "".into(),
            service_account: ServiceAccount {
                namespace: namespace.into(),
                name: name.into(),
            },
        })
    }
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

/// A program that is known by a name and runs anywhere: no workload of the
/// cluster, and nobody's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Groups.
    pub groups: Arc<[Arc<str>]>,
}

impl Service {
    /// `service:<name>`, the user name that limits and bindings know it by. No
    /// person has such a one.
    pub fn user_name(&self) -> String {
        format!("service:{}", self.name)
    }
}

/// The holder of a verified bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenHolder {
    /// Token of the login provider.
    Person(Person),
    /// Token of the cluster's ServiceAccount issuer.
    ServiceAccount(ServiceAccount),
    /// Token of a program with a name.
    Service(Service),
}

impl TokenHolder {
    /// The name that limits, bindings and logs know the holder by.
    pub fn user_name(&self) -> String {
        match self {
            Self::Person(person) => person.email.to_string(),
            Self::ServiceAccount(account) => account.user_name(),
            Self::Service(service) => service.user_name(),
        }
    }
}

/// An API key: a token that may do only a part of what its holder may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in lists and logs, not the secret.
    pub id: Arc<str>,
    /// Whose it is.
    pub holder: TokenHolder,
    /// What it is for.
    pub scope: Arc<KeyScope>,
}

/// What an API key begins with.
pub const KEY_PREFIX: &str = "sgk_";

/// The header that API keys may be sent in, where `authorization` is for others.
/// Without the prefix it is somebody else's, for upstreams.
pub static KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// Whether a header holds an API key, in any spelling that an upstream could take
/// for [`KEY_HEADER`].
pub fn is_api_key(name: &HeaderName, value: &HeaderValue) -> bool {
    let (name, ours) = (name.as_str(), KEY_HEADER.as_str());
    let is_named = name.len() == ours.len() && name.replace('_', "-") == ours;
    is_named && String::from_utf8_lossy(value.as_bytes()).contains(KEY_PREFIX)
}

/// What a key is for; with two empty lists, for every model that its holder
/// may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyScope {
    /// Namespaces.
    pub namespaces: Vec<Arc<str>>,
    /// Models, `namespace/name`.
    pub models: Vec<Arc<str>>,
}

impl KeyScope {
    /// Whether a route is within.
    pub fn covers(&self, target: &RouteTarget) -> bool {
        let named = |model: &Arc<str>| {
            let name = target.model.as_deref();
            name.is_some_and(|name| model.split_once('/') == Some((&*target.namespace, name)))
        };
        (self.namespaces.is_empty() && self.models.is_empty())
            || self.namespaces.contains(&target.namespace)
            || self.models.iter().any(named)
    }
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
    /// The holder of an API key.
    Key(Key),
    /// A bearer token was there and is not valid.
    BadToken(TokenError),
}

impl Caller {
    /// The person, by session or by token.
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Session(person)
            | Self::Token(TokenHolder::Person(person))
            | Self::Key(Key {
                holder: TokenHolder::Person(person),
                ..
            }) => Some(person),
            Self::Anonymous | Self::Token(_) | Self::Key(_) | Self::BadToken(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_of_the_mesh_is_a_workload() {
        let domains = ["cluster.local".to_owned(), "old.example".to_owned()];
        for (id, expected) in [
            (
                "spiffe://cluster.local/ns/team-a/sa/default",
                Some("team-a/default"),
            ),
            ("spiffe://old.example/ns/team-a/sa/a.b", Some("team-a/a.b")),
            ("spiffe://other.example/ns/team-a/sa/default", None),
            (
                "spiffe://cluster.local.evil.example/ns/team-a/sa/default",
                None,
            ),
            ("cluster.local/ns/team-a/sa/default", None),
            ("SPIFFE://cluster.local/ns/team-a/sa/default", None),
            ("spiffe://cluster.local/ns/team-a/sa/default/x", None),
            ("spiffe://cluster.local/ns/team-a/sa/", None),
            ("spiffe://cluster.local/ns//sa/default", None),
            ("spiffe://cluster.local/ns/team-a/x/default", None),
            ("spiffe://cluster.local/sa/team-a/ns/default", None),
            ("spiffe://cluster.local/ns/team-a/sa/default?x", None),
            ("spiffe://cluster.local/ns/Team A/sa/default", None),
            ("spiffe://cluster.local/ns/%74eam/sa/default", None),
            ("spiffe:///ns/team-a/sa/default", None),
            ("", None),
        ] {
            let found = Workload::of_principal(id, &domains).map(|workload| {
                let account = workload.service_account;
                format!("{}/{}", account.namespace, account.name)
            });
            assert_eq!(found.as_deref(), expected, "{id}");
        }
    }
}
