//! What Istio's validation refuses beyond the schemas of its kinds
//! (`pkg/config/validation`, `pkg/config/security`), as far as it is checked here.

use std::net::IpAddr;

use serde_json::Value;

use crate::document::Document;
use crate::error::LoadError;
use crate::kinds::refused;
use yaml::Step;

/// Fields of a source that hold addresses.
const BLOCKS: [&str; 4] = [
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

/// Keys of conditions on addresses.
const KEYS: [&str; 3] = ["source.ip", "remote.ip", "destination.ip"];

/// Addresses and networks of an AuthorizationPolicy that are none
/// (`security.ValidateIPs`).
pub(crate) fn check(document: &Document) -> Vec<LoadError> {
    let mut found = Vec::new();
    if document.kind != "AuthorizationPolicy" {
        return found;
    }
    let rules = list(document.value.pointer("/spec/rules"));
    for (index, rule) in rules {
        let rule_at = [key("spec"), key("rules"), Step::Index(index)];
        for (index, from) in list(rule.get("from")) {
            for field in BLOCKS {
                let place = [key("from"), Step::Index(index), key("source"), key(field)];
                let values = from.get("source").and_then(|source| source.get(field));
                addresses(
                    document,
                    &[&rule_at[..], &place].concat(),
                    values,
                    &mut found,
                );
            }
        }
        for (index, condition) in list(rule.get("when")) {
            let name = condition.get("key").and_then(Value::as_str);
            if !name.is_some_and(|name| KEYS.contains(&name)) {
                continue;
            }
            for field in ["values", "notValues"] {
                let place = [key("when"), Step::Index(index), key(field)];
                let values = condition.get(field);
                addresses(
                    document,
                    &[&rule_at[..], &place].concat(),
                    values,
                    &mut found,
                );
            }
        }
    }
    found
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn list(value: Option<&Value>) -> impl Iterator<Item = (usize, &Value)> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
}

fn addresses(
    document: &Document,
    place: &[Step],
    values: Option<&Value>,
    found: &mut Vec<LoadError>,
) {
    for (index, value) in list(values) {
        let Some(text) = value.as_str().filter(|text| !is_block(text)) else {
            continue;
        };
        let place = [place, &[Step::Index(index)]].concat();
        let message =
            format!("expected an IP address or a network like `10.0.0.0/8`, found `{text}`");
        found.push(refused(document, &place, message));
    }
}

fn is_block(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.is_none_or(|length| {
        let plain = length.bytes().all(|b| b.is_ascii_digit());
        let zeros = length.len() > 1 && length.starts_with('0');
        plain && !zeros && length.parse::<u8>().is_ok_and(|length| length <= most)
    })
}
