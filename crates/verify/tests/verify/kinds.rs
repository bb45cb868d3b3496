//! Pods of several kinds behind one Service, and pods before which something
//! else stands than a sidecar: what one of them does proves nothing about others.

use verify::Verdict;

use crate::sidecars::{ENABLED, MODEL, PLAIN, policy_of};

/// Whether everybody inside reaches the model.
fn answered(text: &str) -> Verdict {
    let intents = "- {from: inside, to: {service: team/m}, expect: allow}\n";
    let (_, verdicts) = crate::intents::ask(&[text], intents);
    verdicts[0]
}

/// Whether nobody inside does.
fn closed(text: &str) -> Verdict {
    let intents = "- {from: inside, to: {service: team/m}, expect: deny}\n";
    let (_, verdicts) = crate::intents::ask(&[text], intents);
    verdicts[0]
}

/// A second Deployment behind the Service.
fn second(labels: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: second, namespace: team}}\nspec: {{template: {{metadata: {{labels: {{app: m{labels}}}}}}}}}\n"
    )
}

fn of_version(spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: v2, namespace: team}}\nspec: {{selector: {{matchLabels: {{version: v2}}}}{spec}}}\n"
    )
}

const STRICT_OF_V2: &str = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: v2, namespace: team}\nspec: {selector: {matchLabels: {version: v2}}, mtls: {mode: STRICT}}\n";
const PLAIN_TEXT: &str = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: m, namespace: team}\nspec: {host: m, trafficPolicy: {tls: {mode: DISABLE}}}\n";

#[test]
fn one_kind_of_pods_proves_nothing_about_another() {
    let v2 = second(", version: v2");
    let no_sidecar = second(", version: v2, sidecar.istio.io/inject: 'false'");
    let denies = of_version("");
    let others = policy_of("{from: [{source: {namespaces: [other]}}]}");
    for (more, expected) in [
        (vec![ENABLED, &v2], Verdict::Holds),
        (vec![ENABLED, &v2, &denies], Verdict::NotDecided),
        // The policy is for neither.
        (
            vec![ENABLED, &second(", version: v3"), &denies],
            Verdict::Holds,
        ),
        (vec![ENABLED, &v2, STRICT_OF_V2], Verdict::NotDecided),
        (
            vec![ENABLED, &v2, STRICT_OF_V2, PLAIN_TEXT],
            Verdict::NotDecided,
        ),
        // One of them has no sidecar.
        (vec![ENABLED, &no_sidecar, &others], Verdict::NotDecided),
        (vec![PLAIN, &no_sidecar, &others], Verdict::Holds),
        // Of neither is it known, and the policy is for the second alone.
        (vec![&v2, &denies], Verdict::NotDecided),
        (vec![&v2], Verdict::Holds),
    ] {
        let text = format!("{MODEL}{}", more.concat());
        assert_eq!(answered(&text), expected, "{more:?}");
    }
    // What refuses at one kind refuses not at both.
    let both = format!("{MODEL}{ENABLED}{v2}");
    assert_eq!(closed(&format!("{both}{denies}")), Verdict::NotDecided);
    assert_eq!(closed(&format!("{both}{others}")), Verdict::Holds);
}

#[test]
fn kinds_of_pods_with_ports_of_their_own() {
    let named = MODEL.replace("targetPort: 8080", "targetPort: web");
    let port = |number: u16| {
        format!(
            "spec: {{containers: [{{name: a, ports: [{{name: web, containerPort: {number}}}]}}]}}"
        )
    };
    let first = named.replace(
        "spec: {template: {metadata: {labels: {app: m}}}}",
        &format!(
            "spec: {{template: {{metadata: {{labels: {{app: m}}}}, {}}}}}",
            port(8080)
        ),
    );
    assert_ne!(first, named);
    let another = |number: u16| {
        second("").replace(
            "labels: {app: m}}}}",
            &format!("labels: {{app: m}}}}, {}}}}}", port(number)),
        )
    };
    let denies = policy_of("").replace(
        "rules: []",
        "action: DENY, rules: [{to: [{operation: {ports: ['9090']}}]}]",
    );
    for (number, expected) in [(8080, Verdict::Holds), (9090, Verdict::NotDecided)] {
        let text = format!("{first}{ENABLED}{}{denies}", another(number));
        assert_eq!(answered(&text), expected, "{number}");
    }
}

#[test]
fn what_ambient_mode_puts_before_pods_is_not_decided() {
    let namespace = |more: &str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team, labels: {{istio.io/dataplane-mode: ambient{more}}}}}\n"
        )
    };
    let ambient = namespace("");
    let waypoint = namespace(", istio.io/use-waypoint: w");
    let none = namespace(", istio.io/use-waypoint: none");
    let others = policy_of("{from: [{source: {namespaces: [other]}}]}");
    let strict = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";
    for (more, expected) in [
        (vec![&*ambient], Verdict::Holds),
        (vec![&*none], Verdict::Holds),
        (vec![&*ambient, &others], Verdict::NotDecided),
        (vec![&*ambient, strict], Verdict::NotDecided),
        (vec![&*waypoint], Verdict::NotDecided),
    ] {
        let text = format!("{MODEL}{}", more.concat());
        assert_eq!(answered(&text), expected, "{more:?}");
    }
    let text = format!("{MODEL}{ambient}{others}");
    assert_eq!(closed(&text), Verdict::NotDecided);
}
