//! Paths that policy and backend read differently, by the mesh's normalisation
//! and by what the backend is said to do.

use verify::{Asked, Claim, Readings, Report, Verdict};

use crate::clusters::APP;
use crate::settings;

/// What goes on top of [`APP`]: one route for all.
const ROUTE: &str = r#"apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: apps}
spec: {hosts: ["*"], gateways: [gateway], http: [{route: [{destination: {host: app.apps.svc.cluster.local, port: {number: 80}}}]}]}
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: s, namespace: istio-system}
spec: {entrances: {external: apps/gateway}}
---
"#;

const MODES: [&str; 4] = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];

fn ask(mode: &str, policy: &str, backends: &str) -> Report {
    ask_of(APP, mode, policy, backends)
}

fn ask_of(base: &str, mode: &str, policy: &str, backends: &str) -> Report {
    let text = format!(
        "{base}{ROUTE}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    pathNormalization: {{normalization: {mode}}}\n    extensionProviders:\n    - {{name: login, envoyExtAuthzHttp: {{service: app.apps.svc.cluster.local, port: 80}}}}\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: rule, namespace: istio-system}}\nspec: {{{policy}}}\n"
    );
    let cluster = resources::parse(&[("test.yaml".into(), text)]).unwrap();
    let snapshot = policy::Snapshot::compile(&cluster, &settings()).unwrap();
    let statements = resources::parse_statements(&"i.yaml".into(), backends).unwrap();
    let asked = Asked {
        readings: Readings::of(&statements.backends),
        ..Asked::default()
    };
    verify::verify_with(&snapshot, &asked)
}

fn declared(reads: &str) -> String {
    format!("backends: [{{service: apps/app, reads: [{reads}]}}]")
}

/// For each of the four modes, the path that escapes, or none.
#[test]
fn what_escapes_in_each_mode() {
    let admin = "action: DENY, rules: [{to: [{operation: {paths: [/admin, /admin/*]}}]}]";
    let exempt = "action: DENY, rules: [{to: [{operation: {notPaths: [/dex/*]}}]}]";
    let css = "action: DENY, rules: [{to: [{operation: {notPaths: ['*.css']}}]}]";
    let listed = "action: ALLOW, rules: [{to: [{operation: {paths: [/a/*]}}]}]";
    let nothing = "action: DENY, rules: [{to: [{operation: {methods: [TRACE]}}]}]";
    let (some, none) = (Some, None::<&str>);
    let table = [
        (
            admin,
            "decodes-slashes",
            [
                some("/admin%2fx"),
                some("/admin%2fx"),
                some("/admin%2fx"),
                none,
            ],
        ),
        (
            admin,
            "merges-slashes",
            [some("//admin"), some("//admin"), none, none],
        ),
        (admin, "strips-parameters", [some("/admin;x"); 4]),
        (admin, "folds-case", [some("/Admin"); 4]),
        (admin, "", [none; 4]),
        (
            exempt,
            "decodes-slashes",
            [
                some("/dex/..%2f"),
                some("/dex/..%2f"),
                some("/dex/..%2f"),
                none,
            ],
        ),
        (exempt, "folds-case", [none; 4]),
        (css, "strips-parameters", [some("/x;x.css"); 4]),
        (
            listed,
            "decodes-slashes",
            [some("/a/..%2f"), some("/a/..%2f"), some("/a/..%2f"), none],
        ),
        (nothing, "decodes-slashes, folds-case", [none; 4]),
    ];
    for (policy, reads, expected) in table {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            let report = ask(mode, policy, &declared(reads));
            let found = report
                .findings
                .iter()
                .find(|f| f.claim == Claim::OneReading);
            let path = found.map(|f| f.witness.head.path.as_str());
            assert_eq!(path, expected, "{mode}: {reads}: {policy}");
            assert!(!report.undecided.contains_key(&Claim::OneReading));
        }
    }
}

#[test]
fn what_nobody_declares_is_assumed_of_rules_that_refuse() {
    let admin = "action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]";
    let report = ask("BASE", admin, "[]");
    let found = report
        .findings
        .iter()
        .find(|f| f.claim == Claim::OneReading);
    let found = found.unwrap();
    let contrast = found.contrast.as_ref().unwrap();
    assert!(contrast.assumed);
    assert_eq!(contrast.path, "/admin");
    assert!(contrast.answer.starts_with("403"), "{}", contrast.answer);
    assert_eq!(
        found.route.0.to_string(),
        "AuthorizationPolicy istio-system/rule"
    );
    assert_eq!(found.route.2, "spec.rules[0]");
    let listed = "action: ALLOW, rules: [{to: [{operation: {paths: [/a/*]}}]}]";
    let report = ask("BASE", listed, "[]");
    assert_eq!(report.verdict(&Claim::OneReading), Verdict::Holds);
}

#[test]
fn a_rule_on_two_listeners_is_one_finding() {
    let server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}";
    let other = "{port: {number: 9090, name: other, protocol: HTTP}, hosts: [\"*\"]}";
    let two = APP.replace(server, &format!("{server}, {other}"));
    let admin = "action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]";
    for (base, count) in [(APP, 1), (&*two, 2)] {
        let report = ask_of(base, "BASE", admin, "[]");
        let found = report.findings.iter();
        let counts: Vec<usize> = found
            .filter(|finding| finding.claim == Claim::OneReading)
            .map(|finding| finding.count)
            .collect();
        assert_eq!(counts, [count]);
    }
}

/// A backend that is not behind the route in question changes nothing.
#[test]
fn other_backends_do_not_count() {
    let admin = "action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]";
    let other =
        "backends: [{service: apps/app, reads: []}, {service: apps/other, reads: [folds-case]}]";
    let report = ask("BASE", admin, other);
    assert_eq!(report.verdict(&Claim::OneReading), Verdict::Holds);
}
