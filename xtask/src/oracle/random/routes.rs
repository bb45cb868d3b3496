//! Gateways and VirtualServices.

use serde_json::{Map, Value, json};

use super::Maker;
use super::connections::SECURE;
use super::words::{
    HEADER_NAMES, HEADERS, HOST_PATTERNS, HOSTS, METHODS, NAMESPACES, PATHS, REGEXES, SERVICES,
    VALUE_REGEXES, VALUES,
};

const EXTERNAL: &str = "kubeflow/kubeflow-gateway";
const LOCAL: &str = "knative-serving/knative-local-gateway";
const EXTRA: &str = "ns1/extra";

impl Maker<'_> {
    pub(super) fn routes(&mut self) {
        self.gateway("kubeflow-gateway", "kubeflow", 80);
        let local = self.dice.percent(80);
        if local {
            self.gateway("knative-local-gateway", "knative-serving", 8081);
        }
        if self.features.on("gateways") && self.dice.percent(50) {
            let port = if local && self.dice.percent(30) {
                8081
            } else {
                80
            };
            self.gateway("extra", "ns1", port);
        }
        let count = self.dice.up_to(5);
        for number in 0..count {
            self.virtual_service(number);
        }
    }

    fn gateway(&mut self, name: &str, namespace: &str, port: u16) {
        let mut hosts = if self.dice.percent(70) {
            vec!["*".to_owned()]
        } else {
            self.dice.some(HOST_PATTERNS, 3)
        };
        if self.features.on("gateways") {
            for host in &mut hosts {
                match self.dice.below(12) {
                    0 => *host = format!("./{host}"),
                    1 => *host = format!("*/{host}"),
                    2 => *host = format!("ns1/{host}"),
                    3 => *host = format!("{namespace}/{host}"),
                    _ => {}
                }
            }
        }
        alone(&mut hosts);
        let mut server = json!({"port": {"number": port, "name": format!("p{port}"), "protocol": "HTTP"}, "hosts": hosts});
        if self.features.on("gateways") && self.dice.percent(8) {
            server["tls"] = json!({"httpsRedirect": true});
        }
        let mut servers = vec![server];
        if self.features.on("gateways") && self.dice.percent(15) {
            let hosts = self.dice.some(HOST_PATTERNS, 2);
            servers.push(json!({"port": {"number": port, "name": "second", "protocol": "HTTP"}, "hosts": hosts}));
        }
        let selector = match self.dice.below(20) {
            0 if name == "extra" => json!({"istio": "another"}),
            1 if name == "extra" => json!({}),
            _ => json!({"istio": "ingressgateway"}),
        };
        let metadata = self.metadata(name, namespace);
        self.objects.push(
            json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata,
                "spec": {"selector": selector, "servers": servers}}),
        );
    }

    fn virtual_service(&mut self, number: usize) {
        let namespace = self.dice.pick(NAMESPACES);
        let mut gateways: Vec<&str> = match self.dice.below(4) {
            0 => vec![EXTERNAL],
            1 => vec![LOCAL],
            _ => vec![EXTERNAL, LOCAL],
        };
        if self.features.on("gateways") && self.dice.percent(40) {
            gateways.push(EXTRA);
        }
        if self.features.on("tls") && self.dice.percent(70) {
            gateways.push(SECURE);
        }
        let mut hosts = self.dice.some(HOST_PATTERNS, 2);
        if self.dice.percent(40) {
            hosts = vec!["*".into()];
        }
        hosts.dedup();
        let http: Vec<Value> = (0..self.dice.up_to(4))
            .map(|at| self.http(at, number))
            .collect();
        let mut spec = json!({"hosts": hosts, "gateways": gateways, "http": http});
        if self.features.on("tcp") && self.dice.percent(50) {
            spec["tcp"] = self.connection_routes();
        }
        if self.features.on("tcp") && self.dice.percent(40) {
            spec["tls"] = self.server_name_routes();
        }
        if self.features.on("export") {
            match self.dice.below(16) {
                0 => spec["exportTo"] = json!(["."]),
                1 => spec["exportTo"] = json!(["istio-system"]),
                2 => spec["exportTo"] = json!(["ns2"]),
                3 => spec["exportTo"] = json!(["*"]),
                4 => spec["gateways"] = json!(["mesh"]),
                5 => spec["gateways"] = json!(["kubeflow-gateway", "mesh"]),
                6 => spec["hosts"] = json!(["short"]),
                7 => {
                    if let Some(map) = spec.as_object_mut() {
                        map.remove("gateways");
                    }
                }
                _ => {}
            }
        }
        let metadata = self.metadata(&format!("vs{number}"), namespace);
        self.objects.push(
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": metadata, "spec": spec}),
        );
    }

    fn http(&mut self, at: usize, number: usize) -> Value {
        let mut http = json!({});
        if self.dice.percent(30) {
            http["name"] = json!(format!("r{at}"));
        }
        if self.dice.percent(75) {
            let matches: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| self.route_match())
                .collect();
            http["match"] = json!(matches);
        }
        if self.features.on("delegates") && self.dice.percent(8) {
            self.delegate(&mut http, number * 10 + at);
            return http;
        }
        self.action(&mut http);
        if self.features.on("headers") && self.dice.percent(25) {
            http["headers"] = self.header_operations();
        }
        http
    }

    /// Where it goes, and what is changed on the way.
    fn action(&mut self, http: &mut Value) {
        let kind = if self.features.on("routes") {
            self.dice.below(10)
        } else {
            9
        };
        if kind == 0 {
            http["redirect"] = self.redirect();
            return;
        }
        if kind == 1 {
            http["directResponse"] = json!({"status": (self.dice.number(&[200, 404, 418, 503]))});
            return;
        }
        let index = self.dice.below(SERVICES.len());
        let (host, port) = SERVICES.get(index).copied().unwrap_or_default();
        let host = match self.dice.below(25) {
            0 => "nosuch.ns1.svc.cluster.local",
            1 => "dash",
            _ => host,
        };
        let mut destination = json!({"host": host});
        if host != "dash" || self.dice.percent(50) {
            destination["port"] = json!({"number": port});
        }
        let mut route = json!({"destination": destination});
        if self.features.on("corners") {
            self.corners(http, &mut route);
        }
        if self.features.on("headers") && self.dice.percent(12) {
            route["headers"] = self.header_operations();
        }
        http["route"] = match http.as_object_mut().and_then(|http| http.remove("nowhere")) {
            Some(other) => json!([route, other]),
            None => json!([route]),
        };
        if self.features.on("routes") && self.dice.percent(25) {
            http["rewrite"] = self.rewrite();
        }
    }

    /// Weights, subsets, CORS, faults, and the gateway's own Service.
    fn corners(&mut self, http: &mut Value, route: &mut Value) {
        match self.dice.below(30) {
            0 => {
                route["weight"] = json!(100);
                http["nowhere"] = json!({"destination": {"host": "dash.istio-system.svc.cluster.local"}, "weight": 0});
            }
            1 => route["destination"]["subset"] = json!("v1"),
            2 => {
                let origins = match self.dice.below(3) {
                    0 => json!([{"exact": "https://page.example.com"}]),
                    1 => json!([{"regex": "https://.*"}]),
                    _ => json!([{"prefix": "https://"}]),
                };
                http["corsPolicy"] = json!({"allowOrigins": origins, "allowMethods": ["GET", "POST"], "allowHeaders": ["x-a"], "maxAge": "24h"});
                if self.dice.percent(40) {
                    http["corsPolicy"]["allowCredentials"] = json!(true);
                }
            }
            3 => {
                http["fault"] = json!({"abort": {"httpStatus": 418, "percentage": {"value": 100}}});
            }
            4 => http["timeout"] = json!("5s"),
            5 => http["mirror"] = json!({"host": "dash.istio-system.svc.cluster.local"}),
            6 | 7 => {
                route["destination"] = json!({"host": "istio-ingressgateway.istio-system.svc.cluster.local",
                    "port": {"number": self.dice.number(&[80, 8081])}});
                http["rewrite"] = json!({"authority": self.dice.pick(HOSTS)});
            }
            _ => {}
        }
    }

    fn redirect(&mut self) -> Value {
        let mut redirect = json!({});
        if self.dice.percent(60) {
            redirect["uri"] = json!(self.dice.pick(&["/new", "/", "/new/x"]));
        }
        if self.dice.percent(50) {
            redirect["authority"] = json!(
                self.dice
                    .pick(&["other.example.com", "other.example.com:8443"])
            );
        }
        if self.dice.percent(40) {
            redirect["scheme"] = json!(self.dice.pick(&["https", "http"]));
        }
        if self.dice.percent(40) {
            redirect["redirectCode"] = json!((self.dice.number(&[301, 302, 303, 307, 308])));
        }
        if self.dice.percent(15) {
            redirect["port"] = json!(8443);
        } else if self.features.on("corners") && self.dice.percent(15) {
            redirect["derivePort"] = json!(
                self.dice
                    .pick(&["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"])
            );
        }
        redirect
    }

    fn rewrite(&mut self) -> Value {
        match self.dice.below(5) {
            _ if self.features.on("corners") && self.dice.percent(20) => {
                json!({"uriRegexRewrite": {"match": self.dice.pick(&["b", "^/a", "/+", "[a-c]$", "(a)(b)?"]),
                    "rewrite": self.dice.pick(&["", "/r", "\\1\\0", "\\2", "x"])}})
            }
            0 => json!({"authority": "rewritten.example.com"}),
            1 => json!({"uri": "/new", "authority": "rewritten.example.com"}),
            2 => json!({"uriRegexRewrite": {"match": "/a/(.*)", "rewrite": "/r/\\1"}}),
            _ => json!({"uri": self.dice.pick(&["/", "/new", "/new/", "/a"])}),
        }
    }

    fn header_operations(&mut self) -> Value {
        let mut operations = Map::new();
        for side in ["request", "response"] {
            if self.dice.percent(60) {
                let mut changes = Map::new();
                if self.dice.percent(50) {
                    let name = self.dice.pick(HEADER_NAMES);
                    changes.insert("set".into(), json!({name: self.dice.pick(&["s1", "s2"])}));
                }
                if self.dice.percent(40) {
                    let name = self.dice.pick(&["x-a", "x-added"]);
                    changes.insert("add".into(), json!({name: self.dice.pick(&["a1", "a2"])}));
                }
                if self.dice.percent(40) {
                    changes.insert(
                        "remove".into(),
                        json!([self.dice.pick(&["x-a", "X-User", "x-b"])]),
                    );
                }
                operations.insert(side.into(), changes.into());
            }
        }
        operations.into()
    }

    pub(super) fn route_match(&mut self) -> Value {
        let mut m = json!({});
        if self.dice.percent(85) {
            m["uri"] = match self.dice.below(6) {
                0 | 1 => json!({"exact": self.dice.pick(PATHS)}),
                2 if self.features.on("routes") => json!({"regex": self.dice.pick(REGEXES)}),
                _ => json!({"prefix": self.dice.pick(PATHS)}),
            };
        }
        if !self.features.on("routes") {
            return m;
        }
        if self.dice.percent(12) {
            m["ignoreUriCase"] = json!(true);
        }
        for field in ["headers", "withoutHeaders"] {
            if self.dice.percent(18) {
                let name = self.dice.pick(HEADERS);
                m[field] = json!({name: self.string_match()});
            }
        }
        if self.features.on("tokens") && self.dice.percent(25) {
            let field = self.dice.pick(&["headers", "headers", "withoutHeaders"]);
            let (name, value) = self.claim_match();
            m[field][name] = value;
        }
        if self.dice.percent(10) {
            m["queryParams"] = json!({self.dice.pick(&["q", "r"]): self.string_match()});
        }
        if self.dice.percent(12) {
            m["method"] = match self.dice.below(3) {
                0 => json!({"regex": "(GET|POST)"}),
                1 => json!({"prefix": "P"}),
                _ => json!({"exact": self.dice.pick(METHODS)}),
            };
        }
        if self.dice.percent(8) {
            m["authority"] = match self.dice.below(3) {
                0 => json!({"prefix": "a."}),
                1 => json!({"regex": ".*\\.example\\.com(:[0-9]+)?"}),
                _ => json!({"exact": self.dice.pick(HOSTS)}),
            };
        }
        if self.dice.percent(4) {
            m["scheme"] = json!({"exact": self.dice.pick(&["http", "https"])});
        }
        if self.dice.percent(5) {
            m["port"] = json!((self.dice.number(&[80, 8080, 8081])));
        }
        if self.dice.percent(6) {
            m["gateways"] = json!([self
                .dice
                .pick(&[EXTERNAL, LOCAL, EXTRA, "kubeflow-gateway"])]);
        }
        if self.dice.percent(4) {
            m["sourceLabels"] = json!({"istio": self.dice.pick(&["ingressgateway", "other"])});
        }
        if self.dice.percent(3) {
            m["sourceNamespace"] = json!(self.dice.pick(&["istio-system", "ns1"]));
        }
        m
    }

    fn string_match(&mut self) -> Value {
        match self.dice.below(5) {
            0 => json!({}),
            1 => json!({"prefix": self.dice.pick(&["1", "a", "o"])}),
            2 => json!({"regex": self.dice.pick(VALUE_REGEXES)}),
            _ => {
                let values: Vec<&str> = VALUES.iter().copied().filter(|v| !v.is_empty()).collect();
                json!({"exact": self.dice.pick(&values)})
            }
        }
    }

    /// A delegate of its own, sometimes missing.
    fn delegate(&mut self, http: &mut Value, number: usize) {
        let namespace = self.dice.pick(&["istio-system", "ns1"]);
        let name = format!("delegate{number}");
        http["delegate"] = json!({"name": name, "namespace": namespace});
        if self.features.on("routes") && self.dice.percent(20) {
            http["rewrite"] = self.rewrite();
        }
        if self.dice.percent(10) {
            return;
        }
        let routes: Vec<Value> = (0..self.dice.up_to(3))
            .map(|_| {
                let mut child = json!({});
                if self.dice.percent(70) {
                    child["match"] = json!([self.route_match()]);
                }
                self.action(&mut child);
                child
            })
            .collect();
        let metadata = self.metadata(&name, namespace);
        self.objects.push(
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": metadata, "spec": {"http": routes}}),
        );
    }
}

/// Istio's own code panics at what comes after `*/*` with a namespace.
pub(super) fn alone(hosts: &mut Vec<String>) {
    if hosts.iter().any(|host| host == "*/*") {
        *hosts = vec!["*/*".to_owned()];
    }
}
