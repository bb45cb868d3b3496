//! Hosts, paths and values at the border of a pattern: some that it matches,
//! and their nearest neighbours.

use std::net::Ipv4Addr;

use regex_syntax::hir::{Hir, HirKind};
use serde_json::Value;

/// Instances of a host pattern of a Gateway, a route or a policy.
pub(super) fn hosts(pattern: &str) -> Vec<String> {
    let pattern = pattern.split_once('/').map_or(pattern, |(_, host)| host);
    if pattern.is_empty() || pattern == "*" {
        return vec!["anything.test".into()];
    }
    let bare = pattern.trim_end_matches(":*");
    let mut found = match (bare.strip_prefix('*'), bare.strip_suffix('*')) {
        (Some(rest), _) => vec![format!("x{rest}"), rest.trim_start_matches('.').to_owned()],
        (None, Some(start)) => vec![format!("{start}x")],
        (None, None) => vec![bare.to_owned()],
    };
    if let Some(first) = found.first().cloned() {
        found.push(format!("{first}:8080"));
        found.push(first.to_uppercase());
        found.push(format!("{first}."));
        found.push(format!("x.{first}"));
        found.push(format!("{first}:8080:80"));
    }
    found.retain(|host| !host.is_empty() && !host.contains(['*', ' ']));
    found
}

/// Methods that Envoy's HTTP/1.1 parser lets through, of those that every proxy knows.
const METHODS: [&str; 16] = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "LOCK",
    "UNLOCK",
    "PROPFIND",
    "PROPPATCH",
    "SUBSCRIBE",
    "COPY",
    "MOVE",
    "SEARCH",
    "REPORT",
];

/// Methods that a pattern of a policy matches.
pub(super) fn methods(pattern: &str) -> Vec<String> {
    let matches = |method: &str| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => method.ends_with(suffix),
        (None, Some(prefix)) => method.starts_with(prefix),
        (None, None) => method == pattern,
    };
    let found = METHODS.iter().filter(|method| matches(method)).take(2);
    found.map(|method| (*method).to_owned()).collect()
}

/// The URI of a certificate that a principal, a namespace, a service account or a
/// trust domain of a rule means.
pub(super) fn identity(kind: &str, pattern: &str) -> Option<String> {
    let text = value(pattern);
    let uri = match kind {
        "namespace" => format!("spiffe://cluster.local/ns/{text}/sa/x"),
        "account" => match text.split_once('/') {
            Some((namespace, account)) => {
                format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")
            }
            None => format!("spiffe://cluster.local/ns/foo/sa/{text}"),
        },
        "domain" => format!("spiffe://{text}/ns/x/sa/x"),
        _ => format!("spiffe://{text}"),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    uri.chars().all(plain).then_some(uri)
}

/// Server names of TLS that a pattern means.
pub(super) fn names(pattern: &str) -> Vec<String> {
    let found = value(pattern).trim_matches('.').replace("..", ".");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let is_name = !found.is_empty() && found.chars().all(plain);
    is_name.then_some(found).into_iter().collect()
}

/// Loopback addresses inside of a block and just outside.
pub(super) fn addresses(block: &str) -> Vec<Ipv4Addr> {
    let (address, length) = block.split_once('/').unwrap_or((block, "32"));
    let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
        return Vec::new();
    };
    let size = 1_u64 << 32_u32.saturating_sub(length);
    let first = u64::from(u32::from(address)) / size * size;
    let near = [
        first,
        first + size - 1,
        first + size,
        first.saturating_sub(1),
    ];
    let found = near
        .iter()
        .filter_map(|n| u32::try_from(*n).ok().map(Ipv4Addr::from));
    found.filter(Ipv4Addr::is_loopback).collect()
}

/// Paths at the border of a pattern of a policy.
pub(super) fn paths(pattern: &str) -> Vec<String> {
    if pattern.contains('{') {
        let filled = |one: &str, more: &str| pattern.replace("{**}", more).replace("{*}", one);
        let made = [filled("x", "x/y"), filled("x", ""), filled("x/y", "x")];
        return made.iter().flat_map(|path| around(path)).collect();
    }
    if pattern == "*" {
        return around("/anything");
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        let slash = if suffix.starts_with('/') { "" } else { "/" };
        let made = [format!("/x{suffix}"), format!("{slash}{suffix}")];
        return made.iter().flat_map(|path| around(path)).collect();
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => prefixed(prefix),
        None => around(pattern),
    }
}

/// Paths at the border of a route's condition: `{exact: …}`, `{prefix: …}`,
/// `{regex: …}`, or `{type: …, value: …}`.
pub(super) fn of_match(spec: &Value) -> Vec<String> {
    let named = |field: &str| spec.get(field).and_then(Value::as_str);
    match (
        named("exact"),
        named("prefix"),
        named("regex"),
        named("value"),
    ) {
        (Some(exact), ..) => around(exact),
        (_, Some(prefix), ..) => prefixed(prefix),
        (_, _, Some(regex), _) => samples(regex)
            .iter()
            .flat_map(|path| around(path))
            .collect(),
        (.., Some(value)) => match named("type") {
            Some("Exact") => around(value),
            Some("RegularExpression") => samples(value)
                .iter()
                .flat_map(|path| around(path))
                .collect(),
            _ => prefixed(value),
        },
        _ => Vec::new(),
    }
}

/// A value that fulfils a string condition of a route.
pub(super) fn of_value(spec: &Value) -> String {
    let named = |field: &str| spec.get(field).and_then(Value::as_str);
    match (named("exact"), named("prefix"), named("regex")) {
        (Some(exact), ..) => exact.to_owned(),
        (_, Some(prefix), _) => format!("{prefix}x"),
        (_, _, Some(regex)) => samples(regex).into_iter().next().unwrap_or_default(),
        _ => "x".to_owned(),
    }
}

/// A value that fulfils a pattern of a policy.
pub(super) fn value(pattern: &str) -> String {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => format!("x{suffix}"),
        (None, Some(prefix)) => format!("{prefix}x"),
        (None, None) => pattern.to_owned(),
    }
}

fn prefixed(prefix: &str) -> Vec<String> {
    let mut found = around(prefix);
    found.push(format!("{prefix}x"));
    found.push(format!("{}/x/y", prefix.trim_end_matches('/')));
    found
}

/// A path, and what is nearly it.
fn around(path: &str) -> Vec<String> {
    if !path.starts_with('/') || path.contains(' ') {
        return Vec::new();
    }
    let bare = path.trim_end_matches('/');
    let mut found = vec![
        path.to_owned(),
        bare.to_owned(),
        format!("{bare}/"),
        format!("{bare}/x"),
        format!("{bare}x"),
        format!("{path}?q=1"),
        format!("/{path}"),
        path.to_uppercase(),
        format!("{bare}/..%2fx"),
        format!("/x/..{path}"),
        format!("{bare}/../x"),
        format!("{bare};x=1"),
    ];
    if let Some((start, end)) = path.rsplit_once('/') {
        let mut letters = end.chars();
        if let Some(first) = letters.next().filter(char::is_ascii) {
            found.push(format!(
                "{start}/%{:02x}{}",
                u32::from(first),
                letters.as_str()
            ));
            found.push(format!("{start}%2F{end}"));
        }
    }
    let mut shorter = path.chars();
    shorter.next_back();
    found.push(shorter.as_str().to_owned());
    found.retain(|path| path.starts_with('/'));
    found
}

/// Strings that a regular expression matches: the shortest way through it, and
/// one more.
fn samples(regex: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(regex) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for extra in [0, 1] {
        let mut bytes = Vec::new();
        sample(&hir, extra, &mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

fn sample(hir: &Hir, extra: usize, out: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(class) => out.push(letter(class)),
        HirKind::Repetition(repetition) => {
            let least = usize::try_from(repetition.min).unwrap_or(0);
            let most = repetition
                .max
                .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(1));
            for _ in 0..(least + extra).min(most).min(64) {
                sample(&repetition.sub, extra, out);
            }
        }
        HirKind::Capture(capture) => sample(&capture.sub, extra, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| sample(part, extra, out)),
        HirKind::Alternation(ways) => {
            if let Some(way) = ways.get(extra).or_else(|| ways.first()) {
                sample(way, extra, out);
            }
        }
    }
}

/// An ordinary letter of a class.
fn letter(class: &regex_syntax::hir::Class) -> u8 {
    use regex_syntax::hir::Class;
    let has = |byte: u8| match class {
        Class::Unicode(class) => {
            let ranges = class.ranges().iter();
            ranges
                .clone()
                .any(|r| (r.start()..=r.end()).contains(&char::from(byte)))
        }
        Class::Bytes(class) => {
            let ranges = class.ranges().iter();
            ranges
                .clone()
                .any(|r| (r.start()..=r.end()).contains(&byte))
        }
    };
    (b'a'..=b'z')
        .chain(b'!'..=b'~')
        .find(|byte| has(*byte))
        .unwrap_or(b'x')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_match_what_they_are_made_from() {
        for regex in [
            "/a/[^/]+",
            "/(a|b)/.*",
            ".*txt",
            "/api/v[0-9]{1,3}/x?",
            "(?i)/A/b",
        ] {
            let compiled = regex_syntax::parse(regex).unwrap();
            assert!(!samples(regex).is_empty(), "{compiled:?}");
        }
        assert_eq!(samples("/a/[^/]+"), ["/a/a", "/a/aa"]);
        assert_eq!(samples("("), Vec::<String>::new());
    }

    #[test]
    fn neighbours_of_a_prefix_are_inside_and_outside() {
        let found = paths("/dex/*");
        for path in [
            "/dex/",
            "/dex",
            "/dex/x",
            "/dexx",
            "/DEX/",
            "//dex/",
            "/dex/..%2fx",
        ] {
            assert!(found.iter().any(|p| p == path), "{path}: {found:?}");
        }
        assert!(hosts("*.example.com").contains(&"x.example.com".to_owned()));
        assert!(hosts("ns1/a.test").contains(&"a.test:8080".to_owned()));
    }
}
