//! From documents to typed objects.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::admission;
use crate::cluster::{Cluster, Unread};
use crate::core::{ConfigMap, Pod, Secret, Workload};
use crate::document::Document;
use crate::endpoints;
use crate::error::LoadError;
use crate::intents;
use crate::meta::{Metadata, Object, Source};
use crate::profiles;
use crate::proxy::PROXY_CONFIG;
use crate::schema;
use crate::sidegate::Sidegate;
use yaml::{Step, dotted, one_line, options};

mod inner;

use self::inner::Inner;

/// API groups.
const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const KSERVE: &str = "serving.kserve.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";
const INGRESS: &str = "networking.k8s.io";
const SIDEGATE: &str = "sidegate.dev";
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io";

/// Adds one object to the cluster.
pub(crate) fn add(cluster: &mut Cluster, document: &Document, errors: &mut Vec<LoadError>) {
    if document.group != SIDEGATE && !is_served(document) {
        return unserved(cluster, document);
    }
    let wrong = schema::check(document).into_iter();
    let wrong = wrong.map(|(path, message)| refused(document, &path, message));
    match schema::is_lenient(document) {
        true => cluster.unknown_fields.extend(wrong),
        false => errors.extend(wrong),
    }
    errors.extend(admission::check(document));
    errors.extend(read(cluster, document).err());
}

/// Whether the kind is read in this version.
fn is_served(document: &Document) -> bool {
    let version = document.version.as_str();
    match document.group.as_str() {
        "" => version == "v1",
        NETWORKING => matches!(version, "v1alpha3" | "v1beta1" | "v1"),
        SECURITY => matches!(version, "v1beta1" | "v1"),
        KSERVE if document.kind == "InferenceGraph" => version == "v1alpha1",
        KSERVE => version == "v1beta1",
        "apps" | INGRESS => version == "v1",
        "extensions" => document.kind != "Ingress",
        "discovery.k8s.io" => matches!(version, "v1" | "v1beta1"),
        "extensions.istio.io" => version == "v1alpha1",
        GATEWAY_API => match document.kind.as_str() {
            "GRPCRoute" => matches!(version, "v1alpha2" | "v1"),
            _ => matches!(version, "v1beta1" | "v1"),
        },
        _ => true,
    }
}

/// The kind is known, the version is not: said with the version.
fn unserved(cluster: &mut Cluster, document: &Document) {
    let (group, version) = (&document.group, &document.version);
    if is_read(group, &document.kind) {
        let version = format!("{group}/{version}");
        let place = refused(
            document,
            &[Step::Key("apiVersion".to_owned())],
            String::new(),
        );
        cluster.unread.push(Unread {
            object: document.reference(),
            source: Source {
                line: place.line,
                ..document.source.clone()
            },
            version,
        });
    }
    let mut kind = named(document);
    if !version.is_empty() {
        kind.push_str(&format!("/{version}"));
    }
    count(cluster, kind);
}

fn read(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    let group = document.group.as_str();
    if group == SIDEGATE {
        return sidegate(cluster, document);
    }
    match (group, document.kind.as_str()) {
        ("", "Namespace") => cluster.namespaces.push(whole(document)?),
        ("", "Service") => cluster.services.push(spec(document)?),
        ("", "ServiceAccount") => cluster.service_accounts.push(whole(document)?),
        ("", "ConfigMap") => config_map(cluster, document)?,
        ("", "Secret") => cluster.secrets.push(secret(document)?),
        ("", "Pod") => add_workload(cluster, document, &[])?,
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => {
            add_workload(cluster, document, &["spec", "template"])?;
        }
        ("", "Endpoints") => cluster.endpoints.push(endpoints::endpoints(document)?),
        ("discovery.k8s.io", "EndpointSlice") => {
            cluster.endpoints.push(endpoints::slice(document)?);
        }
        (NETWORKING, "ServiceEntry") => cluster.endpoints.extend(endpoints::entry(document)?),
        (NETWORKING, "Gateway") => cluster.gateways.push(spec(document)?),
        (NETWORKING, "VirtualService") => cluster.virtual_services.push(spec(document)?),
        (NETWORKING, "DestinationRule") => cluster.destination_rules.push(spec(document)?),
        (NETWORKING, "EnvoyFilter") => cluster.envoy_filters.push(spec(document)?),
        ("extensions.istio.io", "WasmPlugin") => cluster.wasm_plugins.push(spec(document)?),
        (SECURITY, "AuthorizationPolicy") => cluster.authorization_policies.push(spec(document)?),
        (SECURITY, "RequestAuthentication") => {
            cluster.request_authentications.push(spec(document)?);
        }
        (NETWORKING, "Sidecar") => cluster.sidecars.push(spec(document)?),
        (SECURITY, "PeerAuthentication") => cluster.peer_authentications.push(spec(document)?),
        (GATEWAY_API, "GatewayClass") => cluster.gateway_classes.push(spec(document)?),
        (GATEWAY_API, "Gateway") => cluster.kube_gateways.push(spec(document)?),
        (GATEWAY_API, "HTTPRoute") => cluster.http_routes.push(spec(document)?),
        (GATEWAY_API, "GRPCRoute") => cluster.grpc_routes.push(spec(document)?),
        (GATEWAY_API, "ReferenceGrant") => cluster.reference_grants.push(spec(document)?),
        (INGRESS, "IngressClass") => cluster.ingress_classes.push(spec(document)?),
        (INGRESS, "Ingress") => cluster.ingresses.push(spec(document)?),
        ("kubeflow.org", "Profile") => cluster.profiles.push(spec(document)?),
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => {
            let binding = object(document, ())?;
            cluster.bindings.push(whole(document)?);
            match &*document.kind == "RoleBinding" && profiles::is_contributor(&binding.meta) {
                true => cluster.contributors.push(binding),
                false => unknown(cluster, document),
            }
        }
        (RBAC, "Role" | "ClusterRole") => {
            cluster.roles.push(whole(document)?);
            unknown(cluster, document);
        }
        (KSERVE, "InferenceService") => cluster.inference_services.push(spec(document)?),
        (KSERVE, "InferenceGraph") => cluster.inference_graphs.push(object(document, ())?),
        _ => unknown(cluster, document),
    }
    Ok(())
}

/// Kinds that decide about requests: what is left out of them may open something.
fn is_read(group: &str, kind: &str) -> bool {
    match group {
        NETWORKING => matches!(
            kind,
            "Gateway" | "VirtualService" | "EnvoyFilter" | "ServiceEntry"
        ),
        SECURITY => matches!(
            kind,
            "AuthorizationPolicy" | "RequestAuthentication" | "PeerAuthentication"
        ),
        KSERVE => matches!(kind, "InferenceService" | "InferenceGraph"),
        INGRESS | "extensions" => kind == "Ingress",
        GATEWAY_API => matches!(
            kind,
            "Gateway" | "HTTPRoute" | "GRPCRoute" | "ReferenceGrant"
        ),
        _ => false,
    }
}

/// Whether problems may be found in a document after loading.
pub(crate) fn is_compiled(document: &Document) -> bool {
    is_read(&document.group, &document.kind) || document.group == SIDEGATE
}

/// Counts a kind nothing is read of, as `kind.group`.
fn unknown(cluster: &mut Cluster, document: &Document) {
    count(cluster, named(document));
}

/// `kind.group`.
pub(crate) fn named(document: &Document) -> String {
    match document.group.as_str() {
        "" => document.kind.clone(),
        group => format!("{}.{group}", document.kind),
    }
}

fn count(cluster: &mut Cluster, kind: String) {
    match cluster.unknown_kinds.iter_mut().find(|(k, _)| *k == kind) {
        Some((_, count)) => *count += 1,
        None => cluster.unknown_kinds.push((kind, 1)),
    }
}

pub(crate) fn object<T>(document: &Document, spec: T) -> Result<Object<T>, LoadError> {
    let reference = document.reference();
    let metadata = document.value.get("metadata").unwrap_or(&Value::Null);
    let mut meta: Metadata = if metadata.is_null() {
        Metadata::default()
    } else {
        typed(document, metadata, &["metadata"])?
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
        Some(value) => object(document, typed(document, value, &["spec"])?),
    }
}

/// An object that has no `spec`.
fn whole<T: DeserializeOwned>(document: &Document) -> Result<Object<T>, LoadError> {
    object(document, typed(document, &document.value, &[])?)
}

/// Reads a part of a document into its type; an error names field and line.
pub(crate) fn typed<T: DeserializeOwned>(
    document: &Document,
    value: &Value,
    prefix: &[&str],
) -> Result<T, LoadError> {
    let value = match has_nulls(value) {
        true => &without_nulls(value, true),
        false => value,
    };
    // By reference in all places: each other way is as much code again.
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut path: Vec<Step> = prefix.iter().map(|k| Step::Key((*k).to_owned())).collect();
        path.extend(steps(error.path()));
        let message = expected_found(&error.inner().to_string());
        refused(document, &path, message)
    })
}

/// An error about a field of a document, with the field's line.
pub(crate) fn refused(document: &Document, path: &[Step], message: String) -> LoadError {
    let whole: Vec<Step> = document.path.iter().chain(path).cloned().collect();
    let line = document.text.line_of(&whole);
    let source = Source {
        line: line.unwrap_or(document.source.line),
        ..document.source.clone()
    };
    LoadError::new(&source, Some(&document.reference()), message).at(dotted(path))
}

fn steps(path: &serde_path_to_error::Path) -> impl Iterator<Item = Step> {
    path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// serde says what it found first; messages here say what was expected first.
fn expected_found(message: &str) -> String {
    let message = one_line(message);
    if message.starts_with("data did not match any variant of untagged enum PortRef") {
        return "expected a port number or name".to_owned();
    }
    let turned = ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .find_map(|start| message.strip_prefix(start))
        .and_then(|rest| rest.split_once(", expected "));
    match turned {
        Some((found, expected)) => format!("expected {expected}, found {found}"),
        None => message,
    }
}

/// Keys whose value maps names to values. A null below them is not an absent
/// field: to drop it would widen a match.
const MAPS: [&str; 13] = [
    "labels",
    "annotations",
    "matchLabels",
    "selector",
    "data",
    "headers",
    "withoutHeaders",
    "queryParams",
    "sourceLabels",
    "set",
    "add",
    "includeAdditionalHeadersInCheck",
    "nodeSelector",
];

/// A null field is an absent field, as the API server reads it; null items of
/// sequences stay.
fn without_nulls(value: &Value, fields: bool) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, v)| !(fields && v.is_null()))
                .map(|(k, v)| (k.clone(), without_nulls(v, !MAPS.contains(&k.as_str()))))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(|v| without_nulls(v, true)).collect()),
        other => other.clone(),
    }
}

/// Few objects have any, and the others need not be copied.
fn has_nulls(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_nulls),
        Value::Array(items) => items.iter().any(has_nulls),
        _ => false,
    }
}

fn add_workload(
    cluster: &mut Cluster,
    document: &Document,
    template: &[&'static str],
) -> Result<(), LoadError> {
    let found = workload(document, template)?;
    if let Some(text) = found.spec.annotations.get(PROXY_CONFIG) {
        let mut path: Vec<&str> = template.to_vec();
        path.extend(["metadata", "annotations", PROXY_CONFIG]);
        let place: Vec<Step> = path
            .iter()
            .map(|key| Step::Key((*key).to_owned()))
            .collect();
        // One that cannot be read is told where it is used.
        let value = serde_saphyr::from_str_with_options::<Value>(text, options());
        let mut value = value.unwrap_or_default();
        let wrong = schema::check_settings(&mut value, schema::PROXY).into_iter();
        cluster.unknown_fields.extend(wrong.map(|(inner, message)| {
            refused(document, &place, format!("{}: {message}", dotted(&inner)))
        }));
    }
    cluster.workloads.push(found);
    Ok(())
}

fn workload(document: &Document, template: &[&str]) -> Result<Object<Workload>, LoadError> {
    let part = |rest: &[&'static str]| {
        let path: Vec<&str> = template.iter().chain(rest).copied().collect();
        let mut value = Some(&document.value);
        for key in &path {
            value = value.and_then(|v| v.get(*key));
        }
        (path, value.filter(|v| !v.is_null()))
    };
    let texts = |name: &'static str| match part(&["metadata", name]) {
        (_, None) => Ok(BTreeMap::new()),
        (path, Some(texts)) => typed(document, texts, &path),
    };
    let (labels, annotations) = (texts("labels")?, texts("annotations")?);
    let pod: Pod = match part(&["spec"]) {
        (_, None) => Pod::default(),
        (path, Some(spec)) => typed(document, spec, &path)?,
    };
    object(
        document,
        Workload {
            labels,
            annotations,
            pod,
        },
    )
}

fn config_map(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    let mut map: Object<ConfigMap> = whole(document)?;
    if map.meta.name == "dex" {
        let inside = |key: &str| {
            let mut place = document.path.clone();
            place.extend(["data", key].map(|key| Step::Key(key.to_owned())));
            document.text.inside(&place)
        };
        let keys = map.spec.data.keys();
        let places = keys.filter_map(|key| Some((key.clone(), inside(key)?)));
        map.spec.places = places.collect();
    }
    let text = |key: &str| {
        map.spec
            .data
            .get(key)
            .filter(|text| !text.trim().is_empty())
    };
    // Only the root namespace's: whoever may write some other namespace must
    // not configure the mesh.
    if map.meta.name == "istio" && map.meta.namespace == "istio-system" {
        if let Some(text) = text("mesh") {
            let inner = Inner {
                document,
                key: "mesh",
                text,
            };
            let mut value = inner.value()?;
            let wrong = schema::check_settings(&mut value, schema::MESH).into_iter();
            let wrong = wrong.map(|(path, message)| inner.fail(&path, message));
            cluster.unknown_fields.extend(wrong);
            cluster.mesh = inner.typed(&value)?;
        }
        cluster.mesh_istio_version = map
            .meta
            .annotations
            .get("sidegate.dev/istio-version")
            .cloned();
    }
    if map.meta.name == "inferenceservice-config" {
        let other = cluster
            .config_maps
            .iter()
            .find(|other| other.meta.name == map.meta.name);
        if let Some(other) = other {
            let message = format!("is already at {}, expected it once", other.source);
            let reference = map.reference();
            return Err(LoadError::new(&map.source, Some(&reference), message));
        }
        if let Some(text) = text("ingress") {
            cluster.ingress = inner::read(document, "ingress", text)?;
        }
        if let Some(text) = text("deploy") {
            cluster.deploy = inner::read(document, "deploy", text)?;
        }
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
        let Some(text) = value.as_str() else {
            let error = LoadError::new(
                &document.source,
                Some(&document.reference()),
                "expected a string",
            );
            return Err(error.at(format!("stringData.{key}")));
        };
        data.insert(key.clone(), text.as_bytes().to_vec());
    }
    object(document, Secret { data })
}

/// Standard base64; line breaks are allowed, as kubectl does.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn sidegate(cluster: &mut Cluster, document: &Document) -> Result<(), LoadError> {
    let reference = document.reference();
    let fail = |message: String| LoadError::new(&document.source, Some(&reference), message);
    if document.kind != "Sidegate" || document.version != "v1alpha1" {
        return Err(fail(format!(
            "expected `sidegate.dev/v1alpha1` `Sidegate`, found `sidegate.dev/{}` `{}`",
            document.version, document.kind
        )));
    }
    let mut found: Object<Sidegate> = spec(document)?;
    let spec = &mut found.spec;
    let wrong = intents::locate(document, &["spec"], &mut spec.intents, &mut spec.backends);
    if let Some(error) = wrong.into_iter().next() {
        return Err(error);
    }
    if let Some(other) = &cluster.sidegate {
        return Err(fail(format!(
            "there is another Sidegate object at {}, expected one",
            other.source
        )));
    }
    cluster.sidegate = Some(found);
    Ok(())
}

#[cfg(test)]
mod tests;
