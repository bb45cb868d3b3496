//! The fast path: filters with which Envoy lets people with a pass through
//! without asking.

use policy::{AccessLevel, Entrance, IDENTITY_HEADERS, KNATIVE_HEADERS, Owner, Snapshot};
use serde_json::{Value, json};

use crate::output::BadInput;

/// How far clocks may be apart; Envoy's default of a minute would double what a pass counts.
const SKEW: u64 = 5;

/// Hosts on which any person with a session reaches every route, and what verifies passes.
pub(crate) struct FastPath {
    hosts: Vec<String>,
    key_set: String,
    /// Paths that the login answers, which are asked about whatever pass there is.
    login: Vec<String>,
}

impl FastPath {
    /// For these hosts, by exact name: others, and those that are added later, are asked about.
    ///
    /// # Errors
    /// A host with a route that needs more than a session.
    pub(crate) fn new(
        hosts: &[String],
        key_set: String,
        snapshot: &Snapshot,
    ) -> anyhow::Result<Self> {
        let mut wrong = Vec::new();
        for host in hosts {
            let plain = !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
            if !plain {
                wrong.push(format!(
                    "`--fast-path {host}`: expected a host name in lower case"
                ));
            }
            let listeners = snapshot.listeners();
            let outside = listeners.filter(|l| l.side() == Entrance::External && !l.is_opaque());
            for listener in outside {
                let Some(found) = listener.host(host) else {
                    continue;
                };
                let other = found.routes().find(|route| {
                    let access = route.access();
                    !match access.owner {
                        Owner::Platform => access.opens_to_sessions(),
                        Owner::LoginMachinery => true,
                        Owner::Foreign => access.external == AccessLevel::AsWritten,
                        Owner::Model => false,
                    }
                });
                if let Some(route) = other {
                    wrong.push(format!(
                        "`--fast-path {host}`: {} of {} needs more than a session",
                        route.place(),
                        route.object()
                    ));
                }
            }
        }
        if !wrong.is_empty() {
            return Err(BadInput(wrong).into());
        }
        Ok(Self {
            hosts: hosts.to_vec(),
            key_set,
            login: snapshot.login_paths().to_vec(),
        })
    }

    /// Filters of one listener, the last of which asks, in the order in which
    /// requests meet them.
    pub(crate) fn filters(&self, service: &str, port: u16) -> Vec<Value> {
        vec![strip(), self.verify(), ask(service, port)]
    }

    fn verify(&self) -> Value {
        let hosts: Vec<String> = self.hosts.iter().map(|h| h.replace('.', "\\.")).collect();
        let authority = format!("(?i:{})(:[0-9]+)?", hosts.join("|"));
        let mut rules: Vec<Value> = self
            .login
            .iter()
            .map(|path| json!({"match": {"path": path}}))
            .collect();
        rules.push(json!({
            "match": {"prefix": "/", "headers": [{"name": ":authority",
                "string_match": {"safe_regex": {"regex": authority}}}]},
            "requires": {"requires_any": {"requirements": [
                {"provider_name": "pass"}, {"allow_missing_or_failed": {}}]}},
        }));
        json!({"name": "sidegate.pass", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"pass": {
                "issuer": ext_authz::PASS_ISSUER,
                "from_cookies": [ext_authz::PASS_COOKIE],
                "forward": true,
                "clock_skew_seconds": SKEW,
                "local_jwks": {"inline_string": self.key_set},
                "payload_in_metadata": "sidegate",
                "jwt_cache_config": {"jwt_cache_size": 1000},
                "claim_to_headers": [
                    {"header_name": "kubeflow-userid", "claim_name": "sub"},
                    {"header_name": "kubeflow-groups", "claim_name": "groups"}],
            }},
            "rules": rules,
        }})
    }
}

/// Removes what a client says about who it is, or in Knative's place: nobody else does on the fast path.
///
/// Runs for each header of each request: most names are neither changed nor cut. Envoy's are in lower case.
fn strip() -> Value {
    let names: Vec<String> = IDENTITY_HEADERS
        .iter()
        .chain(&KNATIVE_HEADERS)
        .map(|name| format!("[\"{name}\"] = true"))
        .collect();
    let script = format!(
        "local claims = {{ {} }}\n\
         local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub\n\
         local function is_claim(name)\n\
         \x20 if find(name, \"_\", 1, true) then name = gsub(name, \"_\", \"-\") end\n\
         \x20 return claims[name] or byte(name) == 120\n\
         \x20   and (sub(name, 1, 15) == \"x-auth-request-\" or sub(name, 1, 11) == \"x-sidegate-\")\n\
         end\n\
         function envoy_on_request(handle)\n\
         \x20 local headers, gone = handle:headers(), nil\n\
         \x20 for name in pairs(headers) do\n\
         \x20   if is_claim(name) then\n\
         \x20     gone = gone or {{}}\n\
         \x20     table.insert(gone, name)\n\
         \x20   end\n\
         \x20 end\n\
         \x20 for _, name in ipairs(gone or {{}}) do headers:remove(name) end\n\
         end\n",
        names.join(", ")
    );
    json!({"name": "sidegate.claims", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": script},
    }})
}

/// Asks about everything that came without a pass.
fn ask(service: &str, port: u16) -> Value {
    json!({"name": "envoy.filters.http.ext_authz", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "status_on_error": {"code": 403},
        "grpc_service": {"envoy_grpc": {"cluster_name": format!("outbound|{port}||{service}"),
            "authority": service}, "timeout": "2s"},
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": "sidegate"}, {"key": "scope"}],
            "value": {"string_match": {"exact": ext_authz::PASS_SCOPE}},
            "invert": true,
        },
    }})
}
