//! What is too complex is not decided, and said so with names.

use verify::{Claim, Verdict};

use crate::compile;

#[test]
fn a_configuration_made_to_explode_is_not_decided_and_rules_are_named() {
    let snapshot = compile(&[&testkit::explosion(60)]);
    let report = verify::verify(&snapshot);
    for claim in Claim::BUILT_IN {
        assert_ne!(report.verdict(&claim), Verdict::Holds, "{}", claim.id());
    }
    let reasons = &report.undecided[&Claim::PlatformNeedsLogin];
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("AuthorizationPolicy istio-system/p")),
        "{reasons:?}"
    );
}

#[test]
fn one_that_is_small_enough_is_decided() {
    let report = verify::verify(&compile(&[&testkit::explosion(2)]));
    assert_eq!(
        report.verdict(&Claim::PlatformNeedsLogin),
        Verdict::Violated
    );
}
