//! Headers that a check over HTTP sees: Envoy sends those that its configuration lists.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use policy::IDENTITY_HEADERS;

/// Those that decide something.
const SEEN: [&str; 25] = [
    "accept",
    "access-control-request-method",
    "authorization",
    "content-type",
    "cookie",
    "k-*",
    "k_*",
    "knative*",
    "origin",
    "purpose",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-purpose",
    "referer",
    "upgrade",
    "user-agent",
    "x-api-key",
    "x_api_key",
    "x-forwarded-proto",
    "x-moz",
    "x-purpose",
    "x-requested-with",
    "x-sidegate*",
    "x_sidegate*",
];

/// Names of headers that a check over HTTP has to see, some as beginnings (`x-sidegate*`): those that decide something, and those
/// that claim an identity in every spelling of their first part.
pub fn seen() -> Vec<String> {
    let mut all: BTreeSet<String> = SEEN.map(str::to_owned).into();
    for name in IDENTITY_HEADERS.iter().chain(&["x-auth-request-"]) {
        let parts: Vec<&str> = name.split('-').collect();
        let [first, second, ..] = parts.as_slice() else {
            continue;
        };
        let known = if *first == "x" {
            format!("-{second}")
        } else {
            String::new()
        };
        all.insert(format!("{first}{known}*"));
        if *first == "x" {
            all.insert(format!("{first}_{second}*"));
        }
    }
    // One prefix for all of a family.
    all.into_iter().collect()
}

/// Whether it is one of them.
pub(crate) fn is_seen(name: &str) -> bool {
    static ALL: LazyLock<Vec<String>> = LazyLock::new(seen);
    ALL.iter().any(|known| match known.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == *known,
    })
}
