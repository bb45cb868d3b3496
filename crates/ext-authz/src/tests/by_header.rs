//! Routes that headers or claims choose: the gateway chooses before it asks, or behind it.

use super::*;

const BY_HEADER: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: by-header, namespace: kubeflow}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [mixed.example.com]
  http:
  - match: [{headers: {NAME: {exact: admin}}}]
    route: [{destination: {host: centraldashboard.kubeflow.svc.cluster.local, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: everybody, namespace: shop}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [mixed.example.com]
  http: [{route: [{destination: {host: storefront, port: {number: 80}}}]}]
";

/// Envoy has chosen by what the client sent, also where that is removed behind the check.
#[test]
fn a_header_that_chooses_a_route_is_no_way_in() {
    for name in [
        "kubeflow-userid",
        "x-auth-request-email",
        "x-a",
        "knative-serving-revision",
    ] {
        let authorizer = authorizer(&BY_HEADER.replace("NAME", name));
        let of = |value: &str| {
            let sent = [(name, value)];
            run(authorizer.ask(asked(8080, "GET mixed.example.com/", &sent)))
        };
        assert_eq!(of("admin").denial().unwrap().status, 401, "{name}");
        assert!(of("other").allows(), "{name}");
    }
}

/// Over HTTP Envoy sends some headers, and chooses by all of them.
#[test]
fn a_header_that_is_not_seen_is_no_way_in() {
    let over_http = |name: &str, host: &str| {
        let authorizer = authorizer(&BY_HEADER.replace("NAME", name));
        let mut asked = asked(8080, &format!("GET {host}/"), &[]);
        asked.listed = true;
        run(authorizer.ask(asked))
    };
    let refused = over_http("x-a", "mixed.example.com");
    assert_eq!(refused.denial().unwrap().status, 403);
    // What it sees, and hosts of which all routes need the same.
    assert!(over_http("kubeflow-userid", "mixed.example.com").allows());
    assert!(over_http("cookie", "mixed.example.com").allows());
    assert!(over_http("x-a", "shop.example.com").allows());
}

/// Envoy asks before it verifies tokens, and may choose another route then.
#[test]
fn a_route_that_claims_can_exchange_for_another_is_no_way_in() {
    let authorizer = authorizer(BY_CLAIM);
    let reply = run(authorizer.ask(asked(8080, "GET mixed.example.com/", &[])));
    assert_eq!(reply.denial().unwrap().status, 403);
    let other = run(authorizer.ask(asked(8080, "GET shop.example.com/", &[])));
    assert!(other.allows());
}
