//! Pods with a sidecar: policies of their own, and PeerAuthentications.

use serde_json::{Value, json};

use super::connections::IDENTITIES;
use super::words::HOSTS;
use super::{Dice, Features, Maker, requests, services};
use crate::oracle::run::Job;
use crate::oracle::world::{Sent, Tls, World};

/// Where the pod is.
pub(super) const NAMESPACE: &str = "ns1";

/// Ports of the pod: one for HTTP, one of which nothing is said, one that is
/// not read.
const PORTS: &[u16] = &[8080, 8080, 8080, 8081, 9000];

/// What the gateways of the mesh show.
const GATEWAY: &str =
    "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";

/// The cluster with a pod of its own, and requests to that.
pub(super) fn job(mut dice: Dice, requests: usize, features: &Features) -> Job {
    let mut maker = Maker {
        dice: &mut dice,
        features,
        objects: services(),
    };
    let mesh = maker.mesh();
    maker.policies();
    if features.on("custom") {
        maker.custom();
    }
    if features.on("tokens") {
        maker.tokens();
    }
    maker.move_in();
    maker.pod_services();
    maker.peer_authentications();
    let (mesh, proxy) = maker.proxies(mesh);
    let env = maker.env();
    let world = World {
        objects: maker.objects,
        mesh,
        labels: [("app", "app"), ("version", "v1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        namespace: NAMESPACE.to_owned(),
        env,
        proxy,
        sidecar: true,
        backend: None,
    };
    let requests = (0..requests).map(|_| sent(&mut dice, features)).collect();
    Job { world, requests }
}

impl Maker<'_> {
    /// Most policies for gateways become policies for the pod.
    fn move_in(&mut self) {
        for object in &mut self.objects {
            let kind = object.get("kind").and_then(Value::as_str);
            if !matches!(kind, Some("AuthorizationPolicy" | "RequestAuthentication")) {
                continue;
            }
            let root = self.dice.percent(25);
            if let Some(namespace) = object.pointer_mut("/metadata/namespace")
                && !root
            {
                *namespace = json!(NAMESPACE);
            }
            if let Some(labels) = object.pointer_mut("/spec/selector/matchLabels")
                && labels.get("istio").is_some()
            {
                *labels = json!({"app": "app"});
            }
        }
    }

    pub(super) fn pod_services(&mut self) {
        self.objects.push(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "more", "namespace": NAMESPACE},
                "spec": {"selector": {"app": "app"}, "ports": [
                    {"name": "unsaid", "port": 81, "targetPort": 8081},
                    {"name": "tcp-raw", "port": 9000}]}}),
        );
    }

    pub(super) fn peer_authentications(&mut self) {
        for number in 0..self.dice.below(4) {
            let namespace = self
                .dice
                .pick(&["istio-system", NAMESPACE, NAMESPACE, "ns2"]);
            let mut spec = json!({});
            if self.dice.percent(80) {
                spec["mtls"] = self.mutual();
            }
            match self.dice.below(4) {
                0 => {}
                1 => spec["selector"] = json!({"matchLabels": {"app": "other"}}),
                _ => {
                    spec["selector"] = json!({"matchLabels": {"app": "app"}});
                    if self.dice.percent(50) {
                        let port = self.dice.number(&[8080, 8081, 9000, 80]);
                        let mutual = self.mutual();
                        spec["portLevelMtls"] = json!({port.to_string(): mutual});
                    }
                }
            }
            let metadata = self.metadata(&format!("peer{number}"), namespace);
            self.objects.push(
                json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                    "metadata": metadata, "spec": spec}),
            );
        }
    }

    fn mutual(&mut self) -> Value {
        match self
            .dice
            .pick(&["STRICT", "PERMISSIVE", "DISABLE", "UNSET", ""])
        {
            "" => json!({}),
            mode => json!({"mode": mode}),
        }
    }
}

fn sent(dice: &mut Dice, features: &Features) -> Sent {
    let port = PORTS.get(dice.below(PORTS.len())).copied();
    let tls = dice.percent(55).then(|| Tls {
        sni: Some(dice.pick(HOSTS).to_owned()).filter(|_| dice.percent(90)),
        identity: dice.percent(85).then(|| match dice.below(3) {
            0 => GATEWAY.to_owned(),
            _ => dice.pick(IDENTITIES).to_owned(),
        }),
    });
    Sent {
        port: port.unwrap_or(8080),
        tls,
        ..requests::sent(dice, features)
    }
}
