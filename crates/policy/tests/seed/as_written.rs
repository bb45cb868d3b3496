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
    assert!(
        through.request_headers().is_empty(),
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
        let version = Some(IstioVersion::minor(minor));
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

/// Patches that switch the check off per route, as they are found in the wild:
/// which work, and why the others do not. Observed on Envoy 1.40.
#[test]
fn route_patches_that_work_and_that_do_not() {
    let patch = |apply_to: &str, at: &str, key: &str| {
        format!(
            r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: open, namespace: istio-system}}
spec:
  configPatches:
  - applyTo: {apply_to}
    match: {{context: GATEWAY, routeConfiguration: {at}}}
    patch:
      operation: MERGE
      value:
        typed_per_filter_config:
          {key}: {{"@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true}}
"#
        )
    };
    let named = CLUSTER.replace(
        "  http:\n  - route:\n    - destination:\n        host: storefront",
        "  http:\n  - name: shop\n    route:\n    - destination:\n        host: storefront",
    );
    assert_ne!(named, CLUSTER);
    let filter = "envoy.filters.http.ext_authz";
    for (apply_to, at, key, expected, warning) in [
        (
            "HTTP_ROUTE",
            "{vhost: {route: {name: shop}}}",
            filter,
            200,
            None,
        ),
        (
            "HTTP_ROUTE",
            "{vhost: {name: 'shop.example.com:80'}}",
            filter,
            200,
            None,
        ),
        (
            "VIRTUAL_HOST",
            "{portNumber: 80, vhost: {name: 'shop.example.com:80'}}",
            filter,
            200,
            None,
        ),
        (
            "VIRTUAL_HOST",
            "{vhost: {name: 'shop.example.com:8080'}}",
            filter,
            302,
            Some("no effect"),
        ),
        (
            "VIRTUAL_HOST",
            "{portNumber: 8080}",
            filter,
            302,
            Some("no effect"),
        ),
        (
            "HTTP_ROUTE",
            "{vhost: {route: {name: other}}}",
            filter,
            302,
            Some("matches no virtual host or no route"),
        ),
        (
            "HTTP_ROUTE",
            "{vhost: {route: {name: shop}}}",
            "envoy.ext_authz",
            302,
            Some("per-route key `envoy.ext_authz` names no filter"),
        ),
        (
            "VIRTUAL_HOST",
            "{gateway: kubeflow/kubeflow-gateway}",
            filter,
            302,
            Some("only HTTPS servers carry it"),
        ),
        (
            "HTTP_ROUTE",
            "{vhost: {route: {name: shop}}}",
            "envoy.filters.http.rbac",
            302,
            Some("names no filter of this listener"),
        ),
    ] {
        let snapshot = compile(&[&named, &patch(apply_to, at, key)]);
        let head = head(Entrance::External, "GET", "shop.example.com/", &[]);
        let (verdict, _) = walk(&snapshot, &head, &Caller::Anonymous);
        assert_eq!(status(&verdict), expected, "{apply_to} {at} {key}");
        let warnings: Vec<String> = snapshot
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect();
        match warning {
            Some(text) => assert!(
                warnings.iter().any(|w| w.contains(text)),
                "{at}: {warnings:?}"
            ),
            None => assert!(
                !warnings.iter().any(|w| w.contains("port 8080")),
                "{at}: {warnings:?}"
            ),
        }
    }
}

/// What Istio refuses in a CUSTOM policy, by version.
#[test]
fn broken_providers_deny() {
    let provider = |name: &str, service: &str| {
        BLOG_FIX
            .replace("dex-auth-provider", name)
            .replace("authservice.istio-system", service)
    };
    let at = |minor| Settings {
        istio_version: Some(IstioVersion::minor(minor)),
        ..settings()
    };
    let open = head(Entrance::External, "GET", "kf.example.com/v1", &[]);
    let checked = head(Entrance::External, "GET", "kf.example.com/", &[]);
    for (minor, text, expected) in [
        (31, provider("good", "authservice.istio-system"), [200, 302]),
        (
            31,
            provider("Bad_Name", "authservice.istio-system"),
            [200, 403],
        ),
        (
            29,
            provider("Bad_Name", "authservice.istio-system"),
            [200, 302],
        ),
        (31, provider("good", "nosuch.nowhere"), [200, 403]),
        (19, provider("good", "nosuch.nowhere"), [403, 403]),
        (
            31,
            provider("good", "authservice.istio-system").replace("\"8080\"", "\"0\""),
            [200, 403],
        ),
    ] {
        let snapshot = compile_with(&[CLUSTER, &text], &at(minor));
        let found =
            [&open, &checked].map(|head| status(&walk(&snapshot, head, &Caller::Anonymous).0));
        assert_eq!(found, expected, "1.{minor}");
    }
}

/// What stands where a token is expected and is none is refused; none at all is none.
#[test]
fn what_is_no_token_opens_nothing() {
    let authentication = r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: dex, namespace: istio-system}
spec: {jwtRules: [{issuer: "https://idp.example"}]}
"#;
    let snapshot = compile(&[CLUSTER, BLOG_FIX, authentication]);
    for (headers, expected) in [
        (&[][..], 200),
        (&[("authorization", "Bearer a.b.c")], 401),
        (&[("authorization", "Basic Zm9v, Bearer a.b.c")], 401),
        (&[("authorization", "Basic Zm9v")], 200),
        (&[("authorization", "bearer a.b.c")], 200),
        (&[("authorization", "")], 200),
    ] {
        let head = head(Entrance::External, "GET", "kf.example.com/v1", headers);
        assert_eq!(
            status(&walk(&snapshot, &head, &Caller::Anonymous).0),
            expected,
            "{headers:?}"
        );
    }
}

/// Envoy's CORS filter has seen the origin before the router takes it away.
#[test]
fn the_origin_counts_that_the_client_sent() {
    let pages = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pages, namespace: shop}
spec:
  hosts: [pages.example.com]
  gateways: [kubeflow/kubeflow-gateway]
  http:
  - corsPolicy: {allowOrigins: [{exact: 'http://a.example'}]}
    headers: {request: {remove: [origin]}}
    route: [{destination: {host: storefront, port: {number: 80}}}]
";
    let snapshot = compile(&[CLUSTER, pages]);
    let origin = [("origin", "http://a.example"), ("cookie", "session=1")];
    let page = head(Entrance::External, "GET", "pages.example.com/", &origin);
    let permit = permit(walk(&snapshot, &page, &Caller::Anonymous).0);
    let allowed = permit.cors().map(|cors| cors.allow_origin.clone());
    assert_eq!(
        allowed.as_ref().map(|v| v.as_bytes()),
        Some(&b"http://a.example"[..])
    );
    assert!(!permit.request_headers().is_empty());
}
