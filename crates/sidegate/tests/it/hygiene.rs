//! `sidegate verify` and what lints find.

use std::process::Command;

use super::SIDEGATE;

fn verify(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(SIDEGATE)
        .arg("verify")
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn lints_are_told_and_decide_only_when_strict() {
    let (code, text) = verify(&["--example", "seed"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("critical K1: secret"), "{text}");
    assert!(text.contains("examples/seed/cluster.yaml:199"), "{text}");
    // The filter is taken over there; without Sidegate it is what protects.
    assert!(!text.contains("C1"), "{text}");
    let (_, broken) = verify(&["--example", "seed-broken"]);
    assert!(broken.contains("critical C1: EnvoyFilter"), "{broken}");
    assert!(
        broken.contains("examples/seed/cluster.yaml:298"),
        "{broken}"
    );
    assert!(broken.contains("which comes with Envoy 1.27"), "{broken}");
    assert_eq!(verify(&["--example", "seed", "--strict"]).0, Some(1));
}

#[test]
fn lints_and_claims_for_programs() {
    let (_, text) = verify(&["--example", "kubeflow", "--output", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ids: Vec<&str> = value["hygiene"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["id"].as_str().unwrap())
        .collect();
    for id in ["P1", "H2", "H5", "H8", "T1"] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
    }
    let (code, text) = verify(&["--example", "kubeflow", "--output", "sarif"]);
    assert_eq!(code, Some(1));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let results = value["runs"][0]["results"].as_array().unwrap();
    for id in ["models-closed-outside", "one-reading", "H5"] {
        assert!(results.iter().any(|r| r["ruleId"] == id), "{id}");
    }
}
