//! Roles and bindings that are made up, and who is asked about under them.

use serde_json::{Map, Value, json};

use super::callers::{Caller, Model};
use crate::oracle::random::Dice;

/// What is asked under one set of objects.
pub(super) struct World {
    pub(super) objects: Vec<Value>,
    pub(super) callers: Vec<Caller>,
    pub(super) models: Vec<Model>,
}

pub(super) const NAMESPACES: [&str; 3] = ["team-a", "team-b", "shop"];
const PEOPLE: [&str; 5] = [
    "ada@example.com",
    "Ada@example.com",
    "bob@example.com",
    "eve@example.com",
    "x",
];
const PROGRAMS: [&str; 2] = ["job", "nightly"];
const ACCOUNTS: [&str; 3] = ["default", "default-editor", "worker"];
const GROUPS: [&str; 4] = ["data", "ops", "Data", "service:job"];
/// Groups of Kubernetes, which a login may name and which mean nothing then.
const SYSTEM: [&str; 4] = [
    "system:masters",
    "system:serviceaccounts",
    "system:serviceaccounts:team-a",
    "system:nodes",
];
const NAMES: [&str; 4] = ["iris", "iris-2", "graph", "default"];
const RESOURCES: [&str; 2] = ["inferenceservices", "inferencegraphs"];

/// What ClusterRoles of Kubernetes, of Kubeflow and of others are gathered by.
const GATHERED: [&str; 5] = [
    "rbac.authorization.k8s.io/aggregate-to-view",
    "rbac.authorization.k8s.io/aggregate-to-edit",
    "rbac.authorization.k8s.io/aggregate-to-admin",
    "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-edit",
    "example.com/to",
];
/// Roles that are made, or are there from the start, or nowhere.
const CLUSTER_ROLES: [&str; 12] = [
    "kubeflow-admin",
    "kubeflow-edit",
    "kubeflow-view",
    "see-models",
    "see",
    "gathered",
    "twice",
    "cluster-admin",
    "admin",
    "edit",
    "view",
    "gone",
];
const OURS: usize = 7;
const ROLES: [&str; 4] = ["see-models", "see", "all", "gone"];

/// The world of that number.
pub(super) fn world(seed: u64, number: u64) -> World {
    let mut dice = Dice::new(seed, number);
    let mut objects = Vec::new();
    for name in CLUSTER_ROLES.iter().take(OURS) {
        if dice.percent(85) {
            objects.push(cluster_role(&mut dice, name));
        }
    }
    for namespace in NAMESPACES {
        for name in ROLES.iter().take(ROLES.len() - 1) {
            if dice.percent(50) {
                objects.push(object(
                    "Role",
                    name,
                    namespace,
                    &[("rules", rules(&mut dice))],
                ));
            }
        }
    }
    for number in 0..4 + dice.up_to(10) {
        let namespace = dice.pick(&NAMESPACES).to_owned();
        objects.push(binding(
            &mut dice,
            "RoleBinding",
            &format!("binding-{number}"),
            &namespace,
        ));
    }
    for number in 0..dice.up_to(3) {
        objects.push(binding(
            &mut dice,
            "ClusterRoleBinding",
            &format!("everywhere-{number}"),
            "",
        ));
    }
    if dice.percent(50) {
        objects.push(contributor(&mut dice));
    }
    World {
        objects,
        callers: callers(&mut dice),
        models: models(),
    }
}

fn object(kind: &str, name: &str, namespace: &str, fields: &[(&str, Value)]) -> Value {
    let mut metadata = json!({"name": name});
    if let (Some(metadata), false) = (metadata.as_object_mut(), namespace.is_empty()) {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let mut object =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata});
    for (name, value) in fields {
        if let Some(object) = object.as_object_mut() {
            object.insert((*name).to_owned(), value.clone());
        }
    }
    object
}

fn cluster_role(dice: &mut Dice, name: &str) -> Value {
    let gathers = dice.percent(40);
    let fields = match gathers {
        true => vec![("aggregationRule", gathering(dice)), ("rules", json!([]))],
        false => vec![("rules", rules(dice))],
    };
    let mut role = object("ClusterRole", name, "", &fields);
    if dice.percent(60) {
        let mut labels = Map::new();
        for label in dice.some(&GATHERED, 2) {
            labels.insert(label, json!(dice.pick(&["true", "true", "false"])));
        }
        if let Some(metadata) = role.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), Value::Object(labels));
        }
    }
    role
}

fn gathering(dice: &mut Dice) -> Value {
    let selectors: Vec<Value> = (0..dice.up_to(2))
        .map(|_| {
            let label = dice.pick(&GATHERED);
            match dice.below(8) {
                0 => json!({"matchExpressions": [{"key": label, "operator": "In", "values": ["true", "x"]}]}),
                1 => json!({"matchExpressions": [{"key": label, "operator": "Exists"}]}),
                2 => json!({"matchLabels": {label: "true"},
                    "matchExpressions": [{"key": dice.pick(&GATHERED), "operator": "NotIn", "values": ["false"]}]}),
                3 => json!({"matchLabels": {label: "true"},
                    "matchExpressions": [{"key": dice.pick(&GATHERED), "operator": "DoesNotExist"}]}),
                _ => json!({"matchLabels": {label: "true"}}),
            }
        })
        .collect();
    json!({"clusterRoleSelectors": selectors})
}

fn rules(dice: &mut Dice) -> Value {
    let rules: Vec<Value> = (0..dice.up_to(3)).map(|_| rule(dice)).collect();
    json!(rules)
}

fn rule(dice: &mut Dice) -> Value {
    let verbs = dice.some(
        &[
            "get", "get", "get", "get", "get", "list", "watch", "*", "create", "GET",
        ],
        3,
    );
    let groups = dice.some(
        &[
            "serving.kserve.io",
            "serving.kserve.io",
            "serving.kserve.io",
            "*",
            "",
            "kserve.io",
            "serving.knative.dev",
        ],
        2,
    );
    let resources = dice.some(
        &[
            "inferenceservices",
            "inferenceservices",
            "inferencegraphs",
            "*",
            "inferenceservices/status",
            "inferenceservices/*",
            "*/status",
            "InferenceServices",
            "services",
        ],
        2,
    );
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if dice.percent(35)
        && let Some(rule) = rule.as_object_mut()
    {
        let names = dice.some(&["iris", "iris", "graph", "*", "iris-", ""], 2);
        rule.insert("resourceNames".to_owned(), json!(names));
    }
    rule
}

fn binding(dice: &mut Dice, kind: &str, name: &str, namespace: &str) -> Value {
    let role = match namespace.is_empty() || dice.percent(55) {
        true => {
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": dice.pick(&CLUSTER_ROLES)})
        }
        false => {
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": dice.pick(&ROLES)})
        }
    };
    let subjects: Vec<Value> = (0..dice.up_to(3))
        .map(|_| subject(dice, !namespace.is_empty()))
        .collect();
    object(
        kind,
        name,
        namespace,
        &[("roleRef", role), ("subjects", json!(subjects))],
    )
}

fn subject(dice: &mut Dice, namespaced: bool) -> Value {
    let user = |name: String| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let group = |name: String| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    let namespace = dice.pick(&NAMESPACES).to_owned();
    let account = dice.pick(&ACCOUNTS).to_owned();
    match dice.below(14) {
        0..=2 => user(dice.pick(&PEOPLE).to_owned()),
        3 => user(format!("service:{}", dice.pick(&PROGRAMS))),
        4 => user(format!("system:serviceaccount:{namespace}:{account}")),
        5 => user(
            dice.pick(&["*", "job", "system:anonymous", "system:admin", "default"])
                .to_owned(),
        ),
        6..=7 => group(dice.pick(&GROUPS).to_owned()),
        8 => group(format!("system:serviceaccounts:{namespace}")),
        9 => group(dice.pick(&SYSTEM).to_owned()),
        10 if dice.percent(40) => group("system:authenticated".to_owned()),
        10 => group(
            dice.pick(&["system:unauthenticated", "system:serviceaccounts:", "*"])
                .to_owned(),
        ),
        // That of the binding, where it has one.
        11 if namespaced => json!({"kind": "ServiceAccount", "name": account}),
        _ => json!({"kind": "ServiceAccount", "name": account, "namespace": namespace}),
    }
}

/// What Kubeflow makes of somebody who works in another's profile.
fn contributor(dice: &mut Dice) -> Value {
    let user = dice.pick(&PEOPLE);
    let role = dice.pick(&["admin", "edit", "view"]);
    let made = object(
        "RoleBinding",
        "user-somebody-clusterrole",
        dice.pick(&NAMESPACES),
        &[
            (
                "roleRef",
                json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("kubeflow-{role}")}),
            ),
            (
                "subjects",
                json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]),
            ),
        ],
    );
    let mut made = made;
    if let Some(metadata) = made.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert(
            "annotations".to_owned(),
            json!({"user": user, "role": role}),
        );
    }
    made
}

fn callers(dice: &mut Dice) -> Vec<Caller> {
    let mut all = Vec::new();
    let mut with_groups = |line: String, dice: &mut Dice| {
        let mut line = line;
        for _ in 0..dice.below(3) {
            line = format!("{line} {}", dice.pick(&GROUPS));
        }
        if dice.percent(25) {
            line = format!("{line} {}", dice.pick(&SYSTEM));
        }
        all.push(Caller(line));
    };
    for person in PEOPLE {
        with_groups(format!("person {person}"), dice);
    }
    for program in PROGRAMS {
        with_groups(format!("service {program}"), dice);
    }
    for namespace in NAMESPACES {
        for account in ACCOUNTS {
            all.push(Caller(format!("account {namespace}/{account}")));
        }
    }
    all
}

fn models() -> Vec<Model> {
    let all = NAMESPACES.iter().flat_map(|namespace| {
        let of = RESOURCES
            .iter()
            .flat_map(|resource| NAMES.iter().map(move |name| (*resource, *name)));
        of.map(move |(resource, name)| Model(format!("{resource} {namespace}/{name}")))
    });
    all.collect()
}
