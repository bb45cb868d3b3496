use crate::{Cluster, LoadErrors, parse};

fn load(text: &str) -> Result<Cluster, LoadErrors> {
    parse(&[("f.yaml".into(), text.to_owned())])
}

/// The messages of a text; each expected one is a whole line.
fn check(text: &str, expected: &[&str]) {
    let found = load(text).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(found, expected.join("\n"), "{text}");
}

#[test]
fn messages() {
    check(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: b}\nspec:\n  http:\n  - match: x\n",
        &[
            "f.yaml:6: VirtualService b/a: spec.http[0].match: expected a sequence, found string \"x\"",
        ],
    );
    // The second `match` is wrong, and it is the second line that is named.
    check(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  http:\n  - match: []\n  - match: 7\n",
        &[
            "f.yaml:7: VirtualService default/a: spec.http[1].match: expected a sequence, found integer `7`",
        ],
    );
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 70000}]\n",
        &["f.yaml:5: Service default/a: spec.ports[0].port: expected u16, found integer `70000`"],
    );
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 1, targetPort: [1]}]\n",
        &["f.yaml:5: Service default/a: spec.ports[0].targetPort: expected a port number or name"],
    );
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {namespace: x}\n",
        &["f.yaml:1: Service x/: metadata.name: expected a name"],
    );
    check(
        "apiVersion: v1\nmetadata: {name: a}\n",
        &["f.yaml:1: `kind` is missing"],
    );
    check(
        "kind: Service\nmetadata: {name: a}\n",
        &["f.yaml:1: Service: `apiVersion` is missing"],
    );
    check(
        "just text\n",
        &["f.yaml:1: expected an object with `apiVersion` and `kind`"],
    );
    check(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: '***'}\n",
        &["f.yaml:1: Secret default/a: data.k: expected base64"],
    );
}

#[test]
fn our_own_object_is_strict() {
    let head =
        "apiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\nmetadata: {name: a, namespace: b}\n";
    check(
        &format!("{head}sepc: {{}}\n"),
        &["f.yaml:4: Sidegate b/a: sepc: unknown field `sepc`, did you mean `spec`?"],
    );
    check(
        &format!("{head}spec:\n  mode: strict\n"),
        &["f.yaml:5: Sidegate b/a: spec.mode: expected `as-written` or `enforce`, found `strict`"],
    );
    let found = load(&format!("{head}spec:\n  paths: [/v1]\n")).unwrap_err();
    assert!(
        found.to_string().contains("unknown field `paths`"),
        "{found}"
    );
    check(
        &format!("{head}---\n{}", head.replace("name: a,", "name: c,")),
        &["f.yaml:5: Sidegate b/c: there is another Sidegate object at f.yaml:1, expected one"],
    );
    check(
        "apiVersion: sidegate.dev/v2\nkind: Sidegate\nmetadata: {name: a}\n",
        &[
            "f.yaml:1: Sidegate default/a: expected `sidegate.dev/v1alpha1` `Sidegate`, found `sidegate.dev/v2` `Sidegate`",
        ],
    );
}

#[test]
fn errors_inside_config_maps_have_their_own_line() {
    let mesh = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: {namespace}}}\ndata:\n  mesh: |-\n    trustDomain: x\n    extensionProviders: 7\n"
        )
    };
    check(
        &mesh("istio-system"),
        &[
            "f.yaml:7: ConfigMap istio-system/istio: data.mesh: extensionProviders: expected a sequence, found integer `7`",
        ],
    );
    // Another namespace's ConfigMap does not configure the mesh.
    assert_eq!(load(&mesh("team-a")).unwrap().mesh.trust_domain, None);
}

#[test]
fn known_kinds_are_told_by_group_and_version() {
    let one = |api: &str, kind: &str| {
        let text = format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\n");
        load(&text).unwrap().unknown_kinds
    };
    let known: [(String, usize); 0] = [];
    for api in ["v1alpha3", "v1beta1", "v1"] {
        assert_eq!(one(&format!("networking.istio.io/{api}"), "Gateway"), known);
    }
    assert_eq!(one("apps/v1", "Deployment"), known);
    for (api, kind, expected) in [
        (
            "gateway.networking.k8s.io/v1alpha2",
            "Gateway",
            "Gateway.gateway.networking.k8s.io/v1alpha2",
        ),
        (
            "serving.knative.dev/v1",
            "Service",
            "Service.serving.knative.dev",
        ),
        (
            "serving.kserve.io/v1alpha2",
            "InferenceService",
            "InferenceService.serving.kserve.io/v1alpha2",
        ),
        ("v2", "Pod", "Pod/v2"),
        (
            "security.istio.io/v1alpha1",
            "AuthorizationPolicy",
            "AuthorizationPolicy.security.istio.io/v1alpha1",
        ),
    ] {
        assert_eq!(one(api, kind), [(expected.to_owned(), 1)], "{api} {kind}");
    }
}

#[test]
fn null_fields_are_absent_but_null_conditions_are_not() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, labels: null}\nspec: {selector: null, rules: [null, {from: null}]}\n";
    let cluster = load(policy).unwrap();
    let spec = &cluster.authorization_policies[0].spec;
    assert!(spec.selector.is_none());
    let rules = spec.rules.as_ref().unwrap();
    assert!(rules[0].is_none());
    assert!(rules[1].as_ref().unwrap().from.is_empty());
    let route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {http: [{match: [{headers: {x-team: null}}]}]}\n";
    let errors = load(route).unwrap_err();
    assert_eq!(
        errors.errors[0].field.as_deref(),
        Some("spec.http[0].match[0].headers.x-team")
    );
}

#[test]
fn mutual_tls_is_read_by_port() {
    use crate::istio::MutualTlsMode::{Disable, Strict, Unset};
    let peer = |spec: &str| {
        load(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: a}}\nspec: {spec}\n"
        ))
    };
    let cluster = peer("{mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}, 9000: {}}}");
    let cluster = cluster.unwrap();
    let spec = &cluster.peer_authentications[0].spec;
    assert_eq!(spec.mtls.unwrap().mode, Strict);
    assert_eq!(spec.port_level_mtls[&8080].mode, Disable);
    assert_eq!(spec.port_level_mtls[&9000].mode, Unset);
    let errors = peer("{mtls: {mode: STRIKT}}").unwrap_err();
    assert_eq!(errors.errors[0].field.as_deref(), Some("spec.mtls.mode"));
}

#[test]
fn the_tls_of_a_port_goes_before_that_of_the_host() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}, tls: {}}]}}\n";
    let cluster = load(rule).unwrap();
    let policy = cluster.destination_rules[0].spec.traffic_policy.as_ref();
    let policy = policy.unwrap();
    assert_eq!(policy.tls_of(80).map(|tls| tls.mode()), Some("DISABLE"));
    assert_eq!(
        policy.tls_of(81).map(|tls| tls.mode()),
        Some("ISTIO_MUTUAL")
    );
}

#[test]
fn addresses_come_from_three_kinds() {
    let cluster = load(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-x1, namespace: team, labels: {kubernetes.io/service-name: a}}\nendpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}]\nports: [{name: http, port: 8080}]\n---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: b, namespace: team}\nsubsets: [{addresses: [{ip: 10.0.0.3}], ports: [{port: 80}]}]\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: c, namespace: team}\nspec: {hosts: [api.example.com], ports: [{name: https, number: 443}]}\n",
    )
    .unwrap();
    let found: Vec<_> = cluster
        .endpoints
        .iter()
        .map(|e| {
            format!(
                "{} {} {:?}",
                e.spec.host,
                e.spec.addresses.join(","),
                e.spec.ports
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "a.team.svc.cluster.local 10.0.0.1 [(\"http\", 8080)]",
            "b.team.svc.cluster.local 10.0.0.3 [(\"\", 80)]",
            "api.example.com api.example.com [(\"https\", 443)]",
        ]
    );
}
