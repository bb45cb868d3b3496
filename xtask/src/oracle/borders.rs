//! Requests at the borders of what is written in a cluster: every host, path,
//! method and header that a rule or a route names, and what lies just beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::Value;

use super::folder::login;
use super::patterns;
use super::random::Dice;
use super::world::{Reply, Sent, Tls, World};

/// What is named, all over the cluster.
#[derive(Debug, Default)]
struct Words {
    hosts: BTreeSet<String>,
    paths: BTreeSet<String>,
    methods: BTreeSet<String>,
    headers: BTreeMap<String, BTreeSet<String>>,
    parameters: BTreeMap<String, BTreeSet<String>>,
    sources: BTreeSet<Ipv4Addr>,
}

/// Those of one route or rule, so that its conditions are met together.
#[derive(Debug, Default)]
struct Spot {
    /// Empty: any.
    hosts: Vec<String>,
    paths: Vec<String>,
    methods: Vec<String>,
    headers: Vec<(String, String)>,
    sources: Vec<Ipv4Addr>,
    /// URIs of client certificates.
    identities: Vec<String>,
    /// Server names.
    names: Vec<String>,
}

/// Hosts that a spot is tried on.
const HOSTS_OF_A_SPOT: usize = 4;

/// Listeners of a cluster.
pub(super) struct Ports<'a> {
    pub(super) plain: &'a [u16],
    /// One that asks for a client's certificate.
    pub(super) mutual: Option<u16>,
}

/// So many requests at most; the same cluster, the same requests.
pub(super) fn requests(world: &World, ports: &Ports<'_>, most: usize) -> Vec<Sent> {
    let mut words = Words::default();
    let mut spots = Vec::new();
    for object in &world.objects {
        words.read(object, &mut spots);
    }
    for host in ["unknown.test", "unknown.test:8080"] {
        words.hosts.insert(host.to_owned());
    }
    words
        .paths
        .extend(["/", "/x", "/..", "/%2e%2e/", "//"].map(str::to_owned));
    words
        .methods
        .extend(["GET", "POST", "OPTIONS"].map(str::to_owned));
    for (name, value) in [
        ("kubeflow-userid", "victim@example.com"),
        ("authorization", ""),
        ("authorization", "Basic x"),
        ("cookie", "s=1"),
        ("accept", "text/html"),
    ] {
        let values = words.headers.entry(name.to_owned()).or_default();
        values.insert(value.to_owned());
    }
    let mut maker = Maker {
        dice: Dice::new(1, 0),
        ports,
        hosts: words.hosts.iter().cloned().collect(),
        paths: words.paths.iter().cloned().collect(),
        methods: words.methods.iter().cloned().collect(),
        headers: pairs(&words.headers),
        parameters: pairs(&words.parameters),
        sources: words.sources.iter().copied().collect(),
    };
    // A half for the spots, a quarter for every host with every path, the rest mixed.
    let mut spotted: Vec<Sent> = spots.iter().flat_map(|spot| maker.spot(spot)).collect();
    maker.sample(&mut spotted, most / 2);
    let mut crossed = maker.crossed();
    maker.sample(&mut crossed, most / 4);
    spotted.extend(crossed);
    while spotted.len() < most {
        spotted.push(maker.mixed());
    }
    spotted
}

fn pairs(map: &BTreeMap<String, BTreeSet<String>>) -> Vec<(String, String)> {
    let all = map.iter();
    all.flat_map(|(name, values)| values.iter().map(move |v| (name.clone(), v.clone())))
        .collect()
}

struct Maker<'a> {
    dice: Dice,
    ports: &'a Ports<'a>,
    hosts: Vec<String>,
    paths: Vec<String>,
    methods: Vec<String>,
    headers: Vec<(String, String)>,
    parameters: Vec<(String, String)>,
    sources: Vec<Ipv4Addr>,
}

impl Maker<'_> {
    /// A request with nothing special, to a port in turn.
    fn plain(&mut self, host: &str, path: &str) -> Sent {
        Sent {
            port: self.dice.number(self.ports.plain),
            method: "GET".into(),
            authority: host.to_owned(),
            target: path.to_owned(),
            headers: Vec::new(),
            source: Ipv4Addr::LOCALHOST,
            checker: if self.dice.percent(60) {
                login()
            } else {
                Reply::default()
            },
            tls: None,
            tokens: Vec::new(),
        }
    }

    fn any<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        list.get(self.dice.below(list.len())).cloned()
    }

    /// Its conditions met, and each of them broken alone.
    fn spot(&mut self, spot: &Spot) -> Vec<Sent> {
        let mut out = Vec::new();
        let mut hosts = spot.hosts.clone();
        if hosts.is_empty() {
            hosts = (0..2)
                .filter_map(|_| self.any(&self.hosts.clone()))
                .collect();
        }
        hosts.truncate(HOSTS_OF_A_SPOT);
        let paths = if spot.paths.is_empty() {
            (0..2)
                .filter_map(|_| self.any(&self.paths.clone()))
                .collect()
        } else {
            spot.paths.clone()
        };
        for host in &hosts {
            for path in &paths {
                let mut met = self.plain(host, path);
                if let Some(method) = self.any(&spot.methods) {
                    met.method = method;
                }
                met.headers.clone_from(&spot.headers);
                self.secure(spot, &mut met);
                if let Some(source) = self.any(&spot.sources) {
                    met.source = source;
                }
                if !spot.headers.is_empty() {
                    let mut without = met.clone();
                    without.headers.remove(self.dice.below(spot.headers.len()));
                    out.push(without);
                }
                if let Some(method) = self.any(&self.methods.clone())
                    && self.dice.percent(20)
                {
                    out.push(Sent {
                        method,
                        ..met.clone()
                    });
                }
                out.push(met);
            }
        }
        out
    }

    /// Over TLS, where a rule looks at that: with a certificate that it means,
    /// with another, or with none.
    fn secure(&mut self, spot: &Spot, sent: &mut Sent) {
        let looks = !spot.identities.is_empty() || !spot.names.is_empty();
        let Some(port) = self.ports.mutual.filter(|_| looks) else {
            return;
        };
        if self.dice.percent(15) {
            return;
        }
        sent.port = port;
        let identity = if spot.identities.is_empty() || self.dice.percent(15) {
            Some("spiffe://cluster.local/ns/other/sa/other".to_owned())
        } else {
            self.any(&spot.identities)
        };
        sent.tls = Some(Tls {
            sni: self
                .any(&spot.names)
                .or_else(|| Some("gateway.test".into())),
            identity,
        });
    }

    fn crossed(&mut self) -> Vec<Sent> {
        let (hosts, paths) = (self.hosts.clone(), self.paths.clone());
        let mut out = Vec::new();
        for host in &hosts {
            for path in &paths {
                out.push(self.plain(host, path));
            }
        }
        out
    }

    fn mixed(&mut self) -> Sent {
        let host = self.any(&self.hosts.clone()).unwrap_or_default();
        let path = self.any(&self.paths.clone()).unwrap_or_default();
        let mut sent = self.plain(&host, &path);
        if self.dice.percent(50) {
            sent.method = self.any(&self.methods.clone()).unwrap_or_default();
        }
        for _ in 0..self.dice.below(3) {
            if let Some((name, value)) = self.any(&self.headers.clone())
                && !sent.headers.iter().any(|(known, _)| *known == name)
            {
                sent.headers.push((name, value));
            }
        }
        if let Some((name, value)) = self.any(&self.parameters.clone())
            && self.dice.percent(40)
        {
            sent.target.push_str(&format!("?{name}={value}"));
        }
        if let Some(source) = self.any(&self.sources.clone()) {
            sent.source = source;
        }
        sent
    }

    /// Some of them, in any order.
    fn sample(&mut self, list: &mut Vec<Sent>, most: usize) {
        for at in (1..list.len()).rev() {
            let other = self.dice.below(at + 1);
            list.swap(at, other);
        }
        list.truncate(most);
    }
}

impl Words {
    fn read(&mut self, object: &Value, spots: &mut Vec<Spot>) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        match object.get("kind").and_then(Value::as_str) {
            Some("Gateway") => {
                for server in list(spec, "servers") {
                    self.hosts(&texts(server, "hosts"));
                }
                for listener in list(spec, "listeners") {
                    self.hosts(&texts(listener, "hostname"));
                }
            }
            Some("VirtualService") => {
                let hosts = self.hosts(&texts(spec, "hosts"));
                for http in list(spec, "http") {
                    self.spots(list(http, "match"), &hosts, spots);
                }
            }
            Some("HTTPRoute" | "GRPCRoute") => {
                let hosts = self.hosts(&texts(spec, "hostnames"));
                for rule in list(spec, "rules") {
                    self.spots(list(rule, "matches"), &hosts, spots);
                }
            }
            Some("AuthorizationPolicy") => {
                for rule in list(spec, "rules") {
                    self.rule(rule, spots);
                }
            }
            _ => {}
        }
    }

    fn hosts(&mut self, patterns: &[String]) -> Vec<String> {
        let found: Vec<String> = patterns.iter().flat_map(|p| patterns::hosts(p)).collect();
        self.hosts.extend(found.iter().cloned());
        found
    }

    fn header(&mut self, name: &str, value: String) {
        let values = self.headers.entry(name.to_owned()).or_default();
        values.insert(value);
    }

    /// The matches of one route of a VirtualService, HTTPRoute or GRPCRoute.
    fn spots<'v>(
        &mut self,
        matches: impl Iterator<Item = &'v Value>,
        hosts: &[String],
        spots: &mut Vec<Spot>,
    ) {
        let mut none = true;
        for spec in matches {
            none = false;
            let mut spot = Spot {
                hosts: hosts.to_vec(),
                ..Spot::default()
            };
            for path in ["uri", "path"].iter().filter_map(|field| spec.get(field)) {
                spot.paths = patterns::of_match(path);
            }
            if let Some(method) = spec.get("method").and_then(Value::as_object) {
                let named = |field: &str| method.get(field).and_then(Value::as_str);
                if let (Some(service), Some(method)) = (named("service"), named("method")) {
                    spot.paths = patterns::paths(&format!("/{service}/{method}"));
                }
                spot.methods = method.values().filter_map(text).collect();
            } else {
                spot.methods = texts(spec, "method");
            }
            for (field, wanted) in [("headers", true), ("withoutHeaders", false)] {
                for (name, value) in conditions(spec.get(field)) {
                    if wanted {
                        spot.headers.push((name.clone(), value.clone()));
                    }
                    self.header(&name, value);
                }
            }
            for (name, value) in conditions(spec.get("queryParams")) {
                for path in &mut spot.paths {
                    path.push_str(&format!("?{name}={value}"));
                }
                self.parameters.entry(name).or_default().insert(value);
            }
            self.paths.extend(spot.paths.iter().cloned());
            self.methods.extend(spot.methods.iter().cloned());
            spots.push(spot);
        }
        if none {
            spots.push(Spot {
                hosts: hosts.to_vec(),
                ..Spot::default()
            });
        }
    }

    fn rule(&mut self, rule: &Value, spots: &mut Vec<Spot>) {
        let mut headers = Vec::new();
        for condition in list(rule, "when") {
            let key = condition.get("key").and_then(Value::as_str).unwrap_or("");
            let named = key.strip_prefix("request.headers[");
            let Some(name) = named.and_then(|rest| rest.strip_suffix(']')) else {
                continue;
            };
            for (field, wanted) in [("values", true), ("notValues", false)] {
                for value in texts(condition, field) {
                    let value = patterns::value(&value);
                    if wanted && !headers.iter().any(|(known, _)| known == name) {
                        headers.push((name.to_owned(), value.clone()));
                    }
                    self.header(name, value);
                }
            }
        }
        headers.retain(|(name, _)| !name.starts_with(':'));
        self.headers.retain(|name, _| !name.starts_with(':'));
        let mut blocks = Vec::new();
        for source in list(rule, "from").filter_map(|from| from.get("source")) {
            for field in [
                "ipBlocks",
                "notIpBlocks",
                "remoteIpBlocks",
                "notRemoteIpBlocks",
            ] {
                blocks.extend(texts(source, field));
            }
        }
        for condition in list(rule, "when") {
            let key = condition.get("key").and_then(Value::as_str);
            if matches!(key, Some("source.ip" | "remote.ip")) {
                blocks.extend(texts(condition, "values"));
                blocks.extend(texts(condition, "notValues"));
            }
        }
        let (identities, names) = certificates(rule);
        let sources: Vec<Ipv4Addr> = blocks.iter().flat_map(|b| patterns::addresses(b)).collect();
        self.sources.extend(sources.iter().copied());
        let mut any = false;
        for to in list(rule, "to") {
            any = true;
            let operation = to.get("operation").unwrap_or(&Value::Null);
            let mut spot = Spot {
                headers: headers.clone(),
                sources: sources.clone(),
                identities: identities.clone(),
                names: names.clone(),
                ..Spot::default()
            };
            for field in ["hosts", "notHosts"] {
                let found = self.hosts(&texts(operation, field));
                spot.hosts.extend(found);
            }
            for field in ["paths", "notPaths"] {
                for path in texts(operation, field) {
                    spot.paths.extend(patterns::paths(&path));
                }
            }
            for field in ["methods", "notMethods"] {
                spot.methods.extend(texts(operation, field));
            }
            spot.methods = spot
                .methods
                .iter()
                .flat_map(|method| patterns::methods(method))
                .collect();
            self.paths.extend(spot.paths.iter().cloned());
            self.methods.extend(spot.methods.iter().cloned());
            spots.push(spot);
        }
        if !any {
            spots.push(Spot {
                headers,
                sources,
                identities,
                names,
                ..Spot::default()
            });
        }
    }
}

/// URIs of certificates that a rule means, in one of its lists or in what is
/// excepted from it, and server names.
fn certificates(rule: &Value) -> (Vec<String>, Vec<String>) {
    let mut named: Vec<(&str, String)> = Vec::new();
    for source in list(rule, "from").filter_map(|from| from.get("source")) {
        for (field, kind) in [
            ("principals", "principal"),
            ("notPrincipals", "principal"),
            ("namespaces", "namespace"),
            ("notNamespaces", "namespace"),
            ("serviceAccounts", "account"),
            ("notServiceAccounts", "account"),
            ("trustDomains", "domain"),
            ("notTrustDomains", "domain"),
        ] {
            named.extend(texts(source, field).into_iter().map(|text| (kind, text)));
        }
    }
    let mut names = Vec::new();
    for condition in list(rule, "when") {
        let kind = match condition.get("key").and_then(Value::as_str) {
            Some("source.principal") => "principal",
            Some("source.namespace") => "namespace",
            Some("source.serviceAccount") => "account",
            Some("connection.sni") => {
                for field in ["values", "notValues"] {
                    names.extend(
                        texts(condition, field)
                            .iter()
                            .flat_map(|n| patterns::names(n)),
                    );
                }
                continue;
            }
            _ => continue,
        };
        for field in ["values", "notValues"] {
            named.extend(texts(condition, field).into_iter().map(|text| (kind, text)));
        }
    }
    let uris = named
        .iter()
        .filter_map(|(kind, text)| patterns::identity(kind, text));
    (uris.collect(), names)
}

/// Names with a value that fulfils the condition: a map of string matches, or
/// the Gateway API's list.
fn conditions(field: Option<&Value>) -> Vec<(String, String)> {
    match field {
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, spec)| (name.clone(), patterns::of_value(spec)))
            .collect(),
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|spec| {
                let named = |field: &str| spec.get(field).and_then(text);
                Some((named("name")?, named("value")?))
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    let found = value.get(field).and_then(Value::as_array);
    found.into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A text or a list of texts.
fn texts(value: &Value, field: &str) -> Vec<String> {
    match value.get(field) {
        Some(Value::Array(all)) => all.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_stand_at_the_borders_of_what_is_written() {
        let world = World {
            objects: vec![
                json!({"kind": "VirtualService", "spec": {"hosts": ["a.example.com"], "http": [
                    {"match": [{"uri": {"prefix": "/v1"}, "headers": {"x-a": {"exact": "1"}}}]}]}}),
                json!({"kind": "AuthorizationPolicy", "spec": {"rules": [
                    {"to": [{"operation": {"notPaths": ["*/healthz"]}}]}]}}),
            ],
            ..World::default()
        };
        let ports = Ports {
            plain: &[8080],
            mutual: None,
        };
        let made = requests(&world, &ports, 400);
        assert_eq!(made.len(), 400);
        assert_eq!(made, requests(&world, &ports, 400));
        let asks = |path: &str| made.iter().any(|sent| sent.target == path);
        for path in [
            "/v1",
            "/v1/x",
            "/v",
            "/healthz",
            "/x/healthz",
            "/x/healthz/",
        ] {
            assert!(asks(path), "{path}");
        }
        let with = |sent: &&Sent| sent.headers.iter().any(|(name, _)| name == "x-a");
        let met = made
            .iter()
            .filter(|sent| sent.target == "/v1" && sent.authority == "a.example.com");
        assert!(met.clone().any(|sent| with(&sent)));
        assert!(met.clone().any(|sent| !with(&sent)));
    }
}
