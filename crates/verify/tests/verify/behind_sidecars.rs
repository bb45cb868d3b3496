//! Proofs of what holds because of a sidecar: written, accepted, and rejected
//! where they are changed or belong to another configuration.

use certificate::{Certificate, check, is_checkable};
use policy::Snapshot;
use resources::intents::Intent;
use verify::{Claim, Verdict};

use crate::certificates::{built_in, forged, only, stated};
use crate::compile;
use crate::sidecars::{ENABLED, MODEL, PLAIN, cluster, policy_of};

const STRICT: &str = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all, namespace: team}\nspec: {mtls: {mode: STRICT}}\n";
const PLAIN_TEXT: &str = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: m, namespace: team}\nspec: {host: m, trafficPolicy: {tls: {mode: DISABLE}}}\n";
const TOKENS: &str = "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: tokens, namespace: team}\nspec: {jwtRules: [{issuer: \"https://iss1\", jwks: k1}]}\n";

/// Nobody but pods of another namespace.
fn others() -> String {
    policy_of("{from: [{source: {namespaces: [other]}}]}")
}

fn gateways() -> String {
    policy_of("{from: [{source: {namespaces: [istio-system]}}]}")
}

fn deny(rules: &str) -> String {
    policy_of(rules).replace("spec: {", "spec: {action: DENY, ")
}

/// The only proof of the only intent, which is `to` the model.
fn proof(more: &[&str], intent: &str) -> (Verdict, Option<Certificate>, Vec<String>) {
    let text = format!("{MODEL}{}", more.concat());
    let (snapshot, proofs, statements) = stated(&[&text], intent);
    let (verdict, certificate) = proofs.into_iter().next().unwrap();
    let Some(claim) = certificate.claims.first() else {
        return (verdict, None, Vec::new());
    };
    check(&certificate, &snapshot, &statements).unwrap();
    let cells = claim.hosts.iter().flat_map(|host| &host.cells);
    let by = cells.flat_map(|cell| cell.by.clone()).collect();
    (verdict, Some(certificate), by)
}

const CLOSED: &str = "- {from: inside, to: {service: team/m}, expect: deny}\n";
const OPEN: &str = "- {from: inside, to: {service: team/m}, expect: allow}\n";
const ADMIN: &str = "- {from: inside, to: {service: team/m, path: /admin/*}, expect: deny}\n";
const DOUBLE: &str = "- {from: inside, to: {service: team/m, path: //admin}, expect: allow}\n";

#[test]
fn what_holds_because_of_a_sidecar_is_proved() {
    let rule = "AuthorizationPolicy team/only rules[0]";
    let sidecar = "port 8080 of the sidecar of team/m";
    let renamed = MODEL.replace("http: [{route:", "http: [{rewrite: {uri: /admin/x}, route:");
    assert_ne!(renamed, MODEL);
    let admin = deny("{to: [{operation: {paths: [/admin, /admin/*]}}]}");
    let principal =
        policy_of("{from: [{source: {principals: [cluster.local/ns/istio-system/sa/gateway]}}]}");
    let not_ours = deny("{from: [{source: {notNamespaces: [istio-system]}}]}");
    let by_token = policy_of("{from: [{source: {requestPrincipals: ['*']}}]}");
    for (more, intent, expected) in [
        // That it can match nobody is seen without a look at the request.
        (vec![ENABLED, &others()], CLOSED, None),
        (vec![ENABLED, STRICT, PLAIN_TEXT], CLOSED, None),
        (vec![ENABLED, &admin], ADMIN, Some(rule)),
        (vec![ENABLED, &gateways()], OPEN, Some(rule)),
        (vec![ENABLED, &principal], OPEN, Some(rule)),
        (vec![ENABLED, &not_ours], OPEN, None),
        (
            vec![ENABLED, &deny("{to: [{operation: {ports: ['1']}}]}")],
            OPEN,
            None,
        ),
        // Without a token nobody has its claims.
        (vec![ENABLED, TOKENS, &by_token], CLOSED, None),
        // With or without a sidecar, whoever asks.
        (vec![&gateways()], OPEN, Some(rule)),
    ] {
        let (verdict, certificate, by) = proof(&more, intent);
        assert_eq!(verdict, Verdict::Holds, "{more:?} {intent}");
        assert!(certificate.is_some(), "no proof: {more:?} {intent}");
        for name in [Some(sidecar), expected].into_iter().flatten() {
            assert!(by.iter().any(|by| by == name), "{more:?}: {by:?}");
        }
    }
    // Where the pods read paths as the gateway does, two slashes are two.
    let (_, proofs, _) = stated(&[&format!("{MODEL}{ENABLED}{admin}")], DOUBLE);
    assert_eq!(proofs[0].0, Verdict::Holds);
    // A path that a route writes is read by the sidecar as it is written.
    let (_, proofs, _) = stated(&[&format!("{renamed}{ENABLED}{admin}")], CLOSED);
    assert_eq!(proofs[0].0, Verdict::Holds);
    assert_eq!(proofs[0].1.claims.len(), 1);
}

#[test]
fn what_does_not_hold_behind_a_sidecar_has_no_proof() {
    let admin = deny("{to: [{operation: {paths: [/admin]}}]}");
    let labels = "template: {metadata: {labels: {app: m}";
    let merges =
        "annotations: {proxy.istio.io/config: '{connectionSettings: {httpMergeSlashes: true}}'}";
    let merging = MODEL.replace(labels, &format!("{labels}, {merges}"));
    let without_gateway = "kind: Deployment\nmetadata: {name: gateway";
    let guessed = MODEL.replace(without_gateway, "kind: Other\nmetadata: {name: gateway");
    let odd = MODEL.replace(
        "http: [{route:",
        "http: [{rewrite: {uri: /a/../admin}, route:",
    );
    let account =
        policy_of("{from: [{source: {principals: [cluster.local/ns/istio-system/sa/gateway]}}]}");
    let address = policy_of("{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}");
    for (base, more, intent) in [
        (MODEL, vec![PLAIN, &others()], CLOSED),
        (MODEL, vec![&others()], CLOSED),
        (MODEL, vec![&others()], OPEN),
        (MODEL, vec![ENABLED, &others()], OPEN),
        (MODEL, vec![ENABLED, &gateways()], CLOSED),
        (MODEL, vec![ENABLED, STRICT], CLOSED),
        (MODEL, vec![ENABLED, STRICT, PLAIN_TEXT], OPEN),
        (MODEL, vec![ENABLED, PLAIN_TEXT, &gateways()], OPEN),
        (MODEL, vec![ENABLED, &address], OPEN),
        (MODEL, vec![ENABLED, &address], CLOSED),
        (&guessed, vec![ENABLED, &account], OPEN),
        (&odd, vec![ENABLED, &admin], CLOSED),
        (&odd, vec![ENABLED, &admin], OPEN),
        (&merging, vec![ENABLED, &admin], DOUBLE),
    ] {
        let text = format!("{base}{}", more.concat());
        let (_, proofs, _) = stated(&[&text], intent);
        let [(verdict, certificate)] = proofs.as_slice() else {
            panic!("{} proofs", proofs.len());
        };
        assert_ne!(*verdict, Verdict::Holds, "{more:?} {intent}");
        assert!(certificate.claims.is_empty(), "{more:?} {intent}");
    }
}

fn rejected(certificate: &Certificate, snapshot: &Snapshot, own: &[(String, Intent)]) -> bool {
    check(certificate, snapshot, own).is_err()
}

/// What a proof says less, or of something else, or of another configuration.
#[test]
fn changed_proofs_of_what_a_sidecar_does_are_rejected() {
    let mut tried = 0;
    for (more, intent, weaker) in [
        (vec![ENABLED, &others()], CLOSED, vec![PLAIN, &others()]),
        (vec![ENABLED, &others()], CLOSED, vec![ENABLED, &gateways()]),
        (
            vec![ENABLED, STRICT, PLAIN_TEXT],
            CLOSED,
            vec![ENABLED, STRICT],
        ),
        (
            vec![ENABLED, STRICT, PLAIN_TEXT],
            CLOSED,
            vec![ENABLED, PLAIN_TEXT],
        ),
        (vec![ENABLED, &gateways()], OPEN, vec![ENABLED, &others()]),
        (
            vec![ENABLED, &gateways()],
            OPEN,
            vec![ENABLED, &gateways(), PLAIN_TEXT],
        ),
    ] {
        let text = format!("{MODEL}{}", more.concat());
        let (snapshot, proofs, own) = stated(&[&text], intent);
        let certificate = &proofs[0].1;
        assert!(!rejected(certificate, &snapshot, &own), "{more:?}");
        let other = compile(&[&format!("{MODEL}{}", weaker.concat())]);
        assert!(rejected(certificate, &other, &own), "{weaker:?}");
        for (h, host) in certificate.claims[0].hosts.iter().enumerate() {
            for (c, cell) in host.cells.iter().enumerate() {
                for left_out in 0..cell.by.len() {
                    let mut changed = certificate.clone();
                    changed.claims[0].hosts[h].cells[c].by.remove(left_out);
                    assert!(rejected(&changed, &snapshot, &own), "{cell:?}");
                    let mut changed = certificate.clone();
                    changed.claims[0].hosts[h].cells[c].by[left_out] =
                        "port 8080 of the sidecar of team/other".to_owned();
                    assert!(rejected(&changed, &snapshot, &own), "{cell:?}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 8, "only {tried} names were left out");
}

#[test]
fn proofs_about_random_pods_are_of_what_holds() {
    let intents = "
- {from: inside, to: {service: apps/one}, expect: deny}
- {from: inside, to: {service: apps/one}, expect: allow}
- {from: outside, to: {service: apps/two}, expect: deny}
- {to: {service: apps/two}, expect: allow}
- {to: {service: apps/one, path: /a*}, expect: deny}
- {to: {host: a.test}, expect: allow}
- {identity: token, to: {service: apps/one}, expect: deny}
";
    let (mut holding, mut proved, mut because, mut refused) = (0, 0, 0, 0);
    for seed in 0..8 {
        let (text, _) = cluster(seed);
        let (snapshot, proofs, own) = stated(&[&text], intents);
        for (verdict, proof) in &proofs {
            holding += usize::from(*verdict == Verdict::Holds);
            let Some(claim) = proof.claims.first() else {
                continue;
            };
            check(proof, &snapshot, &own).unwrap();
            // What the engine leaves undecided may well be proved.
            assert_ne!(
                *verdict,
                Verdict::Violated,
                "seed {seed}: {claim:?}\n{text}"
            );
            proved += usize::from(*verdict == Verdict::Holds);
            let cells = claim.hosts.iter().flat_map(|host| &host.cells);
            let mut by = cells.flat_map(|cell| &cell.by);
            because += usize::from(by.any(|by| by.contains("the sidecar of")));
        }
        let report = verify::verify(&snapshot);
        let all = forged(&snapshot);
        let claims = Claim::BUILT_IN.into_iter();
        let claims = claims.filter(|claim| is_checkable(built_in(claim), &snapshot));
        for claim in claims {
            let index = all.claims.iter().position(|p| p.claim == claim.id());
            let accepted = index.is_some_and(|i| check(&only(&all, i), &snapshot, &[]).is_ok());
            let verdict = report.verdict(&claim);
            assert!(
                !accepted || verdict != Verdict::Violated,
                "seed {seed}: {}\n{text}",
                claim.id()
            );
            refused += usize::from(verdict == Verdict::Violated);
        }
    }
    assert!(proved * 10 > holding * 8, "{proved} of {holding}");
    assert!(because > 1, "only {because} because of sidecars");
    assert!(refused > 4, "only {refused} do not hold");
}
