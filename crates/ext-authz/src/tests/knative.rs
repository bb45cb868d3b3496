//! Headers that parts of Knative write for each other.

use super::*;

const FORGED: [(&str, &str); 11] = [
    ("knative-serving-revision", "other-predictor-00001"),
    ("knative-serving-namespace", "other-team"),
    ("knative-serving-default-route", "true"),
    ("k-original-host", "other.example.com"),
    ("k-proxy-request", "activator"),
    ("k-kubelet-probe", "x"),
    ("k-passthrough-lb", "true"),
    ("k-ignore-metrics", "x"),
    ("knative_serving_revision", "x"),
    ("Knative-Serving_Namespace", "x"),
    ("K_Original_Host", "x"),
];

/// Clients may choose a tag, and the prober says what it is by two others.
const OF_CLIENTS: [(&str, &str); 4] = [
    ("knative-serving-tag", "blue"),
    ("k-network-probe", "probe"),
    ("k-network-hash", "override"),
    ("k-other", "x"),
];

#[test]
fn knative_alone_says_which_revision_is_meant() {
    let token = ("authorization", "Bearer pod");
    for (port, line) in [
        (8081, format!("POST {MODEL}/v1/models/sklearn-iris:predict")),
        (
            8080,
            format!("POST {OUTSIDE}/v1/models/sklearn-iris:predict"),
        ),
        (8080, "GET shop.example.com/cart".to_owned()),
        (8080, "GET dash.example.com/dex/auth".to_owned()),
    ] {
        let mut sent = vec![token];
        sent.extend(FORGED);
        sent.extend(OF_CLIENTS);
        let read = check(port, &line, &sent, 200);
        let mut removed = read.remove.clone();
        removed.sort();
        let mut forged = FORGED.map(|(name, _)| name.to_ascii_lowercase());
        forged.sort();
        assert_eq!(removed, forged, "{line}");
    }
    // Where a gateway copies a list of headers, and would keep these.
    let asked = asked(
        8081,
        &format!("POST {MODEL}/v1/models/sklearn-iris:predict"),
        &FORGED[..1],
    );
    let refused = run(authorizer("").check(asked, Form::Verdict));
    assert_eq!(refused.denial().unwrap().status, 400);
}

/// What Knative makes of a DomainMapping: its host is kept in a header over the second crossing.
const MAPPED: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: mapped-ingress
  namespace: kserve-test
  labels: {networking.internal.knative.dev/ingress: mapped}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [models.example.org]
  http:
  - headers: {request: {set: {K-Original-Host: models.example.org}}}
    rewrite: {authority: sklearn-iris-predictor.kserve-test.svc.cluster.local}
    route:
    - destination:
        host: sklearn-iris-predictor.kserve-test.svc.cluster.local
        port: {number: 80}
";

#[test]
fn what_a_route_wrote_at_the_crossing_before_stays() {
    let authorizer = authorizer(MAPPED);
    let sent = [
        ("authorization", "Bearer pod"),
        ("k-original-host", "forged"),
    ];
    let first = || {
        asked(
            8080,
            "POST models.example.org/v1/models/sklearn-iris:predict",
            &sent,
        )
    };
    let read = read(&run(authorizer.ask(first())));
    assert!(
        read.remove.contains(&"k-original-host".to_owned()),
        "{read:?}"
    );
    let written = [("k-original-host", "models.example.org")];
    let then =
        "POST sklearn-iris-predictor.kserve-test.svc.cluster.local/v1/models/sklearn-iris:predict";
    let (status, read) = second(&authorizer, first(), then, &written);
    assert_eq!((status, read.remove), (200, vec![MARK.to_owned()]));
    // Nobody wrote it where nobody was asked before.
    let bare = self::read(&run(authorizer.ask(asked(8081, then, &written))));
    assert_eq!(bare.remove, ["k-original-host"]);
}

/// Knative's queue proxy counts no request of the kubelet, and limits none.
#[test]
fn nobody_poses_as_the_kubelet_at_a_model() {
    let line = format!("POST {MODEL}/v1/models/sklearn-iris:predict");
    for (agent, removed) in [
        ("kube-probe/1.34", true),
        ("kube-probe/", true),
        ("Kube-Probe/1.34", false),
        ("curl/8 kube-probe/1.34", false),
        ("Knative-Ingress-Probe", false),
    ] {
        let read = check(8081, &line, &[("user-agent", agent)], 200);
        assert_eq!(!read.remove.is_empty(), removed, "{agent}");
    }
    let theirs = [("user-agent", "kube-probe/1.34")];
    let read = check(8080, "GET shop.example.com/cart", &theirs, 200);
    assert_eq!(read.remove, Vec::<String>::new());
}
