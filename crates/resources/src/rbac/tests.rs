//! The documented cases of Kubernetes' evaluation
//! (`pkg/apis/rbac/v1/evaluation_helpers.go`, `plugin/pkg/auth/authorizer/rbac/rbac_test.go`,
//! `pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go`), and Kubeflow's objects.

use super::*;

fn cluster(yaml: &str) -> Cluster {
    crate::parse_layers(&[vec![("t.yaml".into(), yaml.to_owned())]]).unwrap()
}

/// The bindings that show a model, by name.
fn shown(yaml: &str, namespace: &str, name: &str) -> Vec<String> {
    shown_of(ModelKind::Service, yaml, namespace, name)
}

fn shown_of(kind: ModelKind, yaml: &str, namespace: &str, name: &str) -> Vec<String> {
    let cluster = cluster(yaml);
    let grants = ModelGrants::of(&cluster);
    let found = grants.for_model(kind, namespace, name);
    found.map(|grant| grant.binding.meta.name.clone()).collect()
}

const BINDINGS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: here, namespace: team-a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ROLE, name: r}
subjects: [{kind: User, name: a@b.c}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: everywhere}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ROLE, name: r}
subjects: [{kind: User, name: a@b.c}]
---
";

fn role(kind: &str, rules: &str) -> String {
    let namespace = if kind == "Role" {
        ", namespace: team-a"
    } else {
        ""
    };
    format!(
        "{}apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r{namespace}}}\n{rules}\n",
        BINDINGS.replace("ROLE", kind)
    )
}

#[test]
fn each_list_of_a_rule_has_to_match() {
    for (rule, expected) in [
        (
            "{verbs: [get], apiGroups: [serving.kserve.io], resources: [inferenceservices]}",
            true,
        ),
        ("{verbs: ['*'], apiGroups: ['*'], resources: ['*']}", true),
        (
            "{verbs: [list, get], apiGroups: ['', serving.kserve.io], resources: [pods, inferenceservices]}",
            true,
        ),
        (
            "{verbs: [list, watch], apiGroups: ['*'], resources: ['*']}",
            false,
        ),
        ("{verbs: [GET], apiGroups: ['*'], resources: ['*']}", false),
        ("{verbs: [get], apiGroups: [''], resources: ['*']}", false),
        (
            "{verbs: [get], apiGroups: [kserve.io], resources: ['*']}",
            false,
        ),
        (
            "{verbs: [get], apiGroups: ['*'], resources: [inferenceservices/status]}",
            false,
        ),
        (
            "{verbs: [get], apiGroups: ['*'], resources: ['*/status']}",
            false,
        ),
        (
            "{verbs: [get], apiGroups: ['*'], resources: [InferenceServices]}",
            false,
        ),
        ("{verbs: [], apiGroups: ['*'], resources: ['*']}", false),
        ("{verbs: [get], apiGroups: [], resources: ['*']}", false),
        ("{verbs: [get], apiGroups: ['*'], resources: []}", false),
        ("{verbs: [get], nonResourceURLs: ['*']}", false),
        (
            "{verbs: [get], apiGroups: ['*'], resources: ['*'], resourceNames: [iris]}",
            true,
        ),
        (
            "{verbs: [get], apiGroups: ['*'], resources: ['*'], resourceNames: [other]}",
            false,
        ),
        (
            "{verbs: [get], apiGroups: ['*'], resources: ['*'], resourceNames: ['*']}",
            false,
        ),
    ] {
        let found = shown(
            &role("ClusterRole", &format!("rules: [{rule}]")),
            "team-a",
            "iris",
        );
        let expected: &[&str] = if expected {
            &["here", "everywhere"]
        } else {
            &[]
        };
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn a_binding_counts_where_it_is() {
    let all = "rules: [{verbs: ['*'], apiGroups: ['*'], resources: ['*']}]";
    let cluster_role = role("ClusterRole", all);
    assert_eq!(
        shown(&cluster_role, "team-a", "iris"),
        ["here", "everywhere"]
    );
    assert_eq!(shown(&cluster_role, "team-b", "iris"), ["everywhere"]);
    // A ClusterRoleBinding cannot name a Role, and a Role is of its namespace.
    let namespaced = role("Role", all);
    assert_eq!(shown(&namespaced, "team-a", "iris"), ["here"]);
    assert_eq!(shown(&namespaced, "team-b", "iris"), [""; 0]);
    // A role that is not there, and an empty one.
    let none = BINDINGS.replace("ROLE", "ClusterRole");
    assert_eq!(
        shown(none.trim_end_matches("---\n"), "team-a", "iris"),
        [""; 0]
    );
    assert_eq!(
        shown(&role("ClusterRole", "rules: []"), "team-a", "iris"),
        [""; 0]
    );
    assert_eq!(
        shown(&role("ClusterRole", "rules: null"), "team-a", "iris"),
        [""; 0]
    );
}

#[test]
fn an_aggregated_role_is_what_the_controller_makes_of_it() {
    let part = |name: &str, labels: &str, rest: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{name: {name}, labels: {{{labels}}}}}\n{rest}\n"
        )
    };
    let shows = "rules: [{verbs: [get], apiGroups: ['*'], resources: [inferenceservices]}]";
    let aggregates =
        |selector: &str| format!("aggregationRule: {{clusterRoleSelectors: [{selector}]}}");
    let with = |selector: &str, parts: &str| {
        let yaml = format!("{}{parts}", role("ClusterRole", &aggregates(selector)));
        !shown(&yaml, "team-a", "iris").is_empty()
    };
    let labelled = part("p", "to: edit, x: 'y'", shows);
    assert!(with("{matchLabels: {to: edit}}", &labelled));
    assert!(with("{matchLabels: {to: edit, x: 'y'}}", &labelled));
    assert!(with(
        "{matchLabels: {to: view}}, {matchLabels: {to: edit}}",
        &labelled
    ));
    assert!(!with("{matchLabels: {to: view}}", &labelled));
    assert!(!with("{matchLabels: {to: edit, z: 'y'}}", &labelled));
    for (expression, expected) in [
        ("{key: to, operator: In, values: [view, edit]}", true),
        ("{key: to, operator: In, values: [view]}", false),
        ("{key: to, operator: NotIn, values: [view]}", true),
        ("{key: to, operator: NotIn, values: [edit]}", false),
        ("{key: to, operator: Exists}", true),
        ("{key: z, operator: Exists}", false),
        ("{key: z, operator: DoesNotExist}", true),
        ("{key: to, operator: DoesNotExist}", false),
        ("{key: to, operator: Matches, values: [edit]}", false),
    ] {
        // Roles of every cluster have no such label either.
        let selector = format!("{{matchLabels: {{x: 'y'}}, matchExpressions: [{expression}]}}");
        assert_eq!(with(&selector, &labelled), expected, "{expression}");
    }
    assert!(with(
        "{matchExpressions: [{key: to, operator: DoesNotExist}]}",
        ""
    ));
    // Through another aggregated one, in a circle, and itself.
    let through = part("q", "to: admin", &aggregates("{matchLabels: {to: edit}}"));
    assert!(with(
        "{matchLabels: {to: admin}}",
        &format!("{through}{labelled}")
    ));
    let circle = part("q", "to: admin", &aggregates("{matchLabels: {to: admin}}"));
    assert!(!with("{matchLabels: {to: admin}}", &circle));
    // What is written beside is overwritten by the controller.
    let beside = format!("{}\n{shows}", aggregates("{matchLabels: {to: view}}"));
    assert!(shown(&role("ClusterRole", &beside), "team-a", "iris").is_empty());
}

const PROFILE: &str = "
apiVersion: kubeflow.org/v1
kind: Profile
metadata: {name: team-a}
spec: {owner: {kind: User, name: owner@example.com}}
";

#[test]
fn what_kubeflow_makes_of_a_profile_counts_without_being_written() {
    assert_eq!(
        shown(PROFILE, "team-a", "iris"),
        ["namespaceAdmin", "default-editor", "default-viewer"]
    );
    assert_eq!(shown(PROFILE, "team-b", "iris"), [""; 0]);
    // Kubeflow's own roles are right where they are there.
    let written = format!(
        "{PROFILE}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata: {{name: kubeflow-admin}}\n\
         rules: [{{verbs: [get], apiGroups: [serving.kserve.io], resources: [inferenceservices]}}]\n"
    );
    assert_eq!(shown(&written, "team-a", "iris"), ["namespaceAdmin"]);
    // And so are its bindings.
    let binding = format!(
        "{PROFILE}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: namespaceAdmin, namespace: team-a}}\n\
         roleRef: {{kind: ClusterRole, name: nothing}}\n"
    );
    assert_eq!(
        shown(&binding, "team-a", "iris"),
        ["default-editor", "default-viewer"]
    );
}

#[test]
fn a_graph_is_another_resource() {
    use ModelKind::{Graph, Service};

    let rule = |resources: &str| {
        let rule =
            format!("rules: [{{verbs: [get], apiGroups: [serving.kserve.io], {resources}}}]");
        role("ClusterRole", &rule)
    };
    for (resources, service, graph) in [
        ("resources: [inferenceservices]", true, false),
        ("resources: [inferencegraphs]", false, true),
        (
            "resources: [inferencegraphs, inferenceservices]",
            true,
            true,
        ),
        ("resources: ['*']", true, true),
        (
            "resources: [inferencegraphs], resourceNames: [iris]",
            false,
            true,
        ),
        (
            "resources: [inferencegraphs], resourceNames: [other]",
            false,
            false,
        ),
    ] {
        let yaml = rule(resources);
        let shows = |kind| !shown_of(kind, &yaml, "team-a", "iris").is_empty();
        assert_eq!(
            (shows(Service), shows(Graph)),
            (service, graph),
            "{resources}"
        );
    }
    let bound = shown_of(Graph, PROFILE, "team-a", "iris");
    assert_eq!(
        bound,
        ["namespaceAdmin", "default-editor", "default-viewer"]
    );
}

#[test]
fn contributors_are_bound_like_anybody() {
    let yaml = format!(
        "{PROFILE}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata:\n  name: user-c-example-com-clusterrole-edit\n  namespace: team-a\n  \
         annotations: {{role: edit, user: c@example.com}}\n\
         roleRef: {{kind: ClusterRole, name: kubeflow-edit}}\n\
         subjects: [{{kind: User, name: c@example.com}}]\n"
    );
    let found = shown(&yaml, "team-a", "iris");
    assert!(
        found.contains(&"user-c-example-com-clusterrole-edit".to_owned()),
        "{found:?}"
    );
    assert_eq!(cluster(&yaml).contributors.len(), 1);
}

/// Bindings name them, and no YAML has them.
#[test]
fn the_roles_of_every_cluster_need_not_be_written() {
    let bound = |role: &str, more: &str| {
        let yaml = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: b, namespace: team-a}}\n\
             roleRef: {{kind: ClusterRole, name: {role}}}\n{more}"
        );
        !shown(&yaml, "team-a", "iris").is_empty()
    };
    for (role, expected) in [
        ("cluster-admin", true),
        ("admin", false),
        ("edit", false),
        ("view", false),
        ("system:aggregate-to-view", false),
        ("cluster-admins", false),
    ] {
        assert_eq!(bound(role, ""), expected, "{role}");
    }
    // What is labelled for one of them is in those that it is a part of.
    let labelled = |to: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{name: p, labels: {{rbac.authorization.k8s.io/aggregate-to-{to}: 'true'}}}}\n\
             rules: [{{verbs: [get], apiGroups: [serving.kserve.io], resources: [inferenceservices]}}]\n"
        )
    };
    for (to, expected) in [
        ("view", [true, true, true]),
        ("edit", [false, true, true]),
        ("admin", [false, false, true]),
    ] {
        let found = ["view", "edit", "admin"].map(|role| bound(role, &labelled(to)));
        assert_eq!(found, expected, "{to}");
    }
    // Whoever writes one of them has another.
    let written = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
        metadata: {name: cluster-admin}\nrules: []\n";
    assert!(!bound("cluster-admin", written));
}

/// They are what a real API server has (`cargo xtask record --cluster`).
#[test]
fn the_roles_of_every_cluster_are_the_api_servers() {
    let golden = include_str!("../../../policy/tests/golden/roles.json");
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    let recorded = golden["builtin"].as_array().unwrap();
    let mut seen = 0;
    for role in recorded {
        let name = role["metadata"]["name"].as_str().unwrap();
        let shows = !role["rules"].as_array().unwrap().is_empty();
        let gathers = !role["aggregationRule"].is_null();
        let ours = builtin::ROLES.iter().find(|ours| ours.meta.name == name);
        let Some(ours) = ours else {
            assert!(!shows && !gathers, "{name}");
            continue;
        };
        seen += 1;
        assert_eq!(ours.spec.rules.is_empty(), !shows, "{name}");
        let gathering: Option<AggregationRule> =
            serde_json::from_value(role["aggregationRule"].clone()).unwrap();
        let labels = |rule: &Option<AggregationRule>| -> Vec<_> {
            let rules = rule.iter().flat_map(|rule| &rule.cluster_role_selectors);
            rules
                .map(|selector| selector.match_labels.clone())
                .collect()
        };
        assert_eq!(
            labels(&ours.spec.aggregation_rule),
            labels(&gathering),
            "{name}"
        );
        for (label, value) in &ours.meta.labels {
            assert_eq!(role["metadata"]["labels"][label], **value, "{name}");
        }
    }
    assert_eq!(seen, builtin::ROLES.len());
}
