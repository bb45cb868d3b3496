//! Kubernetes RBAC: who may do what with which resource
//! (`rbac.authorization.k8s.io/v1`), as far as it is about models.

mod builtin;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::cluster::Cluster;
use crate::meta::{Metadata, Object, Source};

/// What a Role or ClusterRole lets its subjects do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Role {
    /// Rules; any that matches lets through.
    pub rules: Vec<PolicyRule>,
    /// The rules are those of other ClusterRoles; the controller overwrites `rules`.
    pub aggregation_rule: Option<AggregationRule>,
}

/// One rule: each of the lists has to match.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// `get`, or `*`.
    pub verbs: Vec<String>,
    /// `serving.kserve.io`, or `*`.
    pub api_groups: Vec<String>,
    /// `inferenceservices`, or `*`.
    pub resources: Vec<String>,
    /// Names of objects; empty for all.
    pub resource_names: Vec<String>,
}

/// Which ClusterRoles a ClusterRole is made of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AggregationRule {
    /// Any that matches counts.
    pub cluster_role_selectors: Vec<LabelSelector>,
}

/// A selector of labels; each part has to match.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with these values.
    pub match_labels: BTreeMap<String, String>,
    /// Other conditions.
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on a label.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LabelExpression {
    /// Name of the label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values of the first two.
    pub values: Vec<String>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Binding {
    /// To whom.
    pub subjects: Vec<Subject>,
    /// Which role.
    pub role_ref: RoleRef,
}

/// Somebody who has a role.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace of a ServiceAccount; that of the binding if empty.
    pub namespace: String,
}

/// Names a role.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct RoleRef {
    /// `Role`, in the namespace of the binding, or `ClusterRole`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// What a model is an object of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// An InferenceService.
    #[default]
    Service,
    /// An InferenceGraph.
    Graph,
}

impl ModelKind {
    const ALL: [Self; 2] = [Self::Service, Self::Graph];

    /// What RBAC calls it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Service => "inferenceservices",
            Self::Graph => "inferencegraphs",
        }
    }
}

/// The verb and group that RBAC is asked about.
const VERB: &str = "get";
const GROUP: &str = "serving.kserve.io";

/// The ClusterRoles of Kubeflow for people of a namespace, and what KServe adds
/// to them.
const KUBEFLOW_ROLES: [&str; 3] = [ADMIN, EDIT, VIEW];
const ADMIN: &str = "kubeflow-admin";
const EDIT: &str = "kubeflow-edit";
const VIEW: &str = "kubeflow-view";

impl PolicyRule {
    /// Whether it lets its subjects see the models of a kind that
    /// [`Self::resource_names`] names (`pkg/apis/rbac/v1/evaluation_helpers.go`).
    fn shows(&self, kind: ModelKind) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        has(&self.verbs, VERB)
            && has(&self.api_groups, GROUP)
            && has(&self.resources, kind.resource())
    }
}

impl LabelSelector {
    /// Whether labels match. One without any part matches everything, one with
    /// an operator that is none matches nothing.
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let labelled = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        let expressed = |expression: &LabelExpression| {
            let value = labels.get(&expression.key);
            let listed = value.is_some_and(|value| expression.values.contains(value));
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        };
        self.match_labels.iter().all(labelled) && self.match_expressions.iter().all(expressed)
    }
}

/// Who may see which models.
#[derive(Debug, Default)]
pub struct ModelGrants<'c> {
    /// By namespace of the models; those for all namespaces are under the empty name.
    grants: HashMap<(&'c str, ModelKind), Vec<ModelGrant<'c>>>,
}

/// One binding to a role that shows models.
#[derive(Debug)]
pub struct ModelGrant<'c> {
    /// The RoleBinding or ClusterRoleBinding.
    pub binding: &'c Object<Binding>,
    /// Names of the models; `None` for all of the namespace.
    names: Option<HashSet<String>>,
}

impl<'c> ModelGrants<'c> {
    /// Evaluates the bindings of a cluster. A binding to a role that is not
    /// there gives nothing.
    pub fn of(cluster: &'c Cluster) -> Self {
        let roles = Roles::of(cluster);
        let mut all = Self::default();
        for binding in &cluster.bindings {
            let everywhere = &*binding.kind == "ClusterRoleBinding";
            let namespace = if everywhere {
                ""
            } else {
                &binding.meta.namespace
            };
            let role = &binding.spec.role_ref;
            let place = match role.kind.as_str() {
                "ClusterRole" => "",
                "Role" if !everywhere => namespace,
                _ => continue,
            };
            for kind in ModelKind::ALL {
                if let Some(names) = roles.shown(place, &role.name, kind) {
                    let grants = all.grants.entry((namespace, kind)).or_default();
                    grants.push(ModelGrant { binding, names });
                }
            }
        }
        all
    }

    /// The bindings that show a model, those of its namespace first.
    pub fn for_model<'a>(
        &'a self,
        kind: ModelKind,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a ModelGrant<'c>> {
        [namespace, ""]
            .into_iter()
            .filter_map(move |place| self.grants.get(&(place, kind)))
            .flatten()
            .filter(move |grant| {
                grant
                    .names
                    .as_ref()
                    .is_none_or(|names| names.contains(name))
            })
    }
}

/// Roles by namespace (empty for ClusterRoles) and name.
struct Roles<'c> {
    roles: HashMap<(&'c str, &'c str), &'c Object<Role>>,
}

impl<'c> Roles<'c> {
    fn of(cluster: &'c Cluster) -> Self {
        let key = |role: &'c Object<Role>| {
            let namespace = match &*role.kind {
                "ClusterRole" => "",
                _ => role.meta.namespace.as_str(),
            };
            ((namespace, role.meta.name.as_str()), role)
        };
        // What is written counts before what is there from the start.
        let builtin = builtin::ROLES.iter();
        Self {
            roles: builtin.chain(&cluster.roles).map(key).collect(),
        }
    }

    /// The models that a role shows: `None` for none, `Some(None)` for all.
    #[expect(clippy::option_option, reason = "none, some by name, all")]
    fn shown(
        &self,
        namespace: &str,
        name: &str,
        kind: ModelKind,
    ) -> Option<Option<HashSet<String>>> {
        let mut rules = Vec::new();
        self.rules(namespace, name, &mut HashSet::new(), &mut rules);
        let mut names = HashSet::new();
        for rule in rules.into_iter().filter(|rule| rule.shows(kind)) {
            if rule.resource_names.is_empty() {
                return Some(None);
            }
            names.extend(rule.resource_names.iter().cloned());
        }
        (!names.is_empty()).then_some(Some(names))
    }

    /// The rules of a role, and of those that it is made of, each once
    /// (`pkg/controller/clusterroleaggregation`).
    fn rules<'a>(
        &'a self,
        namespace: &str,
        name: &str,
        seen: &mut HashSet<&'a str>,
        rules: &mut Vec<&'a PolicyRule>,
    ) {
        let Some(role) = self.roles.get(&(namespace, name)) else {
            return;
        };
        let aggregation = role.spec.aggregation_rule.as_ref();
        let Some(aggregation) = aggregation.filter(|_| namespace.is_empty()) else {
            rules.extend(&role.spec.rules);
            return;
        };
        if !seen.insert(&role.meta.name) {
            return;
        }
        let parts = self.roles.iter().filter(|((namespace, other), part)| {
            let selectors = &aggregation.cluster_role_selectors;
            namespace.is_empty()
                && *other != name
                && selectors.iter().any(|s| s.matches(&part.meta.labels))
        });
        for (_, part) in parts {
            self.rules("", &part.meta.name, seen, rules);
        }
    }
}

/// Adds what Kubeflow's controllers make: the bindings of a Profile's owner and
/// of its ServiceAccounts, and Kubeflow's ClusterRoles where none is written.
pub(crate) fn generate(cluster: &mut Cluster) {
    let mut made = Vec::new();
    for profile in &cluster.profiles {
        let namespace = profile.meta.name.as_str();
        let owner = &profile.spec.owner;
        let kind = if owner.kind.is_empty() {
            "User"
        } else {
            &owner.kind
        };
        for (name, role, subject) in [
            ("namespaceAdmin", ADMIN, subject(kind, &owner.name, "")),
            (
                "default-editor",
                EDIT,
                subject("ServiceAccount", "default-editor", namespace),
            ),
            (
                "default-viewer",
                VIEW,
                subject("ServiceAccount", "default-viewer", namespace),
            ),
        ] {
            made.push(Object {
                kind: Arc::from("RoleBinding"),
                meta: Metadata {
                    name: name.to_owned(),
                    namespace: namespace.to_owned(),
                    ..Metadata::default()
                },
                spec: Binding {
                    subjects: vec![subject],
                    role_ref: RoleRef {
                        kind: "ClusterRole".to_owned(),
                        name: role.to_owned(),
                    },
                },
                source: Source {
                    generated_from: Some(profile.reference()),
                    ..profile.source.clone()
                },
            });
        }
    }
    let known: HashSet<(&str, &str)> = cluster
        .bindings
        .iter()
        .map(|binding| (binding.meta.namespace.as_str(), binding.meta.name.as_str()))
        .collect();
    made.retain(|binding| !known.contains(&(&*binding.meta.namespace, &*binding.meta.name)));
    let written = |role: &Object<Role>| {
        &*role.kind == "ClusterRole" && KUBEFLOW_ROLES.contains(&role.meta.name.as_str())
    };
    if !made.is_empty() && !cluster.roles.iter().any(written) {
        let names = KUBEFLOW_ROLES.iter();
        let roles: Vec<Object<Role>> = names.map(|name| kubeflow_role(name)).collect();
        cluster.roles.extend(roles);
    }
    cluster.bindings.extend(made);
}

fn subject(kind: &str, name: &str, namespace: &str) -> Subject {
    Subject {
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
    }
}

/// What KServe's `kubeflow-kserve-view` brings into each of them.
fn kubeflow_role(name: &str) -> Object<Role> {
    let list = |text: &str| vec![text.to_owned()];
    Object {
        kind: Arc::from("ClusterRole"),
        meta: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec: Role {
            rules: vec![PolicyRule {
                verbs: list(VERB),
                api_groups: list(GROUP),
                resources: ModelKind::ALL.map(|kind| kind.resource().to_owned()).into(),
                resource_names: Vec::new(),
            }],
            aggregation_rule: None,
        },
        source: Source {
            file: Arc::from("kubeflow"),
            line: 1,
            generated_from: None,
        },
    }
}

#[cfg(test)]
mod tests;
