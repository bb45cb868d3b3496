use super::{EVERYWHERE, KINDS};
use crate::parse;

/// What is said of an object, without the file's name.
fn said(text: &str) -> Vec<String> {
    let errors = parse(&[("f".into(), text.to_owned())]).err();
    let errors = errors.map(|e| e.errors).unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

fn policy(rest: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: a\n  namespace: b\n{rest}"
    )
}

#[test]
fn all_schemas_are_read() {
    for kind in [
        "AuthorizationPolicy.security.istio.io",
        "HTTPRoute.gateway.networking.k8s.io",
        "InferenceService.serving.kserve.io",
        "Service",
        "metadata",
        "podSpec",
        "MeshConfig",
        "ProxyConfig",
    ] {
        assert!(KINDS.contains_key(kind), "{kind}");
    }
    assert!(
        EVERYWHERE
            .iter()
            .all(|(_, shape)| KINDS.contains_key(*shape) || *shape == "any")
    );
}

#[test]
fn unknown_fields_are_refused_with_what_was_meant() {
    for (rest, expected) in [
        (
            "spec:\n  action: DENY\n  rulez:\n  - to: []\n",
            "f:8: AuthorizationPolicy b/a: spec.rulez: unknown field `rulez`, did you mean `rules`?",
        ),
        (
            "spec:\n  rules:\n  - to:\n    - operation:\n        path:\n        - /a\n",
            "f:10: AuthorizationPolicy b/a: spec.rules[0].to[0].operation.path: unknown field `path`, did you mean `paths`?",
        ),
        (
            "spec:\n  rules:\n  - from:\n    - source:\n        remoteIPBlocks: [10.0.0.1]\n",
            "f:10: AuthorizationPolicy b/a: spec.rules[0].from[0].source.remoteIPBlocks: unknown field `remoteIPBlocks`, did you mean `remoteIpBlocks`?",
        ),
        (
            "spec:\n  rules:\n  - paths: [/a]\n",
            "f:8: AuthorizationPolicy b/a: spec.rules[0].paths: unknown field `paths`, did you mean `to[].operation.paths`?",
        ),
        (
            "rules: []\n",
            "f:6: AuthorizationPolicy b/a: rules: unknown field `rules`, did you mean `spec.rules`?",
        ),
        (
            "sepc: {}\n",
            "f:6: AuthorizationPolicy b/a: sepc: unknown field `sepc`, did you mean `spec`?",
        ),
        (
            "spec:\n  selector:\n    istio: ingressgateway\n",
            "f:8: AuthorizationPolicy b/a: spec.selector.istio: unknown field `istio`, expected `matchLabels`",
        ),
        (
            "spec:\n  rules:\n  - when: [{key: source.ip, value: [10.0.0.1]}]\n",
            "f:8: AuthorizationPolicy b/a: spec.rules[0].when[0].value: unknown field `value`, did you mean `values`?",
        ),
    ] {
        assert_eq!(said(&policy(rest)), [expected], "{rest}");
    }
    let labels = policy("").replace("  name: a\n", "  name: a\n  lables:\n    a: b\n");
    assert_eq!(
        said(&labels),
        [
            "f:5: AuthorizationPolicy b/a: metadata.lables: unknown field `lables`, did you mean `labels`?"
        ]
    );
}

#[test]
fn every_kind_has_its_own_fields() {
    for (api, kind, rest, expected) in [
        (
            "networking.istio.io/v1",
            "VirtualService",
            "spec:\n  http:\n  - matches:\n    - uri: {exact: /a}\n",
            "f:6: VirtualService b/a: spec.http[0].matches: unknown field `matches`, did you mean `match`?",
        ),
        (
            "networking.istio.io/v1alpha3",
            "Gateway",
            "spec:\n  servers:\n  - host: ['*']\n",
            "f:6: Gateway b/a: spec.servers[0].host: unknown field `host`, did you mean `hosts`?",
        ),
        (
            "security.istio.io/v1",
            "RequestAuthentication",
            "spec:\n  jwtRules:\n  - issuer: a\n    jwksUrl: https://a/keys\n",
            "f:7: RequestAuthentication b/a: spec.jwtRules[0].jwksUrl: unknown field `jwksUrl`, did you mean `jwksUri`?",
        ),
        (
            "security.istio.io/v1",
            "PeerAuthentication",
            "spec:\n  mtls:\n    mod: STRICT\n",
            "f:6: PeerAuthentication b/a: spec.mtls.mod: unknown field `mod`, did you mean `mode`?",
        ),
        (
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            "spec:\n  rules:\n  - backendRef: []\n",
            "f:6: HTTPRoute b/a: spec.rules[0].backendRef: unknown field `backendRef`, did you mean `backendRefs`?",
        ),
        (
            "serving.kserve.io/v1beta1",
            "InferenceService",
            "spec:\n  predictor:\n    sklern: {}\n",
            "f:6: InferenceService b/a: spec.predictor.sklern: unknown field `sklern`, did you mean `sklearn`?",
        ),
        (
            "serving.kserve.io/v1alpha1",
            "InferenceGraph",
            "spec:\n  nodes:\n    root:\n      routerType: Sequnce\n",
            "f:7: InferenceGraph b/a: spec.nodes.root.routerType: expected one of `Ensemble`, `Sequence`, `Splitter`, `Switch`, found `Sequnce`",
        ),
        (
            "v1",
            "Service",
            "spec:\n  selecter: {a: b}\n",
            "f:5: Service b/a: spec.selecter: unknown field `selecter`, did you mean `selector`?",
        ),
        (
            "apps/v1",
            "Deployment",
            "spec:\n  template:\n    metadata:\n      label: {a: b}\n",
            "f:7: Deployment b/a: spec.template.metadata.label: unknown field `label`, did you mean `labels`?",
        ),
        (
            "sidegate.dev/v1alpha1",
            "Sidegate",
            "sepc: {}\n",
            "f:4: Sidegate b/a: sepc: unknown field `sepc`, did you mean `spec`?",
        ),
    ] {
        let text =
            format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\n{rest}");
        assert_eq!(said(&text), [expected], "{rest}");
    }
}

/// Names of the user's own are no fields, and Envoy's configuration is Envoy's.
#[test]
fn what_is_known_or_free_is_taken() {
    for text in [
        policy("spec:\n  selector: {matchLabels: {any: name}}\n  action: AUDIT\nstatus: {conditions: []}\n"),
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, uid: x, managedFields: [{a: b}]}\n\
         spec: {http: [{match: [{headers: {x-any: {exact: a}}}], retries: {attempts: 1}, mirror_percent: 5}]}\n"
            .to_owned(),
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\n\
         spec: {configPatches: [{applyTo: HTTP_FILTER, patch: {operation: REMOVE, value: {any: {thing: 1}}}}]}\n"
            .to_owned(),
        "apiVersion: example.com/v1\nkind: Anything\nmetadata: {name: a, lables: {}}\nrulez: 1\n".to_owned(),
        // In a version that is not read nothing is looked at.
        policy("spec: {rulez: []}\n").replace("io/v1", "io/v1alpha1"),
    ] {
        assert_eq!(said(&text), [""; 0], "{text}");
    }
}

#[test]
fn words_are_those_of_the_schema() {
    assert_eq!(
        said(&policy("spec:\n  rules: []\n  action: DENNY\n")),
        [
            "f:8: AuthorizationPolicy b/a: spec.action: expected one of `ALLOW`, `DENY`, `AUDIT`, `CUSTOM`, found `DENNY`"
        ]
    );
    let gateway = |tls: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: a, namespace: b}}\nspec:\n  servers:\n  - tls:\n      mode: {tls}\n"
        )
    };
    assert!(
        said(&gateway("SIMPEL"))[0].starts_with(
            "f:7: Gateway b/a: spec.servers[0].tls.mode: expected one of `PASSTHROUGH`, `SIMPLE`"
        ),
        "{:?}",
        said(&gateway("SIMPEL"))
    );
    assert!(said(&gateway("null")).is_empty());
    assert!(said(&gateway("[a]"))[0].contains("found a sequence"));
}

#[test]
fn addresses_are_addresses() {
    for (rule, expected) in [
        (
            "  - from:\n    - source:\n        ipBlocks:\n        - 10.0.0.0/8\n        - 10.0.0.0/33\n",
            "f:12: AuthorizationPolicy b/a: spec.rules[0].from[0].source.ipBlocks[1]: expected an IP address or a network like `10.0.0.0/8`, found `10.0.0.0/33`",
        ),
        (
            "  - from: [{source: {notRemoteIpBlocks: [010.0.0.1]}}]\n",
            "f:8: AuthorizationPolicy b/a: spec.rules[0].from[0].source.notRemoteIpBlocks[0]: expected an IP address or a network like `10.0.0.0/8`, found `010.0.0.1`",
        ),
        (
            "  - when: [{key: remote.ip, notValues: [::1/128, ::1/0128]}]\n",
            "f:8: AuthorizationPolicy b/a: spec.rules[0].when[0].notValues[1]: expected an IP address or a network like `10.0.0.0/8`, found `::1/0128`",
        ),
    ] {
        assert_eq!(
            said(&policy(&format!("spec:\n  rules:\n{rule}"))),
            [expected]
        );
    }
    let fine = "spec: {rules: [{from: [{source: {ipBlocks: [10.0.0.1, '::1', 'fe80::/10', 0.0.0.0/0]}}], when: [{key: source.namespace, values: [x/99]}]}]}\n";
    assert_eq!(said(&policy(fine)), [""; 0]);
}

/// Kubeflow 1.3 has such a filter, and an API server only knows its own version.
#[test]
fn some_unknown_fields_are_only_told() {
    let told = |text: &str| {
        let cluster = parse(&[("f".into(), text.to_owned())]).unwrap();
        let all = cluster.unknown_fields.iter();
        all.map(ToString::to_string).collect::<Vec<_>>()
    };
    let filter = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\nspec:\n  configPatches:\n  - listener: {}\n";
    assert_eq!(
        told(filter),
        [
            "f:6: EnvoyFilter default/a: spec.configPatches[0].listener: unknown field `listener`, did you mean `match.listener`?"
        ]
    );
    let model = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: a, uid: x}\nspec: {predictor: {novelty: 1}}\n";
    assert_eq!(
        told(model),
        ["f:4: InferenceService default/a: spec.predictor.novelty: unknown field `novelty`"]
    );
    let newer = policy("spec: {novelty: 1}\n").replace("metadata:\n", "metadata:\n  uid: x\n");
    assert_eq!(said(&newer).len(), 1);
    let part = "$patch: delete\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nwords: 1\n";
    assert_eq!((told(part), said(part)), (Vec::new(), Vec::new()));
}

/// Istiod passes over what it does not know of its settings, and takes the names
/// of their source.
#[test]
fn settings_of_the_mesh() {
    let load = |settings: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |-\n{settings}"
        );
        parse(&[("f".into(), text)]).unwrap()
    };
    let cluster = load(
        "    trustDomian: x\n    trust_domain_aliases: [old]\n    accessLogFile: /dev/stdout\n    mixerCheckServer: ''\n    extensionProviders:\n    - name: a\n      envoyExtAuthzHttp:\n        service: a.b\n        port: 80\n        headersToUpstreamOnAlow: [x]\n        path_prefix: /p\n    pathNormalization: {normalization: NONE}\n    defaultConfig:\n      gatewayTopology: {numTrustedProxy: 1}\n",
    );
    let told: Vec<String> = cluster
        .unknown_fields
        .iter()
        .map(ToString::to_string)
        .collect();
    let meant = |line: u32, place: &str, name: &str, meant: &str| {
        format!(
            "f:{line}: ConfigMap istio-system/istio: data.mesh: {place}{name}: unknown field `{name}`{meant}"
        )
    };
    let mut expected = vec![
        meant(6, "", "trustDomian", ", did you mean `trustDomain`?"),
        meant(
            15,
            "extensionProviders[0].envoyExtAuthzHttp.",
            "headersToUpstreamOnAlow",
            ", did you mean `headersToUpstreamOnAllow`?",
        ),
        meant(
            19,
            "defaultConfig.gatewayTopology.",
            "numTrustedProxy",
            ", did you mean `numTrustedProxies`?",
        ),
    ];
    let mut found = told.clone();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(cluster.mesh.trust_domain, None);
    assert_eq!(cluster.mesh.trust_domain_aliases, ["old"]);
    let provider = &cluster.mesh.extension_providers[0];
    let http = provider.envoy_ext_authz_http.as_ref().unwrap();
    assert_eq!(http.path_prefix, "/p");
    assert_eq!(load("    {}\n").unknown_fields, []);
}

#[test]
fn pods_and_settings_of_their_proxies() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    proxy.istio.io/config: 'gatewayTopolgy: {}'\nspec:\n  serviceAccountName: b\n";
    let cluster = parse(&[("f".into(), pod.to_owned())]).unwrap();
    assert_eq!(
        cluster
            .unknown_fields
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "f:6: Pod default/a: metadata.annotations.proxy.istio.io/config: gatewayTopolgy: unknown field `gatewayTopolgy`, did you mean `gatewayTopology`?"
        ]
    );
    let wrong = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n      serviceAcount: b\n      containers:\n      - name: x\n        ports: [{port: 80}]\n";
    assert_eq!(
        said(wrong),
        [
            "f:7: Deployment default/a: spec.template.spec.serviceAcount: unknown field `serviceAcount`, did you mean `serviceAccount`?",
            "f:10: Deployment default/a: spec.template.spec.containers[0].ports[0].port: unknown field `port`, expected one of `containerPort`, `hostIP`, `hostPort`, `name`, `protocol`",
        ]
    );
}
