//! A pod with a sidecar behind the gateway: what the gateway speaks to it, whom
//! the sidecar takes it for, and policies of both.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Dice, Features, Maker, requests, services, sidecars};
use crate::oracle::backend::Backend;
use crate::oracle::run::Job;
use crate::oracle::world::{Sent, World};

/// What is compared through both proxies.
const COMPARED: &[&str] = &[
    "policies",
    "templates",
    "addresses",
    "certificates",
    "headers",
    "normalization",
    "proxies",
    "settings",
    "tcp",
    "tls",
];

/// ServiceAccounts of the pod.
const ACCOUNTS: &[&str] = &["default", "sa"];

/// The cluster with both pods, and requests to the gateway.
pub(super) fn job(mut dice: Dice, requests: usize, features: &Features) -> Job {
    let features = &features.within(COMPARED);
    let mut maker = Maker {
        dice: &mut dice,
        features,
        objects: services(),
    };
    let mut mesh = maker.mesh();
    if maker.dice.percent(10) {
        mesh["enableAutoMtls"] = json!(false);
    }
    maker.routes();
    if features.on("tls") {
        maker.secure();
    }
    maker.policies();
    maker.gateway_policies_of_pods();
    maker.pod_services();
    maker.peer_authentications();
    maker.ways_to_the_pod();
    maker.server_names();
    let (mesh, proxy) = maker.proxies(mesh);
    let account = maker.dice.pick(ACCOUNTS).to_owned();
    let world = World {
        objects: maker.objects,
        mesh,
        labels: [("istio", "ingressgateway"), ("app", "istio-ingressgateway")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        namespace: "istio-system".to_owned(),
        env: std::collections::BTreeMap::new(),
        proxy,
        sidecar: false,
        backend: Some(Backend {
            labels: [("app", "app"), ("version", "v1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            namespace: sidecars::NAMESPACE.to_owned(),
            account,
        }),
    };
    let requests = (0..requests)
        .map(|_| from_elsewhere(requests::sent(&mut dice, features)))
        .collect();
    Job { world, requests }
}

/// Of a client at exactly this address the gateway tells the pods its machine's
/// own (docs/conformance.md), which no cluster says.
fn from_elsewhere(mut sent: Sent) -> Sent {
    if sent.source == Ipv4Addr::LOCALHOST {
        sent.source = Ipv4Addr::new(127, 0, 0, 2);
    }
    sent
}

/// What rules name, the gateway among others.
const GATEWAYS: &[&str] = &[
    "cluster.local/ns/istio-system/sa/default",
    "cluster.local/ns/istio-system/*",
    "td2/ns/istio-system/sa/default",
    "*/sa/default",
    "*",
    "cluster.local/ns/ns1/sa/sa",
];

/// Server names that rules name: what gateways ask for, and others.
const SERVER_NAMES: &[&str] = &[
    "outbound_.80_._.app.ns1.svc.cluster.local",
    "outbound_.81_._.more.ns1.svc.cluster.local",
    "outbound_.9000_*",
    "*.ns1.svc.cluster.local",
    "own.example.com",
    "a.example.com",
    "*",
];

/// Ports of the pod's Services.
const PORTS: &[u16] = &[80, 81, 9000];

impl Maker<'_> {
    /// Some policies for gateways become policies for the pod, and some are
    /// about who connects.
    fn gateway_policies_of_pods(&mut self) {
        for object in &mut self.objects {
            if object.get("kind") != Some(&json!("AuthorizationPolicy")) || self.dice.percent(40) {
                continue;
            }
            object["metadata"]["namespace"] = json!(sidecars::NAMESPACE);
            if let Some(labels) = object.pointer_mut("/spec/selector/matchLabels") {
                *labels = json!({"app": "app"});
            }
        }
        for number in 0..self.dice.below(3) {
            let (field, values) = match self.dice.below(4) {
                0 => (
                    "namespaces",
                    self.dice.some(&["istio-system", "ns1", "*"], 2),
                ),
                1 => (
                    "serviceAccounts",
                    self.dice.some(&["istio-system/default", "ns1/sa"], 2),
                ),
                _ => ("principals", self.dice.some(GATEWAYS, 2)),
            };
            let field = self.negated(field);
            let mut rule = json!({"from": [{"source": {field: values}}]});
            if self.dice.percent(40) {
                let mut to = json!({"ports": [self.dice.pick(&["8080", "8081", "80", "9000"])]});
                if self.dice.percent(40) {
                    to = json!({"paths": ["/a*"]});
                }
                rule["to"] = json!([{"operation": to}]);
            }
            let action = self.dice.pick(&["ALLOW", "DENY"]);
            let metadata = self.metadata(&format!("who{number}"), sidecars::NAMESPACE);
            self.objects.push(
                json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                    "metadata": metadata, "spec": {"action": action, "rules": [rule]}}),
            );
        }
    }

    /// Rules on server names compare them with those that gateways ask for.
    fn server_names(&mut self) {
        for object in &mut self.objects {
            let rules = object
                .pointer_mut("/spec/rules")
                .and_then(Value::as_array_mut);
            for rule in rules.into_iter().flatten() {
                if self.dice.percent(15) {
                    rule["when"] = json!([{"key": "connection.sni", "values": []}]);
                }
                let conditions = rule.get_mut("when").and_then(Value::as_array_mut);
                for condition in conditions.into_iter().flatten() {
                    if condition["key"] == "connection.sni" {
                        condition["values"] = json!(self.dice.some(SERVER_NAMES, 2));
                    }
                }
            }
        }
    }

    /// Most routes lead to the pod, and some DestinationRules say how.
    fn ways_to_the_pod(&mut self) {
        for object in &mut self.objects {
            let spec = object.get_mut("spec").and_then(Value::as_object_mut);
            let lists = spec.into_iter().flatten();
            let lists = lists.filter(|(name, _)| matches!(name.as_str(), "http" | "tcp" | "tls"));
            let routes = lists.filter_map(|(_, list)| list.as_array_mut()).flatten();
            for route in routes {
                let to = route.pointer_mut("/route/0/destination");
                let Some(to) = to.filter(|_| self.dice.percent(80)) else {
                    continue;
                };
                let (host, port) = match self.dice.below(4) {
                    0 => ("more.ns1.svc.cluster.local", 81),
                    1 if self.dice.percent(40) => ("more.ns1.svc.cluster.local", 9000),
                    _ => ("app.ns1.svc.cluster.local", 80),
                };
                *to = json!({"host": host, "port": {"number": port}});
            }
        }
        for number in 0..self.dice.below(3) {
            let host = self.dice.pick(&[
                "app.ns1.svc.cluster.local",
                "more.ns1.svc.cluster.local",
                "*.ns1.svc.cluster.local",
                "app",
            ]);
            let mut tls = json!({"mode": self.dice.pick(&["DISABLE", "ISTIO_MUTUAL"])});
            if self.dice.percent(25) {
                tls["sni"] = json!("own.example.com");
            }
            let policy = match self.dice.below(4) {
                0 => {
                    json!({"portLevelSettings": [{"port": {"number": self.dice.number(PORTS)}, "tls": tls}]})
                }
                1 => json!({"loadBalancer": {"simple": "RANDOM"}}),
                _ => json!({"tls": tls}),
            };
            let namespace = self.dice.pick(&["istio-system", "ns1", "ns1", "ns2"]);
            let metadata = self.metadata(&format!("rule{number}"), namespace);
            self.objects.push(
                json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                    "metadata": metadata, "spec": {"host": host, "trafficPolicy": policy}}),
            );
        }
    }
}
