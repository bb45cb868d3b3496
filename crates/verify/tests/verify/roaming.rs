//! Virtual hosts share what rules about hosts that could be any do there: what
//! is said of each is what the decision says.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderMap, Method};
use policy::{Entrance, RequestHead, Scheme};

use crate::agreement::Dice;
use crate::clusters::{BASE, with_platform};
use crate::compile;

const HOSTS: [&str; 9] = [
    "app1.test",
    "app2.test",
    "app3.test",
    "app4.test",
    "b.app1.test",
    "own.team.test",
    "zapp2.test",
    "*.team.test",
    "*.app1.test",
];

/// Rules about any host, and rules about one of several that are alike.
const RULES: [&str; 16] = [
    "hosts: ['*.team.test']",
    "hosts: ['*team.test']",
    "hosts: ['app*']",
    "hosts: ['app1.test*']",
    "hosts: ['*:8080']",
    "hosts: ['*2.test:8080']",
    "hosts: ['*']",
    "notHosts: ['app1.test']",
    "notHosts: ['app2.test', '*.team.test']",
    "notHosts: ['app2.test:8080']",
    "notHosts: ['*.test']",
    "hosts: ['app1.test']",
    "hosts: ['app2.test:8080']",
    "hosts: ['APP3.test:*', 'app3.test']",
    "hosts: ['app4.test', '*.team.test']",
    "hosts: ['app4.test'], notHosts: ['*:8080']",
];

const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/ab", "/v1/x", "/v1/x/y", "/q"];

fn cluster(dice: &mut Dice) -> String {
    let mut text = BASE.to_owned();
    for (index, host) in HOSTS.iter().enumerate() {
        let mut http = String::new();
        for _ in 0..1 + dice.roll(2) {
            let authority = match dice.roll(8) {
                0 => format!(
                    ", authority: {{exact: '{}'}}",
                    dice.pick(&["app1.test", "app2.test:8080"])
                ),
                1 => ", authority: {prefix: app}".to_owned(),
                _ => String::new(),
            };
            let path = dice.pick(&PATHS);
            let to = dice.pick(&["one.apps.svc.cluster.local", "two.apps.svc.cluster.local"]);
            http.push_str(&format!(
                "\n  - match: [{{uri: {{prefix: {path}}}{authority}}}]\n    route: [{{destination: {{host: {to}, port: {{number: 80}}}}}}]"
            ));
        }
        text.push_str(&format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{index}, namespace: apps}}\nspec:\n  hosts: ['{host}']\n  gateways: [istio-system/out]\n  http:{http}\n"
        ));
    }
    for index in 0..2 + dice.roll(4) {
        let action = dice.pick(&["ALLOW", "DENY", "DENY", "CUSTOM"]);
        let provider = match action {
            "CUSTOM" => "\n  provider: {name: login}",
            _ => "",
        };
        let hosts = dice.pick(&RULES);
        let more = match dice.roll(3) {
            0 => String::new(),
            1 => format!(", paths: ['{}*']", dice.pick(&PATHS)),
            _ => format!(", methods: [GET], notPaths: ['{}']", dice.pick(&PATHS)),
        };
        text.push_str(&format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{index}, namespace: istio-system}}\nspec:\n  action: {action}{provider}\n  rules: [{{to: [{{operation: {{{hosts}{more}}}}}]}}]\n"
        ));
    }
    text
}

fn request(dice: &mut Dice) -> RequestHead {
    let host = dice.pick(&[
        "app1.test",
        "app2.test",
        "app3.test",
        "app4.test",
        "APP2.test",
        "b.app1.test",
        "own.team.test",
        "other.team.test",
        "zapp2.test",
    ]);
    let behind = dice.pick(&[
        "",
        "",
        ":8080",
        ":80",
        ":x.team.test",
        ":.TEAM.test",
        ":app1.test",
        ":x2.test",
    ]);
    RequestHead {
        entrance: Entrance::External,
        method: Method::from_bytes(dice.pick(&["GET", "POST"]).as_bytes()).unwrap(),
        scheme: Scheme::Http,
        authority: format!("{host}{behind}"),
        path: format!("{}{}", dice.pick(&PATHS), dice.pick(&["", "", "/z", "z"])),
        query: None,
        headers: HeaderMap::new(),
        peer: SocketAddr::from(([203, 0, 113, 9], 1)),
        connection: policy::Connection::default(),
        workload: None,
    }
}

#[test]
fn the_engine_says_what_the_decision_says_of_hosts_that_are_alike() {
    let mut compared = 0;
    let mut met = BTreeSet::new();
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let text = cluster(&mut dice);
        let snapshot = compile(&[&text]);
        let heads: Vec<RequestHead> = (0..60).map(|_| request(&mut dice)).collect();
        for (head, predicted) in heads.iter().zip(verify::predict(&snapshot, &heads)) {
            let decided = verify::decision(&snapshot, head);
            let Some(predicted) = predicted else {
                continue;
            };
            compared += 1;
            met.insert(format!("{predicted:?}"));
            assert_eq!(
                predicted, decided.verdict,
                "seed {seed}: {head:?}\n{text}\n{:#?}",
                decided.steps
            );
        }
    }
    assert!(compared > 7_000, "only {compared} were compared");
    assert!(met.len() > 4, "{met:?}");
}

/// Of many hosts that are alike one is left open to strangers who write
/// something odd in place of a port, one by a rule of its own.
#[test]
fn findings_are_of_the_host_that_they_are_about() {
    let mut text = with_platform();
    for index in 0..6 {
        text.push_str(&format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{index}, namespace: platform}}\nspec:\n  hosts: [app{index}.test]\n  gateways: [istio-system/out]\n  http:\n  - route: [{{destination: {{host: one.apps.svc.cluster.local, port: {{number: 80}}}}}}]\n"
        ));
    }
    let policy = |name: &str, operation: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: istio-system}}\nspec:\n  action: CUSTOM\n  provider: {{name: login}}\n  rules: [{{to: [{{operation: {{{operation}}}}}]}}]\n"
        )
    };
    let hosts_shown = |texts: &str| -> BTreeSet<String> {
        let report = verify::verify(&compile(&[texts]));
        assert!(report.undecided.is_empty(), "{:?}", report.undecided);
        let findings = report.findings.iter();
        let broken = findings.filter(|f| f.claim == verify::Claim::PlatformNeedsLogin);
        broken.map(|f| f.witness.head.authority.clone()).collect()
    };
    // A login for all but ends that everybody can write behind a colon.
    text.push_str(&policy("login", "notHosts: ['*.open.test']"));
    let shown = hosts_shown(&text);
    assert!(!shown.is_empty());
    assert!(
        shown
            .iter()
            .all(|host| host.contains(':') && host.ends_with(".open.test")),
        "{shown:?}"
    );
    // What is asked of one host alone closes that one.
    let all_but = (0..6).filter(|index| *index != 4);
    let asked = all_but.map(|index| format!("'app{index}.test:*'"));
    let asked = asked.collect::<Vec<_>>().join(", ");
    let shown = hosts_shown(&format!(
        "{text}{}",
        policy("more", &format!("hosts: [{asked}]"))
    ));
    assert!(!shown.is_empty());
    assert!(
        shown.iter().all(|host| host.starts_with("app4.test:")),
        "{shown:?}"
    );
}

/// Hosts are looked up in any case, and a route may want a case of its own: at the
/// first gateway, and at one that the request is sent on to.
#[test]
fn a_route_that_wants_letters_of_a_case_is_found() {
    let spelled = |gateway: &str, host: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: spelled, namespace: apps, creationTimestamp: \"2026-01-01T00:00:00Z\"}}\nspec:\n  hosts: ['{host}']\n  gateways: [istio-system/{gateway}]\n  http:\n  - {{match: [{{authority: {{regex: 'A\\.te.*'}}, uri: {{prefix: /}}}}], route: [{{destination: {{host: two.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}\n  - {{route: [{{destination: {{host: one.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}\n"
        )
    };
    let sent_on = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: further, namespace: apps}\nspec:\n  hosts: ['*']\n  gateways: [istio-system/out]\n  http:\n  - {route: [{destination: {host: local.istio-system.svc.cluster.local, port: {number: 80}}}]}\n";
    let intents = "- {from: outside, to: {service: apps/two}, expect: deny}\n";
    for (text, expected) in [
        (spelled("out", "a.test"), verify::Verdict::Violated),
        (spelled("out", "*.test"), verify::Verdict::Violated),
        (
            format!("{}{sent_on}", spelled("in", "a.test")),
            verify::Verdict::Violated,
        ),
        (
            format!("{}{sent_on}", spelled("in", "*.test")),
            verify::Verdict::Violated,
        ),
        // No spelling of another name is meant.
        (spelled("out", "b.test"), verify::Verdict::Vacuous),
        (
            format!("{}{sent_on}", spelled("in", "b.test")),
            verify::Verdict::Vacuous,
        ),
    ] {
        let (_, verdicts) =
            crate::intents::ask(&[&format!("{}{text}", crate::clusters::BASE)], intents);
        assert_eq!(verdicts[0], expected, "{text}");
    }
}
