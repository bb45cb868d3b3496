use crate::istio::VirtualService;
use crate::meta::Object;
use crate::{Cluster, parse, urls};

/// As `ingress_reconciler.go` and `virtual_service.go` render them.
const GOLDEN: &str = include_str!("golden.yaml");

const CONFIG: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: inferenceservice-config, namespace: kserve}
data:
  ingress: '{\"ingressGateway\": \"kubeflow/kubeflow-gateway\", \"localGateway\": \"knative-serving/knative-local-gateway\", \"localGatewayService\": \"knative-local-gateway.istio-system.svc.cluster.local\", \"ingressDomain\": \"example.com\", \"domainTemplate\": \"{{ .Name }}.{{ .Namespace }}.{{ .IngressDomain }}\", \"pathTemplate\": \"/serving/{{ .Namespace }}/{{ .Name }}\"}'
";

fn load(isvc: &str, more: &str) -> Cluster {
    let text = format!(
        "{CONFIG}---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{isvc}\n---\n{more}"
    );
    parse(&[("f".into(), text)]).unwrap()
}

const IRIS: &str =
    "metadata: {name: sklearn-iris, namespace: kserve-test}\nspec: {predictor: {sklearn: {}}}";

fn json(route: &Object<VirtualService>) -> serde_json::Value {
    serde_json::to_value(&route.spec).unwrap()
}

fn route<'c>(cluster: &'c Cluster, name: &str) -> &'c Object<VirtualService> {
    let mut found = cluster
        .virtual_services
        .iter()
        .filter(|v| v.meta.name == name);
    let one = found.next().unwrap();
    assert!(found.next().is_none(), "{name} twice");
    one
}

fn predictors(cluster: &Cluster) -> Vec<&str> {
    let mut names: Vec<&str> = cluster
        .predictors
        .iter()
        .map(|p| &*p.service.name)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn routes_are_what_the_controllers_render() {
    let generated = load(IRIS, "");
    let written = parse(&[("golden".into(), GOLDEN.to_owned())]).unwrap();
    for name in ["sklearn-iris", "sklearn-iris-predictor-ingress"] {
        let found = route(&generated, name);
        assert_eq!(json(found), json(route(&written, name)), "{name}");
        assert_eq!(
            found.source.to_string(),
            "f:7 (generated for InferenceService kserve-test/sklearn-iris)"
        );
    }
    let entry = &generated.services[0];
    assert_eq!(
        (
            entry.meta.name.as_str(),
            entry.spec.external_name.as_deref()
        ),
        (
            "sklearn-iris",
            Some("knative-local-gateway.istio-system.svc.cluster.local")
        )
    );
    assert_eq!(
        predictors(&generated),
        ["sklearn-iris-predictor", "sklearn-iris-predictor-00001"]
    );
}

#[test]
fn what_the_yaml_holds_is_left_alone() {
    let cluster = load(IRIS, GOLDEN);
    let mine = route(&cluster, "sklearn-iris");
    assert!(mine.source.generated_from.is_none());
    assert_eq!(cluster.virtual_services.len(), 2);
}

#[test]
fn the_newest_revision_is_routed_to() {
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: kserve-test}}\n---\n"
        )
    };
    let more: String = [
        "sklearn-iris-predictor-00002",
        "sklearn-iris-predictor-00003",
        "sklearn-iris-predictor-00003-private",
        "sklearn-iris-predictor-backup",
        "sklearn-iris2-predictor-00009",
    ]
    .map(service)
    .concat();
    let cluster = load(IRIS, &more);
    assert_eq!(
        route(&cluster, "sklearn-iris-predictor-ingress").spec.http[0].route[0]
            .destination
            .host,
        "sklearn-iris-predictor-00003.kserve-test.svc.cluster.local"
    );
    assert_eq!(
        predictors(&cluster),
        [
            "sklearn-iris-predictor",
            "sklearn-iris-predictor-00002",
            "sklearn-iris-predictor-00003",
            "sklearn-iris-predictor-00003-private",
        ]
    );
}

#[test]
fn a_cluster_local_model_has_no_outside_name() {
    let cluster = load(
        "metadata: {name: a, namespace: b, labels: {networking.knative.dev/visibility: cluster-local}}\nspec: {predictor: {sklearn: {}}}",
        "",
    );
    for vs in &cluster.virtual_services {
        assert!(
            !vs.spec
                .gateways
                .contains(&"kubeflow/kubeflow-gateway".to_owned()),
            "{}",
            vs.meta.name
        );
        assert!(
            vs.spec.hosts.iter().all(|h| !h.ends_with("example.com")),
            "{:?}",
            vs.spec.hosts
        );
    }
    let urls = urls(&cluster.ingress, &cluster.inference_services[0]).unwrap();
    assert_eq!(urls.external_hosts, Vec::<String>::new());
    assert_eq!(urls.local_host, "a.b.svc.cluster.local");
}

#[test]
fn a_raw_model_is_around_the_gateways() {
    let cluster = load(
        "metadata: {name: a, namespace: b, annotations: {serving.kserve.io/deploymentMode: RawDeployment}}\nspec: {predictor: {sklearn: {}}}",
        "",
    );
    assert!(cluster.virtual_services.is_empty());
    assert_eq!(predictors(&cluster), ["a", "a-predictor"]);
}

#[test]
fn a_transformer_comes_first() {
    let cluster = load(
        "metadata: {name: a, namespace: b}\nspec: {predictor: {sklearn: {}}, transformer: {containers: []}, explainer: {containers: []}}",
        "",
    );
    let hosts: Vec<_> = route(&cluster, "a")
        .spec
        .http
        .iter()
        .map(|r| r.headers.as_ref().unwrap().request.set["Host"].as_str())
        .collect();
    assert_eq!(
        hosts,
        [
            "a-explainer.b.svc.cluster.local",
            "a-transformer.b.svc.cluster.local",
            // By path.
            "a-explainer.b.svc.cluster.local",
            "a-transformer.b.svc.cluster.local",
        ]
    );
    assert!(
        cluster
            .virtual_services
            .iter()
            .any(|v| v.meta.name == "a-explainer-ingress")
    );
    assert_eq!(predictors(&cluster), ["a-predictor", "a-predictor-00001"]);
}

const GRAPH: &str = "apiVersion: serving.kserve.io/v1alpha1
kind: InferenceGraph
metadata: {name: pair, namespace: kserve-test}
spec:
  nodes:
    root: {routerType: Sequence, steps: [{serviceName: sklearn-iris}, {serviceName: other, data: $response}]}
";

/// What `createKnativeService` makes is a Knative Service like a predictor's.
#[test]
fn a_graph_has_one_knative_service_of_its_name() {
    let cluster = load(IRIS, GRAPH);
    let (graph, predictor) = (
        route(&cluster, "pair-ingress"),
        route(&cluster, "sklearn-iris-predictor-ingress"),
    );
    let like = json(predictor)
        .to_string()
        .replace("sklearn-iris-predictor", "pair");
    assert_eq!(json(graph).to_string(), like);
    assert_eq!(graph.meta.labels["serving.knative.dev/route"], "pair");
    let from = graph.source.generated_from.as_ref().unwrap();
    assert_eq!(from.to_string(), "InferenceGraph kserve-test/pair");
    let service = |name: &str| {
        let mut all = cluster.services.iter();
        all.find(|s| s.meta.name == name).map(|s| &s.spec)
    };
    let front = service("pair").unwrap().external_name.as_deref();
    assert_eq!(
        front,
        Some("knative-local-gateway.istio-system.svc.cluster.local")
    );
    assert!(service("pair-00001").is_some());
    // Its predictors are those of its models.
    assert_eq!(
        predictors(&cluster),
        ["sklearn-iris-predictor", "sklearn-iris-predictor-00001"]
    );
}

#[test]
fn a_graph_may_be_cluster_local_stand_alone_or_written() {
    let local = GRAPH.replace(
        "namespace: kserve-test}",
        "namespace: kserve-test, labels: {networking.knative.dev/visibility: cluster-local}}",
    );
    let cluster = load(IRIS, &local);
    let hosts = &route(&cluster, "pair-ingress").spec.hosts;
    assert!(
        hosts.iter().all(|h| !h.ends_with("example.com")),
        "{hosts:?}"
    );
    let raw = GRAPH.replace(
        "namespace: kserve-test}",
        "namespace: kserve-test, annotations: {serving.kserve.io/deploymentMode: Standard}}",
    );
    let cluster = load(IRIS, &raw);
    let mut routes = cluster.virtual_services.iter();
    assert!(!routes.any(|route| route.meta.name == "pair-ingress"));
    let service = cluster.services.iter().find(|s| s.meta.name == "pair");
    assert_eq!(service.unwrap().spec.external_name, None);
    let written = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: pair-ingress, namespace: kserve-test}\nspec: {hosts: [pair.example.com]}\n";
    let cluster = load(IRIS, &format!("{GRAPH}---\n{written}"));
    let mine = route(&cluster, "pair-ingress");
    assert_eq!(mine.spec.hosts, ["pair.example.com"]);
}

#[test]
fn an_unknown_template_is_an_error() {
    let text = format!(
        "{}---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{IRIS}\n",
        CONFIG.replace("{{ .Name }}.{{", "{{ lower .Name }}.{{")
    );
    let errors = parse(&[("f".into(), text)]).unwrap_err();
    assert!(
        errors.to_string().contains("found `lower .Name`"),
        "{errors}"
    );
}

/// What `profile_controller.go` labels; one that the YAML holds stays as it is.
#[test]
fn the_namespace_of_a_profile() {
    let profile = "apiVersion: kubeflow.org/v1\nkind: Profile\nmetadata: {name: team-a}\nspec: {owner: {kind: User, name: a@example.com}}\n";
    let namespaces = |text: String| {
        let cluster = parse(&[("f".into(), text)]).unwrap();
        let all = cluster.namespaces.into_iter();
        all.map(|n| {
            (
                n.meta.name,
                n.meta.labels,
                n.source.generated_from.is_some(),
            )
        })
        .collect::<Vec<_>>()
    };
    let found = namespaces(profile.to_owned());
    assert_eq!(found.len(), 1);
    let (name, labels, generated) = &found[0];
    assert_eq!((name.as_str(), *generated), ("team-a", true));
    assert_eq!(labels["app.kubernetes.io/part-of"], "kubeflow-profile");
    let own = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team-a}\n";
    let found = namespaces(format!("{profile}{own}"));
    assert_eq!(found, [("team-a".to_owned(), Default::default(), false)]);
}

const STANDARD: &str =
    "metadata: {name: a, namespace: b, annotations: {serving.kserve.io/deploymentMode: Standard}}";

fn with_ingress(settings: &str) -> String {
    CONFIG.replace(
        "\"ingressDomain\"",
        &format!("{settings}, \"ingressDomain\""),
    )
}

fn standard(config: &str, spec: &str, more: &str) -> Cluster {
    let text = format!(
        "{config}---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{STANDARD}\nspec: {spec}\n---\n{more}"
    );
    parse(&[("f".into(), text)]).unwrap()
}

/// `kube_ingress_reconciler.go`, whose hosts of transformer, predictor and
/// explainer are mixed up from 0.11 on.
#[test]
fn the_ingress_of_a_standard_model() {
    let all =
        "{predictor: {sklearn: {}}, transformer: {containers: []}, explainer: {containers: []}}";
    let explained = "{predictor: {sklearn: {}}, explainer: {containers: []}}";
    let plain = "{predictor: {sklearn: {}}}";
    for (version, spec, expected) in [
        (
            "0.20",
            plain,
            &[
                "a.b.example.com → a-predictor",
                "a-predictor.b.example.com → a-predictor",
            ][..],
        ),
        (
            "0.8",
            plain,
            &[
                "a-b.example.com → a-predictor-default",
                "a-predictor-default-b.example.com → a-predictor-default",
            ],
        ),
        (
            "0.20",
            explained,
            &[
                "a.b.example.com → a-predictor",
                "a-explainer.b.example.com → a-explainer",
                "a-predictor.b.example.com → a-predictor",
            ],
        ),
        (
            "0.20",
            all,
            &[
                "a-transformer.b.example.com → a-explainer",
                "a.b.example.com → a-transformer",
                "a-transformer.b.example.com → a-predictor",
                "a-predictor.b.example.com → a-predictor",
            ],
        ),
        (
            "0.10",
            all,
            &[
                "a-explainer-default.b.example.com → a-explainer-default",
                "a.b.example.com → a-transformer-default",
                "a-transformer-default.b.example.com → a-transformer-default",
                "a-predictor-default.b.example.com → a-predictor-default",
            ],
        ),
    ] {
        let sidegate = format!(
            "apiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\nmetadata: {{name: s}}\nspec: {{kserveVersion: \"{version}\"}}\n"
        );
        let cluster = standard(
            &with_ingress("\"ingressClassName\": \"istio\""),
            spec,
            &sidegate,
        );
        let [ingress] = &cluster.ingresses[..] else {
            panic!("{:?}", cluster.ingresses)
        };
        let found: Vec<String> = ingress
            .spec
            .rules
            .iter()
            .map(|rule| {
                let path = &rule.http.as_ref().unwrap().paths[0];
                let to = path.backend.service.as_ref().unwrap();
                assert_eq!((path.path.as_str(), to.port.number), ("/", 80));
                format!("{} → {}", rule.host, to.name)
            })
            .collect();
        assert_eq!(found, expected, "{version} {spec}");
        assert!(cluster.http_routes.is_empty());
        // The class came with 0.9.
        assert_eq!(cluster.gateways.len(), usize::from(version != "0.8"));
    }
}

#[test]
fn what_keeps_a_standard_model_inside() {
    let class = "\"ingressClassName\": \"istio\"";
    let plain = "{predictor: {sklearn: {}}}";
    let made = |config: &str, stop: &str| {
        let text = format!(
            "{config}---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{STANDARD}\nspec: {plain}\n"
        );
        let text = text.replace("annotations: {", &format!("{stop}annotations: {{"));
        parse(&[("f".into(), text)]).unwrap().ingresses.len()
    };
    assert_eq!(made(&with_ingress(class), ""), 1);
    assert_eq!(
        made(
            &with_ingress(&format!("{class}, \"disableIngressCreation\": true")),
            ""
        ),
        0
    );
    for (label, count) in [
        ("networking.kserve.io/visibility: cluster-local", 0),
        ("networking.kserve.io/visibility: exposed", 1),
        ("networking.knative.dev/visibility: cluster-local", 1),
    ] {
        let labels = format!("labels: {{{label}}}, ");
        assert_eq!(made(&with_ingress(class), &labels), count, "{label}");
    }
    let domain = with_ingress(class).replace("\"example.com\"", "\"svc.cluster.local\"");
    assert_eq!(made(&domain, ""), 0);
    let stopped = format!("{CONFIG}---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{STANDARD}\nspec: {plain}\n")
        .replace("annotations: {", "annotations: {serving.kserve.io/stop: \"true\", ");
    assert!(
        parse(&[("f".into(), stopped)])
            .unwrap()
            .ingresses
            .is_empty()
    );
}

/// `httproute_reconciler.go`.
#[test]
fn the_http_routes_of_a_standard_model() {
    let config = with_ingress(
        "\"enableGatewayApi\": true, \"kserveIngressGateway\": \"kserve/gw\", \"additionalIngressDomains\": [\"example.org\"]",
    );
    let spec = "{predictor: {timeout: 5, sklearn: {}}, explainer: {containers: []}}";
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a-predictor, namespace: b}\nspec: {ports: [{name: http, port: 80}, {name: grpc-port, port: 9000}]}\n";
    let cluster = standard(&config, spec, service);
    assert!(cluster.ingresses.is_empty());
    let found: Vec<(String, String, Vec<String>)> = cluster
        .http_routes
        .iter()
        .map(|route| {
            assert_eq!(
                route.spec.parent_refs[0].namespace.as_deref(),
                Some("kserve")
            );
            let rules = route.spec.rules.iter().flatten().map(|rule| {
                let path = rule.matches[0].path.as_ref().unwrap();
                let to = &rule.backend_refs[0];
                format!(
                    "{} → {}:{} {}",
                    path.value.as_ref().unwrap(),
                    to.name,
                    to.port.unwrap(),
                    rule.timeouts.request.as_ref().unwrap()
                )
            });
            (
                route.meta.name.clone(),
                route.spec.hostnames.join(" "),
                rules.collect(),
            )
        })
        .collect();
    let texts = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let predict = [
        r"^/inference\.GRPCInferenceService/.*$ → a-predictor:9000 5s",
        "^/.*$ → a-predictor:80 5s",
    ];
    let expected = [
        ("a-predictor", "a-predictor.b.example.com", texts(&predict)),
        (
            "a-explainer",
            "a-explainer.b.example.com",
            texts(&["^/.*$ → a-explainer:80 60s"]),
        ),
        (
            "a",
            "a.b.example.com a.b.example.org example.com",
            texts(&[
                r"^/v1/models/[\w-]+:explain$ → a-explainer:80 60s",
                predict[0],
                predict[1],
                r"/serving/b/a(/v1/models/[\w-]+:explain)$ → a-explainer:80 60s",
                "/serving/b/a/ → a-predictor:80 5s",
            ]),
        ),
    ]
    .map(|(name, hosts, rules)| (name.to_owned(), hosts.to_owned(), rules));
    assert_eq!(found, expected);
    let text = format!(
        "{}---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{STANDARD}\nspec: {spec}\n",
        with_ingress("\"enableGatewayApi\": true")
    );
    let errors = parse(&[("f".into(), text)]).unwrap_err().to_string();
    assert!(
        errors.contains("kserveIngressGateway: expected `namespace/name`, found ``"),
        "{errors}"
    );
}
