//! What Istio and Envoy answer for a folder of manifests.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use resources::istio::VirtualService;
use resources::{Cluster, File, Metadata, Object};
use serde_json::{Value, json};

use super::arguments::Folder;
use super::install;
use super::run::{Job, Oracle};
use super::world::{Observed, Reply, Sent, World};

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
fn answers(folders: &[PathBuf], requests: Vec<Sent>) -> Result<Vec<Observed>> {
    let world = world(&layers(folders)?)?;
    let mut oracle = Oracle::new(install::programs()?)?;
    let outcomes = oracle.run(&[Job { world, requests }])?;
    match outcomes.into_iter().next().map(|outcome| outcome.answers) {
        Some(Ok(answers)) => Ok(answers),
        Some(Err(why)) => bail!("Istio and Envoy do not serve it: {why}"),
        None => bail!("no answer"),
    }
}

/// What an authorizer answers that sends people to a login.
pub(super) fn login() -> Reply {
    Reply {
        status: 302,
        headers: vec![("location".into(), "http://login.example.com/".into())],
    }
}

/// `GET http://host/path`.
pub(super) fn request(line: &str, port: u16) -> Result<Sent> {
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
        checker: login(),
        tls: None,
        tokens: Vec::new(),
    })
}

/// The manifests below each folder.
pub(crate) fn layers(folders: &[PathBuf]) -> Result<Vec<Vec<File>>> {
    let read = |folder| {
        resources::read_files(std::slice::from_ref(folder)).map_err(|errors| anyhow!("{errors}"))
    };
    folders.iter().map(read).collect()
}

/// All manifests, those of later layers in the place of earlier ones, with
/// what controllers would generate. The gateway pod is the one behind the
/// Service `istio-ingressgateway`, or behind the first Gateway.
pub(crate) fn world(layers: &[Vec<File>]) -> Result<World> {
    let mut objects: Vec<Value> = Vec::new();
    for files in layers {
        for (path, text) in files {
            for document in documents(path, text)? {
                objects.retain(|known| identity(known) != identity(&document));
                if field(&document, "/metadata/annotations/sidegate.dev~1delete") != Some("true") {
                    objects.push(document);
                }
            }
        }
    }
    let cluster = resources::parse_layers(layers).map_err(|errors| anyhow!("{errors}"))?;
    generated(&cluster, &mut objects)?;
    let mesh = objects
        .iter()
        .find(|object| is(object, "ConfigMap") && field(object, "/metadata/name") == Some("istio"));
    let mesh = mesh
        .and_then(|object| field(object, "/data/mesh"))
        .unwrap_or("{}");
    let mesh = serde_saphyr::from_str(mesh).map_err(|error| anyhow!("mesh: {error}"))?;
    let ingress = objects.iter().find(|object| {
        is(object, "Service") && field(object, "/metadata/name") == Some("istio-ingressgateway")
    });
    let gateway = objects.iter().find(|object| is(object, "Gateway"));
    let namespace = ingress.and_then(|object| field(object, "/metadata/namespace"));
    let labels = ingress
        .or(gateway)
        .and_then(|object| object.pointer("/spec/selector"))
        .and_then(Value::as_object)
        .context("neither a Service `istio-ingressgateway` nor a Gateway selects a pod")?;
    Ok(World {
        mesh,
        labels: labels
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        namespace: namespace.unwrap_or("istio-system").to_owned(),
        env: std::collections::BTreeMap::new(),
        proxy: String::new(),
        sidecar: false,
        backend: None,
        objects: objects.into_iter().filter(seen_by_istio).collect(),
    })
}

/// What decides about routes and access; the rest may be of any version.
pub(super) fn seen_by_istio(object: &Value) -> bool {
    let version = field(object, "/apiVersion").unwrap_or_default();
    version.contains("istio.io/")
        || version.starts_with("gateway.networking.k8s.io/")
        || is(object, "Ingress")
        || is(object, "IngressClass")
        || is(object, "Service")
        || is(object, "Namespace")
}

fn field<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn is(object: &Value, kind: &str) -> bool {
    field(object, "/kind") == Some(kind)
}

fn identity(object: &Value) -> [Option<&str>; 3] {
    ["/kind", "/metadata/namespace", "/metadata/name"].map(|pointer| field(object, pointer))
}

/// Adds the Services and routes that controllers would make; what is made of an Ingress or of routes of the Gateway API Istio makes
/// itself.
pub(super) fn generated(cluster: &Cluster, objects: &mut Vec<Value>) -> Result<()> {
    for service in &cluster.services {
        let spec = serde_json::to_value(&service.spec)?;
        add(objects, "v1", "Service", &service.meta, spec);
    }
    for ingress in &cluster.ingresses {
        let spec = serde_json::to_value(&ingress.spec)?;
        add(
            objects,
            "networking.k8s.io/v1",
            "Ingress",
            &ingress.meta,
            spec,
        );
    }
    for route in &cluster.http_routes {
        let spec = serde_json::to_value(&route.spec)?;
        let version = "gateway.networking.k8s.io/v1";
        add(objects, version, "HTTPRoute", &route.meta, spec);
    }
    let of_istio = |made: &&Object<VirtualService>| {
        let from = made.source.generated_from.as_ref();
        from.is_some_and(|from| matches!(&*from.kind, "Ingress" | "HTTPRoute" | "GRPCRoute"))
    };
    for route in cluster
        .virtual_services
        .iter()
        .filter(|made| !of_istio(made))
    {
        let spec = serde_json::to_value(&route.spec)?;
        add(
            objects,
            "networking.istio.io/v1",
            "VirtualService",
            &route.meta,
            spec,
        );
    }
    Ok(())
}

/// Adds an object that was generated.
fn add(objects: &mut Vec<Value>, version: &str, kind: &str, meta: &Metadata, spec: Value) {
    let mut object = json!({"apiVersion": version, "kind": kind, "spec": spec,
        "metadata": {"name": meta.name, "namespace": meta.namespace, "labels": meta.labels}});
    without_nulls(&mut object);
    if !objects
        .iter()
        .any(|known| identity(known) == identity(&object))
    {
        objects.push(object);
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

pub(super) fn documents(path: &str, text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow!("{path}: {error}"))?;
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None if document.is_object() => objects.push(document),
            None => {}
        }
    }
    Ok(objects)
}
