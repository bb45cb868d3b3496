//! Whose routes are by the names and labels that KServe and Knative give, where the YAML is what the cluster has.

use std::sync::Arc;

use policy::{
    Caller, Entrance, Key, KeyScope, Person, Refusal, ServiceAccount, Snapshot, TokenHolder,
    Verdict,
};

use super::{CLUSTER, SIDEGATE, compile, head, status, walk};

fn token(namespace: &str) -> Caller {
    Caller::Token(TokenHolder::ServiceAccount(ServiceAccount {
        namespace: namespace.into(),
        name: "default".into(),
    }))
}

fn person() -> Caller {
    Caller::Token(TokenHolder::Person(Person {
        email: "user@example.com".into(),
        subject: "1".into(),
        groups: Vec::new().into(),
    }))
}

fn asked(snapshot: &Snapshot, entrance: Entrance, host: &str, caller: &Caller) -> Verdict {
    let url = format!("{host}/v1/models/iris:predict");
    walk(snapshot, &head(entrance, "POST", &url, &[]), caller).0
}

/// What Knative makes of a part of a model, without anything that says which controller made it.
fn of_knative(route: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {route}-00001, namespace: team-a}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {route}-ingress
  namespace: team-a
  labels:
    networking.internal.knative.dev/ingress: {route}
    serving.knative.dev/route: {route}
    serving.knative.dev/routeNamespace: team-a
spec:
  gateways: [knative-serving/knative-local-gateway, kubeflow/kubeflow-gateway]
  hosts: [{route}.team-a.svc.cluster.local, {route}.team-a.example.com]
  http:
  - route:
    - destination: {{host: {route}-00001.team-a.svc.cluster.local, port: {{number: 80}}}}
"
    )
}

const IRIS: &str = "
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  namespace: team-a
  annotations: {sidegate.dev/allow-namespaces: team-a}
spec:
  predictor: {sklearn: {}, name: blue}
  transformer: {containers: []}
  explainer: {containers: []}
";

/// A part that callers reach by its own name has the limits of its model, whatever it has been called since KServe 0.7.
#[test]
fn limits_hold_for_every_part_of_a_model() {
    for part in [
        "iris-predictor",
        "iris-predictor-default",
        "iris-transformer",
        "iris-transformer-default",
        "iris-explainer",
        "iris-explainer-default",
        "iris-blue-predictor",
    ] {
        let seed = compile(&[&format!("{CLUSTER}{IRIS}{}", of_knative(part)), SIDEGATE]);
        let (inside, outside) = (
            format!("{part}.team-a.svc.cluster.local"),
            format!("{part}.team-a.example.com"),
        );
        for (entrance, host) in [(Entrance::Local, inside), (Entrance::External, outside)] {
            let of = |caller: &Caller| status(&asked(&seed, entrance, &host, caller));
            assert_eq!(of(&token("team-a")), 200, "{host}");
            assert_eq!(of(&token("shop")), 403, "{host}");
            assert_ne!(of(&Caller::Anonymous), 200, "{host}");
        }
    }
    // Another's name is no part of it.
    let text = format!("{CLUSTER}{IRIS}{}", of_knative("iris-blue"));
    let seed = compile(&[&text, SIDEGATE]);
    let host = "iris-blue.team-a.svc.cluster.local";
    let open = asked(&seed, Entrance::Local, host, &Caller::Anonymous);
    assert_eq!(status(&open), 200);
}

/// KServe gives the HTTPRoutes of a model's parts no label of its own.
#[test]
fn routes_of_the_gateway_api_are_told_by_their_names() {
    let entrance = "istio-system/models";
    let sidegate = SIDEGATE.replace(
        "  mode: enforce",
        &format!("  mode: enforce\n  entrances: {{external: {entrance}}}"),
    );
    for part in [
        "iris",
        "iris-predictor",
        "iris-transformer",
        "iris-explainer",
    ] {
        let text = format!(
            "{CLUSTER}{}
---
apiVersion: v1
kind: Service
metadata: {{name: {part}, namespace: team-a}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: models, namespace: istio-system}}
spec:
  gatewayClassName: istio
  listeners:
  - {{name: http, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {part}, namespace: team-a}}
spec:
  parentRefs: [{{name: models, namespace: istio-system}}]
  hostnames: [{part}-team-a.example.com]
  rules:
  - backendRefs: [{{name: {part}, port: 80}}]
",
            IRIS.replace(
                "annotations: {",
                "annotations: {serving.kserve.io/deploymentMode: Standard, ",
            ),
        );
        let seed = compile(&[&text, &sidegate]);
        let host = format!("{part}-team-a.example.com");
        let of = |caller: &Caller| status(&asked(&seed, Entrance::External, &host, caller));
        assert_eq!(of(&Caller::Anonymous), 401, "{host}");
        assert_eq!(of(&token("shop")), 403, "{host}");
        let passed = asked(&seed, Entrance::External, &host, &token("team-a"));
        assert_eq!(status(&passed), 200, "{host}: {passed:?}");
    }
}

const GRAPH: &str = "
---
apiVersion: serving.kserve.io/v1alpha1
kind: InferenceGraph
metadata:
  name: pair
  namespace: team-a
spec:
  nodes:
    root: {routerType: Sequence, steps: [{serviceName: iris}, {serviceName: iris, data: $response}]}
";
const INSIDE: &str = "pair.team-a.svc.cluster.local";
const OUTSIDE: &str = "pair.team-a.example.com";

/// The same by what Sidegate makes of the graph, and by what the cluster has.
fn of_graph(edit: impl Fn(&str) -> String) -> [Snapshot; 2] {
    let graph = edit(GRAPH);
    let written = of_knative("pair");
    [graph.clone(), graph + &written].map(|more| {
        let text = format!("{CLUSTER}{more}");
        compile(&[&text, SIDEGATE])
    })
}

#[test]
fn a_graph_is_a_model() {
    for seed in of_graph(str::to_owned) {
        let of = |entrance, host: &str, caller: &Caller| {
            let verdict = asked(&seed, entrance, host, caller);
            if let Verdict::Denial(denial) = &verdict {
                assert!(!matches!(denial.refusal, Refusal::Login), "{denial:?}");
            }
            status(&verdict)
        };
        assert_eq!(of(Entrance::Local, INSIDE, &Caller::Anonymous), 200);
        assert_eq!(of(Entrance::External, OUTSIDE, &Caller::Anonymous), 401);
        assert_eq!(of(Entrance::External, OUTSIDE, &token("shop")), 200);
    }
    let limited = |graph: &str| {
        graph.replace(
            "  namespace: team-a\nspec",
            "  namespace: team-a\n  annotations: {sidegate.dev/allow-namespaces: team-a}\nspec",
        )
    };
    for seed in of_graph(limited) {
        for (entrance, host) in [(Entrance::Local, INSIDE), (Entrance::External, OUTSIDE)] {
            let of = |caller: &Caller| status(&asked(&seed, entrance, host, caller));
            assert_eq!(of(&token("team-a")), 200);
            assert_eq!(of(&token("shop")), 403);
            assert_ne!(of(&Caller::Anonymous), 200);
        }
    }
    // An API key for the graph opens it, one for another model does not.
    for seed in of_graph(str::to_owned) {
        for (model, expected) in [("team-a/pair", 200), ("team-a/iris", 403)] {
            let Caller::Token(holder) = person() else {
                panic!("a token");
            };
            let key = Caller::Key(Key {
                id: "k".into(),
                holder,
                scope: Arc::new(KeyScope {
                    models: vec![model.into()],
                    ..KeyScope::default()
                }),
            });
            let verdict = asked(&seed, Entrance::External, OUTSIDE, &key);
            assert_eq!(status(&verdict), expected, "{model}");
        }
    }
}

/// Whoever calls a graph has to be allowed to `get` it: a role for InferenceServices is none for graphs.
#[test]
fn roles_for_graphs_are_their_own() {
    for (resource, expected) in [("inferencegraphs", 200), ("inferenceservices", 403)] {
        let roles = format!(
            "
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: callers, namespace: team-a}}
rules: [{{verbs: [get], apiGroups: [serving.kserve.io], resources: [{resource}], resourceNames: [pair]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: callers, namespace: team-a}}
roleRef: {{kind: Role, name: callers}}
subjects: [{{kind: User, name: user@example.com}}]
"
        );
        let edit = |graph: &str| {
            let annotated = graph.replace(
                "  namespace: team-a\nspec",
                "  namespace: team-a\n  annotations: {sidegate.dev/rbac: enforce}\nspec",
            );
            annotated + &roles
        };
        for seed in of_graph(edit) {
            let verdict = asked(&seed, Entrance::External, OUTSIDE, &person());
            assert_eq!(status(&verdict), expected, "{resource}");
            if let Verdict::Denial(denial) = verdict {
                let Refusal::Forbidden(why) = &denial.refusal else {
                    panic!("{denial:?}");
                };
                assert!(why.contains("`get` inferencegraphs/pair"), "{why}");
            }
        }
    }
}

/// What another team writes to reach a model's pods without a second crossing.
fn straight(namespace: &str, annotations: &str, destinations: &[&str]) -> String {
    let ways: String = destinations
        .iter()
        .map(|host| {
            format!("    - {{destination: {{host: {host}, port: {{number: 80}}}}, weight: 1}}\n")
        })
        .collect();
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: straight, namespace: {namespace}, annotations: {{{annotations}}}}}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [straight.example.com]
  http:
  - match: [{{uri: {{prefix: /app}}}}]
    route: [{{destination: {{host: app.{namespace}.svc.cluster.local, port: {{number: 80}}}}}}]
  - route:
{ways}---
apiVersion: v1
kind: Service
metadata: {{name: app, namespace: {namespace}}}
spec: {{ports: [{{name: http, port: 80}}]}}
"
    )
}

const STANDARD: &str = "
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  namespace: team-a
  annotations: {serving.kserve.io/deploymentMode: Standard, sidegate.dev/allow-namespaces: team-a}
spec:
  predictor: {sklearn: {}}
  transformer: {containers: []}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: open
  namespace: team-a
  annotations: {serving.kserve.io/deploymentMode: Standard}
spec: {predictor: {sklearn: {}}}
---
apiVersion: v1
kind: Service
metadata: {name: of-pods, namespace: team-a}
spec: {selector: {app: isvc.iris-predictor}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: labelled, namespace: team-a}
spec: {selector: {serving.kserve.io/inferenceservice: iris}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other-name, namespace: shop}
spec: {type: ExternalName, externalName: iris-predictor.team-a.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: own, namespace: team-a}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: team-a, labels: {app.kubernetes.io/part-of: kubeflow-profile}}
";

/// A model wants what it wants, whoever wrote the way to its pods.
#[test]
fn a_route_to_the_pods_of_a_model_is_the_models() {
    let of = |snapshot: &Snapshot, path: &str, caller: &Caller| {
        let url = format!("straight.example.com{path}");
        let head = head(Entrance::External, "POST", &url, &[]);
        match status(&walk(snapshot, &head, caller).0) {
            // It may pass, to a Service that is not there, or not by this name.
            503 => 200,
            status => status,
        }
    };
    let callers = [Caller::Anonymous, token("shop"), token("team-a")];
    for host in [
        "iris-predictor.team-a.svc.cluster.local",
        "iris-predictor.team-a",
        "iris-transformer.team-a.svc.cluster.local",
        "iris.team-a.svc.cluster.local",
        "iris-predictor-00001.team-a.svc.cluster.local",
        "iris-predictor-00001-private.team-a.svc.cluster.local",
        "of-pods.team-a.svc.cluster.local",
        "labelled.team-a.svc.cluster.local",
        "other-name",
    ] {
        for annotations in [
            "",
            "sidegate.dev/access: public, sidegate.dev/allow-namespaces: shop",
        ] {
            let theirs = straight("shop", annotations, &[host]);
            let snapshot = compile(&[&format!("{CLUSTER}{STANDARD}{theirs}"), SIDEGATE]);
            let found = callers.each_ref().map(|caller| of(&snapshot, "/", caller));
            assert_eq!(found, [401, 403, 200], "{host} {annotations}");
            // Their own application is theirs.
            assert_eq!(of(&snapshot, "/app", &Caller::Anonymous), 200, "{host}");
        }
    }
    // The model's own team says more about its ways.
    for (annotations, expected) in [
        ("", [401, 403, 200]),
        ("sidegate.dev/allow-namespaces: shop", [401, 200, 403]),
        ("sidegate.dev/access: public", [200, 200, 200]),
    ] {
        let own = straight("team-a", annotations, &["iris-predictor"]);
        let snapshot = compile(&[&format!("{CLUSTER}{STANDARD}{own}"), SIDEGATE]);
        let found = callers.each_ref().map(|caller| of(&snapshot, "/", caller));
        assert_eq!(found, expected, "{annotations}");
    }
    for (hosts, expected) in [
        // One of them has limits, the other has none.
        (
            &["iris-predictor.team-a", "open-predictor.team-a"][..],
            [401, 403, 403],
        ),
        // Some of it goes elsewhere.
        (&["iris-predictor.team-a", "app"], [401, 403, 200]),
        (&["open-predictor.team-a", "open.team-a"], [401, 200, 200]),
        (&["own.team-a"], [200, 200, 200]),
    ] {
        let theirs = straight("shop", "", hosts);
        let snapshot = compile(&[&format!("{CLUSTER}{STANDARD}{theirs}"), SIDEGATE]);
        let found = callers.each_ref().map(|caller| of(&snapshot, "/", caller));
        assert_eq!(found, expected, "{hosts:?}");
    }
}
