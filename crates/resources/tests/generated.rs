//! What KServe's, Knative's and Kubeflow's controllers make of one cluster, by
//! release; and what others wrote down of it below `SIDEGATE_FIXTURES`.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::path::{Path, PathBuf};

use resources::{Cluster, Object};
use serde::Serialize;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated")
}

/// The cluster, as these releases complete it.
fn generated(releases: &str) -> Cluster {
    let cluster = std::fs::read_to_string(folder().join("cluster.yaml")).unwrap();
    let sidegate = format!(
        "---\napiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\nmetadata: {{name: s, namespace: kubeflow}}\nspec: {{{releases}}}\n"
    );
    resources::parse(&[("cluster".into(), cluster + &sidegate)]).unwrap()
}

fn read(path: &Path) -> Cluster {
    let text = std::fs::read_to_string(path).unwrap();
    resources::parse(&[("golden".into(), text)]).unwrap()
}

fn json_of<T: Serialize>(object: &Object<T>) -> Value {
    let meta = &object.meta;
    json!({"labels": meta.labels, "annotations": meta.annotations, "spec": without_probes(json!(object.spec))})
}

/// Knative's routes for its prober go where the others go and are left out.
fn without_probes(mut spec: Value) -> Value {
    if let Some(http) = spec.get_mut("http").and_then(Value::as_array_mut) {
        http.retain(|route| route.pointer("/match/0/headers/K-Network-Hash").is_none());
    }
    spec
}

/// Every expected object is there, as it is written, and nothing else of its
/// kind and namespace that `all` asks for.
fn compare<T: Serialize>(found: &[Object<T>], expected: &[Object<T>], all: bool) -> usize {
    for wanted in expected {
        let name = wanted.reference();
        let mut same = found.iter().filter(|object| object.reference() == name);
        let object = same.next();
        assert!(object.is_some(), "no {name}");
        let object = object.unwrap();
        assert!(same.next().is_none(), "{name} twice");
        assert_eq!(json_of(object), json_of(wanted), "{name}");
        assert!(object.source.generated_from.is_some(), "{name}");
    }
    if all && !expected.is_empty() {
        assert_eq!(found.len(), expected.len());
    }
    expected.len()
}

#[test]
fn objects_by_release() {
    for (releases, file) in [
        ("kserveVersion: '0.7'", "kserve-0.10"),
        ("kserveVersion: '0.10'", "kserve-0.10"),
        ("kserveVersion: '0.11'", "kserve-0.13"),
        ("kserveVersion: '0.13'", "kserve-0.13"),
        ("kserveVersion: '0.20'", "kserve-0.20"),
        ("", "kserve-0.20"),
        ("kubeflowVersion: '1.3'", "kubeflow-1.3"),
        ("kubeflowVersion: '1.4'", "kubeflow-1.4"),
        ("kubeflowVersion: '1.5'", "kubeflow-1.7"),
        ("kubeflowVersion: '1.7'", "kubeflow-1.7"),
        ("kubeflowVersion: '1.8'", "kubeflow-1.10"),
        ("", "kubeflow-1.10"),
    ] {
        let (found, expected) = (
            generated(releases),
            read(&folder().join(format!("{file}.yaml"))),
        );
        let compared = compare(&found.virtual_services, &expected.virtual_services, false)
            + compare(&found.services, &expected.services, false)
            + compare(&found.namespaces, &expected.namespaces, true)
            + compare(
                &found.authorization_policies,
                &expected.authorization_policies,
                true,
            );
        assert!(compared > 0, "{file}");
    }
}

/// What a release is where nobody says: the tag of the controller's image.
#[test]
fn images_tell_releases() {
    let cluster = std::fs::read_to_string(folder().join("cluster.yaml")).unwrap();
    for (kserve, kubeflow, files) in [
        (
            "kserve/kserve-controller:v0.10.2",
            "public.ecr.aws/x/profile-controller:v1.7.0",
            ["kserve-0.10", "kubeflow-1.7"],
        ),
        (
            "kserve/kserve-controller:v0.13.1@sha256:00",
            "profile-controller:v1.3.0-rc.1",
            ["kserve-0.13", "kubeflow-1.3"],
        ),
        (
            "kserve/kserve-controller:latest",
            "ghcr.io/kubeflow/dashboard/profile-controller:v2.0.0",
            ["kserve-0.20", "kubeflow-1.10"],
        ),
    ] {
        let pods = format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: c, namespace: kserve}}\nspec: {{containers: [{{image: a/b:v9.9}}, {{image: {kserve}}}, {{image: {kubeflow}}}]}}\n"
        );
        let found = resources::parse(&[("f".into(), format!("{cluster}{pods}"))]).unwrap();
        for file in files {
            let expected = read(&folder().join(format!("{file}.yaml")));
            compare(&found.virtual_services, &expected.virtual_services, false);
            compare(
                &found.authorization_policies,
                &expected.authorization_policies,
                true,
            );
        }
    }
}

/// The newest releases, also as others derived them from the controllers'
/// source, where that is at hand.
#[test]
fn objects_of_the_newest_releases() {
    let mut files = vec![
        folder().join("kserve-0.20.yaml"),
        folder().join("kubeflow-1.10.yaml"),
    ];
    let derived = std::env::var_os("SIDEGATE_FIXTURES").map(|all| Path::new(&all).join("derived"));
    if let Some(derived) = derived.filter(|derived| derived.is_dir()) {
        let names = [
            "kserve-sklearn-iris.yaml",
            "knative-sklearn-iris-predictor.yaml",
            "ns-owner-access-istio.yaml",
            "kfam-contributor.yaml",
        ];
        files.extend(names.map(|name| derived.join(name)));
    }
    let found = generated("");
    for file in files {
        let expected = read(&file);
        let policies = &expected.authorization_policies;
        let compared = compare(&found.virtual_services, &expected.virtual_services, false)
            + compare(&found.services, &expected.services, false)
            + compare(&found.authorization_policies, policies, false);
        assert!(compared > 0, "{}", file.display());
    }
}
