//! Filters of HTTPRoutes and GRPCRoutes.

use std::collections::BTreeMap;

use crate::gateway_api::{Cors, Header, HeaderModifier, RequestRedirect, RouteFilter, UrlRewrite};
use crate::istio::{CorsPolicy, HeaderOperations, HttpRoute, Redirect, RegexRewrite, Rewrite};
use crate::kubematch::{exact, prefix, regex};

/// Applies a filter to a route; `None` for one that makes Istio refuse it.
pub(crate) fn apply(filter: &RouteFilter, route: &mut HttpRoute) -> Option<()> {
    match filter.kind.as_str() {
        "RequestHeaderModifier" => {
            if let Some(modifier) = &filter.request_header_modifier {
                route.headers.get_or_insert_default().request = header_operations(modifier);
            }
        }
        "ResponseHeaderModifier" => {
            if let Some(modifier) = &filter.response_header_modifier {
                route.headers.get_or_insert_default().response = header_operations(modifier);
            }
        }
        "RequestRedirect" => route.redirect = filter.request_redirect.as_ref().map(redirect),
        "URLRewrite" => route.rewrite = filter.url_rewrite.as_ref().and_then(rewrite),
        "CORS" => route.cors_policy = filter.cors.as_ref().map(cors),
        "RequestMirror" => {}
        _ => return None,
    }
    Some(())
}

/// Of several entries with a name, the first counts.
pub(crate) fn header_operations(modifier: &HeaderModifier) -> HeaderOperations {
    let map = |list: &[Header]| {
        let mut map = BTreeMap::new();
        for header in list {
            map.entry(header.name.to_ascii_lowercase())
                .or_insert_with(|| header.value.clone());
        }
        map
    };
    HeaderOperations {
        set: map(&modifier.set),
        add: map(&modifier.add),
        remove: modifier.remove.clone(),
    }
}

fn redirect(from: &RequestRedirect) -> Redirect {
    let derive_port = match (from.port, &from.scheme) {
        (Some(_), _) => None,
        (None, Some(_)) => Some("FROM_PROTOCOL_DEFAULT".to_owned()),
        (None, None) => Some("FROM_REQUEST_PORT".to_owned()),
    };
    let path = from.path.as_ref();
    let of_kind = |kind: &str| path.filter(|path| path.kind == kind);
    Redirect {
        uri: of_kind("ReplaceFullPath")
            .and_then(|path| path.replace_full_path.clone())
            .unwrap_or_default(),
        authority: from.hostname.clone().unwrap_or_default(),
        scheme: from.scheme.clone().unwrap_or_default(),
        port: from.port,
        derive_port,
        prefix_rewrite: of_kind("ReplacePrefixMatch")
            .and_then(|path| path.replace_prefix_match.clone())
            .filter(|prefix| !prefix.is_empty()),
        redirect_code: Some(from.status_code.unwrap_or(302)),
    }
}

fn rewrite(from: &UrlRewrite) -> Option<Rewrite> {
    let mut made = Rewrite {
        authority: from.hostname.clone().filter(|host| !host.is_empty()),
        ..Rewrite::default()
    };
    if let Some(path) = &from.path {
        match path.kind.as_str() {
            "ReplacePrefixMatch" => {
                let to = path.replace_prefix_match.as_deref().unwrap_or_default();
                let to = to.strip_suffix('/').unwrap_or(to);
                made.uri = Some(if to.is_empty() { "/" } else { to }.to_owned());
            }
            "ReplaceFullPath" => {
                made.uri_regex_rewrite = Some(RegexRewrite {
                    pattern: "/.*".to_owned(),
                    rewrite: path.replace_full_path.clone().unwrap_or_default(),
                });
            }
            _ => {}
        }
    }
    let nothing =
        made.authority.is_none() && made.uri.is_none() && made.uri_regex_rewrite.is_none();
    (!nothing).then_some(made)
}

/// Istio reads `*` as any origin of a proper form (`createCorsFilter`).
fn cors(from: &Cors) -> CorsPolicy {
    let origins = from
        .allow_origins
        .iter()
        .filter(|origin| !origin.is_empty());
    let origins = origins.map(|origin| match origin.strip_suffix('*') {
        Some("") => regex(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$".to_owned()),
        Some(start) if !start.contains('*') => prefix(start.to_owned()),
        None if !origin.contains('*') => exact(origin.clone()),
        _ => {
            let parts: Vec<String> = origin.split('*').map(escape).collect();
            regex(format!("^{}$", parts.join(".*")))
        }
    });
    CorsPolicy {
        allow_origins: origins.collect(),
        allow_methods: from.allow_methods.clone(),
        allow_headers: from.allow_headers.clone(),
        expose_headers: from.expose_headers.clone(),
        max_age: from
            .max_age
            .filter(|age| *age > 0)
            .map(|age| format!("{age}s")),
        allow_credentials: from.allow_credentials.filter(|allow| *allow),
        unmatched_preflights: Some("IGNORE".to_owned()),
        ..CorsPolicy::default()
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
