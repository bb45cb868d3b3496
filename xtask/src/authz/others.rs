//! Gateways that no mesh configures, with what `sidegate authz manifests --for` prints and the files of `deploy`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::program::sidegate;
use super::rows::{DASHBOARD, Gate, MODEL, Rows};
use crate::child::{Running, last_words};
use crate::clients::free_port;
use crate::oracle::{address, envoy_program};
use crate::{cache, shell};

const START: Duration = Duration::from_secs(60);
const CADDY: (&str, &str) = ("github.com/caddyserver/caddy/v2/cmd/caddy", "v2.11.2");

/// Which gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    Nginx,
    Envoy { http: bool },
    Caddy,
}

/// What it finds around it.
pub(super) struct Around<'a> {
    pub(super) folder: &'a Path,
    pub(super) files: &'a Path,
    pub(super) authorizer: SocketAddr,
    pub(super) provider: SocketAddr,
    pub(super) upstream: SocketAddr,
}

/// One that runs until this is dropped.
pub(super) struct Started {
    pub(super) external: SocketAddr,
    pub(super) local: SocketAddr,
    /// Where each of them takes HTTP/2 in the clear.
    pub(super) http2: (SocketAddr, SocketAddr),
    _running: Running,
}

impl Other {
    /// Whether it routes by a reading of the path that is its own.
    pub(super) fn routes_by_itself(self) -> bool {
        !matches!(self, Self::Envoy { .. })
    }

    /// Whether a denial cannot be a page or a preflight.
    pub(super) fn takes_2xx_for_leave(self) -> bool {
        self == Self::Caddy
    }

    /// Whether headers with `_` go on.
    pub(super) fn passes_folded_names(self) -> bool {
        self == Self::Caddy
    }

    /// The status of a denied call, which says more in `grpc-status`.
    pub(super) fn refuses_grpc_with(self) -> u16 {
        if self == Self::Caddy { 401 } else { 200 }
    }

    pub(super) fn says_without_an_authorizer(self) -> u16 {
        match self {
            Self::Nginx => 500,
            Self::Envoy { .. } => 403,
            Self::Caddy => 502,
        }
    }

    pub(super) fn start(self, around: &Around<'_>) -> Result<Started> {
        match self {
            Self::Nginx => nginx(around),
            Self::Envoy { http } => envoy(around, http),
            Self::Caddy => caddy(around),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy { .. } => "envoy",
            Self::Caddy => "caddy",
        }
    }

    /// Files of the ConfigMap that is printed for it, with the authorizer where it is.
    fn printed(self, around: &Around<'_>) -> Result<BTreeMap<String, String>> {
        let mut command = Command::new(sidegate());
        command.args(["authz", "manifests", "--for", self.name(), "-f"]);
        command.arg(around.files);
        if self == (Self::Envoy { http: true }) {
            command.arg("--http");
        }
        let output = command.output().context("cannot run sidegate")?;
        if !output.status.success() {
            bail!("no manifests: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        let wanted = format!("name: sidegate-{}", self.name());
        let found = text
            .split("\n---\n")
            .find(|object| object.contains(&wanted));
        let object: Value = serde_saphyr::from_str(found.context("no ConfigMap is printed")?)?;
        let data = object.get("data").and_then(Value::as_object);
        let at = around.authorizer.to_string();
        let files = data.into_iter().flatten().filter_map(|(name, text)| {
            let text = text.as_str()?;
            let text = text.replace("sidegate-authz.sidegate.svc.cluster.local:9000", &at);
            Some((name.clone(), text))
        });
        Ok(files.collect())
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A file of `deploy` with these texts exchanged, each of which has to be there.
fn deployed(name: &str, exchanged: &[(&str, String)]) -> Result<String> {
    let mut text = std::fs::read_to_string(shell::root().join("deploy").join(name))?;
    for (from, to) in exchanged {
        if !text.contains(from) {
            bail!("deploy/{name} has no `{from}`");
        }
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Starts a program and waits until it takes connections.
fn started(command: &mut Command, log: &Path, at: SocketAddr) -> Result<Running> {
    let told = std::fs::File::create(log)?;
    command.stdout(Stdio::null()).stderr(told);
    let mut running = Running::start(command)?;
    running
        .until(START, || TcpStream::connect(at).is_ok())
        .with_context(|| format!("{command:?}: {}", last_words(log, 5)))?;
    Ok(running)
}

fn nginx(around: &Around<'_>) -> Result<Started> {
    let root = cache::debian("nginx")?;
    let folder = around.folder.join("nginx");
    std::fs::create_dir_all(folder.join("sidegate"))?;
    for (name, text) in Other::Nginx.printed(around)? {
        std::fs::write(folder.join("sidegate").join(name), text)?;
    }
    let ports = [free_port()?, free_port()?, free_port()?, free_port()?].map(loopback);
    let [external, local, external2, local2] = ports;
    let upstream = format!("server {};", around.upstream);
    let mut temporary = String::from("events {}\nhttp {\n    access_log off;\n");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let path = folder.join(kind);
        temporary.push_str(&format!("    {kind}_temp_path {};\n", path.display()));
    }
    let text = deployed(
        "nginx.conf",
        &[
            ("events {}\nhttp {\n", temporary),
            (
                "server centraldashboard.kubeflow.svc.cluster.local:80;",
                upstream.clone(),
            ),
            (
                "server kserve-models.kserve-test.svc.cluster.local:80;",
                upstream,
            ),
            (
                "server dex.auth.svc.cluster.local:5556;",
                format!("server {};", around.provider),
            ),
            (
                "listen 8080;",
                format!("listen {external}; listen {external2} http2;"),
            ),
            (
                "listen 8081;",
                format!("listen {local}; listen {local2} http2;"),
            ),
        ],
    )?;
    std::fs::write(folder.join("nginx.conf"), text)?;
    let (log, pid) = (folder.join("error.log"), folder.join("pid"));
    // One process, so that its end is the end of all.
    let more = format!(
        "daemon off; master_process off; pid {}; error_log stderr warn;",
        pid.display()
    );
    let mut command = Command::new(root.join("usr/sbin/nginx"));
    command
        .env("LD_LIBRARY_PATH", cache::libraries(&root))
        .arg("-p")
        .arg(&folder)
        .args(["-c", "nginx.conf", "-e", "stderr", "-g", &more]);
    let running = started(&mut command, &log, external)?;
    Ok(Started {
        external,
        local,
        http2: (external2, local2),
        _running: running,
    })
}

fn caddy(around: &Around<'_>) -> Result<Started> {
    let (package, version) = CADDY;
    let program = cache::go_tool(package, version)?;
    let folder = around.folder.join("caddy");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in Other::Caddy.printed(around)? {
        std::fs::write(folder.join(name), text)?;
    }
    let (external, local) = (loopback(free_port()?), loopback(free_port()?));
    let site = |at: SocketAddr| format!("http://:{} {{\n\tbind 127.0.0.1\n", at.port());
    let text = deployed(
        "Caddyfile",
        &[
            (":8080 {\n", site(external)),
            (":8081 {\n", site(local)),
            (
                "centraldashboard.kubeflow.svc.cluster.local:80",
                around.upstream.to_string(),
            ),
            (
                "kserve-models.kserve-test.svc.cluster.local:80",
                around.upstream.to_string(),
            ),
            (
                "dex.auth.svc.cluster.local:5556",
                around.provider.to_string(),
            ),
        ],
    )?;
    std::fs::write(folder.join("Caddyfile"), text)?;
    let mut command = Command::new(program);
    command
        .args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"])
        .current_dir(&folder)
        .env("HOME", &folder)
        .env("XDG_CONFIG_HOME", &folder)
        .env("XDG_DATA_HOME", &folder);
    let running = started(&mut command, &folder.join("log"), external)?;
    Ok(Started {
        external,
        local,
        http2: (external, local),
        _running: running,
    })
}

fn envoy(around: &Around<'_>, http: bool) -> Result<Started> {
    let files = Other::Envoy { http }.printed(around)?;
    let read = |name: &str| -> Result<Vec<Value>> {
        let text = files
            .get(name)
            .with_context(|| format!("no {name} is printed"))?;
        let list: Value = serde_saphyr::from_str(text)?;
        Ok(list.as_array().cloned().unwrap_or_default())
    };
    let endpoint =
        |at: SocketAddr| json!({"socket_address": {"address": at.ip(), "port_value": at.port()}});
    let named = |name: &str, at: SocketAddr| {
        json!({"name": name, "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints":
                [{"endpoint": {"address": endpoint(at)}}]}]}})
    };
    let mut clusters = read("cluster.yaml")?;
    for cluster in &mut clusters {
        let place = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
        let place = cluster.pointer_mut(place).context("an endpoint")?;
        *place = endpoint(around.authorizer);
    }
    clusters.extend([
        named("login", around.provider),
        named("up", around.upstream),
    ]);
    // Over gRPC the port says which Gateway it is.
    let external = SocketAddr::from((address(0), 8080));
    let local = SocketAddr::from((address(0), 8081));
    let listener = |at: SocketAddr, mut filters: Vec<Value>| {
        filters.push(json!({"name": "envoy.filters.http.router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
        let routes = json!([
            {"match": {"prefix": "/dex/"}, "route": {"cluster": "login"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "up"}},
        ]);
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "normalize_path": true,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": filters,
        });
        json!({"name": at.to_string(), "address": endpoint(at), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]})
    };
    let bootstrap = json!({"static_resources": {
        "listeners": [listener(external, read("external.yaml")?), listener(local, read("local.yaml")?)],
        "clusters": clusters,
    }});
    let (config, log) = (
        around.folder.join("envoy.json"),
        around.folder.join("envoy.log"),
    );
    std::fs::write(&config, bootstrap.to_string())?;
    let mut command = Command::new(envoy_program()?);
    command
        .args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "-c",
        ])
        .arg(&config);
    let running = started(&mut command, &log, local)?;
    Ok(Started {
        external,
        local,
        http2: (external, local),
        _running: running,
    })
}

impl Rows {
    /// What only these gateways can get wrong.
    pub(super) fn otherwise(&mut self, other: Other) -> Result<()> {
        let claims = [
            "-H",
            "x-forwarded-method: OPTIONS",
            "-H",
            "x-forwarded-host: shop.example.com",
            "-H",
            "x-forwarded-uri: /cart",
            "-H",
            "x-forwarded-prefix: /local",
            "-H",
            "x-original-uri: /cart",
            "-H",
            "x-original-method: OPTIONS",
        ];
        let what = "another request by header";
        self.stopped(what, 401, Gate::External, DASHBOARD, "/", &claims)?;
        // Paths that are the authorizer's, or the gateway's own.
        for target in [
            "/forwarded/local",
            "/verdict/local/",
            "/answer/local/",
            "/local/v1/models",
        ] {
            self.stopped(target, 401, Gate::External, DASHBOARD, target, &claims)?;
        }
        let target = "/_sidegate/verdict";
        let status = if other == Other::Nginx { 404 } else { 401 };
        self.stopped(target, status, Gate::External, DASHBOARD, target, &[])?;
        if other.routes_by_itself() {
            for target in ["/dex%2Fauth", "/%64ex/auth", "/DEX/auth", "//dex/auth"] {
                let seen = self.ask(Gate::External, DASHBOARD, target, &[])?;
                // Caddy tidies some of them up before anybody is asked.
                let refused = matches!(seen.answer.status, 400 | 401 | 308);
                self.expect(target, refused && seen.arrived.is_none(), &seen);
            }
        }
        let preferred = ["-H", "x-sidegate-other: x"];
        let target = "/v1/models/sklearn-iris:predict";
        if other.routes_by_itself() {
            // What they would not remove is not let through.
            self.stopped(
                "a header of ours",
                400,
                Gate::Local,
                MODEL,
                target,
                &preferred,
            )?;
        } else {
            let seen = self.through("a header of ours", Gate::Local, MODEL, target, &preferred)?;
            let gone = seen.header("x-sidegate-other").is_none();
            self.expect("it is removed", gone, &seen);
        }
        let origin = ["-H", "origin: https://page.example.com"];
        let token = format!("authorization: Bearer {}", self.mesh.token("kserve-test")?);
        let with = [&origin[..], &["-H", &token]].concat();
        let seen = self.through(
            "a page of elsewhere",
            Gate::External,
            super::rows::OUTSIDE,
            target,
            &with,
        )?;
        let told = seen.answer.header("access-control-allow-origin") == Some("*");
        self.expect(
            "it may read the answer",
            told || other == Other::Caddy,
            &seen,
        );
        Ok(())
    }
}
