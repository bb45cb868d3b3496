//! The examples without enforcement answer as the real cluster does: every row
//! was measured on Istio's control plane and Envoy 1.40.

use testkit::Upstream;

use super::{
    IRIS, LOCAL_HOST, OUTSIDE_HOST, PREDICT, example, inside, log_in, outside, sidegate, stdout,
};

#[test]
fn the_broken_cluster_sends_a_pod_to_the_login_page() {
    let program = example("seed-broken").start().unwrap();
    let answer = inside(&program, LOCAL_HOST, PREDICT, &["-d", IRIS]);
    assert_eq!(answer.status, 302);
    assert!(
        answer.header("location").unwrap().starts_with("/dex/auth?"),
        "{answer:?}"
    );
}

#[test]
fn the_published_cure_answers_and_has_its_holes() {
    let dashboard = Upstream::start("dashboard").unwrap();
    let backend = format!("kubeflow/centraldashboard:80={}", dashboard.address());
    let program = example("seed-blog-fix")
        .arg("--backend")
        .arg(backend)
        .start()
        .unwrap();
    let predict = inside(&program, LOCAL_HOST, PREDICT, &["-d", IRIS]);
    assert_eq!(
        (predict.status, predict.body.as_str()),
        (200, r#"{"predictions":[1,1]}"#)
    );
    assert_eq!(
        inside(
            &program,
            LOCAL_HOST,
            "/v2/models/sklearn-iris/infer",
            &["-d", "{}"]
        )
        .status,
        302
    );
    let world = outside(&program, OUTSIDE_HOST, PREDICT, &["-d", IRIS]);
    assert_eq!(
        (world.status, world.body.as_str()),
        (200, r#"{"predictions":[1,1]}"#)
    );
    let kf = "kf.example.com";
    for (path, expected) in [
        ("/", 302),
        ("/v1anything", 200),
        ("/v1/x", 200),
        ("/v1/..%2fpipeline", 200),
        ("/v1/../pipeline", 302),
        ("//v1/x", 302),
    ] {
        let answer = outside(
            &program,
            kf,
            path,
            &["-H", "kubeflow-userid: victim@example.com"],
        );
        assert_eq!(answer.status, expected, "{path}");
    }
    let seen = dashboard.wait_for(3).unwrap();
    for request in &seen {
        assert_eq!(
            request.header("kubeflow-userid"),
            Some("victim@example.com")
        );
    }
    assert_eq!(seen.last().unwrap().target(), "/v1/..%2fpipeline");
    let jar = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
    let jar = jar.path().display().to_string();
    let pipeline =
        testkit::curl(["-b", &jar, &format!("{}/pipeline", program.external())]).unwrap();
    assert_eq!(pipeline.status, 200);
    assert_eq!(
        dashboard
            .requests()
            .last()
            .unwrap()
            .header("kubeflow-userid"),
        Some("user@example.com")
    );
}

/// Everything behind the gateway is under the filter, other teams included.
#[test]
fn the_broken_cluster_asks_for_a_login_everywhere() {
    let program = example("seed-broken").start().unwrap();
    for (host, path) in [
        (OUTSIDE_HOST, PREDICT),
        ("kf.example.com", "/"),
        ("kf.example.com", "/v1anything"),
        ("kf.example.com", "/v1/..%2fpipeline"),
        ("shop.example.com", "/cart"),
    ] {
        assert_eq!(
            outside(&program, host, path, &[]).status,
            302,
            "{host}{path}"
        );
    }
    assert_eq!(
        outside(&program, "kf.example.com", "/dex/auth", &[]).status,
        400,
        "Dex itself is reached"
    );
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = log_in(&program, jar.path(), "12341234");
    assert!(page.body.contains("user@example.com"), "{}", page.body);
}

#[test]
fn a_newer_istio_drops_the_filter_silently_and_we_say_so() {
    let program = example("seed-broken")
        .arg("--istio-version")
        .arg("1.19")
        .start()
        .unwrap();
    assert_eq!(
        outside(&program, "kf.example.com", "/", &[]).status,
        200,
        "open without login, as on the cluster"
    );
    program
        .wait_for_stderr("the filter is not installed and what it protected is open")
        .unwrap();
    let told = sidegate(&[
        "explain",
        "--example",
        "seed-broken",
        "--istio-version",
        "1.19",
        "GET",
        "http://kf.example.com/",
    ]);
    assert!(
        stdout(&told).contains("answer: forwarded to Service kubeflow/centraldashboard:80"),
        "{}",
        stdout(&told)
    );
}

/// The cure that scopes the policy by listener port: third column of the table.
#[test]
fn a_policy_by_port_leaves_the_platform_closed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = include_str!("../../../../examples/seed/cluster.yaml");
    let fix = include_str!("../../../../examples/seed/blog-fix.yaml");
    let ports = fix.replace(r#"notPaths: ["/v1*"]"#, r#"notPorts: ["8081", "8444"]"#);
    assert_ne!(ports, fix);
    let model = folder.path().join("models");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(
        model.join("model.joblib"),
        include_bytes!("../../../../examples/models/sklearn-iris/model.joblib"),
    )
    .unwrap();
    for (name, text) in [("cluster.yaml", cluster), ("ports.yaml", &ports)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let program = testkit::Start::new(super::SIDEGATE)
        .arg(folder.path().join("cluster.yaml"))
        .arg(folder.path().join("ports.yaml"))
        .arg("--mirror")
        .arg(format!(
            "gs://kfserving-examples/models/sklearn/1.0/model={}",
            model.display()
        ))
        .start()
        .unwrap();
    assert_eq!(
        inside(&program, LOCAL_HOST, PREDICT, &["-d", IRIS]).body,
        r#"{"predictions":[1,1]}"#
    );
    let v2 =
        r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[[6.8,2.8,4.8,1.4]]}]}"#;
    assert_eq!(
        inside(
            &program,
            LOCAL_HOST,
            "/v2/models/sklearn-iris/infer",
            &["-d", v2]
        )
        .status,
        200
    );
    for (host, path) in [
        (OUTSIDE_HOST, PREDICT),
        ("kf.example.com", "/"),
        ("kf.example.com", "/v1anything"),
    ] {
        assert_eq!(
            outside(&program, host, path, &[]).status,
            302,
            "{host}{path}"
        );
    }
}
