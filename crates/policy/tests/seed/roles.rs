//! Who may see which model, as Kubernetes' API server said it about made-up Roles, ClusterRoles and bindings
//! (`cargo xtask record --cluster`).

use std::fmt::Write as _;
use std::sync::Arc;

use policy::{Caller, Entrance, Person, Service, ServiceAccount, Snapshot, TokenHolder};
use serde_json::Value;

use super::rbac::passes;
use super::{CLUSTER, SIDEGATE, compile, head};

const GOLDEN: &str = include_str!("../golden/roles.json");

fn strings<'g>(world: &'g Value, name: &str) -> Vec<&'g str> {
    let all = world[name].as_array().unwrap();
    all.iter().map(|text| text.as_str().unwrap()).collect()
}

/// `person EMAIL GROUPS…`, `service NAME GROUPS…` or `account NAMESPACE/NAME`.
fn holder(line: &str) -> TokenHolder {
    let mut words = line.split(' ');
    let (kind, name) = (words.next().unwrap(), words.next().unwrap());
    let groups = words.map(Arc::from).collect();
    match kind {
        "person" => TokenHolder::Person(Person {
            email: name.into(),
            subject: "1".into(),
            groups,
        }),
        "service" => TokenHolder::Service(Service {
            name: name.into(),
            groups,
        }),
        _ => {
            let (namespace, name) = name.split_once('/').unwrap();
            TokenHolder::ServiceAccount(ServiceAccount {
                namespace: namespace.into(),
                name: name.into(),
            })
        }
    }
}

/// The cluster with the models of one kind that are asked about, and the objects of a world.
fn snapshot(world: &Value, resource: &str) -> Snapshot {
    let mut yaml = String::new();
    for object in world["objects"].as_array().unwrap() {
        write!(yaml, "{object}\n---\n").unwrap();
    }
    for model in strings(world, "models") {
        let (of, model) = model.split_once(' ').unwrap();
        let (namespace, name) = model.split_once('/').unwrap();
        let (version, kind, spec) = match of {
            "inferenceservices" => (
                "v1beta1",
                "InferenceService",
                "{predictor: {sklearn: {storageUri: gs://a/b}}}",
            ),
            _ => (
                "v1alpha1",
                "InferenceGraph",
                "{nodes: {root: {routerType: Sequence, steps: [{serviceName: x}]}}}",
            ),
        };
        if of == resource {
            write!(
                yaml,
                "apiVersion: serving.kserve.io/{version}\nkind: {kind}\n\
                 metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
            )
            .unwrap();
        }
    }
    let enforced = SIDEGATE.replacen("spec:\n", "spec:\n  rbac: enforce\n", 1);
    compile(&[CLUSTER, &enforced, yaml.trim_end_matches("---\n")])
}

#[test]
fn roles_mean_what_the_api_server_says_they_mean() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let mut said = [0, 0];
    let mut differ = Vec::new();
    for (number, world) in golden["worlds"].as_array().unwrap().iter().enumerate() {
        for resource in ["inferenceservices", "inferencegraphs"] {
            let snapshot = snapshot(world, resource);
            let models = strings(world, "models");
            for (line, answers) in strings(world, "callers")
                .iter()
                .zip(strings(world, "answers"))
            {
                assert_eq!(answers.len(), models.len());
                let caller = Caller::Token(holder(line));
                for (model, expected) in models.iter().zip(answers.chars()) {
                    let Some(model) = model.strip_prefix(resource) else {
                        continue;
                    };
                    let (namespace, name) = model.trim().split_once('/').unwrap();
                    let url =
                        format!("{name}.{namespace}.svc.cluster.local/v1/models/{name}:predict");
                    let head = head(Entrance::Local, "POST", &url, &[]);
                    let found = passes(&snapshot, &head, &caller);
                    said[usize::from(found)] += 1;
                    if found != (expected == '1') {
                        differ.push(format!(
                            "world {number}: {line} at {resource}{model}: {found}"
                        ));
                    }
                }
            }
        }
    }
    assert!(
        differ.is_empty(),
        "{} differ: {:#?}",
        differ.len(),
        &differ[..differ.len().min(20)]
    );
    // Both are said often.
    assert!(said.iter().all(|count| *count > 1_000), "{said:?}");
}
