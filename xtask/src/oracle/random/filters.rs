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
        let insertion = self.insertion();
        self.filter("authn-filter", insertion);
        if self.features.on("patches") && self.dice.percent(30) {
            let patch = self.patch();
            self.filter("more", patch);
        }
    }

    /// One EnvoyFilter that begins with that patch.
    fn filter(&mut self, name: &str, first: Value) {
        let mut patches = vec![first];
        for _ in 0..self.dice.below(3) {
            let patch = if self.features.on("patches") && self.dice.percent(45) {
                self.patch()
            } else {
                self.exemption()
            };
            patches.push(patch);
        }
        let namespace =
            self.dice
                .pick(&["istio-system", "istio-system", "istio-system", "kubeflow"]);
        let metadata = self.metadata(name, namespace);
        let mut spec = json!({"configPatches": patches});
        if self.features.on("patches") && self.dice.percent(20) {
            spec["priority"] = json!(self.dice.below(3));
        }
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

    /// Which route configuration, virtual host and route are meant.
    fn table(&mut self, route: bool) -> Value {
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
        table["vhost"] = json!({"name": name});
        if self.features.on("patches") && self.dice.percent(25) {
            let domain = self
                .dice
                .pick(&["*", "a.example.com", "*.example.com", "A.example.com"]);
            table["vhost"] = json!({"domainName": domain});
        }
        if route {
            table["vhost"]["route"] = json!({"name": self.dice.pick(&["r0", "r1", "r2"])});
            if self.features.on("patches") && self.dice.percent(25) {
                let action = self
                    .dice
                    .pick(&["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"]);
                table["vhost"]["route"] = json!({"action": action});
            }
        }
        table
    }

    /// What else is patched in the wild: headers, removals, Lua.
    fn patch(&mut self) -> Value {
        let context = self
            .dice
            .pick(&["GATEWAY", "GATEWAY", "ANY", "SIDECAR_INBOUND"]);
        let headers = match self.dice.below(3) {
            0 => {
                json!({"request_headers_to_remove": [self.dice.pick(&["x-user", "kubeflow-userid", "x-a"])]})
            }
            1 => json!({"request_headers_to_add": [{
                "header": {"key": self.dice.pick(&["x-user", "x-added"]), "value": "patched"},
                "append_action": self.dice.pick(&["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"])}]}),
            _ => {
                json!({"request_headers_to_add": [{"header": {"key": "x-user", "value": "patched"}}],
                "request_headers_to_remove": ["x-b"]})
            }
        };
        match self.dice.below(8) {
            0 | 1 => {
                let level = self.dice.below(3);
                let mut table = self.table(level == 0);
                if level == 2
                    && let Some(table) = table.as_object_mut()
                {
                    table.remove("vhost");
                }
                let to = ["HTTP_ROUTE", "VIRTUAL_HOST", "ROUTE_CONFIGURATION"];
                json!({"applyTo": to.get(level), "match": {"context": context, "routeConfiguration": table},
                    "patch": {"operation": "MERGE", "value": headers}})
            }
            2 => {
                let route = self.dice.percent(70);
                let table = self.table(route);
                json!({"applyTo": if route { "HTTP_ROUTE" } else { "VIRTUAL_HOST" },
                    "match": {"context": context, "routeConfiguration": table},
                    "patch": {"operation": "REMOVE"}})
            }
            3 | 4 => self.lua(context),
            5 => {
                let name = self.dice.pick(&[
                    CHECK,
                    "envoy.filters.http.rbac",
                    "envoy.filters.http.cors",
                    "authn",
                    "envoy.filters.http.lua",
                ]);
                json!({"applyTo": "HTTP_FILTER",
                    "match": {"context": context, "listener": {"filterChain": {"filter": {"name": MANAGER, "subFilter": {"name": name}}}}},
                    "patch": {"operation": "REMOVE"}})
            }
            6 => self.access_control(context),
            _ => self.insertion(),
        }
    }

    /// A script that takes or sets identity headers.
    fn lua(&mut self, context: &str) -> Value {
        let name = self
            .dice
            .pick(&["x-user", "kubeflow-userid", "x-a", "X-User"]);
        let line = match self.dice.below(3) {
            0 => format!("  request_handle:headers():remove(\"{name}\")\n"),
            1 => format!("  request_handle:headers():replace(\"{name}\", \"lua\")\n"),
            _ => format!("  request_handle:headers():add(\"{name}\", \"lua\")\n"),
        };
        let code = format!("function envoy_on_request(request_handle)\n{line}end\n");
        let operation = self.dice.pick(&["INSERT_BEFORE", "INSERT_FIRST"]);
        let mut listener = json!({"filterChain": {"filter": {"name": MANAGER}}});
        if self.dice.percent(50) {
            listener["filterChain"]["filter"]["subFilter"] =
                json!({"name": "envoy.filters.http.router"});
        }
        json!({"applyTo": "HTTP_FILTER", "match": {"context": context, "listener": listener},
        "patch": {"operation": operation, "value": {
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": code},
            },
        }}})
    }

    /// Envoy's own access control, put in by hand.
    fn access_control(&mut self, context: &str) -> Value {
        let permission = match self.dice.below(4) {
            0 => json!({"any": true}),
            1 => json!({"url_path": {"path": {"prefix": self.dice.pick(&["/a", "/open", "/b"])}}}),
            2 => json!({"header": {"name": "x-user", "present_match": true}}),
            _ => {
                json!({"not_rule": {"header": {"name": ":method", "string_match": {"exact": "GET"}}}})
            }
        };
        let action = self.dice.pick(&["ALLOW", "DENY"]);
        json!({"applyTo": "HTTP_FILTER",
        "match": {"context": context, "listener": {"filterChain": {"filter": {"name": MANAGER, "subFilter": {"name": "envoy.filters.http.router"}}}}},
        "patch": {"operation": "INSERT_BEFORE", "value": {
            "name": "envoy.filters.http.rbac",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": {"action": action, "policies": {"p": {"permissions": [permission], "principals": [{"any": true}]}}},
            },
        }}})
    }

    fn exemption(&mut self) -> Value {
        let route = self.dice.percent(60);
        let table = self.table(route);
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
