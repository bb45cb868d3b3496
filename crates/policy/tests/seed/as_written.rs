//! Policies as written: rows measured on Istio's control plane and Envoy 1.40.

use policy::{Caller, Destination, Entrance, IstioVersion, Settings};

use super::{
    BLOG_FIX, CLUSTER, LOCAL, OUTSIDE, PORTS, compile, compile_with, head, permit, settings,
    status, walk,
};

#[test]
fn as_measured_on_the_real_gateway() {
    let ports_policy = BLOG_FIX.replace(
        r#"to:
    - operation:
        notPaths: ["/v1*"]"#,
        PORTS,
    );
    assert!(ports_policy.contains("notPorts"));
    let broken = compile(&[CLUSTER]);
    let blog = compile(&[CLUSTER, BLOG_FIX]);
    let ports = compile(&[CLUSTER, &ports_policy]);
    use Entrance::{External, Local};
    let predict = "v1/models/sklearn-iris:predict";
    let cookie: &[(&str, &str)] = &[("cookie", "authservice_session=1")];
    let forged: &[(&str, &str)] = &[("kubeflow-userid", "victim@example.com")];
    for (entrance, method, url, headers, expected) in [
        (
            Local,
            "POST",
            format!("{LOCAL}/{predict}"),
            &[][..],
            [302, 200, 200],
        ),
        (
            Local,
            "POST",
            format!("{LOCAL}/v2/models/sklearn-iris/infer"),
            &[],
            [302, 302, 200],
        ),
        (
            External,
            "POST",
            format!("{OUTSIDE}/{predict}"),
            &[],
            [302, 200, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com/".into(),
            &[],
            [302, 302, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com/v1anything".into(),
            &[],
            [302, 200, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com/v1/x".into(),
            forged,
            [302, 200, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com/v1/..%2fpipeline".into(),
            &[],
            [302, 200, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com/v1/../pipeline".into(),
            &[],
            [302, 302, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com//v1/x".into(),
            &[],
            [302, 302, 302],
        ),
        (
            External,
            "GET",
            "kf.example.com/pipeline".into(),
            cookie,
            [200, 200, 200],
        ),
    ] {
        let head = head(entrance, method, &url, headers);
        for (snapshot, expected) in [&broken, &blog, &ports].into_iter().zip(expected) {
            let (verdict, _) = walk(snapshot, &head, &Caller::Anonymous);
            assert_eq!(status(&verdict), expected, "{method} {url}");
        }
    }
    let forged = head(External, "GET", "kf.example.com/v1/x", forged);
    let through = permit(walk(&blog, &forged, &Caller::Anonymous).0);
    assert_eq!(
        through.request_headers(),
        [],
        "the forged identity arrives at the dashboard"
    );
    let traversal = head(External, "GET", "kf.example.com/v1/..%2fpipeline", &[]);
    let through = permit(walk(&blog, &traversal, &Caller::Anonymous).0);
    assert_eq!(
        through.path_and_query(),
        Some("/v1/..%2fpipeline"),
        "the path arrives undecoded"
    );
}

#[test]
fn the_checker_sees_both_hops() {
    let broken = compile(&[CLUSTER]);
    let cookie = [("cookie", "authservice_session=1")];
    let head = head(
        Entrance::Local,
        "POST",
        &format!("{LOCAL}/v1/models/sklearn-iris:predict"),
        &cookie,
    );
    let (verdict, asked) = walk(&broken, &head, &Caller::Anonymous);
    assert_eq!(asked, 2);
    let permit = permit(verdict);
    assert_eq!(
        permit.authority(),
        Some("sklearn-iris-predictor.kserve-test.svc.cluster.local")
    );
    let Destination::Service { service, port } = permit.destination() else {
        panic!("{permit:?}")
    };
    assert_eq!(
        (service.to_string().as_str(), *port),
        ("kserve-test/sklearn-iris-predictor-00001", 80)
    );
}

#[test]
fn old_filter_names_are_dead_since_1_19() {
    for (minor, expected, warned) in [
        (16, 302, false),
        (18, 302, false),
        (19, 200, true),
        (31, 200, true),
    ] {
        let version = Some(IstioVersion { major: 1, minor });
        let snapshot = compile_with(
            &[CLUSTER],
            &Settings {
                istio_version: version,
                ..settings()
            },
        );
        let (verdict, _) = walk(
            &snapshot,
            &head(Entrance::External, "GET", "kf.example.com/", &[]),
            &Caller::Anonymous,
        );
        assert_eq!(status(&verdict), expected, "1.{minor}");
        let found = snapshot
            .warnings()
            .iter()
            .any(|w| w.message.contains("envoy.http_connection_manager"));
        assert_eq!(found, warned, "1.{minor}: {:?}", snapshot.warnings());
    }
}
