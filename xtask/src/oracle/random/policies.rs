//! AuthorizationPolicies without an authorizer.

use serde_json::{Map, Value, json};

use super::Maker;
use super::words::{
    BLOCKS, HEADER_NAMES, HOST_VALUES, METHOD_VALUES, NAMESPACES, PATH_VALUES, VALUE_PATTERNS,
};

impl Maker<'_> {
    pub(super) fn policies(&mut self) {
        if !self.features.on("policies") {
            return;
        }
        let count = self.dice.below(4).saturating_sub(1) + self.dice.below(2);
        for number in 0..count {
            let action = match self.dice.below(10) {
                0..=3 => json!("ALLOW"),
                4..=8 => json!("DENY"),
                _ => json!("AUDIT"),
            };
            self.policy(&format!("p{number}"), action, None);
        }
    }

    pub(super) fn policy(&mut self, name: &str, action: Value, provider: Option<&str>) {
        let custom = provider.is_some();
        let mut spec = json!({"action": action});
        if action == json!("ALLOW") && self.dice.percent(30) {
            spec = json!({});
        }
        if let Some(provider) = provider {
            spec["provider"] = json!({"name": provider});
        }
        match self.dice.below(12) {
            0 => spec["selector"] = json!({}),
            1 => spec["selector"] = json!({"matchLabels": {"app": "other"}}),
            2 => {
                spec["selector"] = json!({"matchLabels": {"app": "istio-ingressgateway", "istio": "ingressgateway"}})
            }
            3..=7 => spec["selector"] = json!({"matchLabels": {"istio": "ingressgateway"}}),
            8 if self.features.on("targets") => {
                let target = match self.dice.below(4) {
                    0 => json!({"kind": "Service", "group": "", "name": "istio-ingressgateway"}),
                    1 => {
                        json!({"kind": "GatewayClass", "group": "gateway.networking.k8s.io", "name": "istio"})
                    }
                    2 => {
                        json!({"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "other"})
                    }
                    _ => {
                        json!({"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "shared"})
                    }
                };
                spec["targetRefs"] = json!([target]);
            }
            _ => {}
        }
        let odd = self.features.on("odd-policies");
        let rules: Vec<Value> = (0..self.dice.up_to(2)).map(|_| self.rule(custom)).collect();
        match self.dice.below(20) {
            0 if odd => {}
            1 if odd => spec["rules"] = json!([]),
            2 => spec["rules"] = json!([{}]),
            _ => spec["rules"] = json!(rules),
        }
        let namespace = self.dice.pick(NAMESPACES);
        let mut metadata = self.metadata(name, namespace);
        if !custom && self.dice.percent(5) {
            metadata["annotations"] =
                json!({"istio.io/dry-run": self.dice.pick(&["true", "false", "T", "yes"])});
        }
        self.objects.push(
            json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": metadata, "spec": spec}),
        );
    }

    fn rule(&mut self, custom: bool) -> Value {
        let mut rule = json!({});
        if self.features.on("odd-policies") {
            match self.dice.below(40) {
                0 => return Value::Null,
                1 => return json!({"from": []}),
                2 => return json!({"to": []}),
                3 => return json!({"to": [{}]}),
                4 => return json!({"from": [{"source": {}}]}),
                _ => {}
            }
        }
        if self.dice.percent(85) {
            let to: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| json!({"operation": self.operation()}))
                .collect();
            rule["to"] = json!(to);
        }
        if self.features.on("addresses") && self.dice.percent(20) {
            let from: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| json!({"source": self.source()}))
                .collect();
            rule["from"] = json!(from);
        }
        if !custom && self.features.on("certificates") && self.dice.percent(30) {
            let from: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| json!({"source": self.client()}))
                .collect();
            rule["from"] = json!(from);
        } else if !custom
            && self
                .dice
                .percent(if self.features.on("tokens") { 25 } else { 8 })
        {
            rule["from"] = json!([{"source": self.identity()}]);
        }
        if self.dice.percent(30) {
            let when: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| self.condition(custom))
                .collect();
            rule["when"] = json!(when);
        }
        rule
    }

    /// One list, or a list and its negation, of one to two fields.
    fn operation(&mut self) -> Value {
        let mut operation = Map::new();
        for _ in 0..self.dice.up_to(2) {
            let (field, values) = match self.dice.below(10) {
                0..=4 => ("paths", self.paths()),
                5 | 6 => ("hosts", self.dice.some(HOST_VALUES, 2)),
                7 => ("methods", self.dice.some(METHOD_VALUES, 2)),
                _ => (
                    "ports",
                    self.dice.some(&["8080", "8081", "8443", "80", "443"], 2),
                ),
            };
            operation.insert(self.negated(field), json!(values));
        }
        operation.into()
    }

    fn paths(&mut self) -> Vec<String> {
        let values = self.dice.some(PATH_VALUES, 3);
        let templates = self.features.on("templates");
        let mut values: Vec<String> = values
            .into_iter()
            .filter(|value| templates || !value.contains('{'))
            .collect();
        if values.is_empty() {
            values.push("/a*".into());
        }
        values
    }

    pub(super) fn negated(&mut self, field: &str) -> String {
        if !self.dice.percent(35) {
            return field.to_owned();
        }
        let (first, rest) = field.split_at_checked(1).unwrap_or((field, ""));
        format!("not{}{rest}", first.to_uppercase())
    }

    fn source(&mut self) -> Value {
        let blocks = self.dice.some(BLOCKS, 2);
        let remote = self.features.on("proxies") && self.dice.percent(60);
        let field = self.negated(if remote { "remoteIpBlocks" } else { "ipBlocks" });
        json!({field: blocks})
    }

    /// Nobody proves an identity on a plain listener.
    fn identity(&mut self) -> Value {
        let field = self.dice.pick(&[
            "principals",
            "namespaces",
            "requestPrincipals",
            "requestPrincipals",
            "requestPrincipals",
            "serviceAccounts",
        ]);
        let values = match field {
            "principals" => vec!["cluster.local/ns/a/sa/b".to_owned()],
            "serviceAccounts" => vec!["ns1/sa".to_owned()],
            "requestPrincipals" if self.features.on("tokens") => self.request_principals(),
            _ => vec!["*".to_owned()],
        };
        let field = self.negated(field);
        json!({field: values})
    }

    fn condition(&mut self, custom: bool) -> Value {
        let odd = self.features.on("odd-policies");
        let (key, values): (String, Vec<String>) = match self.dice.below(20) {
            0 if odd => ("foo".into(), vec!["x".into()]),
            1 | 2 => (
                "destination.port".into(),
                self.dice.some(&["8080", "8081", "80"], 2),
            ),
            3 | 4 if self.features.on("addresses") => {
                ("source.ip".into(), self.dice.some(BLOCKS, 2))
            }
            5 => (
                "connection.sni".into(),
                vec![self.dice.pick(&["*", "a.example.com"]).into()],
            ),
            6 => (
                "request.headers[:path]".into(),
                self.dice.some(&["/a*", "*b", "/a?q=1", "*"], 2),
            ),
            7 => (
                "request.headers[:method]".into(),
                self.dice.some(METHOD_VALUES, 2),
            ),
            8 => (
                "request.headers[:authority]".into(),
                self.dice.some(HOST_VALUES, 2),
            ),
            13 if self.features.on("corners") => {
                let key = self.dice.pick(&[
                    "source.namespace",
                    "source.principal",
                    "source.serviceAccount",
                    "remote.ip",
                    "request.headers[:scheme]",
                    "request.headers[host]",
                    "request.headers[Host]",
                    "request.headers[x-forwarded-proto]",
                ]);
                let values = ["*", "a*", "http", "ns1", "a.example.com", "0.0.0.0/0"];
                (
                    key.into(),
                    vec![
                        self.dice
                            .pick(if key == "remote.ip" {
                                &["0.0.0.0/0", "10.0.0.0/8"]
                            } else {
                                &values
                            })
                            .to_owned(),
                    ],
                )
            }
            9..=12 if self.features.on("tokens") && !custom => self.claim(),
            13..=16 if self.features.on("certificates") && !custom => self.connection(),
            _ => {
                let name = self.dice.pick(HEADER_NAMES);
                (
                    format!("request.headers[{name}]"),
                    self.dice.some(VALUE_PATTERNS, 2),
                )
            }
        };
        let field = match self.dice.below(3) {
            0 => "notValues",
            _ => "values",
        };
        let mut condition = json!({"key": key, field: values});
        if self.dice.percent(10) {
            // Istio's validation takes nothing but addresses there.
            let of_address = condition["key"]
                .as_str()
                .is_some_and(|key| key.ends_with(".ip"));
            condition["notValues"] = json!([if of_address { "10.0.0.1" } else { "1" }]);
        }
        condition
    }
}
