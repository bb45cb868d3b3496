//! `sidegate explain`: what decided, and everything that was looked at.

use serde_json::Value;

use super::{sidegate, stderr, stdout};

const KUBEFLOW: [&str; 3] = ["explain", "--example", "kubeflow"];

fn explain(arguments: &[&str]) -> String {
    let arguments: Vec<&str> = KUBEFLOW.iter().chain(arguments).copied().collect();
    let output = sidegate(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn short_says_why_and_all_says_everything() {
    let request = ["POST", "http://iris-team-a.example.com/dex/predict"];
    let short = explain(&request);
    for expected in [
        "no CUSTOM rule for `oauth2-proxy` matches",
        "to  ✗ notPaths: /dex/*, /dex/**, /oauth2/* (the request has `/dex/predict`)",
        "from  ✓ notRequestPrincipals: * (the request has none)",
        "examples/kubeflow/cluster.yaml:239",
        // Both crossings of the gateway.
        "port 8080 of kubeflow/kubeflow-gateway",
        "port 8081 of knative-serving/knative-local-gateway",
    ] {
        assert!(short.contains(expected), "{expected}\n---\n{short}");
    }
    assert!(!short.contains("no DENY rule matches"), "{short}");
    let all = explain(&["--all", request[0], request[1]]);
    for expected in ["no DENY rule matches", "envoy.filters.http.jwt_authn"] {
        assert!(all.contains(expected), "{expected}\n---\n{all}");
    }
    let json = explain(&["--output", "json", request[0], request[1]]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let steps = json["steps"].as_array().unwrap();
    let denied = steps
        .iter()
        .rfind(|step| step["stage"] == "policy")
        .unwrap();
    assert_eq!(denied["decides"], true);
    let rule = &denied["looked"][0];
    assert_eq!(
        (&rule["place"], &rule["matches"]),
        (&"rule 0".into(), &true.into())
    );
    let comparison = &rule["allOf"][1]["anyOf"][0]["allOf"][0];
    assert_eq!(comparison["field"], "notPaths");
    assert_eq!(comparison["got"][0], "/dex/predict");
    assert_eq!(
        steps.iter().map(|s| s["hop"].as_u64().unwrap()).max(),
        Some(1)
    );
}

#[test]
fn what_is_assumed_is_said() {
    let text = explain(&["GET", "http://kubeflow.example.com/"]);
    assert!(
        text.contains("assumed: `oauth2-proxy` sends who has no session to the login"),
        "{text}"
    );
    let person = explain(&[
        "GET",
        "http://kubeflow.example.com/",
        "--as",
        "user:a@example.com",
    ]);
    assert!(
        person.contains("assumed: `oauth2-proxy` knows the session"),
        "{person}"
    );
}

#[test]
fn the_connection_can_be_chosen() {
    let text = explain(&["GET", "http://iris-team-a.example.com/", "--port", "8081"]);
    assert!(
        text.contains("port 8081 of knative-serving/knative-local-gateway"),
        "{text}"
    );
    let output = sidegate(&[
        "explain",
        "--example",
        "kubeflow",
        "--port",
        "9",
        "GET",
        "http://a/",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let error = stderr(&output);
    assert!(
        error.contains("no gateway listens there; these do: "),
        "{error}"
    );
    assert!(error.contains(":8081 (port 8081 of "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    let policy = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: office, namespace: istio-system}\n\
         spec: {action: DENY, rules: [{from: [{source: {notIpBlocks: [192.0.2.0/24]}}]}]}\n";
    let cluster = include_str!("../../../../examples/seed/cluster.yaml");
    std::fs::write(&file, format!("{cluster}\n{policy}")).unwrap();
    let file = file.display().to_string();
    for (ip, expected) in [
        ("192.0.2.9", "no DENY rule matches"),
        ("198.51.100.1", "DENY rule 0 matches"),
    ] {
        let request = ["GET", "http://kubeflow.example.com/", "--ip", ip];
        let who = ["--as", "user:a@example.com", "--all"];
        let output = sidegate(&[&["explain", &file][..], &request, &who].concat());
        let text = stdout(&output);
        assert!(text.contains(expected), "{ip}\n{text}\n{}", stderr(&output));
        let got = format!("(the request has `{ip}`)");
        assert!(text.contains(&got), "{text}");
    }
}

const TLS: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: gateway, namespace: istio-system}
  spec: {selector: {istio: ingressgateway}, ports: [{name: https, port: 443, targetPort: 8443}]}
- apiVersion: networking.istio.io/v1
  kind: Gateway
  metadata: {name: gateway, namespace: istio-system}
  spec:
    selector: {istio: ingressgateway}
    servers:
    - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: MUTUAL, credentialName: a}}
    - {port: {number: 443, name: b, protocol: HTTPS}, hosts: [open.example.com], tls: {mode: SIMPLE, credentialName: b}}
- apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {name: shop, namespace: shop}
  spec:
    hosts: ["*.example.com"]
    gateways: [istio-system/gateway]
    http: [{route: [{destination: {host: shop.shop.svc.cluster.local}}]}]
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: partners, namespace: istio-system}
  spec:
    selector: {matchLabels: {istio: ingressgateway}}
    rules: [{from: [{source: {principals: [cluster.local/ns/team/sa/partner]}}]}, {when: [{key: connection.sni, values: [open.example.com]}]}]
"#;

#[test]
fn a_connection_with_tls_has_a_server_name_and_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.yaml");
    std::fs::write(&file, TLS).unwrap();
    let file = file.display().to_string();
    let shop = "https://shop.example.com/";
    let partner = "spiffe://cluster.local/ns/team/sa/partner";
    for (url, more, expected) in [
        (
            shop,
            &[][..],
            "takes no connection without a client certificate",
        ),
        (
            shop,
            &["--cert", partner],
            "✓ principals: cluster.local/ns/team/sa/partner (the request has `spiffe://cluster.local/ns/team/sa/partner`)",
        ),
        (
            shop,
            &["--cert", "spiffe://x/ns/a/sa/b"],
            "none of their rules matches",
        ),
        (
            shop,
            &["--sni", "open.example.com"],
            "✓ connection.sni: open.example.com",
        ),
        (
            "https://open.example.com/",
            &[],
            "✓ connection.sni: open.example.com",
        ),
        (
            "https://other.example.org/",
            &[],
            "is for the server name `other.example.org`",
        ),
    ] {
        let arguments = ["explain", &file, "--port", "8443", "GET", url];
        let output = sidegate(&[&arguments[..], more].concat());
        let text = stdout(&output);
        assert!(
            text.contains(expected),
            "{url} {more:?}: {expected}\n{text}\n{}",
            stderr(&output)
        );
        // That `up` does not open this server is no word on the decision.
        assert!(
            !stderr(&output).contains("not served"),
            "{}",
            stderr(&output)
        );
    }
    // An https URL comes to where TLS is spoken, without a port being named.
    let output = sidegate(&["explain", &file, "GET", "https://open.example.com/"]);
    let text = stdout(&output);
    assert!(
        text.contains("✓ connection.sni: open.example.com"),
        "{text}"
    );
}

#[test]
fn nothing_that_a_terminal_acts_on_is_printed() {
    let text = explain(&[
        "--all",
        "GET",
        "http://kubeflow.example.com/",
        "-H",
        "x-a: b\tc",
    ]);
    assert!(!text.contains('\x1b') && !text.contains('\t'), "{text}");
}
