//! EnvoyFilters that insert an authorizer, and those that switch it off.

use serde_json::{Value, json};

use super::Maker;

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const CHECK: &str = "envoy.filters.http.ext_authz";

impl Maker<'_> {
    pub(super) fn filters(&mut self) {
        if self.dice.percent(60) {
            return;
        }
        let mut patches = vec![self.insertion()];
        for _ in 0..self.dice.below(3) {
            patches.push(self.exemption());
        }
        let namespace =
            self.dice
                .pick(&["istio-system", "istio-system", "istio-system", "kubeflow"]);
        let metadata = self.metadata("authn-filter", namespace);
        let mut spec = json!({"configPatches": patches});
        if self.dice.percent(60) {
            let label = self
                .dice
                .pick(&["ingressgateway", "ingressgateway", "other"]);
            spec["workloadSelector"] = json!({"labels": {"istio": label}});
        }
        self.objects.push(
            json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
                "metadata": metadata, "spec": spec}),
        );
    }

    fn insertion(&mut self) -> Value {
        let manager = match self.dice.below(10) {
            0 => "envoy.http_connection_manager",
            _ => MANAGER,
        };
        let mut listener = json!({"filterChain": {"filter": {"name": manager}}});
        match self.dice.below(8) {
            0 => listener["portNumber"] = json!(80),
            1 | 2 => listener["portNumber"] = json!(8080),
            3 => listener["portNumber"] = json!(8081),
            4 => listener["name"] = json!("0.0.0.0_8080"),
            _ => {}
        }
        if self.dice.percent(30) {
            let next = self.dice.pick(&[
                "envoy.filters.http.router",
                "envoy.filters.http.rbac",
                "envoy.filters.http.cors",
            ]);
            listener["filterChain"]["filter"]["subFilter"] = json!({"name": next});
        }
        let operation = self
            .dice
            .pick(&["INSERT_BEFORE", "INSERT_BEFORE", "INSERT_FIRST"]);
        let context = self
            .dice
            .pick(&["GATEWAY", "GATEWAY", "ANY", "SIDECAR_INBOUND"]);
        let patterns = json!([{"exact": "cookie"}, {"exact": "x-user"}]);
        json!({
            "applyTo": "HTTP_FILTER",
            "match": {"context": context, "listener": listener},
            "patch": {"operation": operation, "value": {
                "name": CHECK,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                    "transport_api_version": "V3",
                    "http_service": {
                        "server_uri": {
                            "uri": "http://authz1.auth.svc.cluster.local",
                            "cluster": "outbound|80||authz1.auth.svc.cluster.local",
                            "timeout": "10s",
                        },
                        "authorization_request": {"allowed_headers": {"patterns": patterns}},
                        "authorization_response": {
                            "allowed_upstream_headers": {"patterns": [{"exact": "kubeflow-userid"}]},
                        },
                    },
                },
            }},
        })
    }

    fn exemption(&mut self) -> Value {
        let mut table = json!({});
        match self.dice.below(4) {
            0 => table["portNumber"] = json!(8080),
            1 => table["portNumber"] = json!(80),
            2 => table["name"] = json!("http.8080"),
            _ => {}
        }
        let name = self.dice.pick(&[
            "*:80",
            "*:8081",
            "*",
            "a.example.com:80",
            "*.example.com:80",
        ]);
        let route = self.dice.percent(60);
        table["vhost"] = json!({"name": name});
        if route {
            table["vhost"]["route"] = json!({"name": self.dice.pick(&["r0", "r1", "r2"])});
        }
        let key = self.dice.pick(&[CHECK, CHECK, CHECK, "envoy.ext_authz"]);
        let config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "disabled": true,
        });
        json!({
            "applyTo": if route { "HTTP_ROUTE" } else { "VIRTUAL_HOST" },
            "match": {"context": "GATEWAY", "routeConfiguration": table},
            "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": {key: config}}},
        })
    }
}
