//! External authorizers and the policies that ask them.

use serde_json::{Value, json};

use super::Maker;

const ONE: &str = "authz1.auth.svc.cluster.local";
const TWO: &str = "authz2.auth.svc.cluster.local";

impl Maker<'_> {
    pub(super) fn providers(&mut self) -> Value {
        let mut list = vec![
            json!({"name": "one", "envoyExtAuthzHttp": self.settings(ONE, 80)}),
            self.second(),
        ];
        if self.features.on("broken-custom") {
            list.extend([
                json!({"name": "nosvc", "envoyExtAuthzHttp": {"service": "nosuch.auth.svc.cluster.local", "port": 80}}),
                json!({"name": "badport", "envoyExtAuthzHttp": {"service": ONE, "port": 4180}}),
                json!({"name": "Bad_Name", "envoyExtAuthzHttp": {"service": ONE, "port": 80}}),
            ]);
        }
        json!(list)
    }

    /// Over HTTP or gRPC.
    fn second(&mut self) -> Value {
        if !self.features.on("grpc") || self.dice.percent(50) {
            return json!({"name": "two", "envoyExtAuthzHttp": self.settings(TWO, 9000)});
        }
        let mut settings = json!({"service": TWO, "port": 9000});
        if self.dice.percent(15) {
            settings["failOpen"] = json!(true);
        }
        if self.dice.percent(20) {
            settings["statusOnError"] = json!(self.dice.pick(&["503", "401"]));
        }
        json!({"name": "two", "envoyExtAuthzGrpc": settings})
    }

    fn settings(&mut self, service: &str, port: u16) -> Value {
        let mut settings = json!({"service": service, "port": port});
        let names: [(&str, &[&str]); 4] = [
            (
                "includeRequestHeadersInCheck",
                &["cookie", "x-a", "X-User", "x-*", "*-b", "authorization"],
            ),
            (
                "headersToUpstreamOnAllow",
                &["kubeflow-userid", "x-user", "x-set-*", "authorization"],
            ),
            (
                "headersToDownstreamOnDeny",
                &["x-reason", "x-set-*", "set-cookie", "content-type"],
            ),
            ("headersToDownstreamOnAllow", &["x-reason", "x-set-*"]),
        ];
        for (field, values) in names {
            if self.dice.percent(45) {
                settings[field] = json!(self.dice.some(values, 2));
            }
        }
        if self.dice.percent(15) {
            settings["pathPrefix"] = json!(self.dice.pick(&["/check", "/check/"]));
        }
        if self.dice.percent(10) {
            settings["failOpen"] = json!(true);
        }
        if self.dice.percent(10) {
            settings["statusOnError"] = json!(self.dice.pick(&["503", "401"]));
        }
        settings
    }

    pub(super) fn custom(&mut self) {
        if self.dice.percent(45) {
            return;
        }
        let provider = match self.dice.below(20) {
            0 if self.features.on("broken-custom") => "nosvc",
            1 if self.features.on("broken-custom") => "badport",
            2 if self.features.on("broken-custom") => "Bad_Name",
            3 if self.features.on("broken-custom") => "missing",
            4..=11 => "two",
            _ => "one",
        };
        self.policy("c0", json!("CUSTOM"), Some(provider));
        if self.dice.percent(25) {
            let either = self.features.on("broken-custom") || self.features.on("settings");
            let second = if either && self.dice.percent(50) {
                "two"
            } else {
                provider
            };
            self.policy("c1", json!("CUSTOM"), Some(second));
        }
    }
}
