//! Published bypasses and mistakes that the decision has to know about:
//! `docs/security.md` says where each entry of that list is held. What is
//! expected is the answer of Istio 1.31 with Envoy 1.40, also where it is a
//! hole: the analysis rests on it, and lints and claims name the hole.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod table;

use std::net::SocketAddr;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, CheckAnswer, CheckResponse, Destination, Entrance, Question, RequestHead,
    Scheme, Settings, Snapshot, TokenAnswer, TokenError, Verdict,
};

const BASE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: apps}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: gateway, namespace: apps}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: app, namespace: apps}
spec: {hosts: ["*"], gateways: [gateway], http: [{route: [{destination: {host: app.apps.svc.cluster.local, port: {number: 80}}}]}]}
---
"#;

/// The base, the mesh with a mode of normalisation, and one object's YAML each.
fn compile(normalization: &str, objects: &[&str]) -> Snapshot {
    let mesh = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    pathNormalization: {{normalization: {normalization}}}\n    extensionProviders:\n    - {{name: login, envoyExtAuthzHttp: {{service: app.apps.svc.cluster.local, port: 80}}}}\n---\n"
    );
    let mut yaml = format!("{BASE}{mesh}");
    for (i, object) in objects.iter().enumerate() {
        let (kind, spec) = object.split_once(' ').unwrap();
        yaml.push_str(&format!(
            "apiVersion: security.istio.io/v1beta1\nkind: {kind}\nmetadata: {{name: o{i}, namespace: istio-system}}\nspec: {{{spec}}}\n---\n"
        ));
    }
    let cluster = resources::parse(&[("test.yaml".into(), yaml)]).unwrap();
    let settings = Settings {
        login_issuer: Some("https://login.example".into()),
        ..Settings::default()
    };
    Snapshot::compile(&cluster, &settings).unwrap()
}

/// `METHOD authority/path`, and a header a line; 400 if the target has no
/// single reading, 302 if the login is asked.
fn status(snapshot: &Snapshot, request: &str) -> u16 {
    let mut lines = request.lines();
    let (method, url) = lines.next().unwrap().split_once(' ').unwrap();
    let at = url.find('/').unwrap_or(url.len());
    let (authority, target) = url.split_at(at);
    let (authority, target) = match authority.split_once(' ') {
        // A target without its slash stands apart: `host target`.
        Some(apart) => apart,
        None => (authority, target),
    };
    let Ok((path, query)) = snapshot.split_target(target) else {
        return 400;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap(),
            // U+00FF stands for the byte.
            HeaderValue::from_bytes(
                &value
                    .trim()
                    .chars()
                    .map(|c| u8::try_from(c).unwrap())
                    .collect::<Vec<u8>>(),
            )
            .unwrap(),
        );
    }
    let bearer = headers
        .get("authorization")
        .is_some_and(|value| !value.is_empty());
    let head = RequestHead {
        entrance: Entrance::External,
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        scheme: Scheme::Http,
        authority: authority.into(),
        path,
        query,
        headers,
        peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        connection: policy::Connection::default(),
        workload: None,
    };
    let caller = if bearer {
        Caller::BadToken(TokenError("its issuer is not known".into()))
    } else {
        Caller::Anonymous
    };
    let mut answers = Answers::new();
    loop {
        match policy::decide(snapshot, &head, &answers, &mut policy::NoTrace) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(caller.clone()),
            Verdict::Ask(Question::Access(check)) => {
                answers.access_is(*check, policy::AccessAnswer::NoServer);
            }
            Verdict::Ask(Question::Tokens { hop, checks }) => {
                for check in &checks {
                    answers.token_is(hop, check, TokenAnswer::Malformed("no token".into()));
                }
            }
            Verdict::Ask(Question::Check(check)) => {
                let response = CheckResponse {
                    status: StatusCode::FOUND,
                    headers: Vec::new(),
                    body: bytes::Bytes::new(),
                };
                answers.check_is(check.id, CheckAnswer::Response(response));
            }
            Verdict::Permit(permit) => {
                return match permit.destination() {
                    Destination::Reply(reply) => reply.status.as_u16(),
                    _ => 200,
                };
            }
            Verdict::Denial(denial) => return denial.refusal.status().as_u16(),
        }
    }
}

#[test]
fn answers() {
    let mut wrong = Vec::new();
    for row in table::ROWS {
        for normalization in row.modes {
            let snapshot = compile(normalization, row.objects);
            for (request, expected) in row.requests {
                let found = status(&snapshot, request);
                if found != *expected {
                    wrong.push(format!(
                        "{} ({}), {normalization}: {request:?}: {found}, expected {expected}",
                        row.id, row.what
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every id has its line in the documentation, and the ids and lints that a line names exist. Tests
/// that it names are a rule of `xtask tidy`.
#[test]
fn the_list_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let list = include_str!("../../../../docs/security.md");
    for id in table::ROWS.iter().flat_map(|row| row.id.split(", ")) {
        let line = list
            .lines()
            .find(|line| line.starts_with(&format!("| {id} |")));
        assert!(line.is_some_and(|l| l.contains("regressions")), "{id}");
    }
    let lints = text(&root.join("crates/lint/src"));
    for line in list.lines().filter(|line| line.starts_with("| ")) {
        let held = line.split(" | ").last().unwrap();
        if held.contains("regressions") {
            let id = line.split(' ').nth(1).unwrap();
            let known = table::ROWS
                .iter()
                .any(|row| row.id.split(", ").any(|i| i == id));
            assert!(known, "{line}");
        }
        for id in held
            .split("lint ")
            .skip(1)
            .filter_map(|rest| rest.split([';', ' ']).next())
        {
            assert!(lints.contains(&format!("\"{id}\"")), "{line}");
        }
    }
}

/// All Rust below a folder.
fn text(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&text(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// V06: what is too large is refused in bounded time, with the object named,
/// and nothing is proved about a listener whose proxy refuses its routes.
#[test]
fn regexes_are_bounded_and_refused_ones_leave_nothing_proved() {
    let long = "(a|b)".repeat(50_000);
    let nested = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
    let begin = std::time::Instant::now();
    for (regex, accepted) in [
        ("(a{1,1000}){1,1000}", false),
        ("((a{100}){100}){100}", false),
        (r"[\pL\pN]{1000}", false),
        (long.as_str(), false),
        (nested.as_str(), false),
        ("/v[0-9]+/models/.*", true),
        ("(?=a)b", false),
    ] {
        let route = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: regex, namespace: apps}}\nspec: {{hosts: [r.example], gateways: [gateway], http: [{{match: [{{uri: {{regex: '{regex}'}}}}], route: [{{destination: {{host: app.apps.svc.cluster.local}}}}]}}]}}\n"
        );
        let cluster = resources::parse(&[("test.yaml".into(), format!("{BASE}{route}"))]).unwrap();
        let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
        let told: Vec<String> = snapshot
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect();
        let named = told.iter().any(|w| {
            w.contains("VirtualService apps/regex: spec.http[0].match[0].uri.regex: regex")
        });
        assert_eq!(named, !accepted, "{told:?}");
        assert_eq!(snapshot.not_understood().count(), usize::from(!accepted));
    }
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}
