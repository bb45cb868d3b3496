use std::collections::HashMap;

use super::Digest;
use crate::matcher::Matcher;
use crate::{Settings, Snapshot};

const BASE: &str = "
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: istio-system}
spec: {selector: {app: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: apps}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: out, namespace: istio-system}
spec: {selector: {app: gw}, servers: [{hosts: ['*'], port: {number: 80, name: http, protocol: HTTP}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: apps}
spec:
  hosts: [a.test]
  gateways: [istio-system/out]
  http:
";

/// The digest of the virtual host of `http` entries.
fn digest(http: &str) -> Digest {
    let text = format!("{BASE}{http}\n");
    let files = [vec![("a.yaml".into(), text)]];
    let cluster = resources::parse_layers(&files).unwrap();
    let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
    let mut listeners = snapshot.listeners();
    let host = listeners.find_map(|listener| listener.named("a.test"));
    host.unwrap().digest().unwrap()
}

#[test]
fn other_routes_have_another_digest() {
    let to = "route: [{destination: {host: one.apps.svc.cluster.local, port: {number: 80}}}]";
    let two = "route: [{destination: {host: one.apps.svc.cluster.local}, weight: 1}, {destination: {host: two.apps.svc.cluster.local}, weight: 9}]";
    let all = [
        format!("  - {{{to}}}"),
        format!("  - {{{two}}}"),
        format!("  - {{name: first, {to}}}"),
        format!("  - {{timeout: 3s, {to}}}"),
        format!("  - {{match: [{{uri: {{prefix: /a}}}}], {to}}}"),
        format!("  - {{match: [{{uri: {{exact: /a}}}}], {to}}}"),
        format!("  - {{match: [{{uri: {{regex: /a}}}}], {to}}}"),
        format!("  - {{match: [{{uri: {{prefix: /a}}, ignoreUriCase: true}}], {to}}}"),
        format!("  - {{match: [{{uri: {{prefix: /a}}, method: {{exact: GET}}}}], {to}}}"),
        format!("  - {{match: [{{headers: {{x: {{exact: v}}}}}}], {to}}}"),
        format!("  - {{match: [{{headers: {{xv: {{}}}}}}], {to}}}"),
        format!("  - {{match: [{{withoutHeaders: {{x: {{exact: v}}}}}}], {to}}}"),
        format!("  - {{match: [{{queryParams: {{x: {{exact: v}}}}}}], {to}}}"),
        format!("  - {{rewrite: {{uri: /b}}, {to}}}"),
        format!("  - {{rewrite: {{authority: b}}, {to}}}"),
        format!("  - {{headers: {{request: {{set: {{x: v}}}}}}, {to}}}"),
        format!("  - {{headers: {{request: {{add: {{x: v}}}}}}, {to}}}"),
        format!("  - {{headers: {{response: {{set: {{x: v}}}}}}, {to}}}"),
        format!("  - {{corsPolicy: {{allowOrigins: [{{exact: http://o}}]}}, {to}}}"),
        format!("  - {{fault: {{abort: {{httpStatus: 503, percentage: {{value: 100}}}}}}, {to}}}"),
        "  - {redirect: {uri: /b}}".to_owned(),
        "  - {redirect: {authority: b}}".to_owned(),
        "  - {directResponse: {status: 200}}".to_owned(),
        "  - {directResponse: {status: 200, body: {string: b}}}".to_owned(),
        format!(
            "  - {{match: [{{uri: {{prefix: /a}}}}], {to}}}\n  - {{match: [{{uri: {{prefix: /b}}}}], {to}}}"
        ),
        format!(
            "  - {{match: [{{uri: {{prefix: /b}}}}], {to}}}\n  - {{match: [{{uri: {{prefix: /a}}}}], {to}}}"
        ),
    ];
    let mut seen: HashMap<[u8; 32], &String> = HashMap::new();
    for http in &all {
        assert_eq!(digest(http), digest(http), "{http}");
        if let Some(other) = seen.insert(digest(http).0, http) {
            panic!("the same: {other} and {http}");
        }
    }
}

/// Texts that follow one another are not taken for others.
#[test]
fn parts_do_not_run_into_each_other() {
    let of = |texts: &[&str]| Digest::of(&texts);
    assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    assert_ne!(of(&["a", ""]), of(&["", "a"]));
    assert_ne!(of(&["a"]), of(&["a", ""]));
    let both = [Matcher::Exact("a".into()), Matcher::Prefix("a".into())];
    assert_ne!(Digest::of(&both[0]), Digest::of(&both[1]));
    let regex = Matcher::of_regex("a+").unwrap();
    assert_eq!(
        Digest::of(&regex),
        Digest::of(&Matcher::of_regex("a+").unwrap())
    );
    assert_ne!(
        Digest::of(&regex),
        Digest::of(&Matcher::of_regex("a*").unwrap())
    );
}
