//! The seed's cluster under its policies: each row was measured on Istio's
//! control plane and Envoy 1.40, or follows from the access model.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod as_written;
mod enforced;
mod filters;
mod models;
mod rbac;
mod roles;
mod trace;
mod versions;

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, CheckAnswer, CheckResponse, Destination, Entrance, Permit, Question,
    RequestHead, Scheme, Settings, Snapshot, TokenAnswer, Verdict,
};
use resources::File;

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../../examples/seed/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");
/// The cure that scopes the policy by listener port instead of by path.
const PORTS: &str = r#"to: [{operation: {notPorts: ["8081", "8444"]}}]"#;

fn settings() -> Settings {
    Settings {
        istio_version: None,
        provider_paths: vec!["/dex/auth".into(), "/dex/token".into(), "/dex/keys".into()],
        login_paths: vec!["/login/oidc".into(), "/authservice/logout".into()],
        login_issuer: Some("http://dex.auth.svc.cluster.local:5556/dex".into()),
        cluster_issuer: Some("https://kubernetes.default.svc.cluster.local".into()),
    }
}

fn compile_with(texts: &[&str], settings: &Settings) -> Snapshot {
    let layers: Vec<Vec<File>> = texts
        .iter()
        .map(|t| vec![("test.yaml".into(), (*t).to_owned())])
        .collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    Snapshot::compile(&cluster, settings).unwrap()
}

fn compile(texts: &[&str]) -> Snapshot {
    compile_with(texts, &settings())
}

fn head(entrance: Entrance, method: &str, url: &str, headers: &[(&str, &str)]) -> RequestHead {
    let (authority, target) = url.split_once('/').unwrap();
    let (path, query) =
        RequestHead::split_target(&format!("/{target}"), resources::mesh::Normalization::Base)
            .unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    RequestHead {
        entrance,
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        scheme: Scheme::Http,
        authority: authority.into(),
        path,
        query,
        headers: map,
        peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        connection: policy::Connection::default(),
        workload: None,
    }
}

/// Decides, with an authorizer that redirects to Dex whoever has no cookie, and
/// counts how often it was asked.
fn walk(snapshot: &Snapshot, head: &RequestHead, caller: &Caller) -> (Verdict, usize) {
    let mut answers = Answers::new();
    let mut asked = 0;
    loop {
        match policy::decide(snapshot, head, &answers, &mut policy::NoTrace) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(caller.clone()),
            Verdict::Ask(Question::Tokens { hop, checks }) => {
                for check in &checks {
                    answers.token_is(hop, check, TokenAnswer::Malformed("no token".into()));
                }
            }
            Verdict::Ask(Question::Check(check)) => {
                asked += 1;
                assert!(
                    !check.headers.contains_key("kubeflow-userid"),
                    "sees only listed headers"
                );
                let allowed = check.headers.contains_key("cookie");
                let (status, header) = if allowed {
                    (
                        StatusCode::OK,
                        (
                            HeaderName::from_static("kubeflow-userid"),
                            HeaderValue::from_static("user@example.com"),
                        ),
                    )
                } else {
                    (
                        StatusCode::FOUND,
                        (
                            http::header::LOCATION,
                            HeaderValue::from_static("/dex/auth?client_id=x"),
                        ),
                    )
                };
                let response = CheckResponse {
                    status,
                    headers: vec![header],
                    body: bytes::Bytes::new(),
                };
                answers.check_is(check.id, CheckAnswer::Response(response));
            }
            verdict => return (verdict, asked),
        }
    }
}

fn status(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Permit(permit) => match permit.destination() {
            Destination::Reply(reply) => reply.status.as_u16(),
            _ => 200,
        },
        Verdict::Denial(denial) => denial.refusal.status().as_u16(),
        Verdict::Ask(question) => panic!("{question:?}"),
    }
}

fn permit(verdict: Verdict) -> Permit {
    match verdict {
        Verdict::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

const LOCAL: &str = "sklearn-iris.kserve-test.svc.cluster.local";
const OUTSIDE: &str = "sklearn-iris.kserve-test.example.com";
