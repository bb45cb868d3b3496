//! Listeners that terminate TLS: what the engine says of connections is what
//! the decision says, and claims look at them.

use policy::{Certificate, ClientTls, RequestHead, Scheme, Snapshot};
use verify::Claim;

use crate::agreement::{Dice, policy, request, service};
use crate::clusters::BASE;
use crate::compile;

const SECURE: &str = r#"---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: istio-system}
spec:
  selector: {istio: gw}
  servers:
  - {hosts: ["*.test"], port: {number: 8443, name: one, protocol: HTTPS}, tls: {mode: OPTIONAL_MUTUAL, credentialName: c}}
  - {hosts: ["b.test", "*.b.test"], port: {number: 8443, name: two, protocol: HTTPS}, tls: {mode: ISTIO_MUTUAL}}
  - {hosts: ["*"], port: {number: 8443, name: three, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: c}}
"#;

fn identity(dice: &mut Dice, index: usize) -> String {
    let action = dice.pick(&["ALLOW", "DENY"]);
    let source = dice.pick(&[
        "principals: [cluster.local/ns/a/sa/b]",
        "notPrincipals: [cluster.local/ns/a/sa/b]",
        "principals: ['*']",
        "notPrincipals: ['*']",
        "namespaces: [a, 'b*']",
        "notNamespaces: [a]",
        "serviceAccounts: [a/b]",
        "trustDomains: [old]",
        "notIpBlocks: [10.0.0.0/8]",
        "remoteIpBlocks: [10.0.0.0/8]",
    ]);
    let when = match dice.roll(3) {
        0 => "when: [{key: connection.sni, values: [a.test, '*.b.test']}]",
        1 => "when: [{key: connection.sni, notValues: ['a*', '*']}]",
        _ => "when: []",
    };
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: i{index}, namespace: istio-system}}\nspec:\n  action: {action}\n  rules: [{{from: [{{source: {{{source}}}}}], {when}}}]\n"
    )
}

fn connect(dice: &mut Dice, snapshot: &Snapshot, head: &mut RequestHead) {
    if dice.roll(3) == 0 {
        return;
    }
    let listener = snapshot.listener_at(8443).unwrap();
    head.arrive_at(&listener);
    head.scheme = Scheme::Https;
    let mut tls = match dice.pick(&["", "a.test", "b.test", "x.b.test", "other.org", "c.test"]) {
        "" => ClientTls::default(),
        sni => ClientTls::asking_for(sni),
    };
    if dice.roll(2) == 0 {
        let mut shown = Certificate::of(dice.pick(&[
            "spiffe://cluster.local/ns/a/sa/b",
            "spiffe://old/ns/a/sa/b",
            "spiffe://old/ns/bb/sa/c",
            "https://client.test/ns/a/sa/b",
        ]));
        if dice.roll(4) == 0 {
            shown.uris.push("spiffe://old/ns/a/x/sa/b".into());
        }
        tls.certificate = Some(shown);
    }
    head.connection.tls = Some(tls);
}

#[test]
fn the_engine_says_what_the_decision_says_about_connections() {
    let mut compared = 0;
    let mut reached = 0;
    for seed in 0..40 {
        let mut dice = Dice(seed + 5_000);
        let proxies = dice.pick(&["0", "0", "1"]);
        let mesh = format!(
            "mesh: |\n    trustDomainAliases: [old]\n    defaultConfig: {{gatewayTopology: {{numTrustedProxies: {proxies}}}}}\n"
        );
        let mut text = format!("{}{SECURE}", BASE.replace("mesh: |\n", &mesh));
        for index in 0..1 + dice.roll(3) {
            let service = service(&mut dice, index);
            text.push_str(
                &service.replace("istio-system/out", "istio-system/out, istio-system/secure"),
            );
        }
        for index in 0..dice.roll(3) {
            text.push_str(&policy(&mut dice, index));
        }
        for index in 0..1 + dice.roll(2) {
            text.push_str(&identity(&mut dice, index));
        }
        let snapshot = compile(&[&text]);
        let mut heads: Vec<RequestHead> = (0..40).map(|_| request(&mut dice)).collect();
        for head in &mut heads {
            connect(&mut dice, &snapshot, head);
        }
        for (head, predicted) in heads.iter().zip(verify::predict(&snapshot, &heads)) {
            let Some(predicted) = predicted else {
                continue;
            };
            compared += 1;
            reached += usize::from(matches!(predicted, verify::Decided::Reaches(_)));
            let decided = verify::decision(&snapshot, head);
            assert_eq!(
                predicted, decided.verdict,
                "seed {seed}: {head:?}\n{text}\n{:#?}",
                decided.steps
            );
        }
    }
    assert!(compared > 500, "only {compared} were compared");
    assert!(reached > 50, "only {reached} reached anything");
}

const PLATFORM: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]}
---
apiVersion: v1
kind: Service
metadata: {name: dashboard, namespace: kubeflow}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: authservice, namespace: istio-system}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: kubeflow-gateway, namespace: kubeflow}
spec:
  selector: {istio: gw}
  servers:
  - {hosts: ["*"], port: {number: 80, name: http, protocol: HTTP}}
  - {hosts: [kf.example.com], port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: MODE, credentialName: c}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dashboard, namespace: kubeflow}
spec:
  hosts: ["*"]
  gateways: [kubeflow-gateway]
  http: [{route: [{destination: {host: dashboard.kubeflow.svc.cluster.local, port: {number: 80}}}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: login
      envoyExtAuthzHttp: {service: authservice.istio-system.svc.cluster.local, port: 80, headersToUpstreamOnAllow: [kubeflow-userid]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: login, namespace: istio-system}
spec: {action: CUSTOM, provider: {name: login}, rules: [{to: [{operation: {RULE}}]}]}
"#;

/// The holes of the platform, as curl commands.
fn holes(rule: &str, mode: &str) -> Vec<String> {
    let text = PLATFORM.replace("RULE", rule).replace("MODE", mode);
    let report = verify::verify(&compile(&[&text]));
    assert!(report.undecided.is_empty(), "{:?}", report.undecided);
    let open = report
        .findings
        .iter()
        .filter(|finding| finding.claim == Claim::PlatformNeedsLogin);
    open.map(|finding| finding.witness.curl("http://gateway:8080"))
        .collect()
}

#[test]
fn a_login_for_the_plain_port_alone_leaves_https_open() {
    assert_eq!(
        holes("ports: ['8080']", "SIMPLE"),
        [
            "curl -si --path-as-is -H 'Host: kf.example.com' -k --connect-to '::gateway:8443' 'https://kf.example.com/'"
        ]
    );
    assert!(holes("ports: ['8080', '8443']", "SIMPLE").is_empty());
}

#[test]
fn what_is_not_modelled_is_not_decided() {
    let text = PLATFORM
        .replace("RULE", "ports: ['8080', '8443']")
        .replace("MODE", "AUTO_PASSTHROUGH");
    let report = verify::verify(&compile(&[&text]));
    let reasons = &report.undecided[&Claim::PlatformNeedsLogin];
    assert!(
        reasons.iter().any(|why| why.contains("AUTO_PASSTHROUGH")),
        "{reasons:?}"
    );
}

#[test]
fn tcp_to_the_platform_needs_no_login() {
    let tcp = "  - {hosts: ['*'], port: {number: 9000, name: tcp, protocol: TCP}}\n---";
    let route = "  gateways: [kubeflow-gateway]\n  tcp: [{route: [{destination: {host: dashboard.kubeflow.svc.cluster.local, port: {number: 80}}}]}]\n";
    let text = PLATFORM
        .replace("RULE", "methods: ['*']")
        .replace(
            "MODE, credentialName: c}}\n---",
            &format!("SIMPLE, credentialName: c}}}}\n{tcp}"),
        )
        .replace("  gateways: [kubeflow-gateway]\n", route);
    let report = verify::verify(&compile(&[&text]));
    let mut open = report.findings.iter();
    let open = open.find(|finding| finding.claim == Claim::PlatformNeedsLogin);
    assert_eq!(
        open.unwrap().witness.curl("http://gateway:8080"),
        "curl -si --path-as-is -H 'Host: anything.example' 'http://gateway:9000/'"
    );
}

#[test]
fn a_certificate_is_no_login() {
    assert_eq!(
        holes("ports: ['8080']", "ISTIO_MUTUAL"),
        [
            "curl -si --path-as-is -H 'Host: kf.example.com' -k --cert client.pem --key client.key --connect-to '::gateway:8443' 'https://kf.example.com/' # with a certificate of spiffe://cluster.local/ns/any/sa/any"
        ]
    );
}
