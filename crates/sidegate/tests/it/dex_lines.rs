//! Dex's configuration lies in a ConfigMap: what is said of it names the file and the line in it.

use testkit::Start;

use super::{SIDEGATE, sidegate, stderr};

/// As it is in the ConfigMap: wrong on its third line.
const WRONG: &str = "issuer: http://dex.auth.svc.cluster.local:5556/dex\nweb:\n  http: nowhere\nenablePasswordDB: true\n";

/// ConfigMap `dex`, whose configuration is written so.
fn map(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dex\n  namespace: auth\ndata:\n  config.yaml: {value}\n"
    )
}

fn indented(text: &str, by: usize) -> String {
    let lines = text.lines().map(|line| format!("{:by$}{line}\n", ""));
    lines.collect::<String>().trim_end().to_owned()
}

/// What `sidegate up` says of a file with this text, as `cluster.yaml`.
fn said(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let output = sidegate(&["verify", &path]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    stderr(&output).replace(&path, "cluster.yaml")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let said = said(text);
    assert!(
        said.contains(expected),
        "{expected}\n---\n{said}\n---\n{text}"
    );
}

const OF_BLOCK: &str = "ConfigMap auth/dex: data.config.yaml: `web.http` is `nowhere`: expected";
const OF_OTHER: &str =
    "ConfigMap auth/dex: data.config.yaml, line 3 of it: `web.http` is `nowhere`: expected";

#[test]
fn in_a_literal_block_the_line_is_that_of_the_file() {
    let wrong = indented(WRONG, 4);
    for header in ["|", "|-", "|+", "|2 # of Dex"] {
        check(
            &map(&format!("{header}\n{wrong}")),
            &format!("cluster.yaml:10: {OF_BLOCK}"),
        );
    }
    let deep = indented(WRONG, 20);
    check(
        &map(&format!("|\n{deep}")),
        &format!("cluster.yaml:10: {OF_BLOCK}"),
    );
    // Comments and empty lines before, and other documents.
    let text = map(&format!("|\n    # ours\n\n{wrong}"));
    check(&text, &format!("cluster.yaml:12: {OF_BLOCK}"));
    let text = format!(
        "# all\nkind: Namespace\napiVersion: v1\nmetadata: {{name: auth}}\n---\n# dex\n{}",
        map(&format!("|\n{wrong}"))
    );
    check(&text, &format!("cluster.yaml:16: {OF_BLOCK}"));
    // What `kubectl get -o yaml` prints.
    let item =
        indented(&map(&format!("|\n{wrong}")), 2).replacen("  apiVersion", "- apiVersion", 1);
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{item}\n");
    check(&text, &format!("cluster.yaml:13: {OF_BLOCK}"));
}

#[test]
fn in_any_other_text_the_line_is_that_of_the_key() {
    let quoted = serde_json::Value::from(WRONG).to_string();
    for value in [
        quoted.clone(),
        // Of two line breaks one is left.
        "'{issuer: \"http://a/dex\",\n\n    web:\n\n    {http: nowhere}, enablePasswordDB: true}'"
            .to_owned(),
    ] {
        check(&map(&value), &format!("cluster.yaml:7: {OF_OTHER}"));
    }
    // JSON, and a block in another place.
    let json = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\"metadata\": {{\"name\": \"dex\", \"namespace\": \"auth\"}},\n\"data\": {{\"config.yaml\": {quoted}}}}}\n"
    );
    check(&json, &format!("cluster.yaml:3: {OF_OTHER}"));
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dex\n  namespace: auth\n  annotations:\n    was: &dex |\n{}\ndata:\n  config.yaml: *dex\n",
        indented(WRONG, 6)
    );
    check(&text, &format!("cluster.yaml:10: {OF_BLOCK}"));
}

/// Kubeflow 1.10's, as `kustomize build` prints it, with a mistake.
#[test]
fn what_kustomize_prints_is_told_by_its_lines() {
    let map = include_str!("dex_lines.yaml");
    for (from, to, expected) in [
        (
            "enablePasswordDB: true",
            "enablePasswordDB: maybe",
            "17: ConfigMap auth/dex: data.config.yaml: the Dex configuration is not readable: invalid boolean\n",
        ),
        (
            "userID: \"15841185641784\"",
            "userID: \"\"",
            "22: ConfigMap auth/dex: data.config.yaml: `staticPasswords[0].userID`",
        ),
        (
            "secretEnv: OIDC_CLIENT_SECRET",
            "secretEnv: NOWHERE",
            "28: ConfigMap auth/dex: data.config.yaml: `staticClients[0].secretEnv` names the environment variable `NOWHERE`",
        ),
    ] {
        assert!(map.contains(from), "{from}");
        check(&map.replace(from, to), &format!("cluster.yaml:{expected}"));
    }
}

/// Keys without effect are warnings of a start.
#[test]
fn warnings_name_lines() {
    let cluster = include_str!("../../../../examples/seed/cluster.yaml");
    let anchor = "    enablePasswordDB: true\n";
    assert!(cluster.contains(anchor));
    let cluster = cluster.replacen(anchor, &format!("{anchor}    enablePasswordDb: true\n"), 1);
    let line = 1 + cluster
        .lines()
        .position(|line| line.contains("enablePasswordDb"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, &cluster).unwrap();
    let program = Start::new(SIDEGATE).arg(&file).start().unwrap();
    let expected = format!(
        "{}:{line}: ConfigMap auth/dex: data.config.yaml: unknown key `enablePasswordDb` has no effect",
        file.display()
    );
    assert!(
        program.stderr().contains(&expected),
        "{expected}\n{}",
        program.stderr()
    );
}
