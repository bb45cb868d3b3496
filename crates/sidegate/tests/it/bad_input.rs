//! What cannot be used is said, all of it, with file, line, object and field.

use super::{SIDEGATE, example, inside, sidegate, stderr};

#[test]
fn every_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    std::fs::write(
        &file,
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: 7\n---\n\
         a: [\n---\nkind: Service\napiVersion: v1\nmetadata: {}\n---\napiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\n\
         metadata: {name: s}\nspec:\n  modus: enforce\n",
    )
    .unwrap();
    let path = file.display().to_string();
    let output = sidegate(&[
        "up",
        &path,
        "--external",
        "127.0.0.1:0",
        "--local",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    for expected in [
        format!("{path}:5: VirtualService default/a: spec.hosts: "),
        "not YAML".to_owned(),
        "Service default/: metadata.name: expected a name".to_owned(),
        format!("{path}:17: Sidegate default/s: spec.modus: unknown field `modus`"),
    ] {
        assert!(text.contains(&expected), "{expected}\n---\n{text}");
    }
}

#[test]
fn problems_of_meaning_are_errors_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    let cluster = include_str!("../../../../examples/seed/cluster.yaml");
    let sidegate_yaml = include_str!("../../../../examples/seed/sidegate.yaml")
        .replace("kubeflow/kubeflow-gateway", "kubeflow/none");
    std::fs::write(&file, format!("{cluster}\n---\n{sidegate_yaml}")).unwrap();
    let output = sidegate(&[
        "up",
        &file.display().to_string(),
        "--external",
        "127.0.0.1:0",
        "--local",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("spec.platform.gateways: no Gateway `kubeflow/none`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_model_that_cannot_be_served_says_why_and_the_rest_runs() {
    let folder = tempfile::tempdir().unwrap();
    // `os.system("echo")`, as pickle protocol 0 would run it.
    std::fs::write(
        folder.path().join("model.pkl"),
        b"cos\nsystem\n(S'echo'\ntR.",
    )
    .unwrap();
    let isvc = |name: &str, uri: &str| {
        format!(
            "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {name}, namespace: t}}\n\
             spec: {{predictor: {{sklearn: {{storageUri: \"{uri}\"}}}}}}\n---\n"
        )
    };
    let yaml = isvc("evil", &format!("file://{}", folder.path().display()))
        + &isvc("gone", "file:///nonexistent/model");
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, yaml).unwrap();
    let program = testkit::Start::new(SIDEGATE).arg(&file).start().unwrap();
    for (name, expected) in [("evil", "os.system"), ("gone", "/nonexistent/model")] {
        let path = format!("/v1/models/{name}:predict");
        let answer = inside(
            &program,
            &format!("{name}.t.svc.cluster.local"),
            &path,
            &["-d", super::IRIS],
        );
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains(expected), "{name}: {}", answer.body);
        let stranger = super::outside(
            &program,
            &format!("{name}.t.example.com"),
            &path,
            &["-d", super::IRIS],
        );
        assert_eq!(
            stranger.status, 401,
            "the reason is for callers who may call it"
        );
    }
    assert!(
        program.stderr().contains("model t/evil: Failed"),
        "{}",
        program.stderr()
    );
}

#[test]
fn a_taken_port_and_a_locked_folder_are_named() {
    let program = example("seed").start().unwrap();
    let taken = program.external().strip_prefix("http://").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().display().to_string();
    let output = sidegate(&[
        "up",
        "--external",
        taken,
        "--local",
        "127.0.0.1:0",
        "--data",
        &data,
    ]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains(taken) && stderr(&output).contains("--external"),
        "{}",
        stderr(&output)
    );
    let data = program.data().display().to_string();
    let output = sidegate(&[
        "up",
        "--external",
        "127.0.0.1:0",
        "--local",
        "127.0.0.1:0",
        "--data",
        &data,
    ]);
    assert!(!output.status.success());
    let expected = format!("in use by another sidegate (process {})", program.pid());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[test]
fn wrong_arguments_are_explained() {
    for (args, expected) in [
        (&["explain", "GET", "nohost"][..], "has no host"),
        (&["explain", "get", "http://a/"], "`get` is not a method"),
        (
            &["explain", "GET", "http://a/", "--from", "x"],
            "expected `outside` or `pod/NAMESPACE/NAME`",
        ),
        (
            &["explain", "GET", "http://a/", "--from", "pod/a/b"],
            "no pod `a/b` in the YAML",
        ),
        (
            &["up", "--backend", "x"],
            "expected NAMESPACE/SERVICE[:PORT]=HOST:PORT",
        ),
        (&["up", "--mirror", "x"], "expected PREFIX=FOLDER"),
        (&["up", "--limit", "x=1"], "expected NAME=NUMBER"),
        (
            &["explain", "--istio-version", "x", "GET", "http://a/"],
            "expected a form like `1.16`",
        ),
        (
            &["explain", "--example", "seed", "a.yaml", "GET", "http://a/"],
            "expected one of them",
        ),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(SIDEGATE);
        command.args(args).env("SIDEGATE_DATA", scratch.path());
        if args.first() == Some(&"up") {
            command.args(["--external", "127.0.0.1:0", "--local", "127.0.0.1:0"]);
        }
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(3),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// A program that reads standard output gets a document in any case.
#[test]
fn programs_are_told_what_is_wrong_in_their_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml").display().to_string();
    std::fs::write(&file, policy("  action: DENNY\n")).unwrap();
    let twice = format!("{file},{file}");
    for args in [
        &["verify", &file][..],
        &["fix", &file],
        &["report", &file, "-o", "-"],
        &["who-reaches", "platform", &file],
        &["explain", &file, "GET", "http://a/"],
        &["diff", &file, &twice],
    ] {
        let output = sidegate(&[args, &["--output", "json"]].concat());
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let told = value["errors"][0].as_str().unwrap();
        assert!(
            told.contains("spec.action: expected one of"),
            "{args:?}: {told}"
        );
        assert!(stderr(&output).contains(told), "{args:?}");
    }
    let output = sidegate(&["verify", &file, "--output", "sarif"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &value["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let told = &run["invocations"][0]["toolConfigurationNotifications"][0]["message"]["text"];
    assert!(told.as_str().unwrap().contains("c.yaml:"), "{told}");
    assert_eq!(run["results"], serde_json::json!([]));
}

/// What somebody who has just installed it may type.
#[test]
fn first_steps_that_go_wrong_say_where_to_go() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(parts.join("kustomization.yaml"), "resources: [pod.yaml]\n").unwrap();
    std::fs::write(
        folder.path().join("pod.yaml"),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
    )
    .unwrap();
    for (args, stdin, code, expected) in [
        (
            &["explain"][..],
            "",
            3,
            "expected METHOD and URL, for example `sidegate explain GET http://",
        ),
        (&["explain", "get", "http://a/"], "", 3, "did you mean GET?"),
        (
            &["explain", "GET", "http://exa", "mple/"],
            "",
            3,
            "a URL has no spaces",
        ),
        (
            &["explain", "seed", "GET", "http://a/"],
            "",
            3,
            "the built-in example is `--example seed`",
        ),
        (
            &["verify", "empty"],
            "",
            3,
            "no Kubernetes object in `empty`: expected files *.yaml",
        ),
        (
            &["verify", "-"],
            "",
            3,
            "no Kubernetes object in standard input: did what writes to it fail?",
        ),
        (&["verify", "-"], "{", 3, "-:1: not YAML"),
        (
            &["verify", "pod.yaml"],
            "",
            0,
            "no Gateway in `pod.yaml`: looked at behind the built-in platform",
        ),
        (
            &["verify", "missing.yaml"],
            "",
            3,
            "missing.yaml: cannot be read: No such file",
        ),
        (&["verify", "--outpu", "json"], "", 3, "--output"),
        (&["fix", "empty"], "", 3, "no Kubernetes object in `empty`"),
        (&["diff"], "", 3, "Usage: sidegate diff"),
        (
            &["diff", "example:x", "example:seed"],
            "",
            3,
            "no example `x`; there are: seed, seed-broken",
        ),
        (
            &["diff", "example:seed", "empty"],
            "",
            3,
            "no Kubernetes object in `empty`",
        ),
        (
            &["report", "empty"],
            "",
            3,
            "no Kubernetes object in `empty`",
        ),
        (
            &["verify", "parts"],
            "",
            3,
            "try `kubectl kustomize FOLDER | sidegate",
        ),
    ] {
        let mut command = std::process::Command::new(SIDEGATE);
        command.args(args).current_dir(folder.path());
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut pipe, stdin.as_bytes()).unwrap();
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    for command in ["explain", "verify", "diff", "fix", "report"] {
        let help = sidegate(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(
            super::stdout(&help).contains("Examples:\n  sidegate "),
            "{command}"
        );
    }
}

#[test]
fn limits_are_kept_with_a_body_that_says_so() {
    let program = example("seed")
        .arg("--limit")
        .arg("body-bytes=20")
        .arg("--limit")
        .arg("header-bytes=8192")
        .start()
        .unwrap();
    let long = inside(
        &program,
        super::LOCAL_HOST,
        super::PREDICT,
        &["-d", super::IRIS],
    );
    assert_eq!(
        (long.status, long.header("content-type")),
        (413, Some("application/json"))
    );
    let header = format!("x-long: {}", "a".repeat(10_000));
    let wide = inside(
        &program,
        super::LOCAL_HOST,
        super::PREDICT,
        &["-H", &header, "-d", "{}"],
    );
    assert_eq!(
        (wide.status, wide.header("content-type")),
        (431, Some("application/json"))
    );
}

#[test]
fn standard_input_is_bounded() {
    let mut command = std::process::Command::new(SIDEGATE);
    command.args(["verify", "-"]);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let line = "# more of the same\n".repeat(1 << 16);
    // Until nobody reads any more: far more than is read.
    let written =
        (0..1000).take_while(|_| std::io::Write::write_all(&mut pipe, line.as_bytes()).is_ok());
    assert!(written.count() < 100);
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let expected = "-: cannot be read: is too long, expected 50 MiB at most";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn standard_input_is_a_layer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.yaml");
    std::fs::write(&file, "# nothing yet\n").unwrap();
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: piped}\n";
    let script = format!(
        "printf '%s' '{yaml}' | {SIDEGATE} explain - {} GET http://a.example.com/ --from pod/default/piped",
        file.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A gateway with one route; what the rows below add comes behind it, from line 8 on.
const AROUND: &str = "apiVersion: networking.istio.io/v1alpha3\nkind: Gateway\nmetadata: {name: g, namespace: ns}\n\
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}\n\
---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns, labels: {istio: ingressgateway}}\n---\n";

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a, namespace: ns}}\nspec:\n{spec}"
    )
}

fn routes(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata: {{name: v, namespace: ns}}\n\
         spec:\n  hosts: [a.example.com]\n  gateways: [g]\n{spec}"
    )
}

/// Errors (3), what is not decided for it (2), and warnings and findings.
#[test]
fn what_is_wrong_has_a_file_a_line_and_a_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let laughs: String = (0..9)
        .map(|i| match i {
            0 => "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(),
            i => format!(
                "  a{i}: &a{i} [{}]\n",
                vec![format!("*a{}", i - 1); 10].join(", ")
            ),
        })
        .collect();
    let regex = |regex: &str| {
        routes(&format!(
            "  http:\n  - match:\n    - uri:\n        regex: {regex}\n    route: [{{destination: {{host: b}}}}]\n"
        ))
    };
    let mut failures = Vec::new();
    for (yaml, code, expected) in [
        (
            policy("  action: DENNY\n  rules: [{}]\n"),
            3,
            "14: AuthorizationPolicy ns/a: spec.action: expected one of `ALLOW`, `DENY`, `AUDIT`, `CUSTOM`, found `DENNY`",
        ),
        (
            policy("  action: DENY\n  rulez: [{}]\n"),
            3,
            "15: AuthorizationPolicy ns/a: spec.rulez: unknown field `rulez`, did you mean `rules`?",
        ),
        (
            policy("  rules:\n  - from:\n    - source:\n        ipBlocks:\n        - 10.0.0.0/33\n"),
            3,
            "18: AuthorizationPolicy ns/a: spec.rules[0].from[0].source.ipBlocks[0]: expected an IP address or a network",
        ),
        (
            policy("  rules:\n  - from:\n    - source: {remoteIpBlocks: [localhost]}\n"),
            3,
            "16: AuthorizationPolicy ns/a: spec.rules[0].from[0].source.remoteIpBlocks[0]: expected an IP address or a network",
        ),
        // RE2 takes it, the engine here does not.
        (
            regex("a\\Cb"),
            2,
            "19: VirtualService ns/v: spec.http[0].match[0].uri.regex: regex `a\\Cb`: `\\C`, any single byte, is RE2 but not understood here",
        ),
        // The engine here would take it, RE2 does not.
        (
            regex("a{1001}"),
            2,
            "19: VirtualService ns/v: spec.http[0].match[0].uri.regex: regex `a{1001}`: the repetition `{1001}`, which is more than 1000 times",
        ),
        (
            policy("").replace("v1\n", "v1alpha9\n"),
            2,
            "10: AuthorizationPolicy ns/a: apiVersion: `security.istio.io/v1alpha9` is not a version that is read",
        ),
        (
            policy("  selector: {matchLabels: {app: gone}}\n  action: DENY\n  rules: [{}]\n"),
            0,
            "AuthorizationPolicy ns/a (FILE:10), spec.selector.matchLabels",
        ),
        (
            format!("{}---\n{}", policy("  rules: []\n"), policy("  action: DENY\n")),
            3,
            "16: AuthorizationPolicy ns/a: is already at FILE:10, expected it once",
        ),
        (
            format!("kind: Any\napiVersion: x/v1\nspec: {}\n", "[".repeat(70) + &"]".repeat(70)),
            3,
            "12: not YAML: is nested deeper than 64 levels",
        ),
        (
            format!("kind: Any\napiVersion: x/v1\nspec:\n{laughs}"),
            3,
            "not YAML: its anchors expand to too much",
        ),
        (
            "apiVersion: networking.istio.io/v1alpha3\nkind: Gateway\nmetadata: {name: h, namespace: ns}\n\
             spec:\n  servers:\n  - port: {number: 443, name: https, protocol: HTTPS}\n    hosts: ['*']\n    tls:\n      mode: SIMPEL\n"
                .to_owned(),
            3,
            "18: Gateway ns/h: spec.servers[0].tls.mode: expected one of ",
        ),
    ] {
        std::fs::write(&file, format!("{AROUND}{yaml}")).unwrap();
        let name = file.display().to_string();
        let output = sidegate(&["verify", &name]);
        let told = stderr(&output) + &super::stdout(&output);
        let expected = expected.replace("FILE", &name);
        let expected = match expected.starts_with(|c: char| c.is_ascii_digit()) {
            true => format!("{name}:{expected}"),
            false => expected,
        };
        if !told.contains(&expected) || output.status.code() != Some(code) {
            let found = output.status;
            failures.push(format!("{expected}\n--- {code}, {found}:\n{told}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n====\n"));
}

/// A change that cannot be used leaves what was there in force, whole.
#[test]
fn nothing_of_a_wrong_change_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let open = routes("  http: [{directResponse: {status: 418}}]\n");
    std::fs::write(&file, format!("{AROUND}{open}")).unwrap();
    let program = testkit::Start::new(SIDEGATE).arg(&file).start().unwrap();
    let status = || super::outside(&program, "a.example.com", "/", &[]).status;
    assert_eq!(status(), 418);
    let closed = open.replace("418", "419");
    let wrong = policy("  action: DENY\n  rulez: [{}]\n");
    let new = folder.path().join("new");
    std::fs::write(&new, format!("{AROUND}{closed}---\n{wrong}")).unwrap();
    std::fs::rename(&new, &file).unwrap();
    let expected = "c.yaml:23: AuthorizationPolicy ns/a: spec.rulez: unknown field `rulez`";
    program.wait_for_stderr(expected).unwrap();
    assert_eq!(status(), 418);
}
