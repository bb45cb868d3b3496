//! Paths that gateways and upstreams may read in several ways.

use super::{asked, authorizer, run};
use crate::place::Form;

const ASSETS: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: assets, namespace: kubeflow, annotations: {sidegate.dev/access: public}}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: ['*']
  http:
  - match: [{uri: {prefix: /assets/}}]
    route: [{destination: {host: centraldashboard.kubeflow.svc.cluster.local, port: {number: 80}}}]
";

/// Envoy routes by a path that it does not decode; what is behind the route may.
#[test]
fn no_spelling_leads_out_of_what_is_open() {
    let authorizer = authorizer(ASSETS);
    let status = |path: &str, form: Form| {
        let check = asked(8080, &format!("GET dash.example.com{path}"), &[]);
        let reply = run(authorizer.check(check, form));
        reply.denial().map_or(200, |reply| reply.status.as_u16())
    };
    for path in [
        "/assets/..%2fpipeline",
        "/assets/%2e%2e%2Fpipeline",
        "/assets/..%5cpipeline",
        "/assets/..%252fpipeline",
        "/assets/..;/pipeline",
        "/assets/..%3b/pipeline",
        "/assets/a%2f..%2f..%2f",
    ] {
        for form in [Form::Exact, Form::Verdict, Form::Answer] {
            assert_eq!(status(path, form), 400, "{path} {form:?}");
        }
    }
    for path in [
        "/assets/",
        "/assets/a%2fb.js",
        "/assets/a%20b;v=1",
        "/assets/a/..%2fb",
    ] {
        assert_eq!(status(path, Form::Exact), 200, "{path}");
    }
}
