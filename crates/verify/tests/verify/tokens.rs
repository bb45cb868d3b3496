//! Tokens: what the engine says of a request is what the decision says, for
//! rules in several places, of several issuers and audiences, for policies and
//! routes about claims.

use http::{HeaderName, HeaderValue};
use policy::{Claims, RequestHead};

use crate::agreement::{Dice, policy, request, service};
use crate::clusters::{BASE, with_platform};
use crate::compile;
use crate::intents::ask;

const ISSUERS: [&str; 3] = ["https://iss1", "https://iss2", "plain"];

pub(crate) fn authentication(dice: &mut Dice, index: usize) -> String {
    let mut rules = Vec::new();
    for _ in 0..1 + dice.roll(2) {
        let issuer = dice.pick(&ISSUERS);
        let mut rule = vec![format!("issuer: {issuer:?}, jwks: {issuer:?}")];
        match dice.roll(9) {
            0 => rule.push("fromHeaders: [{name: x-token}]".into()),
            1 => rule.push("fromHeaders: [{name: Authorization, prefix: \"Bearer \"}]".into()),
            2 => rule.push("fromParams: [k]".into()),
            3 => rule.push("fromCookies: [session]".into()),
            4 => {}
            _ => rule.push("fromHeaders: [{name: authorization, prefix: \"Bearer \"}]".into()),
        }
        if dice.roll(3) == 0 {
            rule.push(format!("audiences: {}", dice.some(&["a1", "https://a2/"])));
        }
        if dice.roll(2) == 0 {
            rule.push("forwardOriginalToken: true".into());
        }
        if dice.roll(4) == 0 {
            rule.push("outputClaimToHeaders: [{header: kubeflow-userid, claim: email}]".into());
        }
        rules.push(format!("{{{}}}", rule.join(", ")));
    }
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: ra{index}, namespace: istio-system}}\nspec: {{jwtRules: [{}]}}\n",
        rules.join(", ")
    )
}

fn about_claims(dice: &mut Dice, index: usize) -> String {
    let action = dice.pick(&["ALLOW", "DENY", "DENY"]);
    let mut rules = String::new();
    for _ in 0..1 + dice.roll(2) {
        let rule = match dice.roll(5) {
            0 => format!(
                "from: [{{source: {{{}: {}}}}}]",
                dice.pick(&["requestPrincipals", "notRequestPrincipals"]),
                dice.some(&["*", "https://iss1/u1", "https://iss1/*", "*/u1", "plain/u*"])
            ),
            kind => {
                let (key, values): (&str, &[&str]) = match kind {
                    1 => ("request.auth.audiences", &["a1", "a2", "a*"]),
                    2 => ("request.auth.claims[groups]", &["g1", "g2", "*"]),
                    3 => ("request.auth.claims[n][a]", &["x", "*"]),
                    _ => (
                        "request.headers[authorization]",
                        &["*", "Bearer*", "Basic*"],
                    ),
                };
                format!(
                    "when: [{{key: {key:?}, {}: {}}}]",
                    dice.pick(&["values", "notValues"]),
                    dice.some(values)
                )
            }
        };
        let to = match dice.roll(2) {
            0 => ", to: [{operation: {paths: [\"/a*\"]}}]",
            _ => "",
        };
        rules.push_str(&format!("\n  - {{{rule}{to}}}"));
    }
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: c{index}, namespace: istio-system}}\nspec:\n  action: {action}\n  rules:{rules}\n"
    )
}

/// A VirtualService with routes for claims in front of others.
fn claim_routes(dice: &mut Dice) -> String {
    let list = dice.pick(&["headers", "headers", "withoutHeaders"]);
    let claim = dice.pick(&[
        "\"@request.auth.claims.groups\": {exact: g1}",
        "\"@request.auth.claims.sub\": {prefix: u}",
        "\"@request.auth.claims[n][a]\": {exact: x}",
    ]);
    let host = dice.pick(&["\"*\"", "a.test"]);
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: claims, namespace: apps, creationTimestamp: \"2020-01-01T00:00:00Z\"}}\nspec:\n  hosts: [{host}]\n  gateways: [istio-system/out, istio-system/in]\n  http:\n  - {{match: [{{{list}: {{{claim}}}}}], route: [{{destination: {{host: one.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}\n  - {{route: [{{destination: {{host: two.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}\n"
    )
}

fn token(dice: &mut Dice) -> String {
    if dice.roll(4) == 0 {
        return "x.y.z".to_owned();
    }
    let mut claims = format!("{{\"iss\": {:?}", dice.pick(&ISSUERS));
    for (name, values) in [
        ("sub", ["\"u1\"", "\"u2\"", "\"\""]),
        ("aud", ["\"a1\"", "[\"a2\", \"a3\"]", "\"http://a2\""]),
        ("groups", ["\"g1\"", "[\"g1\", \"g2\"]", "[\"g3\"]"]),
        ("n", ["{\"a\": \"x\"}", "{\"a\": \"y\"}", "\"a\""]),
    ] {
        if dice.roll(4) > 0 {
            claims.push_str(&format!(", \"{name}\": {}", dice.pick(&values)));
        }
    }
    claims.push('}');
    verify::stand_in(&Claims::parse(claims.as_bytes()).unwrap())
}

pub(crate) fn with_token(dice: &mut Dice, mut head: RequestHead) -> RequestHead {
    let text = token(dice);
    let (name, value) = match dice.roll(8) {
        0 => ("x-token", text),
        1 => ("cookie", format!("session={text}")),
        2 => {
            head.query = Some(format!("k={text}"));
            return head;
        }
        3 => ("authorization", format!("Basic x, Bearer {text}")),
        4 => ("authorization", "Basic x".to_owned()),
        5 => ("authorization", text),
        _ => ("authorization", format!("Bearer {text}")),
    };
    head.headers.insert(
        HeaderName::from_static(name),
        HeaderValue::from_str(&value).unwrap(),
    );
    head
}

#[test]
fn the_engine_says_of_tokens_what_the_decision_says() {
    let mut compared = 0;
    let mut reached = 0;
    for seed in 5_000..5_045 {
        let mut dice = Dice(seed);
        let mut text = BASE.to_owned();
        if seed % 4 == 0 {
            text = text.replace(
                "mode: as-written",
                "mode: enforce, platform: {namespaces: [platform]}",
            );
        }
        for index in 0..dice.roll(3) {
            text.push_str(&service(&mut dice, index));
        }
        text.push_str(&claim_routes(&mut dice));
        for index in 0..1 + dice.roll(2) {
            text.push_str(&authentication(&mut dice, index));
        }
        for index in 0..dice.roll(3) {
            text.push_str(&about_claims(&mut dice, index));
        }
        if dice.roll(3) == 0 {
            text.push_str(&policy(&mut dice, 0));
        }
        // A key set is only told apart here, not read.
        for issuer in ISSUERS {
            text = text.replace(&format!("jwks: {issuer:?}"), &format!("jwks: 'k {issuer}'"));
        }
        let snapshot = compile(&[&text]);
        let heads: Vec<RequestHead> = (0..50)
            .map(|_| {
                let head = request(&mut dice);
                match dice.roll(4) {
                    0 => head,
                    _ => with_token(&mut dice, head),
                }
            })
            .collect();
        for (head, predicted) in heads.iter().zip(verify::predict(&snapshot, &heads)) {
            let Some(predicted) = predicted else {
                continue;
            };
            let decided = verify::decision(&snapshot, head);
            compared += 1;
            reached += usize::from(matches!(predicted, verify::Decided::Reaches(_)));
            assert_eq!(
                predicted, decided.verdict,
                "seed {seed}: {head:?}\n{text}\n{:#?}",
                decided.steps
            );
        }
    }
    assert!(compared > 1_200, "only {compared} were compared");
    assert!(reached > 200, "only {reached} reached anything");
}

/// The rule of Kubeflow since 1.9, and what it leaves open.
#[test]
fn a_token_is_demanded_where_a_policy_demands_one() {
    let authentication = r#"
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: dex, namespace: istio-system}
spec:
  jwtRules: [{issuer: "https://idp.example", jwksUri: "https://idp.example/keys"}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dashboard, namespace: platform}
spec:
  hosts: ["*"]
  gateways: [istio-system/out]
  http: [{route: [{destination: {host: one.apps.svc.cluster.local, port: {number: 80}}}]}]
"#;
    let demand = |rule: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: demand, namespace: istio-system}}\nspec: {{action: DENY, rules: [{{{rule}}}]}}\n"
        )
    };
    let platform = with_platform();
    for (rule, expected) in [
        (
            "from: [{source: {notRequestPrincipals: [\"*\"]}}]",
            verify::Verdict::Holds,
        ),
        (
            "from: [{source: {notRequestPrincipals: [\"*\"]}}], to: [{operation: {notPaths: [\"/x\"]}}]",
            verify::Verdict::Violated,
        ),
        (
            "when: [{key: \"request.headers[authorization]\", notValues: [\"*\"]}]",
            verify::Verdict::Violated,
        ),
    ] {
        let text = format!("{platform}{authentication}{}", demand(rule));
        let report = verify::verify(&compile(&[&text]));
        let found = report.verdict(&verify::Claim::PlatformNeedsLogin);
        assert_eq!(found, expected, "{rule}: {report:#?}");
    }
}

/// What rules make of the tokens of their own issuer decides intents about
/// tokens: audiences, headers that are taken off, headers from claims.
#[test]
fn intents_speak_of_tokens_that_verify() {
    use verify::Verdict::{Holds, NotDecided, Violated};
    let intents = r#"
intents:
- {from: outside, identity: token, to: {service: apps/one}, expect: allow}
- {from: outside, to: {service: apps/one}, expect: deny}
"#;
    let needs = "from: [{source: {notRequestPrincipals: [\"*\"]}}]";
    let header = "when: [{key: \"request.headers[authorization]\", notValues: [\"*\"]}]";
    let audience = "when: [{key: \"request.auth.audiences\", notValues: [a1]}]";
    let output = "when: [{key: \"request.headers[x-a]\", values: [secret]}]";
    for (rule, denied, expected) in [
        ("forwardOriginalToken: true", needs, [Holds, Holds]),
        ("audiences: [a1]", needs, [Holds, Holds]),
        // A rule takes `a1/` for `a1`, a policy does not.
        ("audiences: [a1]", audience, [Violated, Holds]),
        ("audiences: [a1, a2]", audience, [Violated, Holds]),
        (
            "forwardOriginalToken: true, fromHeaders: [{name: authorization, prefix: \"Bearer \"}]",
            header,
            [Holds, Violated],
        ),
        // It may be in the parameter `access_token`.
        ("forwardOriginalToken: true", header, [Violated, Violated]),
        (
            "fromHeaders: [{name: authorization, prefix: \"Bearer \"}]",
            header,
            [Violated, Violated],
        ),
        ("fromParams: [k]", needs, [Holds, Holds]),
        (
            "outputClaimToHeaders: [{header: x-a, claim: email}]",
            output,
            [NotDecided, Violated],
        ),
    ] {
        let text = format!(
            r#"{BASE}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: one, namespace: apps}}
spec:
  hosts: ["*"]
  gateways: [istio-system/out]
  http: [{{route: [{{destination: {{host: one.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: dex, namespace: istio-system}}
spec:
  jwtRules: [{{issuer: "https://idp.example", jwksUri: "https://idp.example/keys", {rule}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: looks, namespace: istio-system}}
spec: {{action: DENY, rules: [{{{denied}}}]}}
"#
        );
        let (report, verdicts) = ask(&[&text], intents);
        assert_eq!(verdicts, expected, "{rule}; {denied}: {report:#?}");
    }
}
