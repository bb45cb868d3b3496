//! Workloads by the certificates that gateways verified.

use std::sync::Arc;

use super::messages::read;
use super::{KEY, LIMITED, SIDEGATE, World, asked, run};
use crate::asked::Asked;
use crate::place::Form;
use crate::{Authorizer, KeyRing, MARK, Settings};

const MUTUAL: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mutual, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [limited.kserve-test.svc.cluster.local]
    tls: {mode: MODE}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: over-mutual, namespace: kserve-test, annotations: {sidegate.dev/access: token, sidegate.dev/allow-namespaces: kserve-test}, labels: {serving.knative.dev/route: limited-predictor}}
spec:
  gateways: [istio-system/mutual]
  hosts: [limited.kserve-test.svc.cluster.local]
  http: [{route: [{destination: {host: limited-predictor.kserve-test.svc.cluster.local, port: {number: 80}}}]}]
";

/// What a certificate says counts on Gateways that the configuration names, with
/// certificates of the mesh alone.
#[test]
fn a_principal_is_a_workload_where_that_is_trusted() {
    let ours = "spiffe://cluster.local/ns/kserve-test/sa/default";
    let trusted = SIDEGATE.replacen(
        "spec:\n",
        "spec:\n  workloads: {principals: [istio-system/mutual]}\n",
        1,
    );
    assert_ne!(trusted, SIDEGATE);
    let status = |sidegate: &str, mode: &str, principal: Option<&str>, headers: &[(&str, &str)]| {
        let more = format!("{LIMITED}\n---\n{}", MUTUAL.replace("MODE", mode));
        let settings = Settings {
            cookies: Vec::new(),
            passes: None,
        };
        let host = Arc::new(World::with(sidegate, &more));
        let authorizer = Authorizer::new(host, settings, KeyRing::parse(KEY).unwrap());
        let line = "POST limited.kserve-test.svc.cluster.local/v1/models/limited:predict";
        let asked = Asked {
            principal: principal.map(str::to_owned),
            ..asked(8443, line, headers)
        };
        let reply = run(authorizer.check(asked, Form::Exact));
        // The predictor's Service leads back to a gateway, which tells the model.
        let marked = read(&reply).sets(MARK).is_some();
        (
            reply.denial().map_or(200, |reply| reply.status.as_u16()),
            marked,
        )
    };
    let through = status(&trusted, "ISTIO_MUTUAL", Some(ours), &[]);
    assert_eq!(through, (200, true));
    let theirs = "spiffe://cluster.local/ns/shop/sa/default";
    assert_eq!(status(&trusted, "ISTIO_MUTUAL", Some(theirs), &[]).0, 403);
    // Not named, or signed by somebody else's authority.
    assert_eq!(status(SIDEGATE, "ISTIO_MUTUAL", Some(ours), &[]).0, 401);
    assert_eq!(status(&trusted, "MUTUAL", Some(ours), &[]).0, 401);
    for other in [
        "spiffe://other.example/ns/kserve-test/sa/default",
        "spiffe://cluster.local/ns/kserve-test/sa/default/x",
        "cluster.local/ns/kserve-test/sa/default",
        "",
        // Names that are cut, joined or continued by who reads them.
        "spiffe://cluster.local/ns/kserve-test/sa/default\0.evil.example",
        "spiffe://cluster.local/ns/kserve-test/sa/default\r\nkubeflow-userid: victim@example.com",
        "spiffe://cluster.local/ns/kserve-test/sa/default,spiffe://cluster.local/ns/shop/sa/default",
        "spiffe://cluster.local/ns/shop/sa/x/../../../kserve-test/sa/default",
        "spiffe://cluster.local/ns/kserve-test/sa/default ",
        "spiffe://cluster.local/ns/kserve-test/sa/",
        "spiffe://cluster.local/ns//sa/default",
        "SPIFFE://cluster.local/ns/kserve-test/sa/default",
    ] {
        assert_eq!(status(&trusted, "ISTIO_MUTUAL", Some(other), &[]).0, 401);
    }
    // Headers say nothing.
    let header = format!("By=x;Hash=y;Subject=\"\";URI={ours}");
    for name in ["x-forwarded-client-cert", "X_Forwarded_Client_Cert"] {
        let sent = [(name, header.as_str())];
        assert_eq!(status(&trusted, "ISTIO_MUTUAL", None, &sent).0, 401);
    }
}
