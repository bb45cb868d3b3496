//! Routes and rules without effect, by the sets themselves.

use verify::{Why, unused};

use crate::clusters::APP;
use crate::compile;

const TO: &str = "route: [{destination: {host: app.apps.svc.cluster.local, port: {number: 80}}}]";

fn route(name: &str, host: &str, http: &[&str]) -> String {
    let http: Vec<String> = http.iter().map(|m| format!("{{{m}{TO}}}")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: apps, creationTimestamp: '2026-01-01T00:00:0{}Z'}}\nspec: {{hosts: ['{host}'], gateways: [gateway], http: [{}]}}\n---\n",
        name.len(),
        http.join(", ")
    )
}

fn rules(name: &str, action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: istio-system}}\nspec: {{action: {action}, rules: [{rules}]}}\n---\n"
    )
}

/// Place and reason of everything without effect.
fn found(yaml: &str) -> Vec<String> {
    let all = unused(&compile(&[&format!("{APP}{yaml}")])).unwrap();
    all.into_iter()
        .map(|u| {
            let why = match u.why {
                Why::RouteNeverMatches | Why::RuleNeverMatches => "never matches".to_owned(),
                Why::RouteCovered(by) | Why::RuleCovered(by) => {
                    format!("behind {}", by.join(" and "))
                }
            };
            format!("{} {}: {why}", u.object.name, u.place)
        })
        .collect()
}

#[test]
fn routes_behind_others() {
    let get = "match: [{uri: {prefix: /a}, method: {exact: GET}}], ";
    let rest = "match: [{uri: {prefix: /a}, method: {regex: 'GET|POST'}}], ";
    let post = "match: [{uri: {exact: /a/b}, method: {exact: POST}}], ";
    let put = "match: [{uri: {exact: /a/b}, method: {exact: PUT}}], ";
    assert_eq!(found(&route("x", "a.test", &[get, post, put])), [""; 0]);
    // Neither covers it alone.
    assert_eq!(
        found(&route(
            "x",
            "a.test",
            &[
                get,
                "match: [{uri: {prefix: /a}, method: {exact: POST}}], ",
                "match: [{uri: {prefix: /a/}, method: {regex: 'GET|POST'}}], "
            ]
        )),
        ["x http[2]: behind VirtualService apps/x http[0] and VirtualService apps/x http[1]"]
    );
    assert_eq!(
        found(&route("x", "a.test", &[rest, post])),
        ["x http[1]: behind VirtualService apps/x http[0]"]
    );
    // Of an older object on the same host.
    let both =
        route("x", "a.test", &["match: [{uri: {prefix: /a}}], "]) + &route("xx", "a.test", &[put]);
    assert_eq!(
        found(&both),
        ["xx http[0]: behind VirtualService apps/x http[0]"]
    );
}

#[test]
fn rules_behind_others_and_rules_about_nothing() {
    let all = route("x", "a.test", &["match: [{uri: {prefix: /a}}], "]);
    let deny = |r: &str| all.clone() + &rules("p", "DENY", r);
    assert_eq!(
        found(&deny("{to: [{operation: {paths: [/a/b]}}]}")),
        [""; 0]
    );
    assert_eq!(
        found(&deny("{to: [{operation: {paths: [/b*]}}]}")),
        ["p spec.rules[0]: never matches"]
    );
    assert_eq!(
        found(&deny("{to: [{operation: {hosts: [b.test]}}]}")),
        ["p spec.rules[0]: never matches"]
    );
    assert_eq!(
        found(&deny(
            "{to: [{operation: {paths: [/a/b]}}]}, {to: [{operation: {paths: [/a*], methods: [GET]}}]}, {to: [{operation: {paths: ['*/b'], notMethods: [GET]}}]}"
        )),
        [
            "p spec.rules[0]: behind AuthorizationPolicy istio-system/p spec.rules[1] and AuthorizationPolicy istio-system/p spec.rules[2]"
        ]
    );
    // An ALLOW does not cover a DENY.
    let both = deny("{to: [{operation: {paths: [/a/b]}}]}") + &rules("q", "ALLOW", "{}");
    assert_eq!(found(&both), [""; 0]);
}

#[test]
fn values_with_spaces_match_regular_expressions() {
    for pattern in ["Basic .+", "Basic .*", "a b", ".* y", "[a-z]* [a-z]*"] {
        let m = format!("match: [{{headers: {{x-a: {{regex: '{pattern}'}}}}}}], ");
        let all = found(&route("x", "a.test", &[&m, ""]));
        assert_eq!(all, [""; 0], "{pattern}");
    }
    // No line ends in a space.
    let m = "match: [{headers: {x-a: {regex: 'a '}}}], ";
    assert_eq!(
        found(&route("x", "a.test", &[m, ""])),
        ["x http[0]: never matches"]
    );
}
