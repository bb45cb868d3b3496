//! Under an Istio whose Envoy joins the lines of a repeated header before rules
//! look at it.

use policy::RequestHead;

use crate::agreement::{Dice, random_cluster, request};
use crate::clusters::at_version;
use crate::compile;

const RULE: &str = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: by-header, namespace: istio-system}\nspec: {action: DENY, rules: [{when: [{key: 'request.headers[x-role]', values: [admin]}]}]}\n";

fn by_routes(name: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: by-header, namespace: platform}}\nspec:\n  hosts: [by-header.test]\n  gateways: [istio-system/out]\n  http:\n  - match: [{{headers: {{{name}: {{exact: admin}}}}}}]\n    route: [{{destination: {{host: one.apps.svc.cluster.local, port: {{number: 80}}}}}}]\n"
    )
}

#[test]
fn the_engine_says_what_the_decision_says_of_joined_lines() {
    let (mut compared, mut repeated) = (0, 0);
    for seed in 0..120 {
        let text = random_cluster(seed).replace("headers: {x-a: {exact", "headers: {x-c: {exact");
        let snapshot = compile(&[&at_version(&text, "1.20")]);
        let mut dice = Dice(seed);
        let heads: Vec<RequestHead> = (0..60).map(|_| request(&mut dice)).collect();
        for (head, predicted) in heads.iter().zip(verify::predict(&snapshot, &heads)) {
            let Some(predicted) = predicted else { continue };
            let decided = verify::decision(&snapshot, head);
            compared += 1;
            repeated += usize::from(head.headers.len() > head.headers.keys_len());
            assert_eq!(
                predicted, decided.verdict,
                "seed {seed}: {head:?}\n{text}\n{:#?}",
                decided.steps
            );
        }
    }
    assert!(compared > 3_000, "only {compared} were compared");
    assert!(repeated > 400, "only {repeated} had repeated headers");
}

#[test]
fn headers_that_routes_look_at_line_by_line_too_are_not_decided() {
    let base = crate::clusters::with_platform();
    let undecided = |version: &str, route: &str| {
        let text = at_version(&format!("{base}{RULE}{}", by_routes(route)), version);
        let report = verify::verify(&compile(&[&text]));
        report
            .undecided
            .values()
            .flatten()
            .any(|why| why.contains("x-role"))
    };
    assert!(undecided("1.20", "x-role"));
    assert!(!undecided("1.20", "x-other"));
    assert!(!undecided("1.31", "x-role"));
}
