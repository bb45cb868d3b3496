//! `conformance`: cases of the form of Istio's behaviour on a gateway, each
//! decided by `policy::decide`, a line per case.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, Check, CheckAnswer, CheckResponse, Destination, Entrance, NoTrace, Question,
    RequestHead, Scheme, Settings, Snapshot, Verdict,
};
use resources::{Cluster, ServiceName};
use serde_json::{Value, json};

/// How one case went.
enum Outcome {
    Agrees,
    Differs(String),
    /// Needs something that is not decided here yet: tokens, TLS, other ports.
    NotCovered(String),
}

/// Runs every case of a file.
pub(crate) fn run(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let suite: Value = serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in suite
        .get("cases")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = case
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or("(no name)");
        let (word, detail) = match decide_case(&suite, case) {
            Outcome::Agrees => ("agrees", String::new()),
            Outcome::Differs(detail) => ("DIFFERS", detail),
            Outcome::NotCovered(detail) => ("not covered", detail),
        };
        *counts.entry(word).or_default() += 1;
        println!("{word:<12} {name} {detail}");
    }
    let count = |word: &str| counts.get(word).copied().unwrap_or(0);
    println!(
        "{} agree, {} differ, {} not covered",
        count("agrees"),
        count("DIFFERS"),
        count("not covered")
    );
    if count("DIFFERS") > 0 {
        bail!("{} cases differ", count("DIFFERS"));
    }
    Ok(())
}

fn decide_case(suite: &Value, case: &Value) -> Outcome {
    if let Some(what) = beyond(case) {
        return Outcome::NotCovered(what);
    }
    let cluster = match resources::parse(&[("case.yaml".into(), configuration(suite, case))]) {
        Ok(cluster) => cluster,
        Err(errors) => return Outcome::NotCovered(format!("(does not load: {errors})")),
    };
    let settings = Settings::default();
    let snapshot = match Snapshot::compile(&cluster, &settings) {
        Ok(snapshot) => snapshot,
        Err(problems) => return Outcome::Differs(format!("(does not compile: {problems:?})")),
    };
    if let Some(problem) = snapshot
        .warnings()
        .iter()
        .find(|p| p.message.contains("not understood"))
    {
        return Outcome::NotCovered(format!("({problem})"));
    }
    let found = decide(&snapshot, &cluster, case);
    let expected = case
        .get("expect")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let called = case
        .pointer("/expectDetail/providers")
        .and_then(Value::as_array);
    let providers: Option<Vec<&str>> =
        called.map(|list| list.iter().filter_map(Value::as_str).collect());
    let same_providers = providers.is_none_or(|expected| expected == found.providers);
    let path = case
        .pointer("/expectDetail/upstreamPath")
        .and_then(Value::as_str);
    let same_path = path.is_none_or(|expected| found.path.as_deref() == Some(expected));
    if found.what == expected && same_providers && same_path {
        Outcome::Agrees
    } else {
        Outcome::Differs(format!(
            "(expected {expected} {:?} {path:?}, found {} {:?} {:?})",
            called, found.what, found.providers, found.path
        ))
    }
}

/// What of a case is outside of what is decided.
fn beyond(case: &Value) -> Option<String> {
    let given = |pointer: &str| case.pointer(pointer).is_some_and(|value| !value.is_null());
    let port = case.pointer("/request/port").and_then(Value::as_u64);
    if given("/request/jwt") {
        return Some("(tokens)".into());
    }
    if given("/request/tls") || !matches!(port, Some(8080 | 8081)) {
        return Some("(TLS, or another port)".into());
    }
    if case
        .get("meshConfig")
        .is_some_and(|mesh| mesh.to_string().contains("connectionSettings"))
    {
        return Some("(connectionSettings of the proxy)".into());
    }
    let headers = pairs(case.pointer("/request/headers").unwrap_or(&Value::Null));
    if headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        return Some("(two Hosts: refused with 400 on purpose, before any policy)".into());
    }
    if given("/istiodEnv") {
        return Some("(settings of istiod)".into());
    }
    case.get("resources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find_map(|resource| {
            let kind = resource.get("kind").and_then(Value::as_str)?;
            let api = resource.get("apiVersion").and_then(Value::as_str)?;
            (api.starts_with("gateway.networking")).then(|| format!("({kind})"))
        })
}

fn configuration(suite: &Value, case: &Value) -> String {
    let defaults = |field: &str| {
        suite
            .pointer(&format!("/defaults/{field}"))
            .cloned()
            .unwrap_or_default()
    };
    let list = |value: Value| value.as_array().cloned().unwrap_or_default();
    let mut objects = list(
        case.get("services")
            .cloned()
            .unwrap_or_else(|| defaults("services")),
    );
    if case.get("noDefaultRoutes").and_then(Value::as_bool) != Some(true) {
        objects.extend(list(defaults("routes")));
    }
    objects.extend(list(case.get("resources").cloned().unwrap_or_default()));
    let mut mesh = defaults("meshConfig");
    merge(&mut mesh, case.get("meshConfig").unwrap_or(&Value::Null));
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": mesh.to_string()},
    }));
    let labels = case
        .pointer("/request/workloadLabels")
        .cloned()
        .unwrap_or_default();
    let namespace = case
        .pointer("/request/namespace")
        .cloned()
        .unwrap_or_default();
    objects.push(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "gateway-under-test", "namespace": namespace, "labels": labels},
    }));
    // The listener ports of the requests, whatever the Gateways are called.
    let config = json!({"ingressGateway": "kubeflow/kubeflow-gateway", "localGateway": "knative-serving/knative-local-gateway"});
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
        "data": {"ingress": config.to_string()},
    }));
    objects
        .iter()
        .map(|object| format!("{object}\n---\n"))
        .collect()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}

/// What a request meets.
struct Found {
    what: &'static str,
    providers: Vec<String>,
    path: Option<String>,
}

fn decide(snapshot: &Snapshot, cluster: &Cluster, case: &Value) -> Found {
    let mut found = Found {
        what: "bad-request",
        providers: Vec::new(),
        path: None,
    };
    let Some(head) = head(snapshot, case) else {
        return found;
    };
    let status = case
        .get("extAuthzBehaviour")
        .and_then(|b| b.get("status"))
        .and_then(Value::as_u64);
    let status = status
        .and_then(|s| u16::try_from(s).ok())
        .and_then(|s| StatusCode::from_u16(s).ok());
    let mut answers = Answers::new();
    loop {
        match policy::decide(snapshot, &head, &answers, &mut NoTrace) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(Caller::Anonymous),
            Verdict::Ask(Question::Check(check)) => {
                let response = CheckResponse {
                    status: status.unwrap_or(StatusCode::OK),
                    headers: Vec::new(),
                    body: bytes::Bytes::new(),
                };
                let answer = if reachable(cluster, &check) {
                    found.providers.push(provider_name(cluster, &check));
                    CheckAnswer::Response(response)
                } else {
                    CheckAnswer::Failed("the Service has no such port".into())
                };
                answers.check_is(check.id, answer);
            }
            Verdict::Permit(permit) => {
                let reply = match permit.destination() {
                    Destination::Reply(reply) => Some(reply.status),
                    _ => None,
                };
                found.path = Some(
                    permit
                        .path_and_query()
                        .map_or_else(|| head.path_and_query(), str::to_owned),
                );
                found.what = match reply {
                    _ if !found.providers.is_empty() => "ext-authz",
                    Some(status) if status.is_redirection() => "redirect",
                    _ => "allow",
                };
                return found;
            }
            Verdict::Denial(denial) => {
                found.what = match denial.refusal {
                    policy::Refusal::NoRoute => "not-found",
                    policy::Refusal::Answer(_) => "ext-authz",
                    policy::Refusal::CheckFailed(_) if !found.providers.is_empty() => "ext-authz",
                    _ => "deny",
                };
                return found;
            }
        }
    }
}

/// Whether the authorizer's Service has the port it is asked on.
fn reachable(cluster: &Cluster, check: &Check) -> bool {
    let service = ServiceName::from_host(&check.settings.service, "istio-system");
    let service = service.and_then(|name| cluster.service(&name));
    service.is_some_and(|s| s.spec.ports.iter().any(|p| p.port == check.settings.port))
}

/// An EnvoyFilter's authorizer goes by the provider of the same Service.
fn provider_name(cluster: &Cluster, check: &Check) -> String {
    let providers = &cluster.mesh.extension_providers;
    let same = |name: &str| providers.iter().any(|p| p.name == name);
    let of_service = providers.iter().find(|p| {
        let http = p.envoy_ext_authz_http.as_ref();
        http.is_some_and(|http| {
            http.service == check.settings.service && http.port == check.settings.port
        })
    });
    match of_service {
        Some(provider) if !same(&check.provider) => provider.name.clone(),
        _ => check.provider.to_string(),
    }
}

fn head(snapshot: &Snapshot, case: &Value) -> Option<RequestHead> {
    let request = case.get("request")?;
    let text = |field: &str| request.get(field).and_then(Value::as_str);
    // In absolute form the target's authority takes the place of Host.
    let target = text("path")?;
    let (authority, target) = match target
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (text("authority")?, target.to_owned()),
    };
    let (path, query) = snapshot.split_target(&target).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(request.get("headers").unwrap_or(&Value::Null)) {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(&value).ok()?,
        );
    }
    Some(RequestHead {
        entrance: if request.get("port")?.as_u64()? == 8081 && snapshot.has(Entrance::Local) {
            Entrance::Local
        } else {
            Entrance::External
        },
        method: Method::from_bytes(text("method")?.as_bytes()).ok()?,
        scheme: Scheme::Http,
        authority: authority.to_owned(),
        path,
        query,
        headers,
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        workload: None,
    })
}

/// A map, or a list of pairs when a header is repeated.
fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match headers {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(|pair| Some((text(pair.get(0)?), text(pair.get(1)?))))
            .collect(),
        _ => Vec::new(),
    }
}
