//! The seed's cluster under its policies: each row was measured on Istio's
//! control plane and Envoy 1.40, or follows from the access model.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, CheckAnswer, CheckResponse, Destination, Entrance, IstioVersion, Permit,
    Person, Question, Refusal, RequestHead, Scheme, ServiceAccount, Settings, Snapshot,
    TokenHolder, Verdict, Workload,
};
use resources::File;

const CLUSTER: &str = include_str!("../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../examples/seed/blog-fix/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../examples/seed/sidegate.yaml");
/// The cure that scopes the policy by listener port instead of by path.
const PORTS: &str = r#"to: [{operation: {notPorts: ["8081", "8444"]}}]"#;

fn settings() -> Settings {
    Settings {
        istio_version: None,
        provider_paths: vec!["/dex/auth".into(), "/dex/token".into(), "/dex/keys".into()],
        login_paths: vec!["/login/oidc".into(), "/authservice/logout".into()],
    }
}

fn compile_with(texts: &[&str], settings: &Settings) -> Snapshot {
    let layers: Vec<Vec<File>> = texts
        .iter()
        .map(|t| vec![("test.yaml".into(), (*t).to_owned())])
        .collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    Snapshot::compile(&cluster, settings).unwrap()
}

fn compile(texts: &[&str]) -> Snapshot {
    compile_with(texts, &settings())
}

fn head(entrance: Entrance, method: &str, url: &str, headers: &[(&str, &str)]) -> RequestHead {
    let (authority, target) = url.split_once('/').unwrap();
    let (path, query) =
        RequestHead::split_target(&format!("/{target}"), resources::mesh::Normalization::Base)
            .unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    RequestHead {
        entrance,
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        scheme: Scheme::Http,
        authority: authority.into(),
        path,
        query,
        headers: map,
        peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        workload: None,
    }
}

/// Decides, with an authorizer that redirects to Dex whoever has no cookie, and
/// counts how often it was asked.
fn walk(snapshot: &Snapshot, head: &RequestHead, caller: &Caller) -> (Verdict, usize) {
    let mut answers = Answers::new();
    let mut asked = 0;
    loop {
        match policy::decide(snapshot, head, &answers, &mut policy::NoTrace) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(caller.clone()),
            Verdict::Ask(Question::Check(check)) => {
                asked += 1;
                assert!(
                    !check.headers.contains_key("kubeflow-userid"),
                    "sees only listed headers"
                );
                let allowed = check.headers.contains_key("cookie");
                let (status, header) = if allowed {
                    (
                        StatusCode::OK,
                        (
                            HeaderName::from_static("kubeflow-userid"),
                            HeaderValue::from_static("user@example.com"),
                        ),
                    )
                } else {
                    (
                        StatusCode::FOUND,
                        (
                            http::header::LOCATION,
                            HeaderValue::from_static("/dex/auth?client_id=x"),
                        ),
                    )
                };
                let response = CheckResponse {
                    status,
                    headers: vec![header],
                    body: bytes::Bytes::new(),
                };
                answers.check_is(check.id, CheckAnswer::Response(response));
            }
            verdict => return (verdict, asked),
        }
    }
}

fn status(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Permit(permit) => match permit.destination() {
            Destination::Reply(reply) => reply.status.as_u16(),
            _ => 200,
        },
        Verdict::Denial(denial) => denial.refusal.status().as_u16(),
        Verdict::Ask(question) => panic!("{question:?}"),
    }
}

fn permit(verdict: Verdict) -> Permit {
    match verdict {
        Verdict::Permit(permit) => *permit,
        other => panic!("{other:?}"),
    }
}

const LOCAL: &str = "sklearn-iris.kserve-test.svc.cluster.local";
const OUTSIDE: &str = "sklearn-iris.kserve-test.example.com";

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

fn person() -> Caller {
    Caller::Session(Person {
        email: "user@example.com".into(),
        subject: "1".into(),
        groups: Vec::new().into(),
    })
}

fn account(namespace: &str, name: &str) -> ServiceAccount {
    ServiceAccount {
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn token(namespace: &str) -> Caller {
    Caller::Token(TokenHolder::ServiceAccount(account(namespace, "default")))
}

#[test]
fn enforced() {
    use Entrance::{External, Local};
    let seed = compile(&[CLUSTER, SIDEGATE]);
    assert!(seed.enforces());
    let predict = "v1/models/sklearn-iris:predict";
    let nobody = Caller::Anonymous;
    let html: &[(&str, &str)] = &[("accept", "text/html")];
    for (entrance, method, url, headers, caller, expected) in [
        (
            Local,
            "POST",
            format!("{LOCAL}/{predict}"),
            &[][..],
            &nobody,
            200,
        ),
        (
            Local,
            "POST",
            format!("{LOCAL}/v2/models/sklearn-iris/infer"),
            &[],
            &nobody,
            200,
        ),
        (
            External,
            "POST",
            format!("{OUTSIDE}/{predict}"),
            &[],
            &nobody,
            401,
        ),
        (
            External,
            "POST",
            format!("{OUTSIDE}/{predict}"),
            &[],
            &token("default"),
            200,
        ),
        (
            External,
            "POST",
            format!("sklearn-iris-predictor.kserve-test.example.com/{predict}"),
            &[],
            &nobody,
            401,
        ),
        (
            External,
            "GET",
            "kf.example.com/".into(),
            html,
            &nobody,
            401,
        ),
        (
            External,
            "GET",
            "kf.example.com/".into(),
            html,
            &person(),
            200,
        ),
        (
            External,
            "GET",
            "kf.example.com/".into(),
            html,
            &token("default"),
            403,
        ),
        (
            External,
            "GET",
            "kf.example.com/v1anything".into(),
            html,
            &nobody,
            401,
        ),
        (
            External,
            "GET",
            "kf.example.com/dex/auth".into(),
            html,
            &nobody,
            200,
        ),
        (
            External,
            "GET",
            "kf.example.com/dex/other".into(),
            html,
            &nobody,
            401,
        ),
        (
            External,
            "GET",
            "kf.example.com/dex/..%2fpipeline".into(),
            html,
            &nobody,
            401,
        ),
        (
            External,
            "GET",
            "kf.example.com/login/oidc".into(),
            html,
            &nobody,
            200,
        ),
        (
            External,
            "GET",
            "shop.example.com/cart".into(),
            html,
            &nobody,
            200,
        ),
        (
            External,
            "GET",
            "shop.example.com/login/oidc".into(),
            html,
            &nobody,
            200,
        ),
        (
            External,
            "OPTIONS",
            format!("{OUTSIDE}/{predict}"),
            &[
                ("origin", "https://a"),
                ("access-control-request-method", "POST"),
            ],
            &nobody,
            204,
        ),
        (
            External,
            "OPTIONS",
            "kf.example.com/".into(),
            &[
                ("origin", "https://a"),
                ("access-control-request-method", "POST"),
            ],
            &nobody,
            401,
        ),
        (
            Local,
            "GET",
            "unknown.example.com/".into(),
            html,
            &nobody,
            404,
        ),
        (
            External,
            "GET",
            format!("{LOCAL}/{predict}"),
            html,
            &nobody,
            401,
        ),
    ] {
        let (verdict, asked) = walk(&seed, &head(entrance, method, &url, headers), caller);
        assert_eq!(
            status(&verdict),
            expected,
            "{method} {url} {caller:?} {verdict:?}"
        );
        assert_eq!(asked, 0, "the login filter is taken over");
    }
}

#[test]
fn a_login_writes_both_identity_headers_and_foreign_routes_get_none() {
    let seed = compile(&[CLUSTER, SIDEGATE]);
    let names = |permit: &Permit| -> Vec<String> {
        permit
            .request_headers()
            .iter()
            .map(|change| format!("{change:?}"))
            .collect()
    };
    let platform = permit(
        walk(
            &seed,
            &head(Entrance::External, "GET", "kf.example.com/", &[]),
            &person(),
        )
        .0,
    );
    assert_eq!(
        names(&platform),
        [
            r#"Set("kubeflow-userid", "user@example.com")"#,
            r#"Set("kubeflow-groups", "")"#
        ]
    );
    let foreign = permit(
        walk(
            &seed,
            &head(Entrance::External, "GET", "shop.example.com/a?b", &[]),
            &person(),
        )
        .0,
    );
    assert_eq!(names(&foreign), Vec::<String>::new());
    assert_eq!(foreign.path_and_query(), None);
}

#[test]
fn limits_name_who_may_call() {
    let limited = CLUSTER.replace(
        "  name: \"sklearn-iris\"\n  namespace: kserve-test",
        "  name: \"sklearn-iris\"\n  namespace: kserve-test\n  annotations: {sidegate.dev/allow-namespaces: 'default, team-a'}",
    );
    let seed = compile(&[&limited, SIDEGATE]);
    let url = format!("{LOCAL}/v1/models/sklearn-iris:predict");
    let mut head = head(Entrance::Local, "POST", &url, &[]);
    assert_eq!(status(&walk(&seed, &head, &Caller::Anonymous).0), 403);
    assert_eq!(status(&walk(&seed, &head, &token("team-a")).0), 200);
    assert_eq!(status(&walk(&seed, &head, &token("team-b")).0), 403);
    head.workload = Some(Workload {
        pod: "p".into(),
        service_account: account("default", "default"),
    });
    assert_eq!(status(&walk(&seed, &head, &Caller::Anonymous).0), 200);
    head.workload = Some(Workload {
        pod: "p".into(),
        service_account: account("other", "default"),
    });
    assert_eq!(status(&walk(&seed, &head, &Caller::Anonymous).0), 403);
}

#[test]
fn wrong_settings_are_errors() {
    for (from, to, expected) in [
        (
            "gateways: [kubeflow/kubeflow-gateway]",
            "gateways: [kubeflow/x]",
            "spec.platform.gateways: no Gateway `kubeflow/x`",
        ),
        (
            "namespaces: [kubeflow, auth, istio-system]",
            "namespaces: []",
            "spec.platform.namespaces: expected at least one",
        ),
    ] {
        let text = SIDEGATE.replace(from, to);
        let layers = [CLUSTER, &text].map(|t| vec![("t.yaml".into(), t.to_owned())]);
        let errors =
            Snapshot::compile(&resources::parse_layers(&layers).unwrap(), &settings()).unwrap_err();
        assert!(
            errors.iter().any(|e| e.to_string().contains(expected)),
            "{errors:?}"
        );
    }
    let text = CLUSTER.replace("  name: centraldashboard\n  namespace: kubeflow\nspec:\n  gateways", "  name: centraldashboard\n  namespace: kubeflow\n  annotations: {sidegate.dev/access: everyone}\nspec:\n  gateways");
    let layers = [&text, SIDEGATE].map(|t| vec![("t.yaml".into(), t.to_owned())]);
    let errors =
        Snapshot::compile(&resources::parse_layers(&layers).unwrap(), &settings()).unwrap_err();
    assert!(
        errors[0].to_string().contains("found `everyone`"),
        "{errors:?}"
    );
}

#[test]
fn a_circle_ends() {
    let circle = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: circle, namespace: shop}
spec:
  hosts: [circle.example.com]
  gateways: [kubeflow/kubeflow-gateway]
  http:
  - route: [{destination: {host: istio-ingressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
"#;
    let snapshot = compile(&[CLUSTER, SIDEGATE, circle]);
    let (verdict, _) = walk(
        &snapshot,
        &head(Entrance::External, "GET", "circle.example.com/", &[]),
        &Caller::Anonymous,
    );
    let Verdict::Denial(denial) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(denial.refusal, Refusal::Loop);
}

/// A tenant's route that sends on to the gateway itself, under another host.
#[test]
fn a_detour_through_a_foreign_route_opens_nothing() {
    let detour = |to: &str, host: &str| {
        format!(
            r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: detour, namespace: shop}}
spec:
  hosts: [detour.example.com]
  gateways: [kubeflow/kubeflow-gateway]
  http:
  - rewrite: {{authority: {host}}}
    route: [{{destination: {{host: {to}.istio-system.svc.cluster.local, port: {{number: 80}}}}}}]
"#
        )
    };
    for (to, host, expected) in [
        ("istio-ingressgateway", "kf.example.com", 401),
        ("knative-local-gateway", LOCAL, 401),
        ("istio-ingressgateway", "shop.example.com", 200),
    ] {
        let snapshot = compile(&[CLUSTER, SIDEGATE, &detour(to, host)]);
        let head = head(Entrance::External, "GET", "detour.example.com/", &[]);
        assert_eq!(
            status(&walk(&snapshot, &head, &Caller::Anonymous).0),
            expected,
            "{host}"
        );
    }
}
