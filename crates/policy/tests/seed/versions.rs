//! What an Istio version alone changes: object, request, answer by version.

use policy::{Caller, Entrance, IstioVersion, Settings, Snapshot};

use super::{head, status, walk};

const BASE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: apps}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: gateway, namespace: apps}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: app, namespace: apps}
spec: {hosts: ["*"], gateways: [gateway], http: [{name: open, route: [{destination: {host: app.apps.svc.cluster.local, port: {number: 80}}}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: check, envoyExtAuthzHttp: {service: app.apps.svc.cluster.local, port: 80}}
    - {name: Check_It, envoyExtAuthzHttp: {service: app.apps.svc.cluster.local, port: 80}}
---
"#;

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: istio-system}}\nspec: {spec}\n"
    )
}

fn filter(patch: &str) -> String {
    let custom = policy("{action: CUSTOM, provider: {name: check}, rules: [{}]}");
    format!(
        "{custom}---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: f, namespace: istio-system}}\nspec: {{configPatches: [{patch}]}}\n"
    )
}

/// Versions and the answer from each on, until the next.
type Row<'a> = (
    &'a str,
    String,
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a [(&'a str, u16)],
);

#[test]
fn answers_by_version() {
    let off = r#"{"@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true}"#;
    let route = |key: &str| {
        filter(&format!(
            "{{applyTo: HTTP_ROUTE, match: {{context: GATEWAY, routeConfiguration: {{vhost: {{route: {{name: open}}}}}}}}, patch: {{operation: MERGE, value: {{typed_per_filter_config: {{{key}: {off}}}}}}}}}"
        ))
    };
    let rows: &[Row<'_>] = &[
        (
            "hosts ignore case since 1.12",
            policy("{action: DENY, rules: [{to: [{operation: {hosts: [A.example.com]}}]}]}"),
            "a.example.com/",
            &[],
            &[("1.9", 200), ("1.11", 200), ("1.12", 403), ("1.31", 403)],
        ),
        (
            "a missing provider denies everything up to 1.19",
            policy(
                "{action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {paths: [/x]}}]}]}",
            ),
            "a.example.com/",
            &[],
            &[("1.9", 403), ("1.19", 403), ("1.20", 200), ("1.31", 200)],
        ),
        (
            "provider names are checked since 1.30",
            policy("{action: CUSTOM, provider: {name: Check_It}, rules: [{}]}"),
            "a.example.com/",
            &[],
            &[("1.9", 302), ("1.29", 302), ("1.30", 403), ("1.31", 403)],
        ),
        (
            "path templates since 1.22",
            policy("{action: DENY, rules: [{to: [{operation: {paths: ['/a/{*}']}}]}]}"),
            "a.example.com/a/b",
            &[],
            &[("1.9", 200), ("1.21", 200), ("1.22", 403), ("1.31", 403)],
        ),
        (
            "targetRefs are dropped before 1.22: the policy is for all",
            policy(
                "{action: DENY, targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}], rules: [{}]}",
            ),
            "a.example.com/",
            &[],
            &[("1.19", 403), ("1.21", 403), ("1.22", 200), ("1.31", 200)],
        ),
        (
            "targetRef is dropped before 1.20",
            policy(
                "{action: DENY, targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: g}, rules: [{}]}",
            ),
            "a.example.com/",
            &[],
            &[("1.19", 403), ("1.20", 200), ("1.31", 200)],
        ),
        (
            "serviceAccounts are dropped before 1.25: the source is anybody",
            policy("{action: DENY, rules: [{from: [{source: {serviceAccounts: [apps/x]}}]}]}"),
            "a.example.com/",
            &[],
            &[("1.24", 403), ("1.25", 200), ("1.31", 200)],
        ),
        (
            "trustDomains are dropped before 1.30.3",
            policy("{action: DENY, rules: [{from: [{source: {trustDomains: [td]}}]}]}"),
            "a.example.com/",
            &[],
            &[
                ("1.29", 403),
                ("1.30.2", 403),
                ("1.30.3", 200),
                ("1.31", 200),
            ],
        ),
        (
            "repeated headers are compared one by one since 1.27.8, 1.28.5, 1.29.1",
            policy(
                "{action: DENY, rules: [{when: [{key: 'request.headers[x-role]', values: [admin]}]}]}",
            ),
            "a.example.com/",
            &[("x-role", "user"), ("x-role", "admin")],
            &[
                ("1.26", 200),
                ("1.27.7", 200),
                ("1.27.8", 403),
                ("1.28.4", 200),
                ("1.28.5", 403),
                ("1.29.0", 200),
                ("1.29.1", 403),
                ("1.31", 403),
            ],
        ),
        (
            "`..;` is `..` since 1.29.7 and 1.30.4",
            policy("{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}"),
            "a.example.com/x/..;a/admin",
            &[],
            &[
                ("1.28", 200),
                ("1.29.6", 200),
                ("1.29.7", 403),
                ("1.30.3", 200),
                ("1.30.4", 403),
                ("1.31", 403),
            ],
        ),
        (
            "the dry run of a CUSTOM policy denies since 1.30",
            policy("{action: CUSTOM, provider: {name: check}, rules: [{}]}").replace(
                "namespace: istio-system}",
                "namespace: istio-system, annotations: {istio.io/dry-run: 'true'}}",
            ),
            "a.example.com/",
            &[],
            &[("1.29", 200), ("1.30", 403), ("1.31", 403)],
        ),
        (
            "old filter names match up to 1.18",
            filter(
                "{applyTo: HTTP_FILTER, match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.http_connection_manager, subFilter: {name: envoy.ext_authz}}}}}, patch: {operation: REMOVE}}",
            ),
            "a.example.com/",
            &[],
            &[("1.9", 200), ("1.18", 200), ("1.19", 302), ("1.31", 302)],
        ),
        (
            "the old key is translated up to Envoy 1.19",
            route("envoy.ext_authz"),
            "a.example.com/",
            &[],
            &[("1.9", 200), ("1.11", 200), ("1.12", 302), ("1.31", 302)],
        ),
        (
            "proxyVersion",
            filter(
                r"{applyTo: HTTP_FILTER, match: {context: GATEWAY, proxy: {proxyVersion: '^1\.2[0-3].*'}, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.ext_authz}}}}}, patch: {operation: REMOVE}}",
            ),
            "a.example.com/",
            &[],
            &[("1.19", 302), ("1.20", 200), ("1.23.4", 200), ("1.24", 302)],
        ),
    ];
    for (name, objects, url, headers, expected) in rows {
        for (version, answer) in *expected {
            let snapshot = compile(objects, version);
            let mut request = head(Entrance::External, "GET", url, headers);
            let (_, target) = url.split_once('/').unwrap();
            (request.path, request.query) = snapshot.split_target(&format!("/{target}")).unwrap();
            let (verdict, _) = walk(&snapshot, &request, &Caller::Anonymous);
            assert_eq!(status(&verdict), *answer, "{name}: Istio {version}");
        }
    }
}

fn compile(objects: &str, version: &str) -> Snapshot {
    let text = format!("{BASE}{objects}");
    let cluster = resources::parse(&[("f.yaml".into(), text)]).unwrap();
    let settings = Settings {
        istio_version: Some(IstioVersion::parse(version).unwrap()),
        ..Settings::default()
    };
    Snapshot::compile(&cluster, &settings).unwrap()
}
