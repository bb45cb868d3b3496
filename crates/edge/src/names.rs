//! Header names with a special part in hygiene, one list for each part.

use http::HeaderName;
use policy::is_identity_header;

/// Headers about one connection, not about the message (RFC 9110 §7.6.1).
/// `upgrade` and `te` are read before they go.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the header is about one connection only.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Headers that a `Connection` header must not name: it would make the next
/// proxy remove what was set or checked here (CVE-2024-45410, CVE-2026-105299).
const NOT_NOMINATED: [&str; 11] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "sec-fetch-mode",
    "x-request-id",
];

/// Whether a client may declare a header of this name to be hop-by-hop.
pub fn may_be_nominated(name: &HeaderName) -> bool {
    let folded = fold(name);
    !(NOT_NOMINATED.contains(&&*folded)
        || is_identity_header(name)
        || folded.starts_with("x-forwarded-")
        || folded.starts_with("x-envoy-"))
}

/// Headers of which a second line would be a second reading (CVE-2021-32777).
pub fn is_single(name: &HeaderName) -> bool {
    const SINGLE: [&str; 8] = [
        "authorization",
        "content-length",
        "content-type",
        "host",
        "origin",
        "proxy-authorization",
        "transfer-encoding",
        "upgrade",
    ];
    SINGLE.contains(&name.as_str()) || is_identity_header(name)
}

/// Headers that the gateway writes itself, in a spelling that some upstreams
/// cannot tell from it (CVE-2025-64484, CVE-2026-39858).
pub fn is_alias_of_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-request-id"];
    name.as_str().contains('_') && OURS.contains(&&*fold(name))
}

/// Envoy's own vocabulary, meaningless from a client (CVE-2023-27487, CVE-2024-45806).
pub fn is_envoys(name: &HeaderName) -> bool {
    fold(name).starts_with("x-envoy-")
}

/// Claims about the request that only a proxy in front of us could make, and
/// no such proxy is known: removed where Sidegate enforces (CVE-2026-40575).
pub fn is_context_claim(name: &HeaderName) -> bool {
    const CLAIMS: [&str; 8] = [
        "forwarded",
        "x-http-method-override",
        "x-original-uri",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
        "x-client-ip",
        "true-client-ip",
    ];
    let folded = fold(name);
    CLAIMS.contains(&&*folded)
        || folded.starts_with("x-istio-")
        || folded
            .strip_prefix("x-forwarded-")
            .is_some_and(|rest| !matches!(rest, "for" | "proto"))
}

/// Whether a trailer of this name is dropped.
pub fn forbidden_in_trailers(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || !may_be_nominated(name)
}

fn fold(name: &HeaderName) -> std::borrow::Cow<'_, str> {
    let name = name.as_str();
    if name.contains('_') {
        name.replace('_', "-").into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        text.parse().unwrap()
    }

    #[test]
    fn names_fold_underscores() {
        for (check, text) in [
            (
                is_alias_of_ours as fn(&HeaderName) -> bool,
                "x_forwarded_for",
            ),
            (is_alias_of_ours, "X_Forwarded-Proto"),
            (is_envoys, "x_envoy_original_path"),
            (is_envoys, "x-envoy_retry-on"),
            (is_context_claim, "X_Forwarded_Host"),
            (is_context_claim, "x-forwarded-uri"),
            (is_single, "kubeflow_userid"),
            (forbidden_in_trailers, "kubeflow-userid"),
            (forbidden_in_trailers, "content-length"),
        ] {
            assert!(check(&name(text)), "{text}");
        }
        assert!(!is_alias_of_ours(&name("x-forwarded-for")));
        assert!(!is_context_claim(&name("x-forwarded-proto")));
        assert!(!forbidden_in_trailers(&name("grpc-status")));
        for refused in [
            "kubeflow-userid",
            "Host",
            "x_forwarded_user",
            "cookie",
            "x-forwarded-for",
        ] {
            assert!(!may_be_nominated(&name(refused)), "{refused}");
        }
        assert!(may_be_nominated(&name("x-custom")));
    }
}
