//! Kubernetes RBAC, where callers of models need a role: who may `get` which
//! InferenceService or InferenceGraph, by the Roles and bindings of the
//! configuration.

use std::collections::HashMap;
use std::sync::Arc;

use resources::rbac::{Binding, ModelGrants, Subject};
use resources::{Cluster, Object};

use crate::access::{Bindings, Bound, RouteTarget, Whom};
use crate::caller::ServiceAccount;

/// Groups that Kubernetes gives ServiceAccounts and whoever is known.
const ACCOUNTS: &str = "system:serviceaccounts";
const KNOWN: &str = "system:authenticated";
const ACCOUNT: &str = "system:serviceaccount:";

/// Who may see which models; each is asked about once.
pub(crate) struct Rbac<'c> {
    grants: ModelGrants<'c>,
    asked: std::cell::RefCell<HashMap<(RouteTarget, bool), Arc<Bindings>>>,
}

impl<'c> Rbac<'c> {
    pub(crate) fn of(cluster: &'c Cluster) -> Self {
        Self {
            grants: ModelGrants::of(cluster),
            asked: std::cell::RefCell::default(),
        }
    }

    /// Who may see a model; `reviewed` says that the API server is asked about it.
    pub(crate) fn bindings(&self, target: &RouteTarget, reviewed: bool) -> Arc<Bindings> {
        let key = (target.clone(), reviewed);
        if let Some(found) = self.asked.borrow().get(&key) {
            return Arc::clone(found);
        }
        let mut bound: Vec<Bound> = Vec::new();
        let name = target.model.as_deref().unwrap_or_default();
        let grants = self.grants.for_model(target.kind, &target.namespace, name);
        for grant in grants {
            let by: Arc<str> = label(grant.binding).into();
            for subject in &grant.binding.spec.subjects {
                let Some(whom) = whom(subject, grant.binding) else {
                    continue;
                };
                if !bound.iter().any(|other| other.whom == whom) {
                    let by = Arc::clone(&by);
                    bound.push(Bound { whom, by });
                }
            }
        }
        let bindings = Arc::new(Bindings { bound, reviewed });
        self.asked.borrow_mut().insert(key, Arc::clone(&bindings));
        bindings
    }
}

fn label(binding: &Object<Binding>) -> String {
    binding.reference().to_string()
}

/// Whom a subject means. Other groups that Kubernetes itself gives, of nodes
/// and of whoever is unknown, mean nobody here.
fn whom(subject: &Subject, binding: &Object<Binding>) -> Option<Whom> {
    let name = subject.name.as_str();
    match subject.kind.as_str() {
        "User" => match name.strip_prefix(ACCOUNT) {
            Some(account) => {
                let (namespace, name) = account.split_once(':')?;
                Some(account_of(namespace, name))
            }
            None if name.starts_with("system:") || name.is_empty() => None,
            None => Some(Whom::User(name.into())),
        },
        "Group" if name == ACCOUNTS => Some(Whom::Accounts),
        "Group" if name == KNOWN => Some(Whom::Everybody),
        "Group" => match name.strip_prefix(ACCOUNTS) {
            Some(rest) => rest
                .strip_prefix(':')
                .filter(|namespace| !namespace.is_empty())
                .map(|namespace| Whom::AccountsOf(namespace.into())),
            None if name.starts_with("system:") || name.is_empty() => None,
            None => Some(Whom::Group(name.into())),
        },
        "ServiceAccount" => {
            let namespace = match subject.namespace.as_str() {
                "" => binding.meta.namespace.as_str(),
                namespace => namespace,
            };
            (!namespace.is_empty() && !name.is_empty()).then(|| account_of(namespace, name))
        }
        _ => None,
    }
}

fn account_of(namespace: &str, name: &str) -> Whom {
    Whom::Account(ServiceAccount {
        namespace: namespace.into(),
        name: name.into(),
    })
}
