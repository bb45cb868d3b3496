//! What Istio and Envoy answer for a folder of manifests.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::arguments::Folder;
use super::install;
use super::run::{Job, Oracle};
use super::world::{Observed, Reply, Sent, World};
use crate::shell;

/// Prints a line per request.
pub(crate) fn run(folder: &Folder) -> Result<()> {
    let requests: Vec<Sent> = folder
        .requests
        .iter()
        .map(|line| request(line, folder.port))
        .collect::<Result<_>>()?;
    for (line, observed) in folder
        .requests
        .iter()
        .zip(answers(&folder.folders, requests)?)
    {
        println!("{line}\n  {}", observed.describe());
    }
    Ok(())
}

/// What Envoy answers; authorizers say 302 as a login would.
pub(crate) fn answers(folders: &[PathBuf], requests: Vec<Sent>) -> Result<Vec<Observed>> {
    let world = world(folders)?;
    let mut oracle = Oracle::new(install::programs()?)?;
    let outcomes = oracle.run(&[Job { world, requests }])?;
    match outcomes.into_iter().next().map(|outcome| outcome.answers) {
        Some(Ok(answers)) => Ok(answers),
        Some(Err(why)) => bail!("Istio and Envoy do not serve it: {why}"),
        None => bail!("no answer"),
    }
}

/// `GET http://host/path`.
fn request(line: &str, port: u16) -> Result<Sent> {
    let expected = || format!("`{line}`: expected `METHOD http://host/path`");
    let (method, url) = line.split_once(' ').with_context(expected)?;
    let rest = url.strip_prefix("http://").with_context(expected)?;
    let (authority, target) = rest
        .find('/')
        .and_then(|at| rest.split_at_checked(at))
        .unwrap_or((rest, "/"));
    Ok(Sent {
        port,
        method: method.to_owned(),
        authority: authority.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        source: Ipv4Addr::LOCALHOST,
        checker: Reply {
            status: 302,
            headers: vec![("location".into(), "http://login.example.com/".into())],
        },
        tls: None,
    })
}

/// All manifests below the folders. The gateway pod is the one that the
/// cluster's first Gateway selects, in the namespace of Istio.
fn world(folders: &[PathBuf]) -> Result<World> {
    let mut objects = Vec::new();
    for folder in folders {
        read(folder, &mut objects)?;
    }
    let field = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let is = |object: &Value, kind: &str| field(object, "/kind").as_deref() == Some(kind);
    let mut world = World {
        namespace: "istio-system".into(),
        mesh: Value::Object(serde_json::Map::new()),
        ..World::default()
    };
    for object in &objects {
        let name = field(object, "/metadata/name");
        if is(object, "ConfigMap") && name.as_deref() == Some("istio") {
            let text = field(object, "/data/mesh").unwrap_or_default();
            world.mesh = serde_saphyr::from_str(&text).map_err(|error| anyhow!("mesh: {error}"))?;
        }
    }
    let pod = objects.iter().find(|object| {
        is(object, "Service")
            && field(object, "/metadata/name").as_deref() == Some("istio-ingressgateway")
    });
    let selector = pod.and_then(|service| service.pointer("/spec/selector"));
    let gateway = objects.iter().find(|object| is(object, "Gateway"));
    let labels = selector
        .or_else(|| gateway?.pointer("/spec/selector"))
        .and_then(Value::as_object)
        .context("neither a Service `istio-ingressgateway` nor a Gateway selects a pod")?;
    world.labels = labels
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    // What the API server does not know, Istio does not see.
    objects.retain(|object| {
        field(object, "/apiVersion").is_some_and(|version| {
            !version.contains('/')
                || version.contains("istio.io/")
                || version.starts_with("gateway.networking.k8s.io/")
        }) && !is(object, "ConfigMap")
    });
    world.objects = objects;
    Ok(world)
}

fn read(path: &Path, objects: &mut Vec<Value>) -> Result<()> {
    if path.is_dir() {
        let mut names: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| path.display().to_string())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        names.sort();
        return names.iter().try_for_each(|name| read(name, objects));
    }
    if !path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .map_err(|error| anyhow!("{}: {error}", path.display()))?;
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None if document.is_object() => objects.push(document),
            None => {}
        }
    }
    Ok(())
}

/// The seed's cluster with its published fix: what the fix lets through.
pub(crate) fn seed() -> Result<()> {
    const EXPECTED: [(&str, u16, u16); 6] = [
        (
            "POST http://sklearn-iris.kserve-test.svc.cluster.local/v1/models/sklearn-iris:predict",
            8081,
            200,
        ),
        (
            "POST http://sklearn-iris.kserve-test.svc.cluster.local/v2/models/sklearn-iris/infer",
            8081,
            302,
        ),
        ("GET http://dashboard.example.com/", 8080, 302),
        ("GET http://dashboard.example.com/v1anything", 8080, 200),
        (
            "GET http://dashboard.example.com/v1/..%2fpipeline",
            8080,
            200,
        ),
        ("GET http://dashboard.example.com/v1/../pipeline", 8080, 302),
    ];
    let seed = shell::root().join("examples/seed");
    let folders = [seed.join("cluster.yaml"), seed.join("blog-fix")];
    let requests = EXPECTED
        .iter()
        .map(|(line, port, _)| request(line, *port))
        .collect::<Result<Vec<Sent>>>()?;
    let mut wrong = 0;
    for ((line, _, expected), observed) in EXPECTED.iter().zip(answers(&folders, requests)?) {
        let agrees = observed.status == Some(*expected);
        wrong += usize::from(!agrees);
        println!(
            "{} {line} {:?}",
            if agrees { "agrees " } else { "DIFFERS" },
            observed.status
        );
    }
    if wrong > 0 {
        bail!("{wrong} answers differ");
    }
    Ok(())
}
