//! What of Istio's fields is not read: each is here with a reason, so that a new
//! version of the schemas asks for one.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::KINDS;
use crate::{gateway_api, istio};

/// A value with every field.
fn sample(shape: &Value) -> Value {
    match shape {
        Value::String(word) => match word.as_str() {
            "boolean" => json!(true),
            "integer" => json!(1),
            "number" => json!(1.0),
            "string" => json!("1"),
            _ => json!([]),
        },
        Value::Array(words) => words.first().cloned().unwrap_or_default(),
        Value::Object(fields) => match (fields.get("[]"), fields.get("*")) {
            (Some(item), _) => json!([sample(item)]),
            (_, Some(value)) => json!({"any": sample(value)}),
            _ => fields
                .iter()
                // The same by another name.
                .filter(|(name, _)| *name != "jwks_uri")
                .map(|(name, field)| (name.clone(), sample(field)))
                .collect::<Map<_, _>>()
                .into(),
        },
        other => other.clone(),
    }
}

/// Fields of the first that the second has not.
fn missing(all: &Value, read: &Value, at: &str, found: &mut Vec<String>) {
    match (all, read) {
        (Value::Object(all), Value::Object(read)) => {
            for (name, value) in all {
                let at = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                match read.get(name) {
                    Some(read) => missing(value, read, &at, found),
                    None => found.push(at),
                }
            }
        }
        (Value::Array(all), Value::Array(read)) => {
            for (all, read) in all.iter().zip(read) {
                missing(all, read, at, found);
            }
        }
        _ => {}
    }
}

/// Fields of a kind that its type does not have.
fn unread<T: DeserializeOwned + Serialize>(kind: &str) -> Vec<String> {
    let all = sample(&KINDS[kind]["spec"]);
    let read: T = serde_json::from_value(all.clone()).unwrap_or_else(|e| panic!("{kind}: {e}"));
    let mut found = Vec::new();
    missing(&all, &serde_json::to_value(read).unwrap(), "", &mut found);
    found
}

/// What certificates and handshakes look like, how many of the requests are
/// copied or delayed, how often they are tried: no answer depends on it.
const GATEWAY: &[&str] = &[
    "servers.defaultEndpoint",
    "servers.name",
    "servers.port.targetPort",
    "servers.tls.caCertCredentialName",
    "servers.tls.caCertificates",
    "servers.tls.cipherSuites",
    "servers.tls.privateKey",
    "servers.tls.serverCertificate",
    "servers.tls.tlsCertificates",
];

/// The same, and what tells connections of sidecars apart.
const VIRTUAL_SERVICE: &[&str] = &[
    "http.fault.abort.http2Error",
    "http.fault.delay",
    "http.match.statPrefix",
    "http.mirrorPercent",
    "http.mirrorPercentage",
    "http.mirror_percent",
    "http.mirrors.percentage",
    "http.retries",
    "tcp.match.destinationSubnets",
    "tcp.match.sourceLabels",
    "tcp.match.sourceNamespace",
    "tcp.match.sourceSubnet",
    "tls.match.destinationSubnets",
    "tls.match.sourceLabels",
    "tls.match.sourceNamespace",
];

/// Not read by Istio, or certificates of the server.
const KUBE_GATEWAY: &[&str] = &[
    "allowedListeners",
    "backendTLS",
    "defaultScope",
    "infrastructure",
    "listeners.tls.certificateRefs",
    "listeners.tls.frontendValidation",
];

/// A filter of a type that is not read makes Istio refuse the route, whatever
/// else it holds.
const HTTP_ROUTE: &[&str] = &[
    "rules.backendRefs.filters.extensionRef",
    "rules.backendRefs.filters.externalAuth",
    "rules.backendRefs.filters.requestMirror.fraction",
    "rules.backendRefs.filters.requestMirror.percent",
    "rules.filters.extensionRef",
    "rules.filters.externalAuth",
    "rules.filters.requestMirror.fraction",
    "rules.filters.requestMirror.percent",
    "rules.retry",
    "rules.sessionPersistence",
    "useDefaultGateways",
];

#[test]
fn every_field_is_read_or_has_a_reason() {
    let of_route = |field: &&str| !field.ends_with("externalAuth") && *field != "rules.retry";
    let grpc_route: Vec<&str> = HTTP_ROUTE.iter().copied().filter(|f| of_route(f)).collect();
    for (found, expected) in [
        (
            unread::<istio::AuthorizationPolicy>("AuthorizationPolicy.security.istio.io"),
            &[][..],
        ),
        (
            unread::<istio::RequestAuthentication>("RequestAuthentication.security.istio.io"),
            &[],
        ),
        (
            unread::<istio::Gateway>("Gateway.networking.istio.io"),
            GATEWAY,
        ),
        (
            unread::<istio::VirtualService>("VirtualService.networking.istio.io"),
            VIRTUAL_SERVICE,
        ),
        (
            unread::<istio::EnvoyFilter>("EnvoyFilter.networking.istio.io"),
            // Of Istio 1.5.
            &["workloadLabels"],
        ),
        (
            unread::<gateway_api::KubeGateway>("Gateway.gateway.networking.k8s.io"),
            KUBE_GATEWAY,
        ),
        (
            unread::<gateway_api::Route>("HTTPRoute.gateway.networking.k8s.io"),
            HTTP_ROUTE,
        ),
        (
            unread::<gateway_api::Route>("GRPCRoute.gateway.networking.k8s.io"),
            &grpc_route,
        ),
        (
            unread::<gateway_api::ReferenceGrant>("ReferenceGrant.gateway.networking.k8s.io"),
            &[],
        ),
    ] {
        assert_eq!(found, expected);
    }
}
