//! The authorizer behind one worker of Envoy, with the filters that `sidegate authz manifests` prints.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::program::{Program, first_line};
use super::world::{Full, World};
use super::{Bench, Load, Measured};
use crate::authz::pass_key;
use crate::bench;
use crate::http::ask_host;
use crate::person::DASHBOARD;
use crate::relying::envoy::{Chain, Envoy, filter, inside};

/// Requests in a second at which latencies are compared.
const RATE: f64 = 2000.0;

const SERVICE: &str = "sidegate-authz.sidegate.svc.cluster.local";
const CLUSTER: &str = "outbound|9000||sidegate-authz.sidegate.svc.cluster.local";

/// As many as there can be, and at that rate.
#[derive(Clone, Copy, Default)]
pub(super) struct Both {
    pub(super) most: Measured,
    pub(super) paced: Measured,
}

pub(super) struct Figures {
    /// Envoy asks nobody.
    pub(super) none: Both,
    pub(super) grpc: Both,
    pub(super) http: Both,
    pub(super) fast: Both,
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Figures> {
    eprintln!("measuring: behind Envoy");
    let folder = bench.folder.join("behind");
    std::fs::create_dir_all(&folder)?;
    let key = folder.join("pass.pem");
    std::fs::write(&key, pass_key()?)?;
    let key = key.to_string_lossy().into_owned();
    let bench = Bench {
        folder: &folder,
        ..*bench
    };
    let world = World::make(&bench, &Full::no())?;
    let plain = Program::authz(&world, &[])?;
    let asks = filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "status_on_error": {"code": 403},
            "grpc_service": {"envoy_grpc": {"cluster_name": CLUSTER, "authority": SERVICE}, "timeout": "2s"},
        }),
    );
    let cookie = [("cookie", "authservice_session=SECRET")];
    let one = |filters, authz: &Program, cookie: &[(&str, &str)], secrets: &Path| {
        through(&bench, filters, authz, cookie, secrets)
    };
    let none = one(Vec::new(), &plain, &cookie, &world.sessions)?;
    let grpc = one(vec![asks], &plain, &cookie, &world.sessions)?;
    let over_http = printed(&world, &["--http"])?;
    let http = one(over_http, &plain, &cookie, &world.sessions)?;
    drop(plain);
    let fast = printed(&world, &["--fast-path", DASHBOARD, "--pass-key", &key])?;
    let giving = Program::authz(&world, &["--pass-key", &key])?;
    let passes = folder.join("passes");
    std::fs::write(&passes, pass(&giving, &first_line(&world.sessions)?)?)?;
    let cookie = [("cookie", "sidegate_pass=SECRET")];
    Ok(Figures {
        none,
        grpc,
        http,
        fast: one(fast, &giving, &cookie, &passes)?,
    })
}

/// Envoy with these filters. It answers itself what passes.
fn through(
    bench: &Bench<'_>,
    filters: Vec<Value>,
    authz: &Program,
    cookie: &[(&str, &str)],
    secrets: &Path,
) -> Result<Both> {
    let over_http = filters.iter().any(|filter| {
        let config = filter.get("typed_config");
        config.is_some_and(|config| config.get("http_service").is_some())
    });
    let address = (CLUSTER, authz.checks.clone());
    let (clusters, grpc) = match over_http {
        true => (vec![address], Vec::new()),
        false => (Vec::new(), vec![address]),
    };
    let chain = Chain {
        filters,
        routes: vec![inside()],
        clusters,
        grpc,
        secrets: Vec::new(),
    };
    let [high, low] = u16::try_from(std::process::id() % 65_000)?.to_be_bytes();
    // Checks are about the port of the Gateway's pods.
    let at = SocketAddr::from(([127, 77, high, low.max(1)], 8080));
    let running = Envoy::start(chain, bench.folder, at)?.running;
    let envoy = Program::of(running, at.to_string());
    let mut headers: Vec<(&str, &str)> = super::BROWSER.to_vec();
    headers.retain(|(name, _)| *name != "cookie");
    headers.extend(cookie);
    let load = |rate: Option<f64>| Load {
        path: "/pipeline/?ns=team",
        headers: headers.clone(),
        expected: "inside",
        connections: if rate.is_some() { 8 } else { super::OVER_HTTP },
        rate,
        ..Load::session("http", secrets)
    };
    let measure = |load| bench.ask(&load, &envoy.checks, authz, Some(&envoy));
    Ok(Both {
        most: measure(load(None))?,
        paced: measure(load(Some(RATE)))?,
    })
}

/// The filters of the outside that the manifests have.
fn printed(world: &World, more: &[&str]) -> Result<Vec<Value>> {
    let output = bench::program()
        .args(["authz", "manifests", "-f"])
        .arg(&world.files)
        .args(more)
        .output()
        .context("cannot run sidegate")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no manifests: {said}");
    let text = String::from_utf8(output.stdout)?;
    let object = text.split("\n---\n").find(|object| {
        object.contains("kind: EnvoyFilter") && object.contains("name: sidegate-8080")
    });
    let object = object.context("no EnvoyFilter of the outside")?;
    let object: Value = serde_saphyr::from_str(object).map_err(|error| anyhow!("{error}"))?;
    let patches = object
        .pointer("/spec/configPatches")
        .and_then(Value::as_array);
    let patches = patches.context("no patches")?.iter().rev();
    // Each goes before those that were there.
    Ok(patches
        .filter_map(|patch| patch.pointer("/patch/value").cloned())
        .collect())
}

/// The pass of a person with that session.
fn pass(authz: &Program, session: &str) -> Result<String> {
    let cookie = format!("authservice_session={session}");
    let headers = [("cookie", cookie.as_str()), ("accept", "text/html")];
    let target = "/external/pipeline/";
    let answer = ask_host(&authz.checks, DASHBOARD, "GET", target, &headers, "")?;
    let pass = answer.headers("set-cookie").find_map(|cookie| {
        let (pass, _) = cookie.strip_prefix("sidegate_pass=")?.split_once(';')?;
        Some(format!("{pass}\n"))
    });
    pass.with_context(|| format!("no pass: {answer:?}"))
}
