//! From documents to typed objects.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::core::{ConfigMap, Endpoints, Pod, Secret, Workload};
use crate::document::{Document, one_line, options};
use crate::error::LoadError;
use crate::meta::{Metadata, Object, Source};

/// Groups of Istio's objects.
const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";

/// Adds one object to the cluster.
pub(crate) fn add(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    match (document.group.as_str(), document.kind.as_str()) {
        ("", "Namespace") => cluster.namespaces.push(whole(document)?),
        ("", "Service") => cluster.services.push(spec(document)?),
        ("", "ServiceAccount") => cluster.service_accounts.push(whole(document)?),
        ("", "ConfigMap") => config_map(cluster, document)?,
        ("", "Secret") => cluster.secrets.push(secret(document)?),
        ("", "Pod") => cluster.workloads.push(workload(document, "")?),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => {
            cluster
                .workloads
                .push(workload(document, "/spec/template")?);
        }
        ("", "Endpoints") => cluster.endpoints.push(endpoints(document)?),
        ("discovery.k8s.io", "EndpointSlice") => cluster.endpoints.push(endpoint_slice(document)?),
        (NETWORKING, "ServiceEntry") => service_entry(cluster, document)?,
        (NETWORKING, "Gateway") => cluster.gateways.push(spec(document)?),
        (NETWORKING, "VirtualService") => cluster.virtual_services.push(spec(document)?),
        (NETWORKING, "EnvoyFilter") => cluster.envoy_filters.push(spec(document)?),
        (SECURITY, "AuthorizationPolicy") => cluster.authorization_policies.push(spec(document)?),
        (SECURITY, "RequestAuthentication") => {
            cluster.request_authentications.push(spec(document)?)
        }
        ("serving.kserve.io", "InferenceService") => {
            cluster.inference_services.push(spec(document)?)
        }
        ("sidegate.dev", "Sidegate") => sidegate(cluster, document)?,
        (_, kind) => {
            match cluster
                .unknown_kinds
                .iter_mut()
                .find(|(known, _)| known == kind)
            {
                Some((_, count)) => *count += 1,
                None => cluster.unknown_kinds.push((kind.to_owned(), 1)),
            }
        }
    }
    Ok(())
}

fn object<T>(document: &Document, spec: T) -> Result<Object<T>, LoadError> {
    let reference = document.reference();
    let metadata = document.value.get("metadata").unwrap_or(&Value::Null);
    let mut meta: Metadata = if metadata.is_null() {
        Metadata::default()
    } else {
        typed(document, &without_nulls(metadata), "metadata")?
    };
    if meta.name.is_empty() {
        return Err(
            LoadError::new(&document.source, Some(&reference), "expected a name")
                .at("metadata.name"),
        );
    }
    meta.namespace = reference.namespace.to_string();
    Ok(Object {
        kind: reference.kind,
        meta,
        spec,
        source: document.source.clone(),
    })
}

/// An object whose `spec` is read.
fn spec<T: DeserializeOwned + Default>(document: &Document) -> Result<Object<T>, LoadError> {
    match document.value.get("spec") {
        None | Some(Value::Null) => object(document, T::default()),
        Some(value) => object(document, typed(document, value, "spec")?),
    }
}

/// An object that has no `spec`.
fn whole<T: DeserializeOwned>(document: &Document) -> Result<Object<T>, LoadError> {
    object(document, typed(document, &document.value, "")?)
}

/// Reads a part of a document into its type; an error names field and line.
fn typed<T: DeserializeOwned>(
    document: &Document,
    value: &Value,
    prefix: &str,
) -> Result<T, LoadError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = match (prefix, path.as_str()) {
            (prefix, ".") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        let line = line_of(document, &field).unwrap_or(document.source.line);
        let source = Source {
            line,
            ..document.source.clone()
        };
        LoadError::new(
            &source,
            Some(&document.reference()),
            one_line(&error.inner().to_string()),
        )
        .at(field)
    })
}

/// The line of a field: the text is walked down to the deepest part of the
/// path that it holds literally.
fn line_of(document: &Document, field: &str) -> Option<u32> {
    let mut line = document.source.line;
    let mut lines = document
        .text
        .lines()
        .enumerate()
        .skip_while(|(_, l)| l.trim().is_empty() || l.trim_start().starts_with('#'));
    for part in field
        .split(['.', '['])
        .filter(|part| !part.is_empty() && !part.ends_with(']'))
    {
        let found = lines.find(|(_, l)| {
            let l = l
                .trim_start()
                .trim_start_matches("- ")
                .trim_start_matches(['{', '"', '\'']);
            l.strip_prefix(part)
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
        });
        let Some((index, _)) = found else { break };
        let skipped = document
            .text
            .lines()
            .take_while(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
            .count();
        line = document.source.line + u32::try_from(index.saturating_sub(skipped)).ok()?;
    }
    Some(line)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), without_nulls(v)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn workload(document: &Document, template: &str) -> Result<Object<Workload>, LoadError> {
    let at = |rest: &str| document.value.pointer(&format!("{template}{rest}"));
    let labels: BTreeMap<String, String> = match at("/metadata/labels") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(labels) => typed(document, labels, "metadata.labels")?,
    };
    let pod: Pod = match at("/spec") {
        None | Some(Value::Null) => Pod::default(),
        Some(spec) => typed(document, spec, "spec")?,
    };
    object(document, Workload { labels, pod })
}

fn config_map(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    let map: Object<ConfigMap> = whole(document)?;
    let inner = |key: &str, message: String| {
        LoadError::new(&map.source, Some(&map.reference()), one_line(&message))
            .at(format!("data.{key}"))
    };
    let text = |key: &str| {
        map.spec
            .data
            .get(key)
            .filter(|text| !text.trim().is_empty())
    };
    match map.meta.name.as_str() {
        "istio" => {
            if let Some(text) = text("mesh") {
                cluster.mesh = serde_saphyr::from_str_with_options(text, options())
                    .map_err(|error| inner("mesh", error.without_snippet().to_string()))?;
            }
            cluster.mesh_istio_version = map
                .meta
                .annotations
                .get("sidegate.dev/istio-version")
                .cloned();
        }
        "inferenceservice-config" => {
            if let Some(text) = text("ingress") {
                cluster.ingress = serde_json::from_str(text)
                    .map_err(|error| inner("ingress", error.to_string()))?;
            }
        }
        _ => {}
    }
    cluster.config_maps.push(map);
    Ok(())
}

fn secret(document: &Document) -> Result<Object<Secret>, LoadError> {
    let mut data = BTreeMap::new();
    let entries = |field: &str| {
        document
            .value
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    for (key, value) in entries("data") {
        let decoded = value.as_str().and_then(decode_base64);
        let Some(decoded) = decoded else {
            let error = LoadError::new(
                &document.source,
                Some(&document.reference()),
                "expected base64",
            );
            return Err(error.at(format!("data.{key}")));
        };
        data.insert(key.clone(), decoded);
    }
    for (key, value) in entries("stringData") {
        data.insert(
            key.clone(),
            value.as_str().unwrap_or_default().as_bytes().to_vec(),
        );
    }
    object(document, Secret { data })
}

/// Standard base64; line breaks are allowed, as kubectl does.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn endpoints(document: &Document) -> Result<Object<Endpoints>, LoadError> {
    let mut found = Endpoints {
        host: service_host(document, None),
        ..Endpoints::default()
    };
    for subset in array(&document.value, "/subsets") {
        found
            .addresses
            .extend(array(subset, "/addresses").filter_map(|a| text(a, "/ip")));
        found.ports.extend(array(subset, "/ports").filter_map(port));
    }
    object(document, found)
}

fn endpoint_slice(document: &Document) -> Result<Object<Endpoints>, LoadError> {
    let service = text(
        &document.value,
        "/metadata/labels/kubernetes.io~1service-name",
    );
    let mut found = Endpoints {
        host: service_host(document, service),
        ..Endpoints::default()
    };
    for endpoint in array(&document.value, "/endpoints") {
        if endpoint
            .pointer("/conditions/ready")
            .and_then(Value::as_bool)
            != Some(false)
        {
            found.addresses.extend(
                array(endpoint, "/addresses").filter_map(|a| a.as_str().map(str::to_owned)),
            );
        }
    }
    found
        .ports
        .extend(array(&document.value, "/ports").filter_map(port));
    object(document, found)
}

fn service_entry(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    for host in array(&document.value, "/spec/hosts").filter_map(Value::as_str) {
        let mut found = Endpoints {
            host: host.to_owned(),
            ..Endpoints::default()
        };
        found
            .addresses
            .extend(array(&document.value, "/spec/endpoints").filter_map(|e| text(e, "/address")));
        if found.addresses.is_empty() {
            // `resolution: DNS` without endpoints: the host itself is the address.
            found.addresses.push(host.to_owned());
        }
        found
            .ports
            .extend(array(&document.value, "/spec/ports").filter_map(|p| {
                let number = p.get("targetPort").or_else(|| p.get("number"))?.as_u64()?;
                Some((
                    text(p, "/name").unwrap_or_default(),
                    u16::try_from(number).ok()?,
                ))
            }));
        cluster.endpoints.push(object(document, found)?);
    }
    Ok(())
}

fn service_host(document: &Document, service: Option<String>) -> String {
    let reference = document.reference();
    let name = service.unwrap_or_else(|| reference.name.to_string());
    format!("{name}.{}.svc.cluster.local", reference.namespace)
}

fn array<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn port(value: &Value) -> Option<(String, u16)> {
    let number = u16::try_from(value.get("port")?.as_u64()?).ok()?;
    Some((text(value, "/name").unwrap_or_default(), number))
}

fn sidegate(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    let found = spec(document)?;
    if let Some(other) = &cluster.sidegate {
        let message = format!(
            "there is another Sidegate object at {}, expected one",
            other.source
        );
        return Err(LoadError::new(
            &document.source,
            Some(&document.reference()),
            message,
        ));
    }
    cluster.sidegate = Some(found);
    Ok(())
}
