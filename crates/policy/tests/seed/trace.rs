//! What is told about a decision is what was decided.

use policy::{Answers, Caller, CheckAnswer, Entrance, Everything, NoTrace, Question, Stage, Step};

use super::{BLOG_FIX, CLUSTER, LOCAL, OUTSIDE, PORTS, SIDEGATE, compile, head};

/// A gateway, a host with two objects on it, and a policy for each test.
fn cluster(policy: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: gateway, namespace: istio-system}}
spec: {{selector: {{istio: ingressgateway}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: istio-system}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: young, namespace: shop, creationTimestamp: "2026-02-01T00:00:00Z"}}
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/gateway]
  http: [{{match: [{{uri: {{prefix: /}}}}], route: [{{destination: {{host: young.shop.svc.cluster.local}}}}]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: old, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}}
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/gateway]
  http: [{{match: [{{uri: {{prefix: /cart}}, headers: {{x-tenant: {{exact: a}}}}}}], route: [{{destination: {{host: old.shop.svc.cluster.local}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: policy, namespace: istio-system}}
spec:
  selector: {{matchLabels: {{istio: ingressgateway}}}}
{policy}"#
    )
}

/// The steps of a decision about a stranger, after every trace decided alike.
fn told(texts: &[&str], entrance: Entrance, url: &str, headers: &[(&str, &str)]) -> Vec<Step> {
    let snapshot = compile(texts);
    let head = head(entrance, "GET", url, headers);
    let mut answers = Answers::new();
    loop {
        let mut all = Everything::default();
        let mut some: Vec<Step> = Vec::new();
        let verdict = policy::decide(&snapshot, &head, &answers, &mut all);
        for other in [
            policy::decide(&snapshot, &head, &answers, &mut NoTrace),
            policy::decide(&snapshot, &head, &answers, &mut some),
        ] {
            assert_eq!(format!("{verdict:?}"), format!("{other:?}"), "{url}");
        }
        assert!(
            some.iter()
                .all(|step| step.decides && step.looked.is_empty()
                    || step.stage == Stage::VirtualHost)
        );
        all.0.iter().for_each(consistent);
        match verdict {
            policy::Verdict::Ask(Question::Caller(_)) => answers.caller_is(Caller::Anonymous),
            policy::Verdict::Ask(Question::Check(check)) => {
                answers.check_is(check.id, CheckAnswer::Failed("nobody there".into()));
            }
            _ => return all.0,
        }
    }
}

/// Each part says of itself what its own parts say together.
fn consistent(step: &Step) {
    for rule in &step.looked {
        for clause in &rule.clauses {
            for one in &clause.any {
                assert_eq!(one.holds, one.all.iter().all(|c| c.holds), "{step:?}");
            }
            assert_eq!(clause.holds, clause.any.iter().any(|a| a.holds), "{step:?}");
        }
        assert_eq!(rule.holds, rule.clauses.iter().all(|c| c.holds), "{step:?}");
    }
    // What follows one that matched was not looked at.
    let matched = step.looked.iter().position(|rule| rule.holds);
    assert!(
        matched.is_none_or(|at| at + 1 == step.looked.len()),
        "{step:?}"
    );
}

fn find(steps: &[Step], stage: Stage) -> &Step {
    steps.iter().find(|step| step.stage == stage).unwrap()
}

#[test]
fn every_trace_decides_alike() {
    let ports = BLOG_FIX.replace(r#"to: [{operation: {notPaths: ["/v1*"]}}]"#, PORTS);
    for texts in [
        &[CLUSTER][..],
        &[CLUSTER, BLOG_FIX],
        &[CLUSTER, &ports],
        &[CLUSTER, SIDEGATE],
    ] {
        for entrance in [Entrance::External, Entrance::Local] {
            for host in [LOCAL, OUTSIDE, "kf.example.com", "shop.example.com"] {
                for path in [
                    "/",
                    "/v1/models/sklearn-iris:predict",
                    "/dex/auth",
                    "/v1anything",
                ] {
                    told(texts, entrance, &format!("{host}{path}"), &[]);
                }
            }
        }
    }
}

#[test]
fn a_rule_is_told_as_the_logic_it_is() {
    // Two list items are alternatives, two fields of one item are both asked.
    let policy = r#"
  action: DENY
  rules:
  - from: [{source: {ipBlocks: ["10.0.0.0/8"]}}]
  - to:
    - {operation: {methods: [POST]}}
    - {operation: {hosts: [shop.example.com], notPaths: [/open*]}}
    when: [{key: "request.headers[x-a]", notValues: [trusted]}]
"#;
    let steps = told(
        &[&cluster(policy)],
        Entrance::External,
        "shop.example.com/cart",
        &[("x-a", "one"), ("x-a", "trusted, one")],
    );
    let step = find(&steps, Stage::Policy);
    assert_eq!(step.text, "DENY rule 1 matches");
    let [first, second] = step.looked.as_slice() else {
        panic!("{step:?}");
    };
    let failed = &first.clauses[0].any[0].all[0];
    assert_eq!(
        (&*failed.field, failed.got[0].as_str()),
        ("ipBlocks", "127.0.0.1")
    );
    let [to, when] = second.clauses.as_slice() else {
        panic!("{second:?}");
    };
    assert_eq!(
        to.any
            .iter()
            .map(|a| (a.holds, a.all.len()))
            .collect::<Vec<_>>(),
        [(false, 1), (true, 2)]
    );
    let header = &when.any[0].all[0];
    assert_eq!(&*header.field, "request.headers[x-a] notValues");
    // Lines of a repeated header are looked at one by one, and commas do not divide.
    assert_eq!(header.got, ["one", "trusted, one"]);
}

#[test]
fn the_order_of_objects_on_a_host_is_told() {
    let steps = told(
        &[&cluster("  rules: [{}]\n")],
        Entrance::External,
        "shop.example.com/cart",
        &[],
    );
    let host = find(&steps, Stage::VirtualHost);
    let names: Vec<&str> = host.order.iter().map(|(object, _)| &*object.name).collect();
    // A catch-all route goes last, older or not.
    assert_eq!(names, ["old", "young"]);
    let route = find(&steps, Stage::Route);
    assert_eq!(route.object.as_ref().unwrap().0.name.as_ref(), "young");
    let tried = &route.looked[0];
    let failed: Vec<&str> = tried.clauses[0].any[0]
        .all
        .iter()
        .filter(|c| !c.holds)
        .map(|c| &*c.field)
        .collect();
    assert_eq!((tried.holds, failed), (false, vec!["headers[x-tenant]"]));
}

#[test]
fn a_provider_that_is_not_there_is_named_as_envoy_names_it() {
    let policy = "  action: CUSTOM\n  provider: {name: nobody}\n  rules: [{to: [{operation: {paths: [\"/cart\"]}}]}]\n";
    let steps = told(
        &[&cluster(policy)],
        Entrance::External,
        "shop.example.com/cart",
        &[],
    );
    let check = find(&steps, Stage::Check);
    assert!(
        check
            .text
            .contains("default-deny-all-due-to-bad-CUSTOM-action"),
        "{check:?}"
    );
    assert_eq!(check.object.as_ref().unwrap().0.name.as_ref(), "policy");
}

#[test]
fn filters_are_told_with_who_put_them_there() {
    let steps = told(&[CLUSTER], Entrance::External, "kf.example.com/", &[]);
    let inserted: Vec<&str> = steps
        .iter()
        .filter(|step| step.stage == Stage::Filter)
        .filter_map(|step| step.object.as_ref())
        .map(|(object, _)| &*object.name)
        .collect();
    assert_eq!(inserted, ["authn-filter"]);
}
