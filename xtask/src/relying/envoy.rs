//! Envoy with a configuration of its own, beside the provider.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::child::{Running, last_words};
use crate::oracle::envoy_program;

const START: Duration = Duration::from_secs(60);

/// A running Envoy with one listener.
pub(super) struct Envoy {
    _running: Running,
    log: PathBuf,
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
}

/// What requests meet: filters before the router, and routes.
pub(super) struct Chain {
    pub(super) filters: Vec<Value>,
    pub(super) routes: Vec<Value>,
    /// Clusters by their names, with an address each.
    pub(super) clusters: Vec<(&'static str, String)>,
    /// Secrets by their names.
    pub(super) secrets: Vec<(&'static str, &'static str)>,
}

impl Envoy {
    /// Starts it on that port and waits until it listens.
    pub(super) fn start(chain: Chain, folder: &Path, port: u16) -> Result<Self> {
        let (config, log) = (folder.join("envoy.json"), folder.join("envoy.log"));
        std::fs::write(&config, bootstrap(chain, port).to_string())?;
        let program = envoy_program()?;
        let mut command = Command::new(&program);
        command
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "info", "--log-path"])
            .arg(&log)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Running::start(&mut command)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        running
            .until(START, || TcpStream::connect(address).is_ok())
            .with_context(|| format!("Envoy: {}", last_words(&log, 5)))?;
        Ok(Self {
            _running: running,
            log,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        last_words(&self.log, 5)
    }
}

fn bootstrap(chain: Chain, port: u16) -> Value {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let clusters: Vec<Value> = chain
        .clusters
        .iter()
        .map(|(name, at)| {
            let port = at.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            json!({
                "name": name,
                "type": "STATIC",
                "connect_timeout": "5s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints":
                    [{"endpoint": {"address": address(port.unwrap_or(0))}}]}]},
            })
        })
        .collect();
    let secret = |(name, text): &(&str, &str)| json!({"name": name, "generic_secret": {"secret": {"inline_string": text}}});
    let secrets: Vec<Value> = chain.secrets.iter().map(secret).collect();
    let mut filters = chain.filters;
    filters.push(filter("router", "router.v3.Router", json!({})));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": chain.routes}]},
        "http_filters": filters,
    });
    json!({"static_resources": {
        "listeners": [{"name": "in", "address": address(port), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}]}],
        "clusters": clusters,
        "secrets": secrets,
    }})
}

/// An HTTP filter: its short name, and its type below `envoy.extensions.filters.http`.
pub(super) fn filter(name: &str, kind: &str, mut config: Value) -> Value {
    if let Some(members) = config.as_object_mut() {
        let url = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}");
        members.insert("@type".to_owned(), url.into());
    }
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": config})
}

/// `jwt_authn` for tokens of the provider, whose keys are kept for that long.
pub(super) fn jwt_authn(issuer: &str, base: &str, kept: &str, open: &[&str]) -> Value {
    let mut rules: Vec<Value> = open
        .iter()
        .map(|prefix| json!({"match": {"prefix": prefix}}))
        .collect();
    rules.push(json!({"match": {"prefix": "/"}, "requires": {"provider_name": "dex"}}));
    filter(
        "jwt_authn",
        "jwt_authn.v3.JwtAuthentication",
        json!({
            "providers": {"dex": {
                "issuer": issuer,
                "forward": true,
                "claim_to_headers": [{"header_name": "kubeflow-userid", "claim_name": "email"}],
                "remote_jwks": {
                    "http_uri": {"uri": format!("{base}/dex/keys"), "cluster": "provider", "timeout": "5s"},
                    "cache_duration": kept,
                },
            }},
            "rules": rules,
        }),
    )
}

/// What stands for the platform: it says whose request arrived.
pub(super) fn inside() -> Value {
    json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "inside"}},
        "response_headers_to_add": [{"header": {"key": "x-user", "value": "%REQ(kubeflow-userid)%"}}],
    })
}

pub(super) fn route(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})
}
