//! Lints that fire, and near misses that do not.

use policy::{Settings, Snapshot};
use resources::mesh::Normalization;

use crate::{Finding, lint, sarif};

mod platform;

/// A gateway with a Service in front, and an authorizer.
const BASE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: istio-system}
spec: {selector: {app: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: checker, namespace: istio-system}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: infra}
spec: {selector: {app: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: check
      envoyExtAuthzHttp: {service: checker.istio-system.svc.cluster.local, port: 80, timeout: 5s}
    - name: trusting
      envoyExtAuthzHttp: {service: checker.istio-system.svc.cluster.local, port: 80, failOpen: true, headersToUpstreamOnAllow: [kubeflow-userid]}
    - name: lost
      envoyExtAuthzHttp: {service: nobody.istio-system.svc.cluster.local, port: 80}
---
"#;

fn findings(yaml: &str) -> Vec<Finding> {
    let text = format!("{BASE}{yaml}");
    let cluster = resources::parse(&[("t.yaml".into(), text)]).unwrap();
    let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
    lint(&cluster, &snapshot)
}

/// What Kubeflow's profile controller writes nobody can change.
#[test]
fn policies_of_controllers_are_not_reported() {
    let profile = "apiVersion: kubeflow.org/v1\nkind: Profile\nmetadata: {name: team-a}\nspec: {owner: {kind: User, name: a@example.com}}\n";
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: infra}\nspec: {hosts: [a.example.com], gateways: [gw], http: [{directResponse: {status: 200}}]}\n";
    let cluster = resources::parse(&[("t".into(), format!("{BASE}{profile}{route}"))]).unwrap();
    assert_eq!(cluster.authorization_policies.len(), 1);
    let found = findings(&format!("{profile}{route}"));
    assert_eq!(found.len(), findings(route).len(), "{found:?}");
}

/// A policy on the gateway.
fn policy(spec: &str) -> String {
    object(
        "AuthorizationPolicy",
        "security.istio.io",
        "istio-system",
        &format!("selector: {{matchLabels: {{app: gw}}}}, {spec}"),
    )
}

fn object(kind: &str, group: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: x, namespace: {namespace}}}\nspec: {{{spec}}}\n---\n"
    )
}

fn route(spec: &str) -> String {
    object("VirtualService", "networking.istio.io", "apps", spec)
}

fn tokens(spec: &str) -> String {
    object(
        "RequestAuthentication",
        "security.istio.io",
        "istio-system",
        &format!("selector: {{matchLabels: {{app: gw}}}}, {spec}"),
    )
}

fn patch(namespace: &str, patch: &str) -> String {
    let spec = format!("workloadSelector: {{labels: {{app: gw}}}}, configPatches: [{patch}]");
    object("EnvoyFilter", "networking.istio.io", namespace, &spec).replace("/v1\n", "/v1alpha3\n")
}

fn check(id: &str, fires: &str, near: &str) {
    let found = findings(fires);
    assert!(
        found.iter().any(|f| f.id == id),
        "{id} does not fire: {found:#?}"
    );
    let missed = findings(near);
    assert!(
        !missed.iter().any(|f| f.id == id),
        "{id} fires on a near miss: {missed:#?}"
    );
}

#[test]
fn policies() {
    for (id, fires, near) in [
        (
            "C2",
            "action: DENY, rules: [{to: [{operation: {paths: ['foo/{*}']}}]}]",
            "action: DENY, rules: [{to: [{operation: {paths: ['/foo/{*}']}}]}]",
        ),
        ("C3", "action: DENY", "rules: []"),
        (
            "C3",
            "action: DENY, rules: [{when: [{key: destination.user, values: [a]}]}]",
            "action: DENY, rules: [{when: [{key: source.ip, values: [1.2.3.4]}]}]",
        ),
        (
            "C4",
            "action: CUSTOM, provider: {name: nobody}, rules: [{}]",
            "action: CUSTOM, provider: {name: check}, rules: [{}]",
        ),
        (
            "C4",
            "action: CUSTOM, provider: {name: lost}, rules: [{}]",
            "action: CUSTOM, provider: {name: trusting}, rules: [{}]",
        ),
        (
            "C5",
            "action: DENY, rules: [{to: [{operation: {notPaths: ['/dex/*']}}]}]",
            "action: DENY, rules: [{to: [{operation: {notPaths: ['/dex/auth']}}]}]",
        ),
        (
            "H1",
            "action: DENY, rules: [{to: [{operation: {ports: ['80']}}]}]",
            "action: DENY, rules: [{to: [{operation: {ports: ['8080']}}]}]",
        ),
        (
            "S5",
            "action: DENY, rules: [{to: [{operation: {ports: ['81']}}]}]",
            "action: DENY, rules: [{to: [{operation: {ports: ['8080']}}]}]",
        ),
        (
            "H2",
            "action: DENY, rules: [{to: [{operation: {paths: ['/dex/**']}}]}]",
            "action: DENY, rules: [{to: [{operation: {paths: ['/dex/*']}}]}]",
        ),
        (
            "H2",
            "action: DENY, rules: [{to: [{operation: {hosts: ['a.*.com']}}]}]",
            "action: DENY, rules: [{to: [{operation: {hosts: ['*.a.com']}}]}]",
        ),
        (
            "H3",
            "action: DENY, rules: [{to: [{operation: {hosts: [a.com]}}]}]",
            "action: DENY, rules: [{to: [{operation: {hosts: [a.com, 'a.com:*']}}]}]",
        ),
        (
            "H3",
            "rules: [{to: [{operation: {hosts: ['a.com*']}}]}]",
            "rules: [{to: [{operation: {hosts: [a.com]}}]}]",
        ),
        (
            "H4",
            "action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]",
            "rules: [{to: [{operation: {paths: [/admin]}}]}]",
        ),
        (
            "H5",
            "action: DENY, rules: [{to: [{operation: {notPaths: ['*/healthz']}}]}]",
            "action: DENY, rules: [{to: [{operation: {notPaths: [/healthz]}}]}]",
        ),
        (
            "H6",
            "rules: [{from: [{source: {namespaces: [a]}}]}]",
            "rules: [{from: [{source: {ipBlocks: [1.2.3.4]}}]}]",
        ),
        (
            "H7",
            "rules: [{from: [{source: {requestPrincipals: ['*']}}]}]",
            "rules: [{}]",
        ),
        (
            "H8",
            "action: CUSTOM, provider: {name: check}, rules: [{when: [{key: 'request.headers[authorization]', notValues: ['*']}]}]",
            "action: CUSTOM, provider: {name: check}, rules: [{when: [{key: 'request.headers[x]', notValues: ['*']}]}]",
        ),
        (
            "H9",
            "action: CUSTOM, provider: {name: trusting}, rules: [{}]",
            "action: CUSTOM, provider: {name: check}, rules: [{}]",
        ),
        (
            "L1",
            "action: CUSTOM, provider: {name: trusting}, rules: [{}]",
            "action: CUSTOM, provider: {name: check}, rules: [{}]",
        ),
        (
            "M2",
            "rules: [{when: [{key: 'request.headers[x]', notValues: ['*']}]}]",
            "rules: [{when: [{key: 'request.headers[x]', values: ['*']}]}]",
        ),
        (
            "P1",
            "action: DENY, rules: [{to: [{operation: {notPaths: [/a]}}]}]",
            "action: DENY, rules: [{to: [{operation: {notPaths: [/a], hosts: ['*']}}]}]",
        ),
        (
            "P3",
            "action: DENY, rules: [{to: [{operation: {paths: ['/foo/{**}']}}]}]",
            "action: DENY, rules: [{to: [{operation: {paths: ['/foo/*']}}]}]",
        ),
        (
            "P3",
            "rules: [{to: [{operation: {paths: ['/foo/*'], notPaths: ['/foo/{*}/admin']}}]}]",
            "rules: [{to: [{operation: {paths: ['/foo/{*}/view']}}]}]",
        ),
        (
            "P2",
            "action: DENY, rules: [{to: [{operation: {notPaths: ['/v1*']}}]}]",
            "action: DENY, rules: [{to: [{operation: {notPaths: ['/v1/*']}}]}]",
        ),
        (
            "S2",
            "rules: [{}, {to: [{operation: {methods: [GET]}}]}]",
            "rules: [{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {methods: [PUT]}}]}]",
        ),
        (
            "S4",
            "rules: [{from: [{source: {ipBlocks: [1.2.3.4]}}]}, {to: [{operation: {methods: [GET]}}]}]",
            "rules: [{from: [{source: {ipBlocks: [1.2.3.4]}}], to: [{operation: {methods: [GET]}}]}]",
        ),
        (
            "S6",
            "action: CUSTOM, provider: {name: check}, rules: [{from: [{source: {notRequestPrincipals: ['*']}}]}]",
            "action: CUSTOM, provider: {name: check}, rules: [{}]",
        ),
    ] {
        check(id, &policy(fires), &policy(near));
    }
}

#[test]
fn selection() {
    let of = |namespace: &str, spec: &str| {
        object("AuthorizationPolicy", "security.istio.io", namespace, spec)
    };
    let rule = "rules: [{}]";
    let here = of(
        "istio-system",
        &format!("selector: {{matchLabels: {{app: gw}}}}, {rule}"),
    );
    check(
        "L2",
        &of(
            "kubeflow",
            &format!("selector: {{matchLabels: {{app: gw}}}}, {rule}"),
        ),
        &here,
    );
    check(
        "S1",
        &of(
            "istio-system",
            &format!("selector: {{matchLabels: {{app: nobody}}}}, {rule}"),
        ),
        &here,
    );
    check("S3", &of("istio-system", rule), &of("istio-system", ""));
    let second = policy("action: CUSTOM, provider: {name: trusting}, rules: [{}]")
        .replace("name: x", "name: z");
    let first = policy("action: CUSTOM, provider: {name: check}, rules: [{}]");
    check(
        "C4",
        &format!("{first}{second}"),
        &format!("{first}{}", second.replace("trusting", "check")),
    );
    let dry = first.replace(
        "name: x,",
        "name: x, annotations: {istio.io/dry-run: 'true'},",
    );
    check("L3", &dry, &first);
    let tcp = object(
        "Gateway",
        "networking.istio.io",
        "infra",
        "selector: {app: gw}, servers: [{port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}]",
    );
    let deny = policy("action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]");
    check("M1", &format!("{tcp}{deny}"), &deny);
    let ambient = |mode: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: apps, labels: {{istio.io/dataplane-mode: {mode}}}}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: apps, labels: {{app: p}}}}\n---\n{}",
            of("apps", "rules: [{to: [{operation: {methods: [GET]}}]}]")
        )
    };
    check("A1", &ambient("ambient"), &ambient("none"));
}

#[test]
fn token_rules() {
    let issuer = "jwtRules: [{issuer: 'https://i'";
    let demand = policy("action: DENY, rules: [{from: [{source: {notRequestPrincipals: ['*']}}]}]");
    check(
        "T1",
        &tokens(&format!("{issuer}}}]")),
        &tokens(&format!("{issuer}, audiences: [a]}}]")),
    );
    check(
        "M6",
        &tokens(&format!("{issuer}}}, {{issuer: b}}]")),
        &tokens(&format!("{issuer}}}]")),
    );
    check(
        "T2",
        &tokens(&format!("{issuer}}}]")),
        &format!("{}{demand}", tokens(&format!("{issuer}}}]"))),
    );
    check(
        "T3",
        &tokens("jwtRules: [{issuer: PATCH_ME}]"),
        &tokens(&format!("{issuer}}}]")),
    );
    let some = tokens(&format!("{issuer}}}]"));
    let asks = |who: &str| {
        format!(
            "{some}{}",
            policy(&format!(
                "rules: [{{from: [{{source: {{requestPrincipals: ['{who}']}}}}]}}]"
            ))
        )
    };
    check("H7", &asks("https://*"), &asks("https://i/*"));
}

#[test]
fn virtual_services() {
    let on = "gateways: [infra/gw], hosts: [a.com]";
    let to = "route: [{destination: {host: s}}]";
    let two = |a: &str, b: &str| {
        route(&format!(
            "{on}, http: [{{match: [{{uri: {{{a}}}}}], {to}}}, {{match: [{{uri: {{{b}}}}}], {to}}}]"
        ))
    };
    check(
        "R1",
        &two("prefix: /", "prefix: /a"),
        &two("prefix: /a", "prefix: /"),
    );
    let leads = |host: &str| {
        route(&format!(
            "{on}, http: [{{route: [{{destination: {{host: {host}}}}}]}}]"
        ))
    };
    let there = object("Service", "", "apps", "ports: [{port: 80}]").replace("/v1\n", "v1\n");
    for host in ["x", "x.apps.svc.cluster.local", "x.apps", "x.example.com"] {
        // A short name with a namespace is none to Istio.
        let near = match host {
            "x" | "x.apps.svc.cluster.local" => leads(host) + &there,
            other => {
                let hosts = format!(
                    "hosts: [{other}], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS"
                );
                leads(host) + &object("ServiceEntry", "networking.istio.io", "apps", &hosts)
            }
        };
        check("R7", &leads(host), &near);
    }
    check(
        "R2",
        &two("prefix: /a", "prefix: /a/b"),
        &two("prefix: /a/b", "prefix: /a"),
    );
    let one = |path: &str| {
        route(&format!(
            "{on}, http: [{{match: [{{uri: {{prefix: {path}}}}}], {to}}}]"
        ))
    };
    let other = |path: &str| one(path).replace("name: x", "name: z");
    check(
        "R3",
        &format!("{}{}", one("/a"), other("/a/b")),
        &format!("{}{}", one("/a/b"), other("/a")),
    );
    let star = one("/a").replace("hosts: [a.com]", "hosts: ['*']");
    check(
        "R4",
        &format!("{star}{}", other("/b")),
        &format!("{star}{}", other("/b").replace("a.com", "'*'")),
    );
    check(
        "R5",
        &route(&format!(
            "hosts: [s.other.svc.cluster.local], http: [{{{to}}}]"
        )),
        &route(&format!(
            "hosts: [s.apps.svc.cluster.local], http: [{{{to}}}]"
        )),
    );
    check("M5", &one("/a").replace("infra/gw", "gw"), &one("/a"));
    check("M5", &one("/a").replace("a.com", "A.com"), &one("/a"));
    check("M5", &one("/a").replace("a.com", "a"), &one("/a"));
    check(
        "M5",
        &one("/a").replace("gateways", "exportTo: ['.'], gateways"),
        &one("/a"),
    );
}

#[test]
fn envoy_filters() {
    let insert = |name: &str| {
        patch(
            "istio-system",
            &format!(
                "{{applyTo: HTTP_FILTER, match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: {name}}}}}}}}}, patch: {{operation: INSERT_BEFORE}}}}"
            ),
        )
    };
    let good = insert("envoy.filters.network.http_connection_manager");
    check("C1", &insert("envoy.http_connection_manager"), &good);
    check(
        "M3",
        &good.replace("namespace: istio-system", "namespace: kubeflow"),
        &good,
    );
    let route = |host: &str, port: u16, key: &str| {
        patch(
            "istio-system",
            &format!(
                "{{applyTo: HTTP_ROUTE, match: {{context: GATEWAY, routeConfiguration: {{portNumber: {port}, vhost: {{name: '{host}'}}}}}}, patch: {{operation: MERGE, value: {{typed_per_filter_config: {{{key}: {{}}}}}}}}}}"
            ),
        )
    };
    let key = "envoy.filters.http.ext_authz";
    let good = route("*:80", 80, key);
    check("M3", &route("*", 80, key), &good);
    check("M3", &route("*:80", 8080, key), &good);
    check("M4", &route("*:80", 80, "envoy.ext_authz"), &good);
}

#[test]
fn port_translation() {
    let second = |labels: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: local, namespace: istio-system, labels: {{{labels}}}}}\nspec: {{selector: {{app: gw}}, ports: [{{port: 80, targetPort: 8081}}]}}\n---\n"
        )
    };
    check(
        "H10",
        &second(""),
        &second("experimental.istio.io/disable-gateway-port-translation: 'true'"),
    );
}

#[test]
fn known_secrets() {
    let secret = |value: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {value}}}\n")
    };
    check(
        "K1",
        &secret("pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok"),
        &secret("other"),
    );
    let found = findings(&secret("7d16fee92f8d11b8940b081b3f8b8acb"));
    assert!(
        !format!("{found:?}").contains("7d16fee9"),
        "a message repeats the secret"
    );
}

/// What normalisation takes away is no finding.
#[test]
fn decoding_meshes_are_safe_from_encoded_slashes() {
    let text = format!(
        "{BASE}{}",
        policy("action: DENY, rules: [{to: [{operation: {notPaths: ['/dex/*']}}]}]")
    );
    let mut cluster = resources::parse(&[("t.yaml".into(), text)]).unwrap();
    for (mode, expected) in [
        (Normalization::None, true),
        (Normalization::Base, true),
        (Normalization::MergeSlashes, true),
        (Normalization::DecodeAndMergeSlashes, false),
    ] {
        cluster.mesh.path_normalization.normalization = mode;
        let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
        let found = lint(&cluster, &snapshot);
        assert_eq!(found.iter().any(|f| f.id == "C5"), expected, "{mode:?}");
    }
}

/// The fields that SARIF 2.1.0 requires (OASIS, appendix of required properties).
#[test]
fn sarif_has_what_it_must() {
    let found = findings(&policy(
        "action: DENY, rules: [{to: [{operation: {notPaths: ['/dex/*', '*/healthz']}}]}]",
    ));
    let log = sarif(&found);
    assert_eq!(log.get("version").unwrap(), "2.1.0");
    let run = log.pointer("/runs/0").unwrap();
    assert_eq!(run.pointer("/tool/driver/name").unwrap(), "sidegate");
    let rules = run
        .pointer("/tool/driver/rules")
        .unwrap()
        .as_array()
        .unwrap();
    let results = run.get("results").unwrap().as_array().unwrap();
    assert_eq!(results.len(), found.len());
    for (result, finding) in results.iter().zip(&found) {
        let index = result.get("ruleIndex").unwrap().as_u64().unwrap();
        assert_eq!(rules[index as usize].get("id").unwrap(), &*finding.id);
        assert_eq!(
            result
                .pointer("/locations/0/physicalLocation/artifactLocation/uri")
                .unwrap(),
            "t.yaml"
        );
        assert!(
            result
                .pointer("/locations/0/physicalLocation/region/startLine")
                .unwrap()
                .as_u64()
                .unwrap()
                > 1
        );
        assert!(
            !result
                .pointer("/message/text")
                .unwrap()
                .as_str()
                .unwrap()
                .is_empty()
        );
        assert!(
            ["error", "warning", "note"].contains(&result.get("level").unwrap().as_str().unwrap())
        );
    }
}

/// Kubeflow as it is installed.
#[test]
fn kubeflow() {
    let text = include_str!("../../../examples/kubeflow/cluster.yaml").to_owned();
    let cluster = resources::parse(&[("cluster.yaml".into(), text)]).unwrap();
    let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
    let found = lint(&cluster, &snapshot);
    for (id, object, field) in [
        ("P1", "istio-ingressgateway-oauth2-proxy", ""),
        ("P1", "istio-ingressgateway-require-jwt", ""),
        (
            "H2",
            "istio-ingressgateway-oauth2-proxy",
            "spec.rules[0].to[0].operation.notPaths[1]",
        ),
        (
            "H2",
            "istio-ingressgateway-require-jwt",
            "spec.rules[0].to[0].operation.notPaths[1]",
        ),
        (
            "H5",
            "cluster-local-gateway-require-jwt",
            "spec.rules[0].to[0].operation.notPaths[5]",
        ),
        ("H8", "istio-ingressgateway-oauth2-proxy", ""),
        ("T1", "m2m-token-issuer", ""),
        ("T1", "cluster-local-gateway-jwt", ""),
    ] {
        assert!(
            found.iter().any(|f| f.id == id
                && f.object.to_string().contains(object)
                && f.field.starts_with(field)),
            "{id} {object}: {found:#?}"
        );
    }
}
