//! Addresses behind Services: Endpoints, EndpointSlice, ServiceEntry.

use serde_json::Value;

use crate::core::Endpoints;
use crate::document::Document;
use crate::error::LoadError;
use crate::kinds::object;
use crate::meta::Object;

/// Endpoints of the Service of the same name.
pub(crate) fn endpoints(document: &Document) -> Result<Object<Endpoints>, LoadError> {
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

/// An EndpointSlice; its label names the Service.
pub(crate) fn slice(document: &Document) -> Result<Object<Endpoints>, LoadError> {
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

/// A ServiceEntry: one set of addresses per host.
pub(crate) fn entry(document: &Document) -> Result<Vec<Object<Endpoints>>, LoadError> {
    let ports: Vec<(String, u16)> = array(&document.value, "/spec/ports")
        .filter_map(|p| {
            let number = p.get("targetPort").or_else(|| p.get("number"))?.as_u64()?;
            Some((
                text(p, "/name").unwrap_or_default(),
                u16::try_from(number).ok()?,
            ))
        })
        .collect();
    array(&document.value, "/spec/hosts")
        .filter_map(Value::as_str)
        .map(|host| {
            let mut addresses: Vec<String> = array(&document.value, "/spec/endpoints")
                .filter_map(|e| text(e, "/address"))
                .collect();
            if addresses.is_empty() {
                // `resolution: DNS` without endpoints: the host itself is the address.
                addresses.push(host.to_owned());
            }
            let found = Endpoints {
                host: host.to_owned(),
                addresses,
                ports: ports.clone(),
            };
            object(document, found)
        })
        .collect()
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
