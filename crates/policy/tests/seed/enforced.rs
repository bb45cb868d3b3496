//! `mode: enforce`: access levels by listener and owner.

use std::sync::Arc;

use policy::{
    Caller, Entrance, Key, KeyScope, Permit, Person, Refusal, Service, ServiceAccount, Snapshot,
    TokenHolder, Verdict, Workload,
};

use super::{CLUSTER, LOCAL, OUTSIDE, SIDEGATE, compile, head, permit, settings, status, walk};

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
    assert_eq!(status(&walk(&seed, &head, &Caller::Anonymous).0), 401);
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

/// The policies of Kubeflow since 1.9: nobody passes the gateway without a
/// token of Dex. A login is one.
#[test]
fn the_login_satisfies_policies_that_want_a_token_of_it() {
    let kubeflow = r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: dex-jwt, namespace: istio-system}
spec:
  selector: {matchLabels: {app: istio-ingressgateway}}
  jwtRules: [{issuer: "http://dex.auth.svc.cluster.local:5556/dex", forwardOriginalToken: true}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: require-jwt, namespace: istio-system}
spec:
  selector: {matchLabels: {app: istio-ingressgateway}}
  action: DENY
  rules:
  - from: [{source: {notRequestPrincipals: ["*"]}}]
    to: [{operation: {notPaths: ["/dex/*", "/oauth2/*"], ports: ["8080"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: global-deny-all, namespace: istio-system}
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gateway, namespace: istio-system}
spec:
  selector: {matchLabels: {app: istio-ingressgateway}}
  rules: [{}]
"#;
    use Entrance::{External, Local};
    let seed = compile(&[CLUSTER, SIDEGATE, kubeflow]);
    let predict = "v1/models/sklearn-iris:predict";
    for (entrance, url, caller, expected) in [
        (
            External,
            "kf.example.com/pipeline".to_owned(),
            person(),
            200,
        ),
        (
            External,
            "kf.example.com/pipeline".to_owned(),
            Caller::Anonymous,
            401,
        ),
        (Local, format!("{LOCAL}/{predict}"), Caller::Anonymous, 200),
        // The cluster's own policy accepts tokens of Dex alone, and stays in force.
        (
            External,
            format!("{OUTSIDE}/{predict}"),
            token("default"),
            403,
        ),
        (
            External,
            "shop.example.com/".to_owned(),
            Caller::Anonymous,
            403,
        ),
    ] {
        let (verdict, _) = walk(&seed, &head(entrance, "GET", &url, &[]), &caller);
        assert_eq!(status(&verdict), expected, "{url} {caller:?}");
    }
}

/// A tenant's route straight to a Service of the platform is the platform's,
/// whatever the tenant writes on it.
#[test]
fn a_route_into_the_platform_wants_a_login() {
    for annotations in ["{}", "{sidegate.dev/access: public}"] {
        for labels in ["{}", "{serving.knative.dev/route: x}"] {
            let tenant = format!(
                r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shortcut, namespace: shop, annotations: {annotations}, labels: {labels}}}
spec:
  hosts: [shortcut.example.com]
  gateways: [kubeflow/kubeflow-gateway]
  http:
  - route: [{{destination: {{host: centraldashboard.kubeflow.svc.cluster.local, port: {{number: 80}}}}}}]
"#
            );
            let snapshot = compile(&[CLUSTER, SIDEGATE, &tenant]);
            let head = head(Entrance::External, "GET", "shortcut.example.com/", &[]);
            assert_eq!(status(&walk(&snapshot, &head, &Caller::Anonymous).0), 401);
            assert_eq!(status(&walk(&snapshot, &head, &token("shop")).0), 403);
            assert_eq!(status(&walk(&snapshot, &head, &person()).0), 200);
        }
    }
}

fn key(namespaces: &[&str], models: &[&str], holder: TokenHolder) -> Caller {
    let texts = |list: &[&str]| list.iter().map(|text| Arc::from(*text)).collect();
    Caller::Key(Key {
        id: "k".into(),
        holder,
        scope: Arc::new(KeyScope {
            namespaces: texts(namespaces),
            models: texts(models),
        }),
    })
}

fn service() -> TokenHolder {
    TokenHolder::Service(Service {
        name: "job".into(),
        groups: ["jobs".into()].into(),
    })
}

fn refusal(snapshot: &Snapshot, entrance: Entrance, url: &str, caller: &Caller) -> Option<Refusal> {
    match walk(snapshot, &head(entrance, "POST", url, &[]), caller).0 {
        Verdict::Denial(denial) => Some(denial.refusal),
        _ => None,
    }
}

#[test]
fn an_api_key_does_at_most_what_it_is_for_and_what_its_holder_may() {
    let annotated = |limits: &str| {
        let from = "  name: \"sklearn-iris\"\n  namespace: kserve-test";
        let limited = CLUSTER.replace(from, &format!("{from}\n  annotations: {{{limits}}}"));
        compile(&[&limited, SIDEGATE])
    };
    let predict = format!("{OUTSIDE}/v1/models/sklearn-iris:predict");
    let forbidden = |refusal: &Option<Refusal>| matches!(refusal, Some(Refusal::Forbidden(_)));
    let out_of_scope = |refusal: &Option<Refusal>| matches!(refusal, Some(Refusal::Scope(_)));
    let model: &[&str] = &["kserve-test/sklearn-iris"];
    let open = annotated("");
    let by_user = annotated("sidegate.dev/allow-users: 'service:job'");
    let by_group = annotated("sidegate.dev/allow-groups: jobs");
    let by_another = annotated("sidegate.dev/allow-users: user@example.com");
    let by_namespace = annotated("sidegate.dev/allow-namespaces: 'kserve-test, job'");
    for (snapshot, caller, expected) in [
        (&open, key(&[], &[], service()), "in"),
        (&open, key(&["kserve-test"], &[], service()), "in"),
        (&open, key(&[], model, service()), "in"),
        (&open, key(&["other"], model, service()), "in"),
        (&open, key(&["other"], &[], service()), "scope"),
        (&open, key(&[], &["kserve-test/other"], service()), "scope"),
        (&open, key(&[], &["other/sklearn-iris"], service()), "scope"),
        (&by_user, key(&[], model, service()), "in"),
        (&by_group, key(&[], model, service()), "in"),
        (&by_another, key(&[], model, service()), "forbidden"),
        (&by_namespace, key(&[], model, service()), "forbidden"),
        (&by_another, key(&["other"], &[], service()), "scope"),
        (&by_user, Caller::Token(service()), "in"),
        (&by_another, Caller::Token(service()), "forbidden"),
    ] {
        let found = refusal(snapshot, Entrance::External, &predict, &caller);
        let found = match &found {
            None => "in",
            found if forbidden(found) => "forbidden",
            found if out_of_scope(found) => "scope",
            found => panic!("{found:?}"),
        };
        assert_eq!(found, expected, "{caller:?}");
    }
    // No platform, whoever holds it.
    let Caller::Session(person) = person() else {
        panic!("a person");
    };
    let theirs = key(&[], &[], TokenHolder::Person(person));
    let home = "kubeflow.example.com/";
    for caller in [&theirs, &key(&[], &[], service())] {
        let found = refusal(&open, Entrance::External, home, caller);
        assert!(out_of_scope(&found), "{found:?}");
    }
    let found = refusal(&open, Entrance::External, home, &Caller::Token(service()));
    assert!(forbidden(&found), "{found:?}");
}
