//! Which fields Istio's objects and those of the Gateway API have, and which
//! words some of them are limited to, as their published schemas say.

mod gateways;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::protos::Protos;
use crate::shell;

/// Fields that only earlier versions had, of any content. Found by
/// comparing the schemas of Istio 1.5 to 1.31 and of the Gateway API 0.8 to 1.6.
const EARLIER: [(&str, &str); 6] = [
    ("EnvoyFilter.networking.istio.io", "/spec/filters"),
    ("EnvoyFilter.networking.istio.io", "/spec/workloadLabels"),
    (
        "Gateway.gateway.networking.k8s.io",
        "/spec/listeners/[]/tls/frontendValidation",
    ),
    ("Gateway.gateway.networking.k8s.io", "/spec/backendTLS"),
    (
        "GRPCRoute.gateway.networking.k8s.io",
        "/spec/rules/[]/sessionPersistence/idleTimeout",
    ),
    (
        "HTTPRoute.gateway.networking.k8s.io",
        "/spec/rules/[]/sessionPersistence/idleTimeout",
    ),
];

/// Kinds of the Gateway API that are read.
const GATEWAY_API: [&str; 5] = [
    "gatewayclasses",
    "gateways",
    "grpcroutes",
    "httproutes",
    "referencegrants",
];

/// Writes the fields down anew, or compares them with what is written.
pub(crate) fn record(check: bool) -> Result<usize> {
    let istio = module("istio.io/api")?.join("kubernetes/customresourcedefinitions.gen.yaml");
    let gateway = module("sigs.k8s.io/gateway-api")?.join("config/crd/experimental");
    let gateway = GATEWAY_API
        .map(|kind| gateway.join(format!("gateway.networking.k8s.io_{kind}.yaml")))
        .to_vec();
    let mut count = 0;
    for (name, files) in [("istio", vec![istio]), ("gateway-api", gateway)] {
        let mut kinds = Map::new();
        for file in &files {
            definitions(file, &mut kinds)?;
        }
        count += kinds.len();
        keep(name, kinds, check)?;
    }
    let mesh = mesh()?;
    count += mesh.len();
    keep("mesh", mesh, check)?;
    Ok(count + gateways::record(check)?)
}

fn keep(name: &str, kinds: Map<String, Value>, check: bool) -> Result<()> {
    let mut text = String::new();
    written(&Value::Object(kinds), 0, &mut text);
    text.push('\n');
    let path = shell::root().join(format!("crates/resources/src/schemas/{name}.json"));
    if !check {
        std::fs::write(&path, text)?;
    } else if std::fs::read_to_string(&path)? != text {
        bail!(
            "{}: the schemas say otherwise by now: run `cargo xtask record`",
            path.display()
        );
    }
    Ok(())
}

/// Settings of the mesh and of single proxies, which no schema of a kind has.
fn mesh() -> Result<Map<String, Value>> {
    let module = module("istio.io/api")?;
    let mut protos = Protos::default();
    for file in [
        "mesh/v1alpha1/config.proto",
        "mesh/v1alpha1/proxy.proto",
        "networking/v1alpha3/destination_rule.proto",
        "networking/v1alpha3/workload_group.proto",
        "networking/v1alpha3/virtual_service.proto",
        "networking/v1beta1/proxy_config.proto",
        "type/v1beta1/selector.proto",
    ] {
        let path = module.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        protos.read(&text).with_context(|| file.to_owned())?;
    }
    let mut found = Map::new();
    for name in ["MeshConfig", "ProxyConfig"] {
        let shape = protos.shape(&format!("istio.mesh.v1alpha1.{name}"))?;
        found.insert(name.to_owned(), shape);
    }
    Ok(found)
}

/// Where a module lies that the oracle is built with.
fn module(name: &str) -> Result<PathBuf> {
    let answer = shell::output(
        Command::new("go")
            .args(["mod", "download", "-json", name])
            .current_dir(shell::root().join("xtask/oracle")),
    );
    let answer: Value =
        serde_json::from_str(&answer).with_context(|| format!("the Go module {name}"))?;
    let folder = answer.get("Dir").and_then(Value::as_str);
    Ok(PathBuf::from(folder.with_context(|| {
        format!("the Go module {name} has no folder")
    })?))
}

fn definitions(file: &Path, kinds: &mut Map<String, Value>) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let all: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())?;
    for definition in all {
        let spec = definition.get("spec").unwrap_or(&Value::Null);
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
        let (Some(kind), Some(group)) = (text("/names/kind"), text("/group")) else {
            continue;
        };
        let name = format!("{kind}.{group}");
        let versions = spec.get("versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let schema = version.pointer("/schema/openAPIV3Schema/properties/spec");
            let mut fields = json!({"spec": shape(schema.unwrap_or(&Value::Null))});
            for (_, path) in EARLIER.iter().filter(|(kind, _)| *kind == name) {
                add(&mut fields, path);
            }
            let known = kinds.entry(name.clone()).or_insert_with(|| fields.clone());
            if *known != fields {
                // Versions have differed in what is experimental.
                super_set(known, fields);
            }
        }
    }
    Ok(())
}

/// `{field: …}`, `{"*": …}` for names of the user's, `{"[]": …}` for a
/// sequence, a list of words, the type of another scalar, or `"any"`.
fn shape(schema: &Value) -> Value {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true)) {
        return json!("any");
    }
    if let Some(words) = schema.get("enum") {
        return words.clone();
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let fields = fields
            .iter()
            .map(|(name, field)| (name.clone(), shape(field)));
        return Value::Object(fields.collect());
    }
    if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
        return json!({"*": shape(values)});
    }
    if let Some(items) = schema.get("items") {
        return json!({"[]": shape(items)});
    }
    match schema.get("type").and_then(Value::as_str) {
        Some(scalar @ ("boolean" | "integer" | "number" | "string")) => json!(scalar),
        _ => json!("any"),
    }
}

fn add(fields: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(parent) = fields.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(name.to_owned(), json!("any"));
    }
}

fn super_set(known: &mut Value, more: Value) {
    match (known, more) {
        (Value::Object(known), Value::Object(more)) => {
            for (name, field) in more {
                match known.get_mut(&name) {
                    Some(known) => super_set(known, field),
                    None => {
                        known.insert(name, field);
                    }
                }
            }
        }
        (Value::Array(known), Value::Array(more)) => {
            for word in more {
                if !known.contains(&word) {
                    known.push(word);
                }
            }
        }
        _ => {}
    }
}

/// A line for each field of a `spec`.
fn written(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if depth < 3 => {
            text.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let indent = " ".repeat(depth + 1);
                text.push_str(&format!("{comma}\n{indent}{}: ", json!(name)));
                written(field, depth + 1, text);
            }
            text.push_str(&format!("\n{}}}", " ".repeat(depth)));
        }
        other => text.push_str(&other.to_string()),
    }
}
