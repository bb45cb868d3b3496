//! Headers that Envoy keeps in one line (envoy `header_map.h`
//! INLINE_REQ_HEADERS, and those that its extensions register): further lines
//! are joined to the first with a comma, empty ones add nothing
//! (`header_map_impl.cc` appendToHeader).

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Those of a request that matter here, by name.
const NAMES: [&str; 39] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "origin",
    "pragma",
    "proxy-connection",
    "proxy-status",
    "referer",
    "te",
    "upgrade",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-envoy-retriable-status-codes",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

fn is_inline(name: &HeaderName) -> bool {
    is_one_line(name.as_str())
}

/// Whether Envoy keeps this header (its name in lower case) in one line,
/// whatever a request has: further lines are joined to it, empty ones add nothing.
pub fn is_one_line(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Adds a value: as a line of its own, or to the one that is there.
pub(crate) fn append(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    if !is_inline(name) {
        headers.append(name.clone(), value.clone());
        return;
    }
    match headers.entry(name.clone()) {
        Entry::Occupied(mut known) => {
            if let Some(all) = joined([known.get(), value].into_iter()) {
                known.insert(all);
            }
        }
        Entry::Vacant(free) => {
            free.insert(value.clone());
        }
    }
}

/// Whether one of them has several lines.
pub(crate) fn repeats(headers: &HeaderMap) -> bool {
    headers.len() != headers.keys_len() && NAMES.iter().any(|name| has_lines(headers, name))
}

/// Joins the lines of a request as it arrives.
pub(crate) fn join(headers: &mut HeaderMap) {
    for name in NAMES {
        if !has_lines(headers, name) {
            continue;
        }
        if let Some(all) = joined(headers.get_all(name).iter()) {
            headers.insert(name, all);
        }
    }
}

fn has_lines(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn joined<'v>(lines: impl Iterator<Item = &'v HeaderValue>) -> Option<HeaderValue> {
    let lines = lines.map(HeaderValue::as_bytes);
    let full: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    HeaderValue::from_bytes(&full.join(&b',')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_add_nothing() {
        for (name, lines, expected) in [
            ("authorization", vec!["", ""], vec![""]),
            (
                "authorization",
                vec!["", "Basic x", "", "Basic y"],
                vec!["Basic x,Basic y"],
            ),
            ("x-user", vec!["", "a", ""], vec!["", "a", ""]),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut joined_at_once = HeaderMap::new();
            let mut one_by_one = HeaderMap::new();
            for line in &lines {
                let value = HeaderValue::from_str(line).unwrap();
                joined_at_once.append(name.clone(), value.clone());
                append(&mut one_by_one, &name, &value);
            }
            join(&mut joined_at_once);
            for headers in [joined_at_once, one_by_one] {
                let found: Vec<&str> = headers
                    .get_all(&name)
                    .iter()
                    .map(|v| v.to_str().unwrap())
                    .collect();
                assert_eq!(found, expected, "{name} {lines:?}");
            }
        }
    }
}
