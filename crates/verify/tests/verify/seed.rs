use verify::{Claim, Verdict};

use crate::compile;

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../../examples/seed/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");

/// Claims that do not hold, with the number of different ways.
fn broken(texts: &[&str]) -> Vec<(Claim, usize)> {
    let report = verify::verify(&compile(texts));
    assert!(report.undecided.is_empty(), "{:?}", report.undecided);
    let mut out: Vec<(Claim, usize)> = Vec::new();
    for finding in &report.findings {
        match out.iter_mut().find(|(claim, _)| *claim == finding.claim) {
            Some((_, count)) => *count += 1,
            None => out.push((finding.claim.clone(), 1)),
        }
    }
    out
}

#[test]
fn before_any_cure_everything_meets_the_login() {
    assert_eq!(
        broken(&[CLUSTER]),
        [
            (Claim::ModelsAnswerWorkloads, 2),
            (Claim::ForeignUntouched, 1)
        ]
    );
}

#[test]
fn the_published_cure_opens_the_dashboard_and_the_models() {
    assert_eq!(
        broken(&[CLUSTER, BLOG_FIX]),
        [
            (Claim::PlatformNeedsLogin, 1),
            (Claim::NoForgedIdentity, 1),
            (Claim::ModelsAnswerWorkloads, 2),
            (Claim::ModelsClosedOutside, 2),
            (Claim::ForeignUntouched, 1),
            (Claim::OneReading, 2),
        ]
    );
    let report = verify::verify(&compile(&[CLUSTER, BLOG_FIX]));
    let hole = report
        .findings
        .iter()
        .find(|f| f.claim == Claim::NoForgedIdentity)
        .unwrap();
    assert_eq!(
        hole.witness.curl("http://127.0.0.1:8080"),
        "curl -si --path-as-is -H 'Host: anything.example' -H 'kubeflow-userid: x' 'http://127.0.0.1:8080/v1'"
    );
}

#[test]
fn with_access_levels_everything_holds() {
    let report = verify::verify(&compile(&[CLUSTER, SIDEGATE]));
    assert_eq!(
        report.overall(),
        Verdict::Holds,
        "{:?} {:?}",
        report.findings,
        report.undecided
    );
}

#[test]
fn the_cure_is_seen_as_what_it_opens() {
    let difference = verify::diff(&compile(&[CLUSTER]), &compile(&[CLUSTER, BLOG_FIX]));
    assert!(
        difference.undecided.is_empty(),
        "{:?}",
        difference.undecided
    );
    let opened = difference
        .changes
        .iter()
        .filter(|c| c.kind == verify::Kind::Opened);
    assert!(opened.count() >= 4);
    assert!(
        difference
            .changes
            .iter()
            .all(|c| c.kind == verify::Kind::Opened)
    );
}

#[test]
fn fixes_are_found_and_hold() {
    // The cure without its last step: filter and policy both ask.
    let (half, _) = BLOG_FIX.split_once("---\n# 3.").unwrap();
    for texts in [vec![CLUSTER], vec![CLUSTER, BLOG_FIX], vec![CLUSTER, half]] {
        let layers: Vec<Vec<resources::File>> = texts
            .iter()
            .map(|t| vec![("test.yaml".into(), (*t).to_owned())])
            .collect();
        let cluster = resources::parse_layers(&layers).unwrap();
        let proposals = verify::fix(
            &cluster,
            &compile(&texts),
            &verify::Asked::default(),
            |yaml| {
                let mut all = texts.clone();
                all.push(yaml);
                Some(compile(&all))
            },
        );
        assert_eq!(proposals.len(), 2);
        for proposal in &proposals {
            assert!(
                proposal.is_complete(),
                "{}\n{:?}",
                proposal.yaml,
                proposal.report
            );
            assert!(!proposal.yaml.contains("aths:"), "no path is listed");
        }
        assert!(proposals[0].yaml.contains("ports: [\"8080\"]"));
        assert!(
            proposals[0]
                .yaml
                .contains("notHosts: [\"shop.example.com\", \"shop.example.com:80\"")
        );
        let removes = proposals[0].yaml.contains("sidegate.dev/delete");
        assert_eq!(removes, !texts.contains(&BLOG_FIX));
        assert!(proposals[1].yaml.contains("mode: enforce"));
    }
}

#[test]
fn a_host_prefix_in_an_exemption_is_a_hole() {
    let policy = r#"
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: dex-auth, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: CUSTOM
  provider: {name: dex-auth-provider}
  rules: [{to: [{operation: {ports: ["8080"], notHosts: [shop.example.com, "shop.example.com:*"]}}]}]
"#;
    let report = verify::verify(&compile(&[CLUSTER, BLOG_FIX, policy]));
    let hole = report
        .findings
        .iter()
        .find(|f| f.claim == Claim::PlatformNeedsLogin);
    // The router cuts the last port off, and what is left is nobody's host.
    assert_eq!(
        hole.unwrap().witness.head.authority,
        "shop.example.com:8080:80"
    );
}

#[test]
fn an_exemption_by_the_end_of_hosts_is_a_hole() {
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: own, namespace: platform}\nspec: {hosts: [own.test], gateways: [istio-system/out], http: [{route: [{destination: {host: one.apps.svc.cluster.local, port: {number: 80}}}]}]}\n";
    let login = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: login, namespace: istio-system}\nspec: {action: CUSTOM, provider: {name: login}, rules: [{to: [{operation: {notHosts: ['*.shop.test']}}]}]}\n";
    let text = format!("{}{route}{login}", crate::clusters::with_platform());
    let report = verify::verify(&compile(&[&text]));
    let mut found = report.findings.iter();
    let found = found
        .find(|f| f.claim == Claim::PlatformNeedsLogin)
        .unwrap();
    // The router cuts the port off, the rule does not.
    assert_eq!(found.witness.head.authority, "own.test:x.shop.test");
}

#[test]
fn an_authorizer_that_nobody_knows_leaves_claims_undecided() {
    let policy = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system, annotations: {sidegate.dev/istio-version: "1.31"}}
data:
  mesh: |-
    extensionProviders:
    - name: mystery
      envoyExtAuthzHttp: {service: dashboard-gate.kubeflow.svc.cluster.local, port: 80}
---
apiVersion: v1
kind: Service
metadata: {name: dashboard-gate, namespace: kubeflow}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: authn-filter, namespace: istio-system, annotations: {sidegate.dev/delete: "true"}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gate, namespace: istio-system}
spec: {action: CUSTOM, provider: {name: mystery}, rules: [{}]}
"#;
    let report = verify::verify(&compile(&[CLUSTER, policy]));
    assert_eq!(
        report.verdict(&Claim::PlatformNeedsLogin),
        Verdict::NotDecided
    );
    let reasons = &report.undecided[&Claim::PlatformNeedsLogin];
    assert!(
        reasons.iter().any(|r| r.contains("an external authorizer")),
        "{reasons:?}"
    );
}
