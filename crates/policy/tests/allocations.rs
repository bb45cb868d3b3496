//! What a decision allocates, counted by the allocator of this program: nothing
//! where a request is let through as it is, however many rules and routes there
//! are.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;

use allocation_counter::measure;
use http::{HeaderMap, HeaderValue, Method};
use policy::{
    Answers, Caller, Entrance, NoTrace, Person, RequestHead, Scheme, ServiceAccount, Settings,
    Snapshot, TokenHolder, Verdict,
};

const SEED: &str = include_str!("../../../examples/seed/cluster.yaml");
const SIDEGATE: &str = include_str!("../../../examples/seed/sidegate.yaml");

fn compile(texts: &[&str]) -> Snapshot {
    let settings = Settings {
        provider_paths: vec!["/dex/auth".into(), "/dex/token".into(), "/dex/keys".into()],
        login_paths: vec!["/login/oidc".into(), "/authservice/logout".into()],
        ..Settings::default()
    };
    let layer = |text: &&str| vec![("test.yaml".into(), (*text).to_owned())];
    let layers: Vec<Vec<resources::File>> = texts.iter().map(layer).collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    Snapshot::compile(&cluster, &settings).unwrap()
}

fn head(entrance: Entrance, url: &str) -> RequestHead {
    let (authority, path) = url.split_once('/').unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("x-tenant", HeaderValue::from_static("blue"));
    RequestHead {
        entrance,
        method: Method::POST,
        scheme: Scheme::Http,
        authority: authority.to_owned(),
        path: format!("/{path}"),
        query: Some("a=1".to_owned()),
        headers,
        peer: SocketAddr::from(([203, 0, 113, 7], 50_000)),
        connection: policy::Connection::default(),
        workload: None,
    }
}

/// Allocations of a decision that lets a request through. Regular expressions
/// allocate where they keep their state when they are first used: not counted.
fn allocations(snapshot: &Snapshot, head: &RequestHead, answers: &Answers) -> u64 {
    let decide = || policy::decide(snapshot, head, answers, &mut NoTrace);
    let first = decide();
    assert!(matches!(first, Verdict::Permit(_)), "{head:?}: {first:?}");
    let mut verdict = None;
    let counted = measure(|| verdict = Some(decide()));
    assert!(matches!(verdict, Some(Verdict::Permit(_))));
    counted.count_total
}

fn known(caller: Caller) -> Answers {
    let mut answers = Answers::new();
    answers.caller_is(caller);
    answers
}

#[test]
fn a_model_that_is_called_as_it_is_costs_nothing() {
    let snapshot = compile(&[SEED, SIDEGATE]);
    let account = ServiceAccount {
        namespace: "kserve-test".into(),
        name: "default".into(),
    };
    let machine = known(Caller::Token(TokenHolder::ServiceAccount(account)));
    let path = "v1/models/sklearn-iris:predict";
    for (entrance, host) in [
        (Entrance::Local, "svc.cluster.local"),
        (Entrance::External, "example.com"),
    ] {
        // Knative's route, which sets two headers.
        let url = format!("sklearn-iris-predictor.kserve-test.{host}/{path}");
        let direct = head(entrance, &url);
        assert_eq!(allocations(&snapshot, &direct, &machine), 0, "{url}");
        // KServe's route first, which changes the authority: the next gateway
        // sees a copy of the request.
        let url = format!("sklearn-iris.kserve-test.{host}/{path}");
        let by_name = head(entrance, &url);
        let counted = allocations(&snapshot, &by_name, &machine);
        assert!((1..=8).contains(&counted), "{url}: {counted}");
    }
    let others = head(Entrance::External, "shop.example.com/cart");
    assert_eq!(allocations(&snapshot, &others, &Answers::new()), 0);
}

#[test]
fn a_page_of_the_platform_costs_the_headers_that_say_whose_it_is() {
    let snapshot = compile(&[SEED, SIDEGATE]);
    let person = Person {
        email: "user@example.com".into(),
        subject: "1".into(),
        groups: ["staff".into()].into(),
    };
    let page = head(Entrance::External, "kubeflow.example.com/pipeline");
    let counted = allocations(&snapshot, &page, &known(Caller::Session(person)));
    assert!((1..=16).contains(&counted), "{counted}");
}

/// Enough rules and routes to be found by an index, and conditions of every kind.
fn policies(count: usize) -> String {
    let mut text = String::from(
        "
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: apps}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: out, namespace: istio-system}
spec: {selector: {istio: gw}, servers: [{hosts: ['*'], port: {number: 80, name: http, protocol: HTTP}}]}
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec: {mode: as-written, entrances: {external: istio-system/out}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: apps}
spec:
  hosts: ['*.test']
  gateways: [istio-system/out]
  http:
",
    );
    let route = "[{destination: {host: one, port: {number: 80}}}]";
    for number in 0..count {
        let _ = writeln!(
            text,
            "  - match: [{{uri: {{prefix: /p{number}/}}, headers: {{x-tenant: {{exact: blue}}}}, queryParams: {{a: {{exact: '1'}}}}}}, \
             {{uri: {{regex: '/r{number}/[a-z]+'}}, withoutHeaders: {{x-b: {{}}}}}}]\n    headers: {{request: {{set: {{x-n: '{number}'}}}}, \
             response: {{add: {{x-m: '{number}'}}}}}}\n    route: {route}"
        );
    }
    for number in 0..count {
        let _ = writeln!(
            text,
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a{number}, namespace: istio-system}}\n\
             spec: {{action: ALLOW, rules: [{{to: [{{operation: {{hosts: ['*.test'], paths: ['/p{number}/{{*}}', '/r{number}/*'], methods: [POST]}}}}], \
             when: [{{key: 'request.headers[x-tenant]', values: [blue]}}, {{key: source.ip, notValues: [10.0.0.0/8]}}]}}]}}\n\
             ---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: d{number}, namespace: istio-system}}\n\
             spec: {{action: DENY, rules: [{{to: [{{operation: {{paths: ['/p{number}/secret'], notHosts: [x{number}.test]}}}}]}}]}}"
        );
    }
    text
}

#[test]
fn rules_and_routes_cost_nothing() {
    for count in [1, 40] {
        let snapshot = compile(&[&policies(count)]);
        for number in [0, count - 1] {
            for way in ["p", "r"] {
                let url = format!("a.test/{way}{number}/open");
                let request = head(Entrance::External, &url);
                let counted = allocations(&snapshot, &request, &Answers::new());
                assert_eq!(counted, 0, "{url} of {count}");
            }
        }
    }
}
