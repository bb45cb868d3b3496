//! Who is asked about, and about what: as `rbac: review` asks the API server.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Somebody who calls a model, as a line: `person EMAIL GROUPS…`, `service NAME GROUPS…`, `account NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller(pub(super) String);

/// A model, as a line: `inferenceservices NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model(pub(super) String);

impl Caller {
    /// User name and groups.
    fn user(&self) -> Result<(String, Vec<String>)> {
        let mut words = self.0.split(' ');
        let (kind, name) = (words.next(), words.next());
        let name = name.with_context(|| format!("`{}` has no name", self.0))?;
        let known = || "system:authenticated".to_owned();
        // Nobody has groups of Kubernetes by a login.
        let groups = words.filter(|group| !group.starts_with("system:"));
        let groups = groups.map(str::to_owned).chain([known()]).collect();
        Ok(match kind {
            Some("person") => (name.to_owned(), groups),
            Some("service") => (format!("service:{name}"), groups),
            Some("account") => {
                let (namespace, account) = name.split_once('/').context("no namespace")?;
                let groups = vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    known(),
                ];
                (
                    format!("system:serviceaccount:{namespace}:{account}"),
                    groups,
                )
            }
            _ => bail!("`{}`: expected person, service or account", self.0),
        })
    }
}

impl Model {
    /// The resource, the namespace and the name.
    fn parts(&self) -> Result<[&str; 3]> {
        let (resource, rest) = self.0.split_once(' ').context("no resource")?;
        let (namespace, name) = rest.split_once('/').context("no namespace")?;
        Ok([resource, namespace, name])
    }
}

/// A SubjectAccessReview about them.
pub(super) fn question(caller: &Caller, model: &Model) -> Result<Value> {
    let (user, groups) = caller.user()?;
    let [resource, namespace, name] = model.parts()?;
    Ok(json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": groups,
            "resourceAttributes": {
                "namespace": namespace,
                "verb": "get",
                "group": "serving.kserve.io",
                "resource": resource,
                "name": name,
            },
        },
    }))
}
