//! Per-route configuration of HTTP filters: what one entry of
//! `typed_per_filter_config` says, and which entry a filter finds
//! (envoy `router/per_filter_config.cc`, `http/utility.cc`
//! resolveMostSpecificPerFilterConfig).

use resources::{ObjectRef, Source};
use serde_json::Value;

use crate::chain::{Filter, FilterStep, Override};
use crate::envoyrbac;
use crate::httpfilter::{concerns_access, present_name, refused_type};
use crate::proto::{field, flag, names, text, type_name};
use crate::versions::{EnvoyVersion, IstioVersion};

/// First Envoy that finds per-route configuration by a filter's name in the
/// chain, not by the extension's.
const BY_FILTER_NAME: EnvoyVersion = EnvoyVersion::of(23);

/// First Envoy that no longer falls back to the extension's name.
const NO_FALLBACK: EnvoyVersion = EnvoyVersion::of(29);

/// First Envoy that refuses the names from before 1.14 by default.
const OLD_KEYS_REFUSED: EnvoyVersion = EnvoyVersion::of(20);

/// What an entry says about a filter.
#[derive(Debug)]
pub(crate) enum Said {
    Override(Override),
    /// Nothing, for this reason.
    Nothing(String),
    /// Not understood.
    Opaque(String),
}

/// The keys under which a filter looks, most wanted first.
pub(crate) fn keys(filter: &Filter, version: IstioVersion) -> Vec<&str> {
    let envoy = version.envoy();
    let mut keys = Vec::new();
    // Access levels are ours: no configuration of Envoy's reaches them.
    if matches!(filter.step, FilterStep::Access) {
        return keys;
    }
    if envoy >= BY_FILTER_NAME || filter.name == filter.canonical {
        keys.push(filter.name.as_str());
    }
    if envoy < NO_FALLBACK && filter.name != filter.canonical {
        keys.push(&filter.canonical);
    }
    keys
}

/// The key that an entry is found by: names from before 1.14 were translated
/// as long as Envoy had them.
pub(crate) fn key(written: &str, version: IstioVersion) -> &str {
    if version.envoy() < OLD_KEYS_REFUSED {
        present_name(written).unwrap_or(written)
    } else {
        written
    }
}

/// Why a key that no filter looks under has no effect.
pub(crate) fn unknown_key(key: &str, chain: &[Filter], version: IstioVersion) -> String {
    let present = present_name(key);
    let of_type = chain
        .iter()
        .find(|filter| filter.canonical == key || Some(filter.canonical.as_str()) == present);
    match (of_type, present) {
        (Some(filter), _) => format!(
            "per-route key `{key}` names no filter: Envoy {} (Istio {}) and newer look under the filter's name in the chain alone, \
             this is Istio {version} with Envoy {}; expected `{}`",
            NO_FALLBACK,
            NO_FALLBACK.istio(),
            version.envoy(),
            filter.name
        ),
        (None, Some(present)) => format!(
            "per-route key `{key}` is a name that Envoy {OLD_KEYS_REFUSED} (Istio {}) and newer do not know; expected `{present}`",
            OLD_KEYS_REFUSED.istio()
        ),
        (None, None) => format!("per-route key `{key}` names no filter of this listener"),
    }
}

/// Reads one entry for one filter.
pub(crate) fn read(
    config: &Value,
    filter: &Filter,
    object: &ObjectRef,
    source: &Source,
    version: IstioVersion,
) -> Said {
    if let Some(why) = refused_type(config, version) {
        return Said::Nothing(why);
    }
    let message = type_name(config);
    if message == "envoy.config.route.v3.FilterConfig" {
        if flag(config, &["disabled"]) {
            return Said::Override(Override::Absent);
        }
        return match field(config, "config") {
            Some(inner) => read(inner, filter, object, source, version),
            None => Said::Override(Override::On),
        };
    }
    if !concerns_access(&filter.canonical) {
        return Said::Override(Override::On);
    }
    let short = message
        .strip_prefix("envoy.extensions.filters.http.")
        .and_then(|rest| rest.split('.').next())
        .unwrap_or_default();
    if !short.is_empty() && !filter.canonical.ends_with(&format!(".{short}")) {
        return Said::Nothing(format!(
            "`{message}` is no configuration of filter `{}`",
            filter.name
        ));
    }
    let disabled = flag(config, &["disabled"]);
    let opaque = |what: &str| Said::Opaque(format!("{what} for filter `{}`", filter.name));
    match short {
        "ext_authz" if disabled => Said::Override(Override::Off),
        "ext_authz" => check_settings(config, filter),
        "rbac" => match field(config, "rbac") {
            None => Said::Override(Override::Off),
            Some(rbac) => match envoyrbac::read(rbac, object, source, version) {
                Ok(None) => Said::Override(Override::Off),
                Ok(Some(policy)) => Said::Override(Override::Rules(policy.into())),
                Err(why) => Said::Opaque(why),
            },
        },
        // Envoy takes off what rules set before it looks for its own
        // configuration of the route (jwt_authn `filter.cc`).
        "jwt_authn" if disabled && version.outputs_sanitized() => Said::Override(Override::Unread),
        "jwt_authn" if disabled => Said::Override(Override::Off),
        "jwt_authn" if matches!(filter.step, FilterStep::Jwt) => {
            let requirement = text(config, &["requirement_name"]);
            // Istio's filter has rules and no requirement_map: Envoy finds no
            // such requirement and answers 403 (jwt_authn `filter.cc`).
            Said::Override(Override::Refuse(
                format!("the route wants token requirement `{requirement}`, which Istio's filter has not").into(),
            ))
        }
        "lua" if disabled => Said::Override(Override::Off),
        "lua" => opaque("a Lua script"),
        "" => opaque("configuration of an unknown type"),
        _ => opaque(&format!("`{message}`")),
    }
}

/// Additions to what the authorizer is sent; it is asked all the same.
fn check_settings(config: &Value, filter: &Filter) -> Said {
    let Some(settings) = field(config, "check_settings") else {
        return Said::Opaque(format!(
            "an ExtAuthzPerRoute that neither disables `{}` nor has check_settings, which Envoy refuses,",
            filter.name
        ));
    };
    let odd = names(settings).find(|name| {
        !matches!(
            name.as_ref(),
            "context_extensions" | "disable_request_body_buffering" | "with_request_body"
        )
    });
    match odd {
        None => Said::Override(Override::On),
        Some(name) => Said::Opaque(format!(
            "`{name}` of check_settings for filter `{}`",
            filter.name
        )),
    }
}
