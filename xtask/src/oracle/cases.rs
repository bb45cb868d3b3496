//! Files of cases: a cluster, a request, and what is expected.
#![expect(
    clippy::indexing_slicing,
    reason = "fields of JSON objects that were made just before"
)]

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::backend::Backend;
use super::run::Job;
use super::world::{Alteration, Arrived, Observed, Place, Reply, Sent, Tls, Token, World};

/// One case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) job: Job,
    expect: String,
    detail: Value,
}

/// Reads a file of the form that docs/conformance.md describes.
pub(crate) fn read(file: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let suite: Value = serde_saphyr::from_str(&text).map_err(|error| anyhow!("{error}"))?;
    let cases = suite.get("cases").and_then(Value::as_array);
    let mut read = Vec::new();
    for case in cases.into_iter().flatten() {
        let name = text_of(case, "name").unwrap_or("(no name)").to_owned();
        read.push(Case {
            job: job(&suite, case).with_context(|| format!("case `{name}`"))?,
            name,
            expect: text_of(case, "expect").unwrap_or_default().to_owned(),
            detail: case.get("expectDetail").cloned().unwrap_or_default(),
        });
    }
    Ok(read)
}

impl Case {
    /// Whether the connection is expected to come to nothing.
    pub(crate) fn expects_no_answer(&self) -> bool {
        self.expect == "closed"
    }

    /// How an observation differs from what is expected.
    pub(crate) fn differs(&self, observed: &Observed) -> Option<String> {
        let checker = self.job.requests.first().map(|sent| sent.checker.clone());
        let found = kind(observed, &checker.unwrap_or_default());
        if found != self.expect {
            return Some(format!("expected {}, found {found}", self.expect));
        }
        let detail = |name: &str| self.detail.get(name);
        if let Some(status) = detail("status").and_then(Value::as_u64)
            && observed.status.map(u64::from) != Some(status)
        {
            return Some(format!("expected {status}, found {:?}", observed.status));
        }
        if let Some(expected) = detail("upstreamPath").and_then(Value::as_str) {
            let found = observed
                .upstream
                .as_ref()
                .map(|arrived| arrived.target.as_str());
            if found != Some(expected) {
                return Some(format!(
                    "expected upstream path {expected}, found {found:?}"
                ));
            }
        }
        if let Some(expected) = detail("checkPath").and_then(Value::as_str) {
            let found = observed
                .checks
                .first()
                .map(|arrived| arrived.target.as_str());
            if found != Some(expected) {
                return Some(format!("expected check path {expected}, found {found:?}"));
            }
        }
        if let Some(expected) = detail("location").and_then(Value::as_str)
            && observed.location.as_deref() != Some(expected)
        {
            let found = &observed.location;
            return Some(format!("expected location {expected}, found {found:?}"));
        }
        let headers = |arrived: &Arrived| arrived.headers.clone();
        for (field, found) in [
            ("responseHeader", observed.headers.clone()),
            (
                "upstreamHeader",
                observed.upstream.as_ref().map(headers).unwrap_or_default(),
            ),
            (
                "checkHeader",
                observed.checks.first().map(headers).unwrap_or_default(),
            ),
        ] {
            let pair =
                detail(field).and_then(|pair| Some((plain(pair.get(0)?), plain(pair.get(1)?))));
            if let Some(pair) = pair.filter(|pair| !found.contains(pair)) {
                return Some(format!("expected {field} {pair:?}, found {found:?}"));
            }
        }
        if let Some(name) = detail("noUpstreamHeader").and_then(Value::as_str)
            && let Some(arrived) = &observed.upstream
            && arrived.headers.iter().any(|(known, _)| known == name)
        {
            return Some(format!("expected no header `{name}` upstream"));
        }
        let expected: Option<Vec<String>> = detail("providers")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(|name| self.service(name)).collect());
        let found: Vec<String> = observed
            .checks
            .iter()
            .map(|check| check.at.clone())
            .collect();
        match expected {
            Some(expected) if expected != found => {
                Some(format!("expected checks by {expected:?}, found {found:?}"))
            }
            _ => None,
        }
    }

    /// `service:port` of a provider's name.
    fn service(&self, provider: &Value) -> Option<String> {
        let providers = self.job.world.mesh.get("extensionProviders")?.as_array()?;
        let found = providers
            .iter()
            .find(|known| known.get("name") == Some(provider))?;
        let http = found.get("envoyExtAuthzHttp");
        let http = http.or_else(|| found.get("envoyExtAuthzGrpc"))?;
        Some(format!(
            "{}:{}",
            http.get("service")?.as_str()?,
            http.get("port")?
        ))
    }
}

/// The word for an observation.
fn kind(observed: &Observed, checker: &Reply) -> &'static str {
    let checked = !observed.checks.is_empty();
    match observed.status {
        None => "closed",
        // The check let it pass and something behind it refused.
        Some(401 | 403) if checked && checker.status == 200 => "deny",
        _ if checked => "ext-authz",
        Some(200) if observed.upstream.is_some() => "allow",
        Some(400 | 426) => "bad-request",
        Some(404) => "not-found",
        Some(status) if (300..400).contains(&status) => "redirect",
        Some(401 | 403) => "deny",
        Some(503) => "unavailable",
        Some(_) => "answer",
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn job(suite: &Value, case: &Value) -> Result<Job> {
    let defaults = |field: &str| {
        suite
            .pointer(&format!("/defaults/{field}"))
            .cloned()
            .unwrap_or_default()
    };
    let list = |value: Value| value.as_array().cloned().unwrap_or_default();
    let own = |field: &str| case.get(field).cloned();
    let mut objects = list(own("services").unwrap_or_else(|| defaults("services")));
    if case.get("noDefaultRoutes").and_then(Value::as_bool) != Some(true) {
        objects.extend(list(defaults("routes")));
    }
    objects.extend(list(own("resources").unwrap_or_default()));
    let mut mesh = defaults("meshConfig");
    merge(&mut mesh, case.get("meshConfig").unwrap_or(&Value::Null));
    let mut request = defaults("request");
    merge(&mut request, case.get("request").unwrap_or(&Value::Null));
    let request = &request;
    let texts = |value: Option<&Value>| {
        let map = value.and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect()
    };
    let world = World {
        objects,
        mesh,
        labels: texts(request.get("workloadLabels")),
        namespace: text_of(request, "namespace")
            .unwrap_or("istio-system")
            .to_owned(),
        env: texts(case.get("istiodEnv")),
        proxy: text_of(request, "proxyConfig")
            .unwrap_or_default()
            .to_owned(),
        sidecar: request.get("sidecar").and_then(Value::as_bool) == Some(true),
        backend: backend(case.get("backend").unwrap_or(&defaults("backend"))),
    };
    let mut sent = sent(request)?;
    let says = case.get("extAuthzBehaviour").unwrap_or(&Value::Null);
    sent.checker = reply(says);
    Ok(Job {
        world,
        requests: vec![sent],
    })
}

fn backend(pod: &Value) -> Option<Backend> {
    let labels = pod.get("labels")?.as_object()?;
    let labels = labels
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect();
    Some(Backend {
        labels,
        namespace: text_of(pod, "namespace")?.to_owned(),
        account: text_of(pod, "account").unwrap_or("default").to_owned(),
    })
}

fn sent(request: &Value) -> Result<Sent> {
    let headers = pairs(request.get("headers").unwrap_or(&Value::Null));
    let port = request.get("port").and_then(Value::as_u64).unwrap_or(8080);
    let source = text_of(request, "source").unwrap_or("127.0.0.1");
    let tls = request.get("tls").filter(|tls| !tls.is_null());
    Ok(Sent {
        tokens: match request.get("jwt") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().map(token).collect(),
            Some(one) => vec![token(one)],
        },
        port: u16::try_from(port)?,
        method: text_of(request, "method").unwrap_or("GET").to_owned(),
        authority: text_of(request, "authority").unwrap_or_default().to_owned(),
        target: text_of(request, "path").unwrap_or("/").to_owned(),
        headers,
        source: source.parse::<Ipv4Addr>()?,
        checker: Reply::default(),
        tls: tls.map(|tls| Tls {
            sni: text_of(tls, "sni").map(str::to_owned),
            identity: text_of(tls, "clientUriSan").map(str::to_owned),
        }),
    })
}

fn token(jwt: &Value) -> Token {
    let text = |name: &str, default: &str| text_of(jwt, name).unwrap_or(default).to_owned();
    Token {
        key: text("signedBy", "k1"),
        claims: jwt.get("claims").cloned().unwrap_or_else(|| json!({})),
        place: match (text_of(jwt, "parameter"), text_of(jwt, "cookie")) {
            (Some(name), _) => Place::Parameter(name.to_owned()),
            (_, Some(name)) => Place::Cookie(name.to_owned()),
            _ => Place::Header {
                name: text("header", "authorization"),
                prefix: text("prefix", "Bearer "),
            },
        },
        alteration: text_of(jwt, "alteration").and_then(|name| {
            let mut all = Alteration::ALL.iter();
            all.find(|(known, _)| *known == name).map(|(_, a)| *a)
        }),
    }
}

fn describe(token: &Token) -> Value {
    let mut jwt = json!({"signedBy": token.key, "claims": token.claims});
    match &token.place {
        Place::Header { name, prefix } => {
            jwt["header"] = json!(name);
            jwt["prefix"] = json!(prefix);
        }
        Place::Parameter(name) => jwt["parameter"] = json!(name),
        Place::Cookie(name) => jwt["cookie"] = json!(name),
    }
    if let Some(alteration) = token.alteration {
        let mut all = Alteration::ALL.iter();
        jwt["alteration"] = json!(all.find(|(_, a)| *a == alteration).map(|(name, _)| name));
    }
    jwt
}

fn reply(says: &Value) -> Reply {
    // A status, or a map.
    let status = says.get("status").unwrap_or(says);
    let status = plain(status).parse::<u64>().ok();
    Reply {
        status: status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(200),
        headers: pairs(says.get("headers").unwrap_or(&Value::Null)),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A map, or a list of pairs when a header is repeated.
fn pairs(headers: &Value) -> Vec<(String, String)> {
    match headers {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(|pair| Some((plain(pair.get(0)?), plain(pair.get(1)?))))
            .collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn merge(into: &mut Value, from: &Value) {
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

/// A found disagreement as a case, ready to be added to a file.
pub(crate) fn write(name: &str, job: &Job, observed: &Observed) -> String {
    let mut text = format!("- name: {name}\n  verified: istio-eed52ebb66ad+envoy-1.40.0\n");
    text.push_str("  services: []\n  noDefaultRoutes: true\n");
    text.push_str(&format!("  meshConfig: {}\n", job.world.mesh));
    if !job.world.env.is_empty() {
        text.push_str(&format!("  istiodEnv: {}\n", json!(job.world.env)));
    }
    if let Some(pod) = &job.world.backend {
        let pod = json!({"namespace": pod.namespace, "labels": pod.labels, "account": pod.account});
        text.push_str(&format!("  backend: {pod}\n"));
    }
    text.push_str("  resources:\n");
    for object in &job.world.objects {
        text.push_str(&format!("  - {object}\n"));
    }
    for sent in &job.requests {
        let mut request = json!({
            "workloadLabels": job.world.labels, "namespace": job.world.namespace,
            "port": sent.port, "method": sent.method, "authority": sent.authority,
            "path": sent.target, "headers": sent.headers, "source": sent.source.to_string(),
        });
        if !sent.tokens.is_empty() {
            request["jwt"] = sent.tokens.iter().map(describe).collect();
        }
        if let Some(tls) = &sent.tls {
            request["tls"] = json!({"sni": tls.sni, "clientUriSan": tls.identity});
        }
        if job.world.sidecar {
            request["sidecar"] = json!(true);
        }
        if !job.world.proxy.is_empty() {
            request["proxyConfig"] = json!(job.world.proxy);
        }
        text.push_str(&format!("  request: {request}\n"));
        if sent.checker != Reply::default() {
            let says = json!({"status": sent.checker.status, "headers": sent.checker.headers});
            text.push_str(&format!("  extAuthzBehaviour: {says}\n"));
        }
    }
    let checker = job.requests.first().map(|sent| sent.checker.clone());
    let word = kind(observed, &checker.unwrap_or_default());
    text.push_str(&format!("  expect: {}\n", word));
    let mut detail = json!({"status": observed.status});
    if let (Some(upstream), Some(map)) = (&observed.upstream, detail.as_object_mut()) {
        map.insert("upstreamPath".into(), upstream.target.clone().into());
    }
    text.push_str(&format!("  expectDetail: {detail}\n"));
    text
}
