//! Objects of the Kubernetes Gateway API.

use serde_json::{Value, json};

use super::Maker;
use super::words::{HEADER_NAMES, HOST_PATTERNS, PATHS};

const SERVICES: &[(&str, &str)] = &[("app", "ns1"), ("app2", "ns2"), ("dash", "istio-system")];

impl Maker<'_> {
    /// In one cluster of five, beside the Gateways of Istio, on the same pod.
    pub(super) fn gateway_api(&mut self) {
        if self.dice.percent(80) {
            return;
        }
        self.objects.push(
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
                "metadata": {"name": "istio"}, "spec": {"controllerName": "istio.io/gateway-controller"}}),
        );
        for name in ["ns1", "ns2", "istio-system"] {
            self.objects
                .push(json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}));
        }
        let listeners: Vec<Value> = (0..self.dice.up_to(2))
            .map(|at| self.listener(at))
            .collect();
        let metadata = self.metadata("shared", "istio-system");
        self.objects.push(
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata,
                "spec": {
                    "gatewayClassName": "istio",
                    "addresses": [{"type": "Hostname", "value": "istio-ingressgateway.istio-system.svc.cluster.local"}],
                    "listeners": listeners,
                }}),
        );
        for number in 0..self.dice.up_to(3) {
            self.http_route(number);
        }
        if self.features.on("grpc-routes") && self.dice.percent(50) {
            self.grpc_route();
        }
        if self.dice.percent(50) {
            let mut to = json!({"group": "", "kind": "Service"});
            if self.dice.percent(30) {
                to["name"] = json!("app2");
            }
            self.objects.push(
                json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
                    "metadata": {"name": "grant", "namespace": "ns2"},
                    "spec": {
                        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "ns1"}],
                        "to": [to],
                    }}),
            );
        }
    }

    fn listener(&mut self, at: usize) -> Value {
        let mut listener = json!({"name": format!("l{at}"), "port": 80, "protocol": "HTTP"});
        if self.dice.percent(60) {
            let hosts: Vec<&str> = HOST_PATTERNS
                .iter()
                .copied()
                .filter(|h| *h != "*")
                .collect();
            listener["hostname"] = json!(self.dice.pick(&hosts));
        }
        let from = match self.dice.below(4) {
            0 => None,
            1 => Some(json!({"from": "Same"})),
            2 => Some(json!({"from": "Selector",
                "selector": {"matchLabels": {"kubernetes.io/metadata.name": "ns1"}}})),
            _ => Some(json!({"from": "All"})),
        };
        if let Some(from) = from {
            listener["allowedRoutes"] = json!({"namespaces": from});
        }
        listener
    }

    fn http_route(&mut self, number: usize) {
        let namespace = self.dice.pick(&["ns1", "ns1", "istio-system", "ns2"]);
        let mut parent = json!({"name": "shared", "namespace": "istio-system"});
        if self.dice.percent(25) {
            parent["sectionName"] = json!(self.dice.pick(&["l0", "l1"]));
        }
        if self.dice.percent(10) {
            parent["port"] = json!(self.dice.number(&[80, 8080]));
        }
        let rules: Vec<Value> = (0..self.dice.up_to(3)).map(|_| self.route_rule()).collect();
        let mut spec = json!({"parentRefs": [parent], "rules": rules});
        if self.dice.percent(60) {
            let hosts: Vec<&str> = HOST_PATTERNS
                .iter()
                .copied()
                .filter(|h| *h != "*")
                .collect();
            spec["hostnames"] = json!(self.dice.some(&hosts, 2));
        }
        let metadata = self.metadata(&format!("hr{number}"), namespace);
        self.objects.push(
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": metadata, "spec": spec}),
        );
    }

    fn grpc_route(&mut self) {
        let rules: Vec<Value> = (0..self.dice.up_to(2))
            .map(|_| {
                let mut rule =
                    json!({"backendRefs": [{"name": "app", "namespace": "ns1", "port": 80}]});
                if self.dice.percent(85) {
                    let matches: Vec<Value> =
                        (0..self.dice.up_to(2)).map(|_| self.grpc_match()).collect();
                    rule["matches"] = json!(matches);
                }
                rule
            })
            .collect();
        let mut spec = json!({"parentRefs": [{"name": "shared", "namespace": "istio-system"}], "rules": rules});
        if self.dice.percent(50) {
            spec["hostnames"] = json!([self.dice.pick(&["a.example.com", "*.example.com"])]);
        }
        let namespace = self.dice.pick(&["ns1", "istio-system"]);
        let metadata = self.metadata("grpc", namespace);
        self.objects.push(
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": metadata, "spec": spec}),
        );
    }

    fn grpc_match(&mut self) -> Value {
        let mut m = json!({});
        if self.dice.percent(85) {
            let mut method = json!({});
            if self.dice.percent(75) {
                method["service"] = json!(self.dice.pick(&["pkg.Svc", "a", "pkg.Other"]));
            }
            if self.dice.percent(60) {
                method["method"] = json!(self.dice.pick(&["Get", "b", "Set"]));
            }
            if self.dice.percent(20) {
                method["type"] = json!("RegularExpression");
            }
            m["method"] = method;
        }
        if self.dice.percent(25) {
            m["headers"] = json!([{"name": self.dice.pick(&["x-a", "X-B"]), "value": self.dice.pick(&["1", "on"])}]);
        }
        m
    }

    fn route_rule(&mut self) -> Value {
        let mut rule = json!({});
        if self.dice.percent(80) {
            let matches: Vec<Value> = (0..self.dice.up_to(2)).map(|_| self.http_match()).collect();
            rule["matches"] = json!(matches);
        }
        let mut redirects = false;
        if self.dice.percent(35) {
            let filter = match self.dice.below(5) {
                0 => {
                    redirects = true;
                    json!({"type": "RequestRedirect", "requestRedirect": {"hostname": "other.example.com", "statusCode": 301}})
                }
                1 => {
                    redirects = true;
                    json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}})
                }
                2 => {
                    json!({"type": "URLRewrite", "urlRewrite": {"hostname": "rewritten.example.com",
                    "path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}})
                }
                3 => json!({"type": "URLRewrite",
                    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": self.dice.pick(&["/", "/new", "/new/"])}}}),
                _ => json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {
                    "set": [{"name": self.dice.pick(HEADER_NAMES), "value": "s1"}], "remove": ["x-b"]}}),
            };
            rule["filters"] = json!([filter]);
        }
        if !redirects && self.dice.percent(92) {
            let index = self.dice.below(SERVICES.len());
            let (name, namespace) = SERVICES.get(index).copied().unwrap_or_default();
            let mut backend = json!({"name": name, "port": 80});
            if self.dice.percent(85) {
                backend["namespace"] = json!(namespace);
            }
            rule["backendRefs"] = json!([backend]);
        }
        rule
    }

    fn http_match(&mut self) -> Value {
        let mut m = json!({});
        if self.dice.percent(85) {
            let kind = self.dice.pick(&["PathPrefix", "PathPrefix", "Exact"]);
            m["path"] = json!({"type": kind, "value": self.dice.pick(PATHS)});
        }
        if self.dice.percent(20) {
            m["headers"] = json!([{"name": self.dice.pick(&["x-a", "X-B"]), "value": self.dice.pick(&["1", "on"])}]);
        }
        if self.dice.percent(15) {
            m["queryParams"] = json!([{"name": "q", "value": self.dice.pick(&["1", "on"])}]);
        }
        if self.dice.percent(15) {
            m["method"] = json!(self.dice.pick(&["GET", "POST"]));
        }
        m
    }
}
