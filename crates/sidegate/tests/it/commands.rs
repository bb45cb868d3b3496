//! `exec` and `token`.

use super::{IRIS, LOCAL_HOST, OUTSIDE_HOST, PREDICT, example, outside, sidegate, stderr, stdout};

#[test]
fn exec_gives_a_pod_its_identity() {
    let program = example("seed").start().unwrap();
    let data = program.data().display().to_string();
    let exec = |script: &str| {
        sidegate(&[
            "exec",
            "myapp-pod",
            "--data",
            &data,
            "--",
            "sh",
            "-c",
            script,
        ])
    };
    let url = format!("http://{LOCAL_HOST}{PREDICT}");
    let predicted = exec(&format!("curl -s {url} -d '{IRIS}'"));
    assert_eq!(
        stdout(&predicted),
        r#"{"predictions":[1,1]}"#,
        "{}",
        stderr(&predicted)
    );

    let token = stdout(&exec("cat $SIDEGATE_TOKEN_FILE"));
    let bearer = format!("authorization: Bearer {token}");
    assert_eq!(
        outside(
            &program,
            OUTSIDE_HOST,
            PREDICT,
            &["-H", &bearer, "-d", IRIS]
        )
        .status,
        200
    );

    let proxy = stdout(&exec("printf %s $http_proxy"));
    assert!(
        proxy.starts_with("http://default~default~myapp-pod:"),
        "{proxy}"
    );
    for forged in [
        proxy.replace("default~default", "kube-system~default"),
        proxy.replace("myapp-pod:", "other-pod:"),
        proxy.replace("myapp-pod:", "myapp-pod:A"),
    ] {
        let answer =
            testkit::curl(["--noproxy", "", "--proxy", &forged, &url, "-d", IRIS]).unwrap();
        assert_eq!(answer.status, 407, "{forged}");
    }
    assert_eq!(exec("exit 7").status.code(), Some(7));
}

#[test]
fn limits_know_the_pod() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("model.joblib"),
        include_bytes!("../../../../examples/models/sklearn-iris/model.joblib"),
    )
    .unwrap();
    let yaml = format!(
        r#"
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  namespace: team
  annotations: {{sidegate.dev/allow-namespaces: team}}
spec: {{predictor: {{sklearn: {{storageUri: "file://{}"}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: friend, namespace: team}}
---
apiVersion: v1
kind: Pod
metadata: {{name: stranger, namespace: other}}
"#,
        folder.path().display()
    );
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, yaml).unwrap();
    // Ten lines of YAML without a Gateway get the usual platform around them.
    let program = testkit::Start::new(super::SIDEGATE)
        .arg(&file)
        .start()
        .unwrap();
    let data = program.data().display().to_string();
    let script = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' http://iris.team.svc.cluster.local/v1/models/iris:predict -d '{IRIS}'"
    );
    for (namespace, pod, expected) in [("team", "friend", "200"), ("other", "stranger", "403")] {
        let output = sidegate(&[
            "exec", pod, "-n", namespace, "--data", &data, "--", "sh", "-c", &script,
        ]);
        assert_eq!(stdout(&output), expected, "{pod} {}", stderr(&output));
    }
    let nobody = super::inside(
        &program,
        "iris.team.svc.cluster.local",
        "/v1/models/iris:predict",
        &["-d", IRIS],
    );
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer"));
    assert!(nobody.body.contains("only some workloads"), "{nobody:?}");
}

#[test]
fn what_is_missing_is_named() {
    let program = example("seed").start().unwrap();
    let data = program.data().display().to_string();
    for (args, expected) in [
        (
            vec!["exec", "nobody", "--data", &data, "--", "true"],
            "no pod `default/nobody` in the running configuration; there are: default/myapp-pod",
        ),
        (
            vec!["token", "create", "nobody", "--data", &data],
            "no ServiceAccount `default/nobody`",
        ),
        (
            vec![
                "token",
                "create",
                "default",
                "--data",
                &data,
                "--duration",
                "5",
            ],
            "`5` is not a duration",
        ),
        (
            vec!["token", "create", "default", "--data", "/nonexistent/x"],
            "no sidegate runs on data folder `/nonexistent/x`",
        ),
    ] {
        let output = sidegate(&args);
        assert!(!output.status.success());
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let short = sidegate(&[
        "token",
        "create",
        "default",
        "-n",
        "kserve-test",
        "--audience",
        "elsewhere",
        "--data",
        &data,
    ]);
    let bearer = format!("authorization: Bearer {}", stdout(&short).trim());
    let answer = outside(
        &program,
        OUTSIDE_HOST,
        PREDICT,
        &["-H", &bearer, "-d", IRIS],
    );
    assert_eq!(
        answer.status, 401,
        "a token for another audience opens nothing"
    );
}
