//! Policies of pods behind sidecars: the engine against the decision on random
//! clusters, and claims that depend on what is not known.

use verify::{Decided, Verdict};

use crate::agreement::{self, Dice, request, service};
use crate::clusters::BASE;
use crate::compile;

const GATEWAY: &str = "cluster.local/ns/istio-system/sa/gateway";

/// Two applications with a sidecar, and the gateway's own account.
const PODS: &str = r#"
---
apiVersion: v1
kind: Namespace
metadata: {name: apps, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: istio-system}
spec: {template: {metadata: {labels: {istio: gw}}, spec: {serviceAccountName: gateway}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: one, namespace: apps}
spec: {template: {metadata: {labels: {app: one}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: two, namespace: apps}
spec: {template: {metadata: {labels: {app: two}}}}
"#;

fn with_pods() -> String {
    let mut text = BASE.to_owned();
    for (name, port) in [
        ("one", "name: http, port: 80, targetPort: 8080"),
        ("two", "name: tcp, port: 80, targetPort: 8081"),
    ] {
        text = text.replace(
            &format!("metadata: {{name: {name}, namespace: apps}}\nspec: {{ports: [{{port: 80}}]}}"),
            &format!("metadata: {{name: {name}, namespace: apps}}\nspec: {{selector: {{app: {name}}}, ports: [{{{port}}}]}}"),
        );
    }
    text + PODS
}

/// A policy of the applications, about whom requests come from too.
fn inner(dice: &mut Dice, index: usize) -> String {
    let mut text = agreement::policy(dice, index).replace(
        &format!("name: p{index}, namespace: istio-system"),
        &format!("name: inner{index}, namespace: apps"),
    );
    let from = match dice.roll(6) {
        0 => format!("principals: [{GATEWAY}]"),
        1 => "principals: [cluster.local/ns/istio-system/sa/other]".to_owned(),
        2 => "namespaces: [istio-system]".to_owned(),
        3 => "notNamespaces: [istio-system]".to_owned(),
        4 => "principals: ['*']".to_owned(),
        _ => return text,
    };
    let source = format!("\n  - {{from: [{{source: {{{from}}}}}], ");
    text = text.replacen("\n  - {", &source, 1);
    text.replace(", }", "}")
}

pub(crate) fn cluster(seed: u64) -> (String, Dice) {
    let mut dice = Dice(seed);
    let mut text = with_pods();
    if seed.is_multiple_of(5) {
        text = text.replace(
            "mode: as-written",
            "mode: enforce, platform: {namespaces: [platform]}",
        );
    }
    for index in 0..1 + dice.roll(4) {
        text.push_str(&service(&mut dice, index));
    }
    for index in 0..dice.roll(3) {
        text.push_str(&agreement::policy(&mut dice, index));
    }
    for index in 0..1 + dice.roll(3) {
        text.push_str(&inner(&mut dice, index));
    }
    if dice.roll(2) == 0 {
        let mode = dice.pick(&["STRICT", "DISABLE", "PERMISSIVE"]);
        text.push_str(&format!("---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: all, namespace: apps}}\nspec: {{mtls: {{mode: {mode}}}}}\n"));
    }
    if dice.roll(4) == 0 {
        let mode = dice.pick(&["DISABLE", "ISTIO_MUTUAL"]);
        text.push_str(&format!("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: one, namespace: apps}}\nspec: {{host: one, trafficPolicy: {{tls: {{mode: {mode}}}}}}}\n"));
    }
    (text, dice)
}

#[test]
fn the_engine_says_what_the_decision_says_of_sidecars() {
    let (mut compared, mut refused) = (0, 0);
    for seed in 0..200 {
        let (text, mut dice) = cluster(seed);
        let snapshot = compile(&[&text]);
        let heads: Vec<_> = (0..60).map(|_| request(&mut dice)).collect();
        for (head, predicted) in heads.iter().zip(verify::predict(&snapshot, &heads)) {
            let decided = verify::decision(&snapshot, head);
            let Some(predicted) = predicted else {
                continue;
            };
            compared += 1;
            let inside = decided.steps.iter().any(|s| s.text.contains("sidecar of"));
            refused += usize::from(inside && decided.verdict == Decided::Denied);
            assert_eq!(
                predicted, decided.verdict,
                "seed {seed}: {head:?}\n{text}\n{:#?}",
                decided.steps
            );
        }
    }
    assert!(compared > 7_000, "only {compared} were compared");
    assert!(refused > 300, "only {refused} were refused inside");
}

pub(crate) const MODEL: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: istio-system}
spec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8081}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: in, namespace: istio-system}
spec: {selector: {istio: gw}, servers: [{hosts: ["*"], port: {number: 8081, name: http, protocol: HTTP}}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: istio-system}
spec: {template: {metadata: {labels: {istio: gw}}, spec: {serviceAccountName: gateway}}}
---
apiVersion: v1
kind: Service
metadata: {name: m, namespace: team}
spec: {selector: {app: m}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: m, namespace: team}
spec: {template: {metadata: {labels: {app: m}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: m, namespace: team, labels: {serving.kserve.io/inferenceservice: m}}
spec: {hosts: [m.test], gateways: [istio-system/in], http: [{route: [{destination: {host: m, port: {number: 80}}}]}]}
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec: {mode: as-written, entrances: {local: istio-system/in}}
"#;

pub(crate) const ENABLED: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {istio-injection: enabled}}\n";
pub(crate) const PLAIN: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n";

pub(crate) fn policy_of(rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: only, namespace: team}}\nspec: {{rules: [{rules}]}}\n"
    )
}

const GATEWAYS: &str = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: gateways, namespace: istio-system}\nspec: {action: DENY, selector: {matchLabels: {istio: gw}}, rules: [{to: [{operation: {ports: ['1']}}]}]}\n";

/// Whether everybody inside reaches the model.
fn workloads_are_answered(more: &[&str]) -> Verdict {
    answered(&format!("{MODEL}{}", more.concat()))
}

fn answered(text: &str) -> Verdict {
    let intents = "- {from: inside, to: {service: team/m}, expect: allow}\n";
    let (_, verdicts) = crate::intents::ask(&[text], intents);
    verdicts[0]
}

#[test]
fn a_model_behind_a_policy_answers_whom_the_policy_lets_through() {
    let gateways = policy_of("{from: [{source: {namespaces: [istio-system]}}]}");
    let others = policy_of("{from: [{source: {namespaces: [other]}}]}");
    for (more, expected) in [
        (vec![ENABLED], Verdict::Holds),
        (vec![ENABLED, &gateways], Verdict::Holds),
        (vec![ENABLED, &others], Verdict::Violated),
        // Without a sidecar nobody looks at the policy.
        (vec![PLAIN, &others], Verdict::Holds),
        // Without the namespace it is not known who would.
        (vec![&others], Verdict::NotDecided),
        (vec![&gateways], Verdict::Holds),
    ] {
        assert_eq!(workloads_are_answered(&more), expected, "{more:?}");
    }
}

#[test]
fn pods_that_the_yaml_does_not_have() {
    let deployment = "kind: Deployment\nmetadata: {name: m,";
    let without = MODEL.replace(deployment, "kind: Other\nmetadata: {name: m,");
    // A policy that names gateways is for nobody else.
    for more in ["", ENABLED] {
        let found = answered(&format!("{without}{more}{GATEWAYS}"));
        assert_eq!(found, Verdict::Holds, "{more}");
    }
    let some = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: some, namespace: team}\nspec: {selector: {matchLabels: {version: v1}}}\n";
    let found = answered(&format!("{without}{ENABLED}{some}"));
    assert_eq!(found, Verdict::NotDecided);
    assert_eq!(answered(&format!("{MODEL}{ENABLED}{some}")), Verdict::Holds);
}

#[test]
fn a_refusal_names_the_sidecar_and_its_policies() {
    let others = policy_of("{from: [{source: {namespaces: [other]}}]}");
    let snapshot = compile(&[&format!("{MODEL}{ENABLED}{others}")]);
    let mut head = request(&mut Dice(1));
    head.authority = "m.test".to_owned();
    head.entrance = policy::Entrance::Local;
    let answers = policy::Answers::new();
    let verdict = policy::decide(&snapshot, &head, &answers, &mut policy::NoTrace);
    let policy::Verdict::Denial(denial) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(denial.refusal, policy::Refusal::Rbac);
    for part in [
        "port 8080 of the sidecar of team/m",
        "AuthorizationPolicy team/only",
    ] {
        assert!(denial.reason.contains(part), "{}", denial.reason);
    }
}

#[test]
fn what_is_not_known_of_the_sender_proves_nothing() {
    let account = format!("{{from: [{{source: {{principals: [{GATEWAY}]}}}}]}}");
    let account = policy_of(&account);
    assert_eq!(workloads_are_answered(&[ENABLED, &account]), Verdict::Holds);
    // The gateway's own address is in no manifest.
    let address = policy_of("{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}");
    let found = workloads_are_answered(&[ENABLED, &address]);
    assert_eq!(found, Verdict::NotDecided);
    // Nor is its account, where the YAML has no pods of it.
    let without = MODEL.replace(
        "kind: Deployment\nmetadata: {name: gateway",
        "kind: Other\nmetadata: {name: gateway",
    );
    let found = answered(&format!("{without}{ENABLED}{account}"));
    assert_eq!(found, Verdict::NotDecided);
}

#[test]
fn what_is_not_followed_before_a_sidecar_proves_nothing() {
    let sidecar = |spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s, namespace: team}}\nspec: {spec}\n"
        )
    };
    let subset = |policy: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: m, namespace: team}}\nspec: {{host: m, subsets: [{{name: v1{policy}}}]}}\n"
        )
    };
    let ingress = "ingress: [{port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:80'}]";
    let elsewhere = "workloadSelector: {labels: {app: other}}";
    for (more, expected) in [
        (sidecar("{}"), Verdict::Holds),
        (sidecar(&format!("{{{ingress}}}")), Verdict::NotDecided),
        (
            sidecar(&format!("{{{elsewhere}, {ingress}}}")),
            Verdict::Holds,
        ),
        (subset(""), Verdict::Holds),
        (
            subset(", trafficPolicy: {tls: {mode: DISABLE}}"),
            Verdict::NotDecided,
        ),
    ] {
        assert_eq!(
            workloads_are_answered(&[ENABLED, &more]),
            expected,
            "{more}"
        );
    }
}

#[test]
fn plain_text_to_strict_pods_comes_to_nothing() {
    let strict = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all, namespace: team}\nspec: {mtls: {mode: STRICT}}\n";
    let plain = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: m, namespace: team}\nspec: {host: m, trafficPolicy: {tls: {mode: DISABLE}}}\n";
    assert_eq!(workloads_are_answered(&[ENABLED, strict]), Verdict::Holds);
    let found = workloads_are_answered(&[ENABLED, strict, plain]);
    assert_eq!(found, Verdict::Violated);
}

#[test]
fn pods_that_come_straight_are_known_by_their_name() {
    use verify::Through::{All, None as Nobody, NotDecided, Some as Part};
    let strict = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all, namespace: team}\nspec: {mtls: {mode: STRICT}}\n";
    let reads =
        policy_of("{from: [{source: {namespaces: [batch]}}], to: [{operation: {methods: [GET]}}]}");
    let batch = policy_of("{from: [{source: {namespaces: [batch]}}]}");
    let callers = [
        None,
        Some("spiffe://cluster.local/ns/batch/sa/a"),
        Some("spiffe://cluster.local/ns/other/sa/a"),
        Some("spiffe://elsewhere/ns/batch/sa/a"),
    ];
    for (more, expected) in [
        (vec![ENABLED], [All, All, All, Nobody]),
        (vec![ENABLED, strict], [Nobody, All, All, Nobody]),
        (vec![ENABLED, &batch], [Nobody, All, Nobody, Nobody]),
        (vec![ENABLED, &reads], [Nobody, Part, Nobody, Nobody]),
        (vec![&batch], [NotDecided; 4]),
    ] {
        let text = format!("{MODEL}{}", more.concat());
        let snapshot = compile(&[&text]);
        let view = snapshot.sidecars().next().unwrap();
        let found = verify::straight(&snapshot, view.index(), &callers);
        assert_eq!(found, expected, "{more:?}");
    }
}

/// How many changes there are from one configuration to another.
fn changes(old: &str, new: &str) -> usize {
    let difference = verify::diff(&compile(&[old]), &compile(&[new]));
    assert!(
        difference.undecided.is_empty(),
        "{:?}",
        difference.undecided
    );
    difference.changes.len()
}

#[test]
fn a_change_behind_the_gateway_is_a_change() {
    let others = policy_of("{from: [{source: {namespaces: [other]}}]}");
    let renamed = MODEL.replace(
        "http: [{route:",
        "http: [{rewrite: {authority: x.test}, route:",
    );
    for base in [MODEL, &renamed] {
        let with = |more: &[&str]| format!("{base}{}", more.concat());
        let open = with(&[ENABLED]);
        let closed = with(&[ENABLED, &others]);
        assert_eq!(changes(&open, &open), 0);
        assert_eq!(changes(&open, &closed), 1);
        assert_eq!(changes(&closed, &open), 1);
        // The label alone brings the policy into force.
        assert_eq!(changes(&with(&[PLAIN, &others]), &closed), 1);
    }
}

#[test]
fn a_change_behind_another_gateway_is_a_change() {
    let first = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: first, namespace: apps}\nspec: {hosts: [a.test], gateways: [istio-system/out], http: [{rewrite: {authority: b.test}, route: [{destination: {host: local.istio-system.svc.cluster.local, port: {number: 80}}}]}]}\n";
    let second = |to: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: second, namespace: apps}}\nspec: {{hosts: [b.test], gateways: [istio-system/in], http: [{{route: [{{destination: {{host: {to}.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}]}}\n"
        )
    };
    let [one, two] = ["one", "two"].map(|to| format!("{BASE}{first}{}", second(to)));
    let difference = verify::diff(&compile(&[&one]), &compile(&[&two]));
    let outside = |change: &verify::Change| change.witness.head.authority.starts_with("a.test");
    assert!(difference.changes.iter().any(outside), "{difference:?}");
}
