//! Proofs that another program checks, which shares no code with the engine.

use certificate::{Certificate, check, is_checkable};
use policy::Snapshot;
use verify::{Claim, Report, Verdict, certify};

use crate::agreement::{Dice, random_cluster};
use crate::compile;
use crate::identity::{DEMAND, OTHER, SETS, cluster, rules, without_tokens};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../../examples/seed/blog-fix/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");

fn certified(snapshot: &Snapshot) -> (Report, Certificate) {
    let report = verify::verify(snapshot);
    let certificate = certify(snapshot, &report);
    (report, certificate)
}

#[test]
fn what_holds_in_the_seeds_cluster_is_proved() {
    for texts in [
        vec![CLUSTER],
        vec![CLUSTER, BLOG_FIX],
        vec![CLUSTER, SIDEGATE],
    ] {
        let snapshot = compile(&texts);
        let (report, certificate) = certified(&snapshot);
        let holding = Claim::BUILT_IN.into_iter();
        let holding = holding.filter(|claim| report.verdict(claim) == Verdict::Holds);
        let holding = holding.filter(|claim| is_checkable(claim.id()));
        let holding: Vec<String> = holding.map(|claim| claim.id().to_owned()).collect();
        assert_eq!(check(&certificate, &snapshot).unwrap(), holding);
        let text = serde_json::to_string(&certificate).unwrap();
        let read: Certificate = serde_json::from_str(&text).unwrap();
        assert_eq!(read, certificate);
    }
}

/// A proof of every claim, whether it holds or not.
fn forged(snapshot: &Snapshot) -> Certificate {
    certify(snapshot, &Report::default())
}

fn only(certificate: &Certificate, claim: usize) -> Certificate {
    Certificate {
        claims: vec![certificate.claims[claim].clone()],
        ..certificate.clone()
    }
}

#[test]
fn no_proof_of_a_claim_that_does_not_hold_is_accepted() {
    let mut accepted = 0;
    let mut rejected = 0;
    for seed in 0..25 {
        let snapshot = compile(&[&random_cluster(seed)]);
        let report = verify::verify(&snapshot);
        let certificate = forged(&snapshot);
        let checkable = Claim::BUILT_IN.into_iter();
        let checkable = checkable.filter(|claim| is_checkable(claim.id()));
        for (index, claim) in checkable.enumerate() {
            match check(&only(&certificate, index), &snapshot) {
                Ok(_) => {
                    accepted += 1;
                    // What the engine leaves undecided may well be proved.
                    assert_ne!(
                        report.verdict(&claim),
                        Verdict::Violated,
                        "seed {seed}: {}\n{}",
                        claim.id(),
                        random_cluster(seed)
                    );
                }
                Err(_) => rejected += 1,
            }
        }
    }
    assert!(accepted > 60, "only {accepted} were accepted");
    assert!(rejected > 10, "only {rejected} were rejected");
}

#[test]
fn changed_proofs_are_rejected() {
    let snapshot = compile(&[CLUSTER]);
    let (_, certificate) = certified(&snapshot);
    let mut tried = 0;
    for (c, claim) in certificate.claims.iter().enumerate() {
        for (h, host) in claim.hosts.iter().enumerate() {
            let changed = |change: &dyn Fn(&mut Certificate)| {
                let mut all = certificate.clone();
                change(&mut all);
                check(&all, &snapshot).is_err()
            };
            assert!(changed(&|all| {
                all.claims[c].hosts.remove(h);
            }));
            for (i, cell) in host.cells.iter().enumerate() {
                assert!(
                    changed(&|all| {
                        all.claims[c].hosts[h].cells.remove(i);
                    }),
                    "a cell less: {cell:?}"
                );
                assert!(
                    changed(&|all| {
                        let cells = &mut all.claims[c].hosts[h].cells;
                        cells[i].path.pop();
                    }),
                    "a wider cell: {cell:?}"
                );
                if !cell.by.is_empty() {
                    tried += 1;
                    let other = "AuthorizationPolicy kserve-test/nobody rules[0]".to_owned();
                    assert!(changed(&|all| {
                        all.claims[c].hosts[h].cells[i].by = vec![other.clone()];
                    }));
                    for left_out in 0..cell.by.len() {
                        assert!(
                            changed(&|all| {
                                all.claims[c].hosts[h].cells[i].by.remove(left_out);
                            }),
                            "a rule less: {cell:?}"
                        );
                    }
                }
            }
        }
    }
    assert!(tried > 3, "only {tried} cells are closed by rules");
    // The login policy that closes the platform is another one here.
    assert!(check(&certificate, &compile(&[CLUSTER, BLOG_FIX])).is_err());
    let mut newer = certificate;
    newer.istio_version = "1.9".to_owned();
    assert!(check(&newer, &snapshot).is_err());
}

fn proof_of(claim: &str, snapshot: &Snapshot) -> Certificate {
    let mut all = forged(snapshot);
    all.claims.retain(|proof| proof.claim == claim);
    all
}

/// What a request looks like behind the rules for tokens decides: who brings a
/// token and who does not.
#[test]
fn rules_for_tokens_take_headers_off() {
    let closed = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: closed, namespace: istio-system}\nspec: {action: DENY, rules: [{when: [{key: \"request.headers[authorization]\", values: [\"*\"]}]}]}\n";
    let asked = cluster(
        "kubeflow-userid",
        "when: [{key: \"request.headers[authorization]\", notValues: [\"*\"]}]",
    );
    for (rule, expected) in [
        ("forwardOriginalToken: true", Verdict::Holds),
        ("forwardOriginalToken: false", Verdict::Violated),
    ] {
        let from = "fromHeaders: [{name: authorization, prefix: \"Bearer \"}]";
        let tokens = rules(&[&format!(
            "{{issuer: \"https://iss1\", jwks: k1, {from}, {rule}}}"
        )]);
        let snapshot = compile(&[&asked, &tokens, closed]);
        let report = verify::verify(&snapshot);
        assert_eq!(report.verdict(&Claim::NoForgedIdentity), expected, "{rule}");
        let checked = check(&proof_of("no-forged-identity", &snapshot), &snapshot);
        assert_eq!(
            checked.is_ok(),
            expected == Verdict::Holds,
            "{rule}: {checked:?}"
        );
    }
}

#[test]
fn proofs_about_identity_know_what_takes_it_off() {
    let passes = cluster("x-auth-request-email", "");
    let tokens = cluster("authorization", "");
    let own = cluster("kubeflow-userid", "");
    let filled = rules(&[SETS]);
    let other = rules(&[OTHER]);
    let off = without_tokens("open", "envoy.config.route.v3.FilterConfig");
    for (texts, holds) in [
        (vec![own.as_str()], true),
        (vec![passes.as_str()], false),
        (vec![passes.as_str(), filled.as_str()], true),
        (vec![passes.as_str(), filled.as_str(), off.as_str()], false),
        (vec![tokens.as_str(), filled.as_str(), DEMAND], true),
        (vec![tokens.as_str(), other.as_str(), DEMAND], false),
    ] {
        let snapshot = compile(&texts);
        let checked = check(&proof_of("no-forged-identity", &snapshot), &snapshot);
        assert_eq!(checked.is_ok(), holds, "{texts:?}: {checked:?}");
    }
}

/// The same with tokens and logins of all kinds.
#[test]
fn no_proof_with_tokens_is_accepted_of_what_does_not_hold() {
    let mut accepted = 0;
    let mut rejected = 0;
    for seed in 9_100..9_108 {
        let text = crate::identity::random_cluster(&mut Dice(seed));
        let snapshot = compile(&[&text]);
        let report = verify::verify(&snapshot);
        let certificate = forged(&snapshot);
        for index in 0..certificate.claims.len() {
            let proof = only(&certificate, index);
            let id = &proof.claims[0].claim;
            let claim = Claim::BUILT_IN.into_iter().find(|claim| claim.id() == id);
            match check(&proof, &snapshot) {
                Ok(_) => {
                    accepted += 1;
                    let verdict = report.verdict(&claim.unwrap());
                    assert_ne!(verdict, Verdict::Violated, "seed {seed}: {id}\n{text}");
                }
                Err(_) => rejected += 1,
            }
        }
    }
    assert!(accepted > 15, "only {accepted} were accepted");
    assert!(rejected > 5, "only {rejected} were rejected");
}
