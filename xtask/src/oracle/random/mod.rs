//! Random clusters and requests, biased to the corners where implementations part.
#![expect(
    clippy::indexing_slicing,
    reason = "fields of JSON objects that were made just before"
)]

mod authz;
mod backends;
mod connections;
mod dice;
mod filters;
mod gateway_api;
mod policies;
mod requests;
mod routes;
mod sidecars;
mod tokens;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::{Value, json};

pub(crate) use self::dice::Dice;
use super::run::Job;
use super::world::World;

/// What clusters may be made of.
pub(crate) const FEATURES: [&str; 29] = [
    "gateways",      // several Gateways, hosts with namespaces, upper case, httpsRedirect
    "routes",        // matches on everything, rewrite, redirect, direct response
    "headers",       // header operations of routes
    "delegates",     // VirtualServices that delegate
    "export",        // exportTo, gateways `mesh` and short names
    "policies",      // ALLOW, DENY, AUDIT
    "odd-policies",  // objects that Istio's validation refuses and that act if stored
    "templates",     // path templates
    "addresses",     // ipBlocks
    "custom",        // external authorizers
    "grpc",          // authorizers that are asked over gRPC
    "broken-custom", // authorizers that are missing, doubled or misnamed
    "tokens",        // RequestAuthentications, tokens, rules about claims
    "filters",       // EnvoyFilters that insert an authorizer or switch it off
    "patches",       // EnvoyFilters on headers, with Lua, with access control, that remove
    "gateway-api",   // Gateway, HTTPRoute, ReferenceGrant
    "tls",           // servers that terminate TLS, server names
    "tcp",           // servers of connections that are not read
    "certificates",  // clients with certificates, rules about them, trust domains
    "proxies",       // trusted proxies before the gateway, remoteIpBlocks
    "settings",      // connectionSettings, several external authorizers at once
    "grpc-routes",   // GRPCRoute beside them
    "targets",       // policies with targetRefs
    "corners",       // weights, subsets, CORS, faults, ways back to the gateway
    "services",      // ports of several Services in front of the gateway
    "normalization", // path normalisation other than the default
    "odd-requests",  // odd targets, hosts, repeated headers
    "backends", // a pod with a sidecar behind the gateway: every eighth cluster, all without `routes`
    "sidecars", // a pod with a sidecar, PeerAuthentications: every fourth cluster, all without `routes`
];

/// The features that are on.
#[derive(Clone, Debug)]
pub(crate) struct Features(BTreeSet<String>);

impl Features {
    pub(crate) fn all() -> Self {
        Self(FEATURES.iter().map(|name| (*name).to_owned()).collect())
    }

    /// `a,b`: these only; `-a,-b`: all but these.
    pub(crate) fn parse(list: &str) -> Result<Self> {
        let mut features = if list.starts_with('-') {
            Self::all()
        } else {
            Self(BTreeSet::new())
        };
        for word in list.split(',') {
            let name = word.trim_start_matches('-');
            if !FEATURES.contains(&name) {
                bail!(
                    "no feature `{name}`: expected some of {}",
                    FEATURES.join(",")
                );
            }
            if word.starts_with('-') {
                features.0.remove(name);
            } else {
                features.0.insert(name.to_owned());
            }
        }
        Ok(features)
    }

    /// Those of them that are on.
    fn within(&self, names: &[&str]) -> Self {
        let on = self.0.iter().filter(|name| names.contains(&name.as_str()));
        Self(on.cloned().collect())
    }

    fn on(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// The cluster of that number, with its requests.
pub(crate) fn job(seed: u64, number: u64, requests: usize, features: &Features) -> Job {
    let mut dice = Dice::new(seed, number);
    let every = if features.on("routes") { 4 } else { 1 };
    if features.on("sidecars") && number % every == every - 1 {
        return sidecars::job(dice, requests, features);
    }
    if features.on("backends") && (every == 1 || number % 8 == 1) {
        return backends::job(dice, requests, features);
    }
    let mut maker = Maker {
        dice: &mut dice,
        features,
        objects: services(),
    };
    let mesh = maker.mesh();
    if features.on("services") {
        maker.in_front();
    }
    maker.routes();
    if features.on("tls") {
        maker.secure();
    }
    maker.policies();
    if maker.features.on("custom") {
        maker.custom();
    }
    if features.on("tokens") {
        maker.tokens();
    }
    if features.on("gateway-api") {
        maker.gateway_api();
    }
    if features.on("filters") {
        maker.filters();
    }
    let (mesh, proxy) = maker.proxies(mesh);
    let env = maker.env();
    let objects = maker.objects;
    let world = World {
        objects,
        mesh,
        labels: [("istio", "ingressgateway"), ("app", "istio-ingressgateway")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        namespace: "istio-system".into(),
        env,
        proxy,
        sidecar: false,
        backend: None,
    };
    let requests = (0..requests)
        .map(|_| requests::sent(&mut dice, features))
        .collect();
    Job { world, requests }
}

/// A cluster on its way.
struct Maker<'a> {
    dice: &'a mut Dice,
    features: &'a Features,
    objects: Vec<Value>,
}

impl Maker<'_> {
    fn mesh(&mut self) -> Value {
        let mut mesh = json!({});
        if self.features.on("custom") {
            mesh["extensionProviders"] = self.providers();
        }
        if self.features.on("normalization") && self.dice.percent(50) {
            let mode = self.dice.pick(&[
                "NONE",
                "BASE",
                "DEFAULT",
                "MERGE_SLASHES",
                "DECODE_AND_MERGE_SLASHES",
                "DECODE_AND_MERGE_SLASHES",
            ]);
            mesh["pathNormalization"] = json!({"normalization": mode});
        }
        if self.features.on("corners") {
            match self.dice.below(12) {
                0 => mesh["rootNamespace"] = json!("kubeflow"),
                1 => mesh["trustDomain"] = json!("td.example"),
                2 => mesh["trustDomainAliases"] = json!(["old.example"]),
                _ => {}
            }
        }
        mesh
    }

    /// Settings of proxies, in the mesh and in the pod.
    fn proxies(&mut self, mut mesh: Value) -> (Value, String) {
        if self.features.on("certificates") {
            self.trust(&mut mesh);
        }
        if !self.features.on("proxies") && !self.features.on("settings") {
            return (mesh, String::new());
        }
        if self.dice.percent(60) {
            mesh["defaultConfig"] = self.proxy();
        }
        let own = self.dice.percent(25).then(|| self.proxy().to_string());
        (mesh, own.unwrap_or_default())
    }

    /// Settings of istiod.
    fn env(&mut self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        if self.features.on("settings") && self.dice.percent(15) {
            let several = "PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS";
            env.insert(several.to_owned(), "true".to_owned());
        }
        env
    }

    /// Services in front of the gateway: ports are translated through the oldest.
    fn in_front(&mut self) {
        if self.dice.percent(60) {
            return;
        }
        let ports = match self.dice.below(5) {
            0 => json!([{"name": "http2", "port": 80, "targetPort": 8081}]),
            1 => json!([{"name": "http2", "port": 8081, "targetPort": 8081}]),
            2 => json!([{"name": "http2", "port": 8081, "targetPort": 8080}]),
            3 => {
                json!([{"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 8081, "targetPort": 8081}])
            }
            _ => json!([{"name": "http2", "port": 8081}]),
        };
        let namespace = self
            .dice
            .pick(&["istio-system", "istio-system", "istio-system", "ns1"]);
        let mut metadata = self.metadata("knative-local-gateway", namespace);
        if self.dice.percent(25) {
            metadata["labels"] =
                json!({"experimental.istio.io/disable-gateway-port-translation": "true"});
        }
        let selector = match self.dice.below(6) {
            0 => json!({"app": "istio-ingressgateway"}),
            1 => json!({"istio": "another"}),
            _ => json!({"istio": "ingressgateway"}),
        };
        self.objects.push(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": selector, "ports": ports}}),
        );
        if self.dice.percent(50) {
            let day = self.dice.pick(&["01", "02", "03"]);
            if let Some(first) = self.objects.first_mut() {
                first["metadata"]["creationTimestamp"] = json!(format!("2026-01-{day}T00:00:00Z"));
            }
        }
    }

    /// Times are few, so that names decide about the order too.
    fn metadata(&mut self, name: &str, namespace: &str) -> Value {
        let day = self.dice.pick(&["01", "02", "02", "02", "03"]);
        json!({"name": name, "namespace": namespace, "creationTimestamp": format!("2026-01-{day}T00:00:00Z")})
    }
}

fn services() -> Vec<Value> {
    let gateway = json!({"istio": "ingressgateway"});
    let service = |name: &str, namespace: &str, selector: &Value, ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": selector, "ports": ports}})
    };
    let app = json!({"app": "app"});
    vec![
        service(
            "istio-ingressgateway",
            "istio-system",
            &gateway,
            json!([{"name": "http2", "port": 80, "targetPort": 8080}, {"name": "https", "port": 443, "targetPort": 8443}]),
        ),
        service(
            "app",
            "ns1",
            &app,
            json!([{"name": "http", "port": 80, "targetPort": 8080}]),
        ),
        service(
            "app2",
            "ns2",
            &app,
            json!([{"name": "http", "port": 80, "targetPort": 8080}, {"name": "http-alt", "port": 8080}]),
        ),
        service(
            "dash",
            "istio-system",
            &app,
            json!([{"name": "http", "port": 80, "targetPort": 8080}]),
        ),
        service(
            "authz1",
            "auth",
            &app,
            json!([{"name": "http", "port": 80, "targetPort": 4180}]),
        ),
        service(
            "authz2",
            "auth",
            &app,
            json!([{"name": "http", "port": 9000}]),
        ),
    ]
}
