//! Proofs that another program checks, which shares no code with the engine.

use certificate::{About, Certificate, check, is_checkable};
use policy::Snapshot;
use resources::intents::Intent;
use verify::{Claim, Report, Verdict, certify};

use crate::agreement::{Dice, random_cluster};
use crate::compile;
use crate::identity::{DEMAND, OTHER, SETS, cluster, rules, without_tokens};
use crate::intents::ask;

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../../examples/seed/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");

pub(crate) fn built_in(claim: &Claim) -> About<'_> {
    About {
        claim: claim.id(),
        intent: None,
    }
}

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
        let holding = holding.filter(|claim| is_checkable(built_in(claim), &snapshot));
        let holding: Vec<String> = holding.map(|claim| claim.id().to_owned()).collect();
        assert_eq!(check(&certificate, &snapshot, &[]).unwrap(), holding);
        let text = serde_json::to_string(&certificate).unwrap();
        let read: Certificate = serde_json::from_str(&text).unwrap();
        assert_eq!(read, certificate);
    }
}

/// A proof of every claim, whether it holds or not.
pub(crate) fn forged(snapshot: &Snapshot) -> Certificate {
    certify(snapshot, &Report::default())
}

pub(crate) fn only(certificate: &Certificate, claim: usize) -> Certificate {
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
        let checkable = checkable.filter(|claim| is_checkable(built_in(claim), &snapshot));
        for (index, claim) in checkable.enumerate() {
            match check(&only(&certificate, index), &snapshot, &[]) {
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
                check(&all, &snapshot, &[]).is_err()
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
    assert!(check(&certificate, &compile(&[CLUSTER, BLOG_FIX]), &[]).is_err());
    let mut newer = certificate;
    newer.istio_version = "1.9".to_owned();
    assert!(check(&newer, &snapshot, &[]).is_err());
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
        let checked = check(&proof_of("no-forged-identity", &snapshot), &snapshot, &[]);
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
        let checked = check(&proof_of("no-forged-identity", &snapshot), &snapshot, &[]);
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
            match check(&proof, &snapshot, &[]) {
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

pub(crate) type Stated = (Snapshot, Vec<(Verdict, Certificate)>, Vec<(String, Intent)>);

/// Intents, with what came out for each, and a proof of each, whether it holds
/// or not.
pub(crate) fn stated(texts: &[&str], intents: &str) -> Stated {
    let (report, verdicts) = ask(texts, intents);
    let snapshot = compile(texts);
    let all = Report {
        claims: report.claims.clone(),
        ..Report::default()
    };
    let certificate = certify(&snapshot, &all);
    let claims = report.claims.iter();
    let claims = claims.filter(|claim| matches!(claim, Claim::Intent(_)));
    let proofs = claims.zip(verdicts).map(|(claim, verdict)| {
        let mut proof = certificate.clone();
        proof.claims.retain(|proof| proof.claim == claim.id());
        (verdict, proof)
    });
    let own = report.claims.iter().filter_map(|claim| match claim {
        Claim::Intent(own) => Some((own.id().to_owned(), own.written().clone())),
        _ => None,
    });
    (snapshot, proofs.collect(), own.collect())
}

/// Statements about the seed's cluster, proved where they hold: never where
/// they do not, and only where somebody makes them.
#[test]
fn statements_are_proved_like_claims() {
    let intents = "
- {from: outside, to: platform, expect: login}
- {from: outside, to: platform, expect: deny}
- {from: outside, identity: login, to: platform, expect: allow}
- {from: inside, to: model, expect: allow}
- {from: {namespace: default, labels: {app: myapp}}, to: model, expect: allow}
- {from: outside, to: model, expect: deny}
- {from: outside, to: model, expect: token}
- {from: outside, identity: login, to: model, expect: allow}
- {to: foreign, expect: allow}
- {from: outside, to: {host: shop.example.com}, expect: allow}
- {from: outside, to: {service: kubeflow/centraldashboard}, expect: deny}
- {from: outside, to: {owner: platform, path: /v1*}, expect: login}
- {from: outside, to: {owner: platform, path: /pipeline/*}, expect: login}
- {from: outside, identity: token, to: platform, expect: deny}
- {from: outside, identity: token, to: model, expect: allow}
- {from: inside, identity: token, to: model, expect: allow}
- {from: outside, identity: token, to: model, expect: deny}
- {identity: token, to: foreign, expect: allow}
";
    let mut accepted = 0;
    let mut holding = 0;
    for texts in [&[CLUSTER][..], &[CLUSTER, BLOG_FIX], &[CLUSTER, SIDEGATE]] {
        let (snapshot, proofs, statements) = stated(texts, intents);
        for ((verdict, proof), statement) in proofs.iter().zip(&statements) {
            holding += usize::from(*verdict == Verdict::Holds);
            let Some(claim) = proof.claims.first() else {
                continue;
            };
            assert!(check(proof, &snapshot, &statements).is_ok(), "{claim:?}");
            // What says nothing is broken by nothing.
            assert_ne!(*verdict, Verdict::Violated, "{statement:?}");
            accepted += usize::from(*verdict == Verdict::Holds);
            // Nobody makes it.
            let mut others: Vec<(String, Intent)> = statements
                .iter()
                .filter(|other| *other != statement)
                .cloned()
                .collect();
            assert!(check(proof, &snapshot, &others).is_err(), "{statement:?}");
            // Or it is called otherwise.
            others.push(("another".to_owned(), statement.1.clone()));
            assert!(check(proof, &snapshot, &others).is_err(), "{statement:?}");
            assert!(check(proof, &snapshot, &[]).is_err(), "{statement:?}");
            // A cell or a rule less, or the proof of something else.
            let mut changed = proof.clone();
            changed.claims[0].hosts.pop();
            assert!(check(&changed, &snapshot, &statements).is_err());
            let mut named = proof.clone();
            named.claims[0].claim = "platform-needs-login".to_owned();
            let called = [(named.claims[0].claim.clone(), statement.1.clone())];
            assert!(check(&named, &snapshot, &called).is_err());
        }
    }
    assert_eq!(accepted, holding);
}

const OF_RANDOM_CLUSTERS: &str = "
- {to: {service: apps/one}, expect: allow}
- {to: {service: apps/one}, expect: deny}
- {to: {service: apps/two}, expect: login}
- {identity: login, to: {service: apps/one}, expect: allow}
- {identity: login, to: {owner: foreign}, expect: deny}
- {from: inside, to: {owner: foreign}, expect: allow}
- {to: {host: a.test}, expect: deny}
- {to: {host: '*.test', path: /a*}, expect: deny}
- {to: {path: /v1/x}, expect: allow}
- {identity: token, to: {service: apps/one}, expect: allow}
- {identity: token, to: {service: apps/two}, expect: deny}
- {identity: token, to: {owner: foreign}, expect: allow}
- {from: inside, identity: token, to: {path: /v1/x}, expect: token}
";

/// How many proofs of these statements are accepted, never of one that does
/// not hold, and how many are not written or rejected.
fn proofs_of_statements(clusters: impl Iterator<Item = String>) -> (usize, usize) {
    let mut accepted = 0;
    let mut rejected = 0;
    for text in clusters {
        let (snapshot, proofs, statements) = stated(&[&text], OF_RANDOM_CLUSTERS);
        for (verdict, proof) in &proofs {
            // What the checker does not accept is not written down.
            rejected += usize::from(proof.claims.is_empty());
            match check(proof, &snapshot, &statements) {
                Ok(proved) if proved.is_empty() => {}
                Ok(proved) => {
                    accepted += proved.len();
                    assert_ne!(*verdict, Verdict::Violated, "{:?}\n{text}", proof.claims);
                }
                Err(why) => panic!("{why}\n{text}"),
            }
        }
    }
    (accepted, rejected)
}

#[test]
fn no_proof_of_a_statement_that_does_not_hold_is_accepted() {
    let clusters = (0..7).map(random_cluster);
    let with_tokens = (9_200..9_206).map(|seed| crate::identity::random_cluster(&mut Dice(seed)));
    let (accepted, rejected) = proofs_of_statements(clusters.chain(with_tokens));
    assert!(accepted > 15, "only {accepted} were accepted");
    assert!(rejected > 15, "only {rejected} were rejected");
}

/// The same where access levels are enforced, by owners and limits.
#[test]
fn no_proof_of_a_statement_that_levels_break_is_accepted() {
    let enforced = |text: String| {
        let text = text.replace("mode: as-written", "mode: enforce");
        assert!(text.contains("mode: enforce"), "{text}");
        text
    };
    let clusters = (7..9).map(|third| random_cluster(3 * third));
    let with_tokens = (9_300..9_302).map(|seed| crate::identity::random_cluster(&mut Dice(seed)));
    let (accepted, rejected) = proofs_of_statements(clusters.chain(with_tokens).map(enforced));
    assert!(accepted > 15, "only {accepted} were accepted");
    assert!(rejected > 15, "only {rejected} were rejected");
}
