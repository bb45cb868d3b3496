//! ClusterRoles that every API server makes at its start (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`), those of them
//! that show models or gather others: YAML names them and seldom has them.

use std::sync::{Arc, LazyLock};

use super::{AggregationRule, LabelSelector, PolicyRule, Role};
use crate::meta::{Metadata, Object, Source};

/// Roles that let do anything with everything, `get` among it.
const EVERYTHING: [&str; 3] = [
    "cluster-admin",
    "system:controller:generic-garbage-collector",
    "system:controller:namespace-controller",
];

/// Roles that are made of others, and what they are a part of.
const GATHERED: [(&str, Option<&str>); 3] = [
    ("admin", None),
    ("edit", Some("admin")),
    ("view", Some("edit")),
];

pub(super) static ROLES: LazyLock<Vec<Object<Role>>> = LazyLock::new(|| {
    let everything = EVERYTHING.iter().map(|name| everything(name));
    let gathered = GATHERED.iter().map(|(name, into)| gathered(name, *into));
    everything.chain(gathered).collect()
});

fn everything(name: &str) -> Object<Role> {
    let all = || vec!["*".to_owned()];
    let rule = PolicyRule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        resource_names: Vec::new(),
    };
    role(
        name,
        Role {
            rules: vec![rule],
            aggregation_rule: None,
        },
    )
}

fn gathered(name: &str, into: Option<&str>) -> Object<Role> {
    let label = |name: &str| {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
        (label, "true".to_owned())
    };
    let selector = LabelSelector {
        match_labels: [label(name)].into(),
        match_expressions: Vec::new(),
    };
    let mut role = role(
        name,
        Role {
            rules: Vec::new(),
            aggregation_rule: Some(AggregationRule {
                cluster_role_selectors: vec![selector],
            }),
        },
    );
    role.meta.labels = into.map(label).into_iter().collect();
    role
}

fn role(name: &str, spec: Role) -> Object<Role> {
    Object {
        kind: Arc::from("ClusterRole"),
        meta: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec,
        source: Source {
            file: Arc::from("kubernetes"),
            line: 1,
            generated_from: None,
        },
    }
}
