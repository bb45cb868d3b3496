//! Roles of Kubernetes, as `explain` tells of them.

use super::{sidegate, stderr, stdout};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const OURS: &str = include_str!("../../../../examples/seed/sidegate.yaml");
const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: see-models}
rules: [{verbs: [get], apiGroups: [serving.kserve.io], resources: [inferenceservices]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: callers, namespace: kserve-test}
roleRef: {kind: ClusterRole, name: see-models}
subjects: [{kind: User, name: 'service:job'}, {kind: ServiceAccount, name: backend, namespace: shop}]
";

#[test]
fn explain_names_the_binding_that_lets_a_caller_through() {
    let folder = tempfile::tempdir().unwrap();
    let ours = OURS.replacen("spec:\n", "spec:\n  rbac: enforce\n", 1);
    let yaml = format!("{CLUSTER}\n---\n{ours}\n---\n{ROLES}");
    std::fs::write(folder.path().join("cluster.yaml"), yaml).unwrap();
    let path = folder.path().display().to_string();
    let url = "http://sklearn-iris.kserve-test.example.com/v1/models/sklearn-iris:predict";
    for (who, expected) in [
        ("service:job", "RoleBinding kserve-test/callers"),
        (
            "serviceaccount:shop/backend",
            "RoleBinding kserve-test/callers",
        ),
        ("service:other", "403"),
        ("serviceaccount:shop/other", "403"),
    ] {
        let told = sidegate(&["explain", &path, "POST", url, "--as", who]);
        let text = format!("{}{}", stdout(&told), stderr(&told));
        assert!(text.contains(expected), "{who}: {text}");
    }
}
