//! `rbac: enforce`: callers of models need a role of Kubernetes.

use std::sync::Arc;

use policy::{
    Caller, Entrance, Key, KeyScope, Person, Refusal, RequestHead, Service, ServiceAccount,
    Snapshot, TokenHolder, Verdict, Workload,
};

use super::{CLUSTER, LOCAL, OUTSIDE, SIDEGATE, compile, head, settings, walk};

fn enforced() -> String {
    let text = SIDEGATE.replacen("spec:\n", "spec:\n  rbac: enforce\n", 1);
    assert_ne!(text, SIDEGATE);
    text
}

fn binding(subject: &str) -> String {
    format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: viewers, namespace: kserve-test}}
roleRef: {{kind: Role, name: see-iris}}
subjects: [{{{subject}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: see-iris, namespace: kserve-test}}
rules: [{{verbs: [get], apiGroups: [serving.kserve.io], resources: [inferenceservices], resourceNames: [sklearn-iris]}}]
"
    )
}

fn person(email: &str, groups: &[&str]) -> TokenHolder {
    TokenHolder::Person(Person {
        email: email.into(),
        subject: "1".into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    })
}

fn account(namespace: &str, name: &str) -> ServiceAccount {
    ServiceAccount {
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn service(name: &str, groups: &[&str]) -> TokenHolder {
    TokenHolder::Service(Service {
        name: name.into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    })
}

fn calls(snapshot: &Snapshot, entrance: Entrance, caller: &Caller) -> bool {
    let host = match entrance {
        Entrance::External => OUTSIDE,
        Entrance::Local => LOCAL,
    };
    let url = format!("{host}/v1/models/sklearn-iris:predict");
    passes(snapshot, &head(entrance, "POST", &url, &[]), caller)
}

/// Whether a caller gets through, or is told that it may not.
pub(super) fn passes(snapshot: &Snapshot, head: &RequestHead, caller: &Caller) -> bool {
    match walk(snapshot, head, caller).0 {
        Verdict::Permit(_) => true,
        Verdict::Denial(denial) => {
            let forbidden = matches!(denial.refusal, Refusal::Forbidden(_));
            let unknown = matches!(denial.refusal, Refusal::Token { .. } | Refusal::Unknown(_));
            assert!(forbidden || unknown, "{denial:?}");
            false
        }
        Verdict::Ask(question) => panic!("{question:?}"),
    }
}

/// `appliesToUser` of Kubernetes: who is meant by which subject.
#[test]
fn subjects_mean_whom_kubernetes_means() {
    let iris = TokenHolder::ServiceAccount(account("kserve-test", "caller"));
    let elsewhere = TokenHolder::ServiceAccount(account("team-b", "caller"));
    let alice = person(
        "alice@example.com",
        &["data", "system:masters", "system:serviceaccounts"],
    );
    let bob = person("bob@example.com", &[]);
    let job = service("job", &["data"]);
    let all = [&iris, &elsewhere, &alice, &bob, &job];
    for (subject, expected) in [
        (
            "kind: User, name: alice@example.com",
            [false, false, true, false, false],
        ),
        ("kind: User, name: ALICE@example.com", [false; 5]),
        (
            "kind: User, name: service:job",
            [false, false, false, false, true],
        ),
        ("kind: User, name: job", [false; 5]),
        (
            "kind: User, name: 'system:serviceaccount:team-b:caller'",
            [false, true, false, false, false],
        ),
        ("kind: User, name: 'system:anonymous'", [false; 5]),
        ("kind: User, name: '*'", [false; 5]),
        ("kind: Group, name: data", [false, false, true, false, true]),
        ("kind: Group, name: 'system:masters'", [false; 5]),
        ("kind: Group, name: 'system:authenticated'", [true; 5]),
        ("kind: Group, name: 'system:unauthenticated'", [false; 5]),
        (
            "kind: Group, name: 'system:serviceaccounts'",
            [true, true, false, false, false],
        ),
        (
            "kind: Group, name: 'system:serviceaccounts:team-b'",
            [false, true, false, false, false],
        ),
        ("kind: Group, name: 'system:serviceaccounts:'", [false; 5]),
        (
            "kind: ServiceAccount, name: caller, namespace: team-b",
            [false, true, false, false, false],
        ),
        // Without a namespace, that of the binding.
        (
            "kind: ServiceAccount, name: caller",
            [true, false, false, false, false],
        ),
        ("kind: Node, name: caller", [false; 5]),
    ] {
        let snapshot = compile(&[CLUSTER, &enforced(), &binding(subject)]);
        for entrance in [Entrance::External, Entrance::Local] {
            let found =
                all.map(|holder| calls(&snapshot, entrance, &Caller::Token(holder.clone())));
            assert_eq!(found, expected, "{subject} {entrance:?}");
            assert!(!calls(&snapshot, entrance, &Caller::Anonymous), "{subject}");
        }
    }
}

#[test]
fn workloads_need_a_role_too_and_keys_have_their_holders() {
    let subject = "kind: ServiceAccount, name: default, namespace: default";
    let snapshot = compile(&[CLUSTER, &enforced(), &binding(subject)]);
    let url = format!("{LOCAL}/v1/models/sklearn-iris:predict");
    let mut head = head(Entrance::Local, "POST", &url, &[]);
    for (namespace, expected) in [("default", true), ("team-b", false)] {
        head.workload = Some(Workload {
            pod: "p".into(),
            service_account: account(namespace, "default"),
        });
        let (verdict, _) = walk(&snapshot, &head, &Caller::Anonymous);
        assert_eq!(
            matches!(verdict, Verdict::Permit(_)),
            expected,
            "{namespace}"
        );
    }
    let key = |holder| {
        Caller::Key(Key {
            id: "k".into(),
            holder,
            scope: Arc::new(KeyScope::default()),
        })
    };
    let snapshot = compile(&[
        CLUSTER,
        &enforced(),
        &binding("kind: User, name: service:job"),
    ]);
    assert!(calls(
        &snapshot,
        Entrance::External,
        &key(service("job", &[]))
    ));
    assert!(!calls(
        &snapshot,
        Entrance::External,
        &key(service("other", &[]))
    ));
}

#[test]
fn annotations_say_it_for_one_model() {
    let annotated = |value: &str| {
        let from = "  name: \"sklearn-iris\"\n  namespace: kserve-test";
        let to = format!("{from}\n  annotations: {{sidegate.dev/rbac: '{value}'}}");
        CLUSTER.replace(from, &to)
    };
    let stranger = Caller::Token(person("stranger@example.com", &[]));
    for (cluster, ours, expected) in [
        (CLUSTER.to_owned(), SIDEGATE.to_owned(), true),
        (CLUSTER.to_owned(), enforced(), false),
        (annotated("enforce"), SIDEGATE.to_owned(), false),
        (annotated("off"), enforced(), true),
    ] {
        let snapshot = compile(&[&cluster, &ours]);
        assert_eq!(calls(&snapshot, Entrance::External, &stranger), expected);
    }
    let layers = [annotated("maybe"), enforced()].map(|text| vec![("t.yaml".into(), text)]);
    let cluster = resources::parse_layers(&layers).unwrap();
    let errors = Snapshot::compile(&cluster, &settings()).unwrap_err();
    assert!(
        errors[0]
            .to_string()
            .contains("expected `enforce`, `review` or `off`, found `maybe`"),
        "{errors:?}"
    );
}

#[test]
fn the_platform_needs_no_role() {
    let snapshot = compile(&[CLUSTER, &enforced()]);
    let Caller::Token(TokenHolder::Person(user)) = Caller::Token(person("user@example.com", &[]))
    else {
        panic!("a person");
    };
    let home = head(Entrance::External, "GET", "kubeflow.example.com/", &[]);
    let (verdict, _) = walk(&snapshot, &home, &Caller::Session(user));
    assert!(matches!(verdict, Verdict::Permit(_)), "{verdict:?}");
}
