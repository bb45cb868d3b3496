//! Scripts that have the route chosen anew.

use certificate::{check, is_checkable};
use verify::{Claim, Report, Verdict, certify};

use crate::clusters::BASE;
use crate::compile;

/// Two routes that a header tells apart, and a script that takes a header off.
fn cluster(taken: &str) -> String {
    let script =
        format!("function envoy_on_request(h)\\n  h:headers():remove(\\\"{taken}\\\")\\nend\\n");
    format!(
        r#"{BASE}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v, namespace: apps}}
spec:
  hosts: [a.test]
  gateways: [istio-system/out]
  http:
  - {{match: [{{headers: {{x-a: {{exact: v}}}}}}], route: [{{destination: {{host: one.apps.svc.cluster.local}}}}]}}
  - {{route: [{{destination: {{host: two.apps.svc.cluster.local}}}}]}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: script, namespace: istio-system}}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager, subFilter: {{name: envoy.filters.http.router}}}}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.lua
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {{inline_string: "{script}"}}
"#
    )
}

#[test]
fn routes_by_a_header_that_a_script_changes_are_not_decided() {
    let snapshot = compile(&[&cluster("x-a")]);
    let report = verify::verify(&snapshot);
    let claim = Claim::PlatformNeedsLogin;
    assert_eq!(report.verdict(&claim), Verdict::NotDecided);
    let reasons = &report.undecided[&claim];
    assert!(
        reasons
            .iter()
            .any(|r| r.contains("has the route chosen anew")),
        "{reasons:?}"
    );
    let forged = certify(&snapshot, &Report::default());
    for proof in &forged.claims {
        let one = certificate::Certificate {
            claims: vec![proof.clone()],
            ..forged.clone()
        };
        assert!(check(&one, &snapshot, &[]).is_err());
    }
}

#[test]
fn routes_by_another_are() {
    let snapshot = compile(&[&cluster("x-b")]);
    let report = verify::verify(&snapshot);
    let claim = Claim::PlatformNeedsLogin;
    assert_eq!(report.verdict(&claim), Verdict::Holds);
    assert!(is_checkable(
        crate::certificates::built_in(&claim),
        &snapshot
    ));
    let proved = check(&certify(&snapshot, &report), &snapshot, &[]).unwrap();
    assert!(proved.contains(&claim.id().to_owned()));
}
