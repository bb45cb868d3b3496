//! What rules for tokens do beyond asking who one is from.

use verify::{Claim, Verdict};

use crate::agreement::BASE;
use crate::compile;

/// One rule each, and the reason that is named; none where all is known.
#[test]
fn what_is_not_modelled_of_tokens_leaves_claims_undecided() {
    for (rule, expected) in [
        ("", None),
        (
            "audiences: [a1], forwardOriginalToken: true",
            Some("audiences"),
        ),
        (
            "outputClaimToHeaders: [{header: x-a, claim: email}], forwardOriginalToken: true",
            Some("`x-a`"),
        ),
        (
            "outputPayloadToHeader: x-a, forwardOriginalToken: true",
            Some("`x-a`"),
        ),
        (
            "outputPayloadToHeader: x-other, forwardOriginalToken: true",
            None,
        ),
        (
            "forwardOriginalToken: false",
            Some("takes `authorization` off"),
        ),
    ] {
        let looks_at = match rule {
            "" | "forwardOriginalToken: false" => "authorization",
            _ => "x-a",
        };
        let rule = match rule {
            "" => "forwardOriginalToken: true",
            rule => rule,
        };
        let text = format!(
            r#"{BASE}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: dex, namespace: istio-system}}
spec:
  jwtRules:
  - {{issuer: "https://idp.example", jwksUri: "https://idp.example/keys", fromHeaders: [{{name: authorization, prefix: "Bearer "}}], {rule}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: looks, namespace: istio-system}}
spec: {{action: DENY, rules: [{{when: [{{key: "request.headers[{looks_at}]", values: [secret]}}]}}]}}
"#
        );
        let report = verify::verify(&compile(&[&text]));
        let claim = Claim::PlatformNeedsLogin;
        let reasons = report.undecided.get(&claim).cloned().unwrap_or_default();
        match expected {
            None => assert_ne!(
                report.verdict(&claim),
                Verdict::NotDecided,
                "{rule}: {reasons:?}"
            ),
            Some(part) => {
                assert_eq!(report.verdict(&claim), Verdict::NotDecided, "{rule}");
                let named = |reason: &String| {
                    reason.contains("RequestAuthentication istio-system/dex")
                        && reason.contains(part)
                };
                assert!(reasons.iter().any(named), "{rule}: {reasons:?}");
            }
        }
    }
}
