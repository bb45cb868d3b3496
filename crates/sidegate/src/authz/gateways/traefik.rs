//! Traefik: `forwardAuth` takes every 2xx for leave and passes all else on. Answers of the login that are 2xx are had from
//! the authorizer itself.

use policy::Entrance;
use serde_json::{Value, json};

use super::{Asking, title, word};
use crate::authz::manifests::{NAME, PORT};

pub(super) fn objects(asking: &Asking<'_>) -> Vec<Value> {
    let middleware = |name: String, spec: Value| {
        json!({"apiVersion": "traefik.io/v1alpha1", "kind": "Middleware",
            "metadata": {"name": name, "namespace": asking.namespace}, "spec": spec})
    };
    let mut objects = Vec::new();
    for side in asking.sides() {
        let spec = json!({"forwardAuth": {
            "address": format!("http://{}/forwarded/{}", asking.authority(), word(side)),
            "trustForwardHeader": false,
            // Relative ones would become those of the authorizer.
            "preserveLocationHeader": true,
            "authResponseHeaders": ext_authz::handed().map(title).collect::<Vec<_>>(),
        }});
        objects.push(middleware(format!("sidegate-{}", word(side)), spec));
    }
    let login = asking.snapshot.login_paths();
    if asking.sides().contains(&Entrance::External) && !login.is_empty() {
        let spec = json!({"addPrefix": {"prefix": "/answer/external"}});
        objects.push(middleware("sidegate-answer".to_owned(), spec));
        objects.push(json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
            "metadata": {"name": "sidegate-login", "namespace": asking.namespace},
            "spec": {"routes": [{
                "kind": "Rule", "match": login_rule(asking), "priority": 10_000,
                "middlewares": [{"name": "sidegate-answer"}],
                "services": [{"name": NAME, "port": PORT}],
            }]},
        }));
    }
    objects
}

/// Paths of the login, on the platform's hosts where they are known by name.
fn login_rule(asking: &Asking<'_>) -> String {
    let any = |what: &str, all: &[String]| {
        let all: Vec<String> = all.iter().map(|one| format!("{what}(`{one}`)")).collect();
        match all.as_slice() {
            [one] => one.clone(),
            all => format!("({})", all.join(" || ")),
        }
    };
    let paths = any("Path", asking.snapshot.login_paths());
    let hosts = asking.platform_hosts();
    match hosts.is_empty() {
        true => paths,
        false => format!("{} && {paths}", any("Host", &hosts)),
    }
}
