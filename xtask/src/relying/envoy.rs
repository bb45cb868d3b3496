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
pub(crate) struct Envoy {
    pub(crate) running: Running,
    log: PathBuf,
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
}

/// What requests meet: filters before the router, and routes.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) filters: Vec<Value>,
    pub(crate) routes: Vec<Value>,
    /// Clusters by their names, with an address each.
    pub(crate) clusters: Vec<(&'static str, String)>,
    /// And those that speak HTTP/2.
    pub(crate) grpc: Vec<(&'static str, String)>,
    /// Secrets by their names.
    pub(crate) secrets: Vec<(&'static str, &'static str)>,
}

impl Envoy {
    /// Starts it at that address and waits until it listens.
    pub(crate) fn start(chain: Chain, folder: &Path, at: SocketAddr) -> Result<Self> {
        let (config, log) = (folder.join("envoy.json"), folder.join("envoy.log"));
        std::fs::write(&config, bootstrap(chain, at).to_string())?;
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
        running
            .until(START, || TcpStream::connect(at).is_ok())
            .with_context(|| format!("Envoy: {}", last_words(&log, 5)))?;
        Ok(Self {
            running,
            log,
            url: format!("http://{at}"),
        })
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        last_words(&self.log, 5)
    }
}

fn bootstrap(chain: Chain, at: SocketAddr) -> Value {
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let plain = chain.clusters.iter().map(|cluster| (cluster, false));
    let grpc = chain.grpc.iter().map(|cluster| (cluster, true));
    let clusters: Vec<Value> = plain
        .chain(grpc)
        .map(|((name, at), grpc)| {
            let port = at.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let at = SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(0)));
            let mut cluster = json!({
                "name": name,
                "type": "STATIC",
                "connect_timeout": "5s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints":
                    [{"endpoint": {"address": address(at)}}]}]},
            });
            if let (true, Some(members)) = (grpc, cluster.as_object_mut()) {
                let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
                let http2 = json!({options: {
                    "@type": format!("type.googleapis.com/{options}"),
                    "explicit_http_config": {"http2_protocol_options": {}},
                }});
                members.insert("typed_extension_protocol_options".to_owned(), http2);
            }
            cluster
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
        "listeners": [{"name": "in", "address": address(at), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}]}],
        "clusters": clusters,
        "secrets": secrets,
    }})
}

/// An HTTP filter: its short name, and its type below `envoy.extensions.filters.http`.
pub(crate) fn filter(name: &str, kind: &str, mut config: Value) -> Value {
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
pub(crate) fn inside() -> Value {
    json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "inside"}},
        "response_headers_to_add": [{"header": {"key": "x-user", "value": "%REQ(kubeflow-userid)%"}}],
    })
}

pub(super) fn route(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})
}
