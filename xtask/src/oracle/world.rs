//! What is compared: a cluster, a request, and what became of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Result, anyhow};
use resources::Cluster;
use serde_json::{Map, Value, json};

use super::backend::{Backend, in_front};
use super::cases::merge;
use super::peers::WaysBack;
use super::tokens;

/// The pod, as the manifests call it.
pub(crate) const GATEWAY_UNDER_TEST: &str = "gateway-under-test";

/// A cluster and the gateway pod that is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Kubernetes and Istio objects.
    pub(crate) objects: Vec<Value>,
    /// The mesh configuration.
    pub(crate) mesh: Value,
    /// Labels of the pod.
    pub(crate) labels: BTreeMap<String, String>,
    /// Namespace of the pod.
    pub(crate) namespace: String,
    /// Environment of istiod.
    pub(crate) env: BTreeMap<String, String>,
    /// The pod's annotation `proxy.istio.io/config`; empty for none.
    pub(crate) proxy: String,
    /// The pod is no gateway but has a sidecar, whose inbound side is looked at.
    pub(crate) sidecar: bool,
    /// A pod with a sidecar behind the gateway.
    pub(crate) backend: Option<Backend>,
}

/// One request, as it is written to the socket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) port: u16,
    pub(crate) method: String,
    pub(crate) authority: String,
    /// The request target, raw.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The loopback address it comes from.
    pub(crate) source: Ipv4Addr,
    /// What authorizers answer.
    pub(crate) checker: Reply,
    pub(crate) tls: Option<Tls>,
    pub(crate) tokens: Vec<Token>,
}

/// A token that is signed when the request is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) key: String,
    pub(crate) claims: Value,
    pub(crate) place: Place,
    pub(crate) alteration: Option<Alteration>,
}

/// What is done to a token after it was signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Alteration {
    /// Its signature is another's.
    Signature,
    /// Something follows it.
    Trailing,
    /// It is cut off.
    Short,
}

impl Alteration {
    pub(crate) const ALL: [(&str, Self); 3] = [
        ("signature", Self::Signature),
        ("trailing", Self::Trailing),
        ("short", Self::Short),
    ];

    fn apply(self, token: &str) -> String {
        let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
        match self {
            Self::Signature => format!("{signed}.{}", signature.chars().rev().collect::<String>()),
            Self::Trailing => format!("{token},x"),
            Self::Short => signed.to_owned(),
        }
    }
}

/// Where a request carries a token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Header {
        name: String,
        prefix: String,
    },
    /// A parameter of the query.
    Parameter(String),
    Cookie(String),
}

/// TLS of the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tls {
    pub(crate) sni: Option<String>,
    /// URI SAN of the client's certificate.
    pub(crate) identity: Option<String>,
}

/// What an authorizer answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// `None`: the connection was refused or closed without an answer.
    pub(crate) status: Option<u16>,
    /// The status of gRPC, of answers that a proxy gives by itself.
    pub(crate) grpc: Option<u16>,
    pub(crate) location: Option<String>,
    /// Headers `x-…` of the answer.
    pub(crate) headers: Vec<(String, String)>,
    /// The authorizers asked, in order.
    pub(crate) checks: Vec<Arrived>,
    /// The upstream reached.
    pub(crate) upstream: Option<Arrived>,
}

/// A request as a peer of the gateway saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrived {
    /// Host and port of the Service.
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    /// Joined, without those a proxy adds.
    pub(crate) headers: Vec<(String, String)>,
}

/// Headers that the proxy or the transport adds, changes or takes.
pub(crate) fn is_transport_header(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "host",
        "content-length",
        "connection",
        "transfer-encoding",
        "grpc-timeout",
        "x-request-id",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-proto",
    ];
    NAMES.contains(&name) || name.starts_with("x-envoy-") || name == "x-forwarded-host"
}

/// Sorted, and those of one name joined: whether a proxy writes one line or two
/// means nothing.
pub(crate) fn joined(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, value) in headers {
        match found.last_mut() {
            Some((known, all)) if *known == name => {
                all.push_str(if name == "cookie" { "; " } else { "," });
                all.push_str(&value);
            }
            _ => found.push((name, value)),
        }
    }
    found
}

impl Sent {
    /// With the tokens where they belong.
    pub(crate) fn complete(&self) -> Cow<'_, Self> {
        if self.tokens.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut sent = self.clone();
        for token in &self.tokens {
            let text = tokens::token(&token.key, &token.claims).unwrap_or_default();
            let text = match token.alteration {
                Some(alteration) => alteration.apply(&text),
                None => text,
            };
            match &token.place {
                Place::Header { name, prefix } => {
                    sent.headers.push((name.clone(), format!("{prefix}{text}")));
                }
                Place::Parameter(name) => {
                    let (path, fragment) = match sent.target.split_once('#') {
                        Some((path, fragment)) => (path, format!("#{fragment}")),
                        None => (sent.target.as_str(), String::new()),
                    };
                    let sign = if path.contains('?') { '&' } else { '?' };
                    sent.target = format!("{path}{sign}{name}={text}{fragment}");
                }
                Place::Cookie(name) => {
                    sent.headers
                        .push(("cookie".into(), format!("{name}={text}")));
                }
            }
        }
        Cow::Owned(sent)
    }
}

impl World {
    /// The objects, with key sets where they are named.
    fn complete(&self) -> Vec<Value> {
        let filled = |object| tokens::filled(object).unwrap_or_default();
        self.objects.iter().map(filled).collect()
    }

    /// The objects for a reader that knows nothing but objects.
    pub(crate) fn manifests(&self) -> String {
        let mut text = String::new();
        for object in self.complete() {
            text.push_str(&format!("{object}\n---\n"));
        }
        let mesh = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": self.mesh.to_string()},
        });
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": GATEWAY_UNDER_TEST, "namespace": self.namespace, "labels": self.labels},
        });
        if !self.proxy.is_empty() {
            merge(
                &mut pod,
                &json!({"metadata": {"annotations": {"proxy.istio.io/config": self.proxy}}}),
            );
        }
        // The listener ports of the requests, whatever the Gateways are called.
        let ingress = json!({"ingressGateway": "kubeflow/kubeflow-gateway", "localGateway": "knative-serving/knative-local-gateway"});
        let serving = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
            "data": {"ingress": ingress.to_string()},
        });
        let env = self.env.iter();
        let env: Vec<Value> = env
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let istiod = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "istiod", "namespace": "istio-system"},
            "spec": {"template": {
                "metadata": {"labels": {"app": "istiod"}},
                "spec": {"containers": [{"name": "discovery", "env": env}]},
            }},
        });
        for object in [mesh, pod, serving, istiod] {
            text.push_str(&format!("{object}\n---\n"));
        }
        if let Some(backend) = &self.backend {
            text.push_str(&format!("{}\n---\n", backend.manifest()));
        }
        if self.sidecar {
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": self.namespace, "labels": {"istio-injection": "enabled"}},
            });
            text.push_str(&format!("{namespace}\n---\n"));
        }
        text
    }

    /// The objects, parsed.
    pub(crate) fn cluster(&self) -> Result<Cluster> {
        let file = ("cluster.yaml".into(), self.manifests());
        resources::parse(&[file]).map_err(|errors| anyhow!("{errors}"))
    }

    /// Services in front of the pod, with the addresses of its listeners.
    pub(crate) fn ways_back(&self, gateway: Ipv4Addr) -> WaysBack {
        in_front(&self.objects, &self.labels, &self.namespace, gateway)
    }

    /// Services in front of the backend, with the addresses of its ports.
    pub(crate) fn ways_behind(&self, address: Ipv4Addr) -> WaysBack {
        let backend = self.backend.as_ref();
        let ways = backend
            .map(|backend| in_front(&self.objects, &backend.labels, &backend.namespace, address));
        ways.unwrap_or_default()
    }

    /// What the translator reads; addresses of the pod and of the one behind it.
    pub(crate) fn for_istio(&self, address: Ipv4Addr, behind: Ipv4Addr) -> Value {
        let mut objects = self.complete();
        if let Some(backend) = &self.backend {
            objects.extend(backend.running(&objects, behind));
        }
        objects.iter_mut().for_each(target_ports);
        let backend = self.backend.as_ref().map(|backend| {
            json!({
                "labels": backend.labels,
                "namespace": backend.namespace,
                "account": backend.account,
                "address": behind.to_string(),
            })
        });
        json!({
            "objects": objects,
            "mesh": self.mesh,
            "labels": self.labels,
            "namespace": self.namespace,
            "env": self.env,
            "proxy": self.proxy,
            "sidecar": self.sidecar,
            "backend": backend,
            "address": address.to_string(),
        })
    }
}

/// As the API server fills them in.
fn target_ports(object: &mut Value) {
    if object.get("kind") != Some(&json!("Service")) {
        return;
    }
    let ports = object
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(number) = port.get("port").cloned() {
            port.entry("targetPort").or_insert(number);
        }
    }
}

impl Arrived {
    /// `service:port` of an Envoy cluster `outbound|80|subset|service`.
    pub(crate) fn service_of(cluster: &str) -> String {
        let parts: Vec<&str> = cluster.split('|').collect();
        match parts.as_slice() {
            [.., "outbound", port, _, host] => format!("{host}:{port}"),
            [.., "inbound", port, _, ""] => Self::inside(port),
            _ => cluster.to_owned(),
        }
    }

    /// A port of the pod itself.
    pub(crate) fn inside(port: impl std::fmt::Display) -> String {
        format!("the pod:{port}")
    }

    fn describe(&self) -> Value {
        json!({"service": self.at, "method": self.method, "path": self.target, "host": self.host,
            "headers": self.headers})
    }
}

impl Observed {
    /// For people and for `--output json`.
    pub(crate) fn describe(&self) -> Value {
        let mut out = Map::new();
        out.insert(
            "status".into(),
            self.status
                .map_or_else(|| "connection closed".into(), Value::from),
        );
        if let Some(location) = &self.location {
            out.insert("location".into(), location.clone().into());
        }
        if !self.headers.is_empty() {
            out.insert("headers".into(), json!(self.headers));
        }
        let asked: Vec<Value> = self.checks.iter().map(Arrived::describe).collect();
        out.insert("asked".into(), asked.into());
        if let Some(upstream) = &self.upstream {
            out.insert("upstream".into(), upstream.describe());
        }
        Value::Object(out)
    }
}
