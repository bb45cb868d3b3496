//! Proofs that another program checks, which shares no code with the engine.

use certificate::{Certificate, check, is_checkable};
use policy::Snapshot;
use verify::{Claim, Report, Verdict, certify};

use crate::agreement::random_cluster;
use crate::compile;

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
