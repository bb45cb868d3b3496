//! Istio's own authorization test data, as requests: policies in, what Envoy
//! answers out. `cargo xtask record` writes it down, the tests replay it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::borders;
use super::compare;
use super::decided::Decider;
use super::folder::documents;
use super::install;
use super::run::{Job, Oracle};
use super::world::{Observed, Sent, World};
use crate::shell;

/// Requests under a policy, and under each of its fields alone.
const REQUESTS: usize = 24;

/// Where the recorded answers lie.
pub(crate) fn folder() -> PathBuf {
    shell::root().join("crates/policy/tests/istio")
}

/// What is recorded about one file of Istio's.
struct Recording {
    /// File name, without its ending.
    name: String,
    /// The file, as Istio calls it.
    origin: String,
    jobs: Vec<Job>,
}

/// Asks Istio and Envoy, and writes their answers down; or compares them with
/// what is written.
pub(crate) fn record(check: bool) -> Result<usize> {
    let recordings = recordings()?;
    let jobs: Vec<Job> = recordings.iter().flat_map(|r| r.jobs.clone()).collect();
    let mut outcomes = Oracle::new(install::programs()?)?.run(&jobs)?.into_iter();
    let folder = folder();
    if !check {
        std::fs::create_dir_all(&folder)?;
    }
    let (mut wrong, mut count) = (0, 0);
    for recording in &recordings {
        let mut clusters = Vec::new();
        for job in &recording.jobs {
            let outcome = outcomes.next().context("fewer answers than clusters")?;
            let answers = outcome
                .answers
                .map_err(|why| anyhow!("{}: not served: {why}", recording.origin))?;
            wrong += disagreements(&recording.name, job, &answers);
            count += answers.len();
            clusters.push((job, answers));
        }
        let text = written(recording, &clusters);
        let path = folder.join(format!("{}.yaml", recording.name));
        if check {
            let known = std::fs::read_to_string(&path).unwrap_or_default();
            if known != text {
                bail!(
                    "{}: Istio and Envoy answer otherwise by now: run `cargo xtask record`",
                    path.display()
                );
            }
        } else {
            std::fs::write(&path, text)?;
        }
    }
    if wrong > 0 {
        bail!("{wrong} requests are decided otherwise than by Istio and Envoy");
    }
    Ok(count)
}

fn disagreements(name: &str, job: &Job, answers: &[Observed]) -> usize {
    let mut count = 0;
    let decider = Decider::new(&job.world);
    for (sent, envoy) in job.requests.iter().zip(answers) {
        let ours = decider
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|decider| decider.observe(sent));
        let what = match ours {
            Ok(ours) => compare::difference(envoy, &ours),
            Err(why) => Some(why),
        };
        if let Some(what) = what {
            count += 1;
            let policies: Vec<String> = policies(&job.world)
                .iter()
                .map(|policy| policy.to_string())
                .collect();
            println!(
                "DIFFERS {name}: {} ({what}) under {}",
                line(sent),
                policies.join(" ")
            );
        }
    }
    count
}

/// Every input of Istio's module: whole, and each field of a rule alone.
fn recordings() -> Result<Vec<Recording>> {
    let module = shell::output(
        Command::new("go")
            .args(["list", "-m", "-f", "{{.Dir}}", "istio.io/istio"])
            .env("GOFLAGS", "-mod=mod")
            .current_dir(shell::root().join("xtask/oracle")),
    );
    let data = Path::new(&module).join("pilot/pkg/security/authz/builder/testdata");
    let mut found = Vec::new();
    for kind in ["http", "tcp"] {
        let folder = data.join(kind);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| format!("the module istio.io/istio: {}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.sort();
        for path in paths {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = file.strip_suffix("-in.yaml") else {
                continue;
            };
            let text = std::fs::read_to_string(&path)?;
            let mut policies = documents(&file, &text)?;
            policies.iter_mut().for_each(reachable);
            let mut seen = BTreeSet::new();
            let mut jobs = Vec::new();
            for policies in std::iter::once(policies.clone()).chain(slices(&policies)) {
                if seen.insert(json!(policies).to_string()) {
                    jobs.push(job(policies, domains(&file))?);
                }
            }
            found.push(Recording {
                name: format!("{kind}-{name}"),
                origin: format!("{kind}/{file}"),
                jobs,
            });
        }
    }
    Ok(found)
}

/// The lists of a rule, as pointers into it, and the part of the name that
/// makes each one's negation.
const LISTS: [(&str, &str); 2] = [("from", "source"), ("to", "operation")];

/// Rules of the inputs have so many conditions that no request meets all: each
/// list alone, with its negation.
fn slices(policies: &[Value]) -> Vec<Vec<Value>> {
    let mut out = Vec::new();
    for policy in policies {
        let rules = policy.pointer("/spec/rules").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            for (list, inner) in LISTS {
                let entries = rule.get(list).and_then(Value::as_array);
                for entry in entries.into_iter().flatten().filter_map(|e| e.get(inner)) {
                    for (field, values) in entry.as_object().into_iter().flatten() {
                        if field.starts_with("not")
                            && entry.as_object().is_some_and(|e| e.len() > 1)
                        {
                            continue;
                        }
                        let mut part = Map::new();
                        part.insert(field.clone(), values.clone());
                        let mut start = field.chars();
                        let first = start.next().map(|c| c.to_ascii_uppercase());
                        let negated = format!("not{}{}", first.unwrap_or('_'), start.as_str());
                        if let Some(values) = entry.get(&negated) {
                            part.insert(negated, without_any(values));
                        }
                        out.push(with_rule(policy, json!({list: [{inner: part}]})));
                    }
                }
            }
            let conditions = rule.get("when").and_then(Value::as_array);
            for condition in conditions.into_iter().flatten() {
                let mut condition = condition.clone();
                if let Some(values) = condition.get_mut("notValues") {
                    *values = without_any(values);
                }
                out.push(with_rule(policy, json!({"when": [condition]})));
            }
        }
    }
    out
}

/// `*` refuses whatever else would be let through.
fn without_any(values: &Value) -> Value {
    let values = values.as_array().into_iter().flatten();
    json!(
        values
            .filter(|value| **value != json!("*"))
            .collect::<Vec<_>>()
    )
}

fn with_rule(policy: &Value, rule: Value) -> Vec<Value> {
    let mut policy = policy.clone();
    if let Some(rules) = policy.pointer_mut("/spec/rules") {
        *rules = json!([rule]);
    }
    vec![policy]
}

/// Methods that a client can send, for those of the inputs.
const METHODS: [(&str, &str); 6] = [
    ("method", "GET"),
    ("method-prefix-*", "PROP*"),
    ("*-suffix-method", "*LOCK"),
    ("not-method", "POST"),
    ("not-method-prefix-*", "SUB*"),
    ("*-not-suffix-method", "*PATCH"),
];

/// Clients are at loopback addresses and HTTP/1.1 has known methods: the inputs
/// are moved to where requests can meet them.
fn reachable(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((_, method)) = METHODS.iter().find(|(known, _)| text == known) {
                (*method).clone_into(text);
            }
            let (address, length) = text.split_once('/').unwrap_or((text, ""));
            if let Ok(address) = address.parse::<std::net::Ipv4Addr>() {
                let [a, b, c, d] = address.octets();
                let slash = if length.is_empty() { "" } else { "/" };
                *text = format!("127.{}.{c}.{d}{slash}{length}", a ^ b);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(reachable),
        Value::Object(map) => map.values_mut().for_each(reachable),
        _ => {}
    }
}

/// Trust domain and aliases, as Istio's tests give them to some inputs.
fn domains(file: &str) -> Value {
    match file {
        "simple-policy-td-aliases-in.yaml" => {
            json!({"trustDomain": "td1", "trustDomainAliases": ["cluster.local"]})
        }
        "simple-policy-multiple-td-aliases-in.yaml" => {
            json!({"trustDomain": "td1", "trustDomainAliases": ["cluster.local", "some-td"]})
        }
        "simple-policy-principal-with-wildcard-in.yaml" => {
            json!({"trustDomain": "td1", "trustDomainAliases": ["foobar"]})
        }
        "td-aliases-source-principal-in.yaml" => {
            json!({"trustDomain": "new-td", "trustDomainAliases": ["old-td", "some-trustdomain"]})
        }
        _ => json!({}),
    }
}

/// A listener that asks for certificates.
const MUTUAL: u16 = 8443;

/// The policies on a gateway pod that they select, with a listener for each
/// port that they name.
fn job(policies: Vec<Value>, domains: Value) -> Result<Job> {
    let mut ports: BTreeSet<u16> = [8080].into();
    for policy in &policies {
        named_ports(policy, &mut ports);
    }
    let mut world = World {
        objects: around(&ports),
        mesh: mesh(&domains),
        labels: [
            ("app", "httpbin"),
            ("istio", "ingressgateway"),
            ("version", "v1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        namespace: "foo".into(),
        env: BTreeMap::new(),
        proxy: String::new(),
        sidecar: false,
        backend: None,
    };
    world.objects.extend(policies);
    let ports: Vec<u16> = ports.into_iter().collect();
    let mut requests: Vec<Sent> = Vec::new();
    let ports = borders::Ports {
        plain: &ports,
        mutual: Some(MUTUAL),
    };
    for sent in borders::requests(&world, &ports, REQUESTS) {
        if !requests.contains(&sent) {
            requests.push(sent);
        }
    }
    Ok(Job { world, requests })
}

fn named_ports(value: &Value, found: &mut BTreeSet<u16>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let port = matches!(name.as_str(), "ports" | "notPorts")
                    || matches!(name.as_str(), "values" | "notValues")
                        && map.get("key") == Some(&json!("destination.port"));
                if port {
                    let all = value.as_array().into_iter().flatten();
                    found.extend(all.filter_map(|port| port.as_str()?.parse::<u16>().ok()));
                } else {
                    named_ports(value, found);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| named_ports(value, found)),
        _ => {}
    }
}

fn mesh(domains: &Value) -> Value {
    let mut mesh = json!({"extensionProviders": [{"name": "default", "envoyExtAuthzHttp": {
        "service": "foo/my-custom-ext-authz.foo.svc.cluster.local", "port": 9000,
        "includeRequestHeadersInCheck": ["x-custom-id", "x-prefix-*", "*-suffix"]}}]});
    super::cases::merge(&mut mesh, domains);
    mesh
}

fn around(ports: &BTreeSet<u16>) -> Vec<Value> {
    let service = |name: &str, port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "foo"},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port}]}})
    };
    let mut servers: Vec<Value> = ports
        .iter()
        .map(|port| json!({"port": {"number": port, "name": format!("http-{port}"), "protocol": "HTTP"}, "hosts": ["*"]}))
        .collect();
    servers.push(
        json!({"port": {"number": MUTUAL, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
        "tls": {"mode": "MUTUAL", "credentialName": "gateway"}}),
    );
    vec![
        service("backend", 80),
        service("my-custom-ext-authz", 9000),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "kubeflow-gateway", "namespace": "kubeflow"},
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers}}),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "all", "namespace": "foo"},
            "spec": {"hosts": ["*"], "gateways": ["kubeflow/kubeflow-gateway"],
                "http": [{"route": [{"destination": {"host": "backend", "port": {"number": 80}}}]}]}}),
    ]
}

fn policies(world: &World) -> Vec<&Value> {
    let all = world.objects.iter();
    all.filter(|object| object.get("kind") == Some(&json!("AuthorizationPolicy")))
        .collect()
}

fn written(recording: &Recording, clusters: &[(&Job, Vec<Observed>)]) -> String {
    let mut text = format!(
        "# What Envoy answers under the policies of `{}` in Istio's own test data (Apache-2.0),\n# whole and field by field, with addresses moved to 127.0.0.0/8 and methods to known ones. Made by `cargo xtask record`.\n",
        recording.origin
    );
    text.push_str("clusters:\n");
    for (job, answers) in clusters {
        text.push_str(&format!(
            "- domains: {}\n  policies:\n",
            domains_of(&job.world)
        ));
        for policy in policies(&job.world) {
            text.push_str(&format!("  - {policy}\n"));
        }
        let mut groups: BTreeMap<String, Vec<&Sent>> = BTreeMap::new();
        for (sent, envoy) in job.requests.iter().zip(answers) {
            groups.entry(outcome(envoy)).or_default().push(sent);
        }
        text.push_str("  answers:\n");
        for (outcome, requests) in groups {
            text.push_str(&format!("    {outcome}:\n"));
            for sent in requests {
                text.push_str(&format!("    - {}\n", line(sent)));
            }
        }
    }
    text
}

fn domains_of(world: &World) -> Value {
    let mut mesh = world.mesh.clone();
    if let Some(mesh) = mesh.as_object_mut() {
        mesh.remove("extensionProviders");
    }
    mesh
}

/// The status, and who was asked.
fn outcome(observed: &Observed) -> String {
    let status = observed
        .status
        .map_or_else(|| "closed".to_owned(), |status| status.to_string());
    let asked: Vec<&str> = observed
        .checks
        .iter()
        .map(|check| check.at.as_str())
        .collect();
    let reached = if observed.upstream.is_some() {
        " reached"
    } else {
        ""
    };
    let asked = if asked.is_empty() {
        String::new()
    } else {
        format!(" asked {}", asked.join(" "))
    };
    format!("{:?}", format!("{status}{reached}{asked}"))
}

/// Port, method, authority, target, headers, source, what authorizers say, and
/// over TLS server name and certificate.
fn line(sent: &Sent) -> String {
    let mut fields = vec![
        json!(sent.port),
        json!(sent.method),
        json!(sent.authority),
        json!(sent.target),
        json!(sent.headers),
        json!(sent.source),
        json!(sent.checker.status),
    ];
    if let Some(tls) = &sent.tls {
        fields.extend([json!(tls.sni), json!(tls.identity)]);
    }
    Value::from(fields).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::folder::login;
    use super::super::world::{Reply, Tls};
    use super::*;

    fn sent(line: &Value) -> Sent {
        let fields = line.as_array().unwrap();
        let text = |at: usize| fields[at].as_str().unwrap().to_owned();
        let pairs = fields[4].as_array().unwrap().iter();
        Sent {
            port: u16::try_from(fields[0].as_u64().unwrap()).unwrap(),
            method: text(1),
            authority: text(2),
            target: text(3),
            headers: pairs
                .map(|pair| {
                    let part = |at: usize| pair[at].as_str().unwrap().to_owned();
                    (part(0), part(1))
                })
                .collect(),
            source: text(5).parse().unwrap(),
            checker: if fields[6] == json!(302) {
                login()
            } else {
                Reply::default()
            },
            tls: fields.get(7).map(|name| Tls {
                sni: name.as_str().map(str::to_owned),
                identity: fields[8].as_str().map(str::to_owned),
            }),
            tokens: Vec::new(),
        }
    }

    #[test]
    fn istios_own_policies_let_through_what_envoy_lets_through() {
        let mut count = 0;
        for entry in std::fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let file: Value = serde_saphyr::from_str(&text).unwrap();
            for cluster in file["clusters"].as_array().unwrap() {
                let policies = cluster["policies"].as_array().unwrap().clone();
                let world = job(policies, cluster["domains"].clone()).unwrap().world;
                let decider = Decider::new(&world).unwrap();
                for (expected, requests) in cluster["answers"].as_object().unwrap() {
                    for request in requests.as_array().unwrap() {
                        let ours = decider.observe(&sent(request)).unwrap();
                        let ours: String = serde_json::from_str(&outcome(&ours)).unwrap();
                        assert_eq!(ours, *expected, "{}: {request}", path.display());
                        count += 1;
                    }
                }
            }
        }
        assert!(count > 1_000, "only {count} answers are recorded");
    }

    #[test]
    fn a_rule_is_taken_apart_by_field() {
        let policy = json!({"spec": {"rules": [{
            "to": [{"operation": {"paths": ["/a"], "notPaths": ["/b", "*"], "methods": ["GET"]}}],
            "when": [{"key": "source.ip", "values": ["1.2.3.4"]}]}]}});
        let rules: Vec<Value> = slices(&[policy])
            .into_iter()
            .map(|policies| policies[0].pointer("/spec/rules/0").unwrap().clone())
            .collect();
        assert_eq!(
            rules,
            [
                json!({"to": [{"operation": {"methods": ["GET"]}}]}),
                json!({"to": [{"operation": {"paths": ["/a"], "notPaths": ["/b"]}}]}),
                json!({"when": [{"key": "source.ip", "values": ["1.2.3.4"]}]}),
            ]
        );
    }

    #[test]
    fn inputs_move_to_where_clients_are() {
        let mut value = json!(["1.2.3.4", "5.6.0.0/16", "/a/b", "80", "not-method"]);
        reachable(&mut value);
        assert_eq!(
            value,
            json!(["127.3.3.4", "127.3.0.0/16", "/a/b", "80", "POST"])
        );
    }
}
