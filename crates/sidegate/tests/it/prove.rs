//! `verify`, `diff` and `fix`, with the program itself.

use serde_json::Value;

use super::{example, sidegate, stderr, stdout};

fn broken(example: &str) -> (Option<i32>, Vec<String>) {
    let output = sidegate(&["verify", "--example", example, "--output", "json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let claims = report["claims"].as_array().unwrap();
    let broken = claims.iter().filter(|c| c["verdict"] == "violated");
    (
        output.status.code(),
        broken
            .map(|c| c["id"].as_str().unwrap().to_owned())
            .collect(),
    )
}

#[test]
fn verify_knows_the_three_stages_of_the_seed() {
    for (name, code, expected) in [
        (
            "seed-broken",
            1,
            vec!["models-answer-workloads", "foreign-untouched"],
        ),
        (
            "seed-blog-fix",
            1,
            vec![
                "platform-needs-login",
                "no-forged-identity",
                "models-answer-workloads",
                "models-closed-outside",
                "foreign-untouched",
                "one-reading",
            ],
        ),
        ("seed", 0, vec![]),
    ] {
        let (found_code, found) = broken(name);
        assert_eq!(found_code, Some(code), "{name}");
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_only_searched_for_is_not_called_proved() {
    let text = stdout(&sidegate(&["verify", "--example", "seed"]));
    let searched: Vec<&str> = text.lines().filter(|l| l.contains("no proof")).collect();
    let [line] = searched.as_slice() else {
        panic!("{text}");
    };
    assert!(line.starts_with("✓ no path that was tried"), "{line}");
    let json = stdout(&sidegate(&[
        "verify",
        "--example",
        "seed",
        "--output",
        "json",
    ]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for claim in json["claims"].as_array().unwrap() {
        assert_eq!(claim["search"], claim["id"] == "one-reading", "{claim}");
    }
    let page = stdout(&sidegate(&["report", "--example", "seed", "--out", "-"]));
    assert_eq!(page.matches("this is a search, no proof").count(), 1);
    assert!(page.matches("It holds for every request").count() > 5);
}

#[test]
fn the_cluster_after_the_cure_is_the_cure_on_the_cluster() {
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/seed");
    let cured = format!("{seed}/cluster.yaml,{seed}/blog-fix.yaml");
    let whole = format!("{seed}/blog-fix");
    for (old, new) in [(&cured, &whole), (&whole, &cured)] {
        let output = sidegate(&["diff", old, new]);
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    }
    let output = sidegate(&["verify", &whole]);
    assert_eq!(output.status.code(), Some(1));
    let holes = stdout(&output);
    assert!(holes.contains("curl ") && holes.contains("/v1"), "{holes}");
}

#[test]
fn found_requests_do_what_was_decided() {
    let program = example("seed-blog-fix").start().unwrap();
    let output = sidegate(&[
        "verify",
        "--example",
        "seed-blog-fix",
        "--replay",
        "--external",
        program.external(),
        "--local",
        program.local(),
    ]);
    let text = stdout(&output);
    let replayed: Vec<&str> = text.lines().filter(|l| l.contains("reproduced")).collect();
    assert!(replayed.len() >= 6, "{text}");
    for line in replayed {
        assert!(line.starts_with("reproduced"), "{line}");
    }
    // The same as curl lines, pasted.
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| l.starts_with("curl "))
    {
        let output = std::process::Command::new("sh")
            .args(["-c", line])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.starts_with("HTTP/1.1 "), "{line}\n{answer}");
        let opens = line.contains("/v1");
        assert_eq!(
            answer.starts_with("HTTP/1.1 302"),
            !opens,
            "{line}\n{answer}"
        );
    }
}

/// What the profile controller makes selects the pods of the profile, and no
/// gateway among them.
#[test]
fn a_profile_changes_no_answer_of_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, more: &str| {
        let cluster = include_str!("../../../../examples/seed/cluster.yaml");
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{cluster}{more}")).unwrap();
        file.display().to_string()
    };
    let profile = "---\napiVersion: kubeflow.org/v1\nkind: Profile\nmetadata: {name: team-a}\nspec: {owner: {kind: User, name: a@example.com}}\n";
    let (before, after) = (write("before.yaml", ""), write("after.yaml", profile));
    let output = sidegate(&["diff", &before, &after]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn diff_says_what_was_opened() {
    let output = sidegate(&["diff", "example:seed-broken", "example:seed-blog-fix"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("opened"), "{text}");
    assert!(
        text.contains("reaches kubeflow/centraldashboard:80"),
        "{text}"
    );
    let allowed = [
        "diff",
        "example:seed-broken",
        "example:seed-blog-fix",
        "--allow",
        "opened",
    ];
    assert_eq!(sidegate(&allowed).status.code(), Some(0));
    let same = sidegate(&["diff", "example:seed", "example:seed"]);
    assert_eq!(stdout(&same).trim(), "Every request is answered as before.");
    // The upgrade that lost the login filter.
    let upgrade = sidegate(&[
        "diff",
        "--example",
        "seed-broken",
        "--istio-version",
        "1.18..1.19",
    ]);
    assert_eq!(upgrade.status.code(), Some(1));
    assert!(stdout(&upgrade).contains("reaches kubeflow/centraldashboard:80"));
}

#[test]
fn a_proposal_put_on_top_holds() {
    let folder = tempfile::tempdir().unwrap();
    for (name, files) in [
        (
            "seed-broken",
            vec![include_str!("../../../../examples/seed/cluster.yaml")],
        ),
        (
            "seed-blog-fix",
            vec![
                include_str!("../../../../examples/seed/cluster.yaml"),
                include_str!("../../../../examples/seed/blog-fix.yaml"),
            ],
        ),
    ] {
        for means in ["istio", "sidegate"] {
            let proposal = sidegate(&["fix", "--example", name, "--means", means]);
            assert_eq!(proposal.status.code(), Some(0), "{}", stderr(&proposal));
            let mut arguments = vec!["verify".to_owned()];
            let fix = stdout(&proposal);
            for (index, text) in files.iter().copied().chain([&*fix]).enumerate() {
                let path = folder.path().join(format!("{name}-{means}-{index}.yaml"));
                std::fs::write(&path, text).unwrap();
                arguments.push(path.display().to_string());
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let verified = sidegate(&arguments);
            assert_eq!(
                verified.status.code(),
                Some(0),
                "{name} {means}\n{}\n{}",
                stdout(&verified),
                stderr(&verified)
            );
        }
    }
}

/// Clusters for which there is no whole answer get an honest one.
#[test]
fn what_cannot_be_mended_is_said() {
    let platform = "apiVersion: v1\nkind: Service\nmetadata: {name: istio-ingressgateway, namespace: istio-system}\n\
         spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: kubeflow-gateway, namespace: kubeflow}\n\
         spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ['*']}]}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: dashboard, namespace: kubeflow}\n\
         spec: {hosts: ['*'], gateways: [kubeflow/kubeflow-gateway], http: [{route: [{destination: {host: centraldashboard, port: {number: 80}}}]}]}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: centraldashboard, namespace: kubeflow}\nspec: {ports: [{port: 80}]}\n";
    let on_gateway = |kind: &str, spec: &str| {
        format!("---\n{kind}\nmetadata: {{name: x, namespace: istio-system}}\nspec: {spec}\n")
    };
    let lua = on_gateway(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter",
        "{workloadSelector: {labels: {istio: ingressgateway}}, configPatches: [{applyTo: HTTP_FILTER, match: {context: GATEWAY}, \
         patch: {operation: INSERT_FIRST, value: {name: l, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, \
         inlineCode: \"function envoy_on_request(h) h:headers():replace('kubeflow-userid', os.time()) end\"}}}}]}",
    );
    let missing = on_gateway(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy",
        "{action: CUSTOM, provider: {name: gone}, rules: [{}]}",
    );
    let folder = tempfile::tempdir().unwrap();
    for (more, code, expected) in [
        ("", 0, "# With Istio alone: nothing to propose"),
        (
            &*lua,
            2,
            "# With Sidegate: nothing is broken, but not everything is proved.\n# These are not decided:",
        ),
        (&*missing, 0, "But critical C4: "),
    ] {
        let file = folder.path().join("c.yaml");
        std::fs::write(&file, format!("{platform}{more}")).unwrap();
        let output = sidegate(&["fix", &file.display().to_string()]);
        let text = stdout(&output);
        assert!(text.contains(expected), "{text}{}", stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{text}");
    }
}

/// The statements of docs/intents.md: how many come out so, stage by stage.
#[test]
fn intents_are_claims_in_every_output() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/seed/intents.yaml"
    );
    for (name, code, expected) in [
        ("seed", 0, ["holds"; 6]),
        (
            "seed-blog-fix",
            1,
            [
                "violated",
                "holds",
                "violated",
                "says nothing",
                "violated",
                "violated",
            ],
        ),
    ] {
        let json = [
            "verify",
            "--example",
            name,
            "--intents",
            file,
            "--output",
            "json",
        ];
        let output = sidegate(&json);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let claims = &report["claims"].as_array().unwrap()[8..];
        let found: Vec<&str> = claims
            .iter()
            .map(|c| c["verdict"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(claims[2]["id"], "myapp-calls-models");
        assert_eq!(claims[2]["source"]["line"], 13);
    }
    let sarif = [
        "verify",
        "--example",
        "seed-blog-fix",
        "--intents",
        file,
        "--output",
        "sarif",
    ];
    let text = stdout(&sidegate(&sarif));
    assert!(text.contains(r#""ruleId": "myapp-calls-models""#), "{text}");
    let fix = stdout(&sidegate(&[
        "fix",
        "--example",
        "seed-blog-fix",
        "--intents",
        file,
    ]));
    assert!(fix.contains("# With Sidegate: every claim holds."), "{fix}");
    let diff = sidegate(&[
        "diff",
        "example:seed",
        "example:seed-blog-fix",
        "--intents",
        file,
    ]);
    assert_eq!(diff.status.code(), Some(1));
    assert!(
        stdout(&diff)
            .contains("    holds -> violated: myapp calls models: requests from pods app=myapp"),
        "{}",
        stdout(&diff)
    );
}

#[test]
fn wrong_intents_are_named_with_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("i.yaml");
    std::fs::write(&file, "- from: outside\n  to: model\n  expect: maybe\n").unwrap();
    let path = file.display().to_string();
    let output = sidegate(&["verify", "--intents", &path]);
    assert_eq!(output.status.code(), Some(3));
    let expected = format!(
        "{path}:3: [0].expect: expected one of `allow`, `deny`, `login`, `token`, found `maybe`"
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[test]
fn statements_are_proved_and_their_proofs_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proof.json").display().to_string();
    let own = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/seed/intents.yaml"
    );
    let verify = |more: &[&str]| {
        let output = sidegate(&[&["verify", "--example", "seed"][..], more].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, _, said) = verify(&["--intents", own, "--certificate", &file]);
    assert_eq!(code, Some(0), "{said}");
    // A search: held, and without a proof.
    assert!(
        said.ends_with("no proof is written of: one-reading\n"),
        "{said}"
    );
    let (code, text, said) = verify(&["--intents", own, "--check", &file]);
    assert_eq!(code, Some(0), "{text}{said}");
    for claim in [
        "✓ platform-needs-login",
        "✓ people-log-in-to-the-dashboard",
        "✓ the-shop-stays-open",
    ] {
        assert!(text.contains(claim), "{claim}: {text}");
    }
    // Without the statements the proofs of them are of nothing.
    let (code, text, _) = verify(&["--check", &file]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("nobody makes this statement here"), "{text}");
}
