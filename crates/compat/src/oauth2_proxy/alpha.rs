//! oauth2-proxy's "alpha configuration", a file of YAML: its names as those of the other file.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use yaml::{Text, dotted, undotted};

use crate::given::{Given, Value};

/// Names of this file, and of the other.
const NAMES: [(&str, &str); 26] = [
    ("providers[0].clientID", "client_id"),
    ("providers[0].clientSecret", "client_secret"),
    ("providers[0].clientSecretFile", "client_secret_file"),
    ("providers[0].provider", "provider"),
    ("providers[0].name", "provider_display_name"),
    ("providers[0].id", "provider_display_name"),
    ("providers[0].scope", "scope"),
    ("providers[0].loginURL", "login_url"),
    ("providers[0].redeemURL", "redeem_url"),
    ("providers[0].profileURL", "profile_url"),
    ("providers[0].validateURL", "validate_url"),
    ("providers[0].allowedGroups", "allowed_groups"),
    (
        "providers[0].code_challenge_method",
        "code_challenge_method",
    ),
    ("providers[0].backendLogoutURL", "backend_logout_url"),
    ("providers[0].oidcConfig.issuerURL", "oidc_issuer_url"),
    ("providers[0].oidcConfig.jwksURL", "oidc_jwks_url"),
    (
        "providers[0].oidcConfig.skipDiscovery",
        "skip_oidc_discovery",
    ),
    ("providers[0].oidcConfig.emailClaim", "oidc_email_claim"),
    ("providers[0].oidcConfig.userIDClaim", "user_id_claim"),
    ("providers[0].oidcConfig.groupsClaim", "oidc_groups_claim"),
    (
        "providers[0].oidcConfig.audienceClaims",
        "oidc_audience_claims",
    ),
    (
        "providers[0].oidcConfig.extraAudiences",
        "oidc_extra_audiences",
    ),
    (
        "providers[0].oidcConfig.insecureSkipNonce",
        "insecure_oidc_skip_nonce",
    ),
    (
        "providers[0].oidcConfig.insecureAllowUnverifiedEmail",
        "insecure_oidc_allow_unverified_email",
    ),
    (
        "providers[0].oidcConfig.insecureSkipIssuerVerification",
        "insecure_oidc_skip_issuer_verification",
    ),
    ("server.BindAddress", "http_address"),
];

/// What has no effect there either, or nothing to do with the login.
const BESIDE: [(&str, &str); 4] = [
    ("providers[0].loginURLParameters", "approval_prompt"),
    ("metricsServer", "metrics_address"),
    ("server", "tls_cert_file"),
    ("providers[0].oidcConfig", "oidc_enabled_signing_algs"),
];

/// The settings of the file.
///
/// # Errors
/// Says where it is no YAML.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Given>, String> {
    let json: Json = serde_saphyr::from_str_with_options(text, yaml::options())
        .map_err(|error| yaml::plain(&error.to_string()))?;
    let lines = Text::new(text, 1);
    let mut given = BTreeMap::new();
    let mut put = |name: &str, key: String, value: Value| {
        let line = lines.line_of(&undotted(name)).unwrap_or(1);
        let name = name.to_owned();
        given.insert(key, Given { name, line, value });
    };
    let second = json.pointer("/providers/1").is_some();
    if second {
        put("providers[1]", "providers[1]".to_owned(), Value::Other);
    }
    for key in lines.keys() {
        let name = dotted(&key.path);
        let Some(value) = leaf(&json, &name) else {
            continue;
        };
        if let Some((_, known)) = NAMES.iter().find(|(known, _)| *known == name) {
            put(&name, (*known).to_owned(), value);
            continue;
        }
        let beside = BESIDE.iter().find(|(folder, _)| {
            let rest = name.strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        match beside {
            // One entry for each key of the file, with what the other name stands for.
            Some((_, like)) => put(&name, format!("{like} {name}"), value),
            None if name.starts_with("upstreamConfig.") || name.starts_with("inject") => {}
            None => put(&name, name.clone(), value),
        }
    }
    if let Some(upstreams) = json
        .pointer("/upstreamConfig/upstreams")
        .and_then(Json::as_array)
    {
        let list = upstreams.iter().map(upstream).collect();
        put(
            "upstreamConfig.upstreams",
            "upstreams".to_owned(),
            Value::List(list),
        );
    }
    for (name, key) in [
        ("injectResponseHeaders", "inject_response_headers"),
        ("injectRequestHeaders", "inject_request_headers"),
    ] {
        if let Some(headers) = json.get(name).and_then(Json::as_array) {
            let list = headers.iter().map(header).collect();
            put(name, key.to_owned(), Value::List(list));
        }
    }
    Ok(given)
}

/// The value of a field that is no object and no list of objects.
fn leaf(json: &Json, name: &str) -> Option<Value> {
    let pointer = name.replace('[', "/").replace(']', "").replace('.', "/");
    match json.pointer(&format!("/{pointer}"))? {
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Bool(flag) => Some(Value::Flag(*flag)),
        Json::Number(number) => Some(number.as_i64().map_or(Value::Other, Value::Number)),
        Json::Array(items) if items.iter().all(Json::is_string) => {
            let texts = items.iter().filter_map(Json::as_str);
            Some(Value::List(texts.map(str::to_owned).collect()))
        }
        Json::Array(_) | Json::Object(_) | Json::Null => None,
    }
}

/// An upstream as the other file has it.
fn upstream(json: &Json) -> String {
    let is_static = json.get("static").and_then(Json::as_bool).unwrap_or(false);
    let code = json.get("staticCode").and_then(Json::as_u64).unwrap_or(200);
    match is_static {
        true => format!("static://{code}"),
        false => "an upstream".to_owned(),
    }
}

/// `name=claim`, or the name alone where the value is not one claim as it is.
fn header(json: &Json) -> String {
    let name = json.get("name").and_then(Json::as_str).unwrap_or_default();
    let value = json.pointer("/values/0").and_then(Json::as_object);
    let alone = json.pointer("/values/1").is_none() && value.is_some_and(|value| value.len() == 1);
    let claim = value
        .and_then(|value| value.get("claim"))
        .and_then(Json::as_str);
    match claim.filter(|_| alone) {
        Some(claim) => format!("{}={claim}", name.to_ascii_lowercase()),
        None => name.to_owned(),
    }
}
