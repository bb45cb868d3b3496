use crate::istio::{HttpMatch, StringMatch};
use crate::{Cluster, parse};

const INGRESS: &str =
    "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: a}\nspec: ";

fn load(spec: &str, more: &str) -> Cluster {
    parse(&[("f".into(), format!("{INGRESS}{spec}\n---\n{more}"))]).unwrap()
}

/// Host, and what leads where, as `exact`, `prefix*` or `all`.
fn routes(cluster: &Cluster) -> Vec<(String, Vec<String>)> {
    let text = |one: &HttpMatch| match one.uri.as_ref().unwrap() {
        StringMatch { exact: Some(v), .. } => v.clone(),
        StringMatch {
            prefix: Some(v), ..
        } => format!("{v}*"),
        other => panic!("{other:?}"),
    };
    cluster
        .virtual_services
        .iter()
        .map(|vs| {
            let http = vs.spec.http.iter().map(|route| {
                let matches: Vec<String> = route.matches.iter().map(text).collect();
                let to = &route.route[0].destination;
                let port = to.port.as_ref().unwrap().number;
                let matches = match matches.as_slice() {
                    [] => "all".to_owned(),
                    some => some.join(" "),
                };
                format!("{matches} → {}:{port}", to.host)
            });
            (vs.spec.hosts.join(","), http.collect())
        })
        .collect()
}

fn rules(paths: &str) -> String {
    format!(
        "{{ingressClassName: istio, rules: [{{host: h.example.com, http: {{paths: [{paths}]}}}}]}}"
    )
}

fn path(path: &str, kind: &str) -> String {
    format!("{{path: '{path}'{kind}, backend: {{service: {{name: s, port: {{number: 80}}}}}}}}")
}

/// istio `virtualservices.go`: what a path is compared with, longest first.
#[test]
fn paths_are_compared_as_istio_does() {
    let exact = ", pathType: Exact";
    let prefix = ", pathType: Prefix";
    let own = ", pathType: ImplementationSpecific";
    for (written, kind, expected) in [
        ("/a", exact, "/a"),
        ("/a", prefix, "/a /a/*"),
        ("/a/", prefix, "/a /a/*"),
        ("/", prefix, "/*"),
        ("/a", own, "/a"),
        ("/a/*", own, "/a /a/*"),
        ("/a.*", own, "/a /a/*"),
        ("/*", own, "all"),
        ("", own, "all"),
        ("/a", "", "/a"),
    ] {
        let cluster = load(&rules(&path(written, kind)), "");
        let expected = format!("{expected} → s.a.svc.cluster.local:80");
        assert_eq!(
            routes(&cluster),
            [("h.example.com".to_owned(), vec![expected])],
            "{written} {kind}"
        );
    }
    let several = [path("/", prefix), path("/a", prefix), path("/a", exact)].join(", ");
    let found = routes(&load(&rules(&several), ""));
    let starts: Vec<&str> = found[0]
        .1
        .iter()
        .map(|r| r.split(' ').next().unwrap())
        .collect();
    assert_eq!(starts, ["/a", "/a", "/*"]);
    assert!(found[0].1[0].starts_with("/a →"), "{found:?}");
}

/// istio `shouldProcessIngressWithClass`.
#[test]
fn only_ingresses_of_istios_class() {
    let mesh = |settings: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{settings}'}}\n---\n"
        )
    };
    let class = |name: &str, controller: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: {name}}}\nspec: {{controller: {controller}}}\n---\n"
        )
    };
    let ours = "istio.io/ingress-controller";
    let named = |class: &str| {
        format!(
            "{{ingressClassName: {class}, rules: [{{http: {{paths: [{}]}}}}]}}",
            path("/", "")
        )
    };
    for (spec, more, expected) in [
        (named("istio"), String::new(), true),
        (named("istio"), class("istio", ours), true),
        (
            named("istio"),
            class("istio", "k8s.io/ingress-nginx"),
            false,
        ),
        (named("mesh"), class("mesh", ours), true),
        (named("nginx"), String::new(), false),
        (
            named("istio"),
            class("istio", ours) + &mesh("ingressControllerMode: \"OFF\""),
            true,
        ),
        (named("own"), mesh("ingressClass: own"), true),
        (named("null"), String::new(), false),
        (named("null"), mesh("ingressControllerMode: DEFAULT"), true),
        (named("null"), mesh("ingressControllerMode: \"OFF\""), false),
    ] {
        let cluster = load(&spec, &more);
        assert_eq!(
            cluster.gateways.len(),
            usize::from(expected),
            "{spec} {more}"
        );
        assert_eq!(cluster.virtual_services.len(), usize::from(expected));
    }
    let annotated = |mode: &str| {
        let text = format!("{INGRESS}{}\n---\n{}", named("other"), mesh(mode)).replace(
            "namespace: a}",
            "namespace: a, annotations: {kubernetes.io/ingress.class: istio}}",
        );
        parse(&[("f".into(), text)]).unwrap().gateways.len()
    };
    assert_eq!(annotated("{}"), 1);
    assert_eq!(annotated("ingressControllerMode: \"OFF\""), 0);
    assert_eq!(annotated("ingressClass: other"), 0);
}

#[test]
fn servers_of_the_gateway() {
    let cluster = load(
        "{ingressClassName: istio, tls: [{hosts: [h.example.com], secretName: c}, {secretName: d}, {hosts: [no.example.com]}]}",
        "",
    );
    let gateway = &cluster.gateways[0];
    assert_eq!(
        gateway.source.to_string(),
        "f:1 (generated for Ingress a/i)"
    );
    assert_eq!(gateway.spec.selector["istio"], "ingressgateway");
    let servers: Vec<(u16, &str, &[String])> = gateway
        .spec
        .servers
        .iter()
        .map(|s| (s.port.number, s.port.protocol.as_str(), &s.hosts[..]))
        .collect();
    let any = ["*".to_owned()];
    assert_eq!(
        servers,
        [
            (443, "HTTPS", &["h.example.com".to_owned()][..]),
            (443, "HTTPS", &any[..]),
            (80, "HTTP", &any[..]),
        ]
    );
}

/// Several Ingresses with one host are one VirtualService, the oldest's.
#[test]
fn hosts_are_shared() {
    let other = format!("{INGRESS}{}\n", rules(&path("/b", ", pathType: Exact")))
        .replace("{name: i,", "{name: b,");
    let cluster = load(&rules(&path("/", ", pathType: Prefix")), &other);
    assert_eq!(cluster.gateways.len(), 2);
    assert_eq!(cluster.virtual_services.len(), 1);
    let vs = &cluster.virtual_services[0];
    assert_eq!(
        vs.spec.gateways,
        ["istio-system/b-istio-autogenerated-k8s-ingress-a"]
    );
    let origins: Vec<&str> = vs
        .spec
        .http
        .iter()
        .map(|r| r.origin.as_ref().unwrap().object.meta.name.as_str())
        .collect();
    assert_eq!(origins, ["b", "i"]);
}

#[test]
fn named_ports_and_backends_that_are_none() {
    let to = |backend: &str| {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: {ports: [{name: web, port: 8000}]}\n";
        let path = format!("{{path: /, backend: {backend}}}");
        routes(&load(&rules(&path), service)).remove(0).1
    };
    assert_eq!(
        to("{service: {name: s, port: {name: web}}}"),
        ["/ → s.a.svc.cluster.local:8000"]
    );
    assert_eq!(to("{service: {name: s, port: {name: other}}}"), [""; 0]);
    assert_eq!(to("{resource: {kind: X, name: x}}"), [""; 0]);
}

#[test]
fn fields_that_are_none_are_refused() {
    let text = format!(
        "{INGRESS}{{rules: [{{host: h, http: {{paths: [{{path: /, pathtype: Exact}}]}}}}]}}"
    );
    let errors = parse(&[("f".into(), text)]).unwrap_err().to_string();
    assert!(
        errors.contains(
            "f:4: Ingress a/i: spec.rules[0].http.paths[0].pathtype: unknown field `pathtype`"
        ),
        "{errors}"
    );
}
