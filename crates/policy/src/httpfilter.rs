//! What one HTTP filter of an EnvoyFilter is.

use resources::mesh::ExtAuthzHttp;
use resources::{ObjectRef, Source};
use serde_json::Value;

use crate::chain::{self, Filter, FilterStep};
use crate::envoyrbac;
use crate::headerops;
use crate::lua;
use crate::permit::HeaderChange;
use crate::proto::{at, field, flag, items, names, number, text, type_name};
use crate::providers::Authorizer;
use crate::versions::{EnvoyVersion, IstioVersion};

/// A filter as an EnvoyFilter writes it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) canonical: String,
    pub(crate) disabled: bool,
    pub(crate) kind: Kind,
}

/// What it does.
#[derive(Debug)]
pub(crate) enum Kind {
    Authorizer(Box<Authorizer>),
    Step(FilterStep),
    /// Not understood, for this reason: may change the answer.
    Opaque(String),
    /// Never in force, for this reason.
    Refused(String),
}

/// What reading needs besides the value.
pub(crate) struct Context<'a> {
    pub(crate) object: &'a ObjectRef,
    pub(crate) source: &'a Source,
    pub(crate) version: IstioVersion,
    /// Service and port of a cluster that an EnvoyFilter adds.
    pub(crate) cluster: &'a dyn Fn(&str) -> Option<(String, u16)>,
}

/// First Envoy without the old version of its API.
const V2_REMOVED: EnvoyVersion = EnvoyVersion::of(18);

/// First Envoy that finds filters by the type of their configuration, whatever
/// they are called.
pub(crate) const BY_TYPE: EnvoyVersion = EnvoyVersion::of(22);

/// Filters that cannot change who gets in: they measure, compress, limit or
/// delay, and what they refuse is refused to everybody.
const HARMLESS: [&str; 26] = [
    "adaptive_concurrency",
    "admission_control",
    "alpn",
    "bandwidth_limit",
    "brotli",
    "buffer",
    "cdn_loop",
    "compressor",
    "connect_grpc_bridge",
    "csrf",
    "decompressor",
    "fault",
    "file_system_buffer",
    "grpc_http1_reverse_bridge",
    "grpc_stats",
    "grpc_web",
    "gzip",
    "kill_request",
    "local_ratelimit",
    "metadata_exchange",
    "on_demand",
    "rate_limit_quota",
    "ratelimit",
    "stateful_session",
    "stats",
    "tap",
];

/// Names that Envoy had for its filters before 1.14.
const OLD_NAMES: [(&str, &str); 17] = [
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.fault", "envoy.filters.http.fault"),
    (
        "envoy.filters.http.http_health_check",
        "envoy.filters.http.health_check",
    ),
    (
        "envoy.grpc_http1_bridge",
        "envoy.filters.http.grpc_http1_bridge",
    ),
    (
        "envoy.grpc_json_transcoder",
        "envoy.filters.http.grpc_json_transcoder",
    ),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    (
        "envoy.http_connection_manager",
        "envoy.filters.network.http_connection_manager",
    ),
    ("envoy.ip_tagging", "envoy.filters.http.ip_tagging"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
];

/// The present name of a filter that is called by an old one.
pub(crate) fn present_name(old: &str) -> Option<&'static str> {
    OLD_NAMES
        .iter()
        .find(|(name, _)| *name == old)
        .map(|(_, present)| *present)
}

/// Why a type URL is refused, if it is: its version of Envoy's API is gone.
pub(crate) fn refused_type(any: &Value, version: IstioVersion) -> Option<String> {
    let name = type_name(any);
    let old = name.contains(".v2.") || name.contains(".v2alpha.") || name.contains(".v1alpha1.");
    let old = old && name.starts_with("envoy.");
    (old && version.envoy() >= V2_REMOVED).then(|| {
        format!(
            "type `{name}` was removed in Envoy {V2_REMOVED} (Istio {}), this is Istio {version} with Envoy {}: \
             Istio refuses it as an unknown type and the patch has no effect; expected its v3 form",
            V2_REMOVED.istio(),
            version.envoy()
        )
    })
}

/// Reads the value of an HTTP filter.
pub(crate) fn read(value: &Value, context: &Context<'_>) -> Read {
    let name = text(value, &["name"]).to_owned();
    let disabled = flag(value, &["disabled"]);
    let Some(config) = field(value, "typed_config") else {
        let kind = match field(value, "config_discovery") {
            Some(_) => Kind::Opaque(format!(
                "filter `{name}`, whose configuration comes from elsewhere,"
            )),
            None => by_name(&name, context.version),
        };
        return Read {
            canonical: present_name(&name).unwrap_or(&name).to_owned(),
            name,
            disabled,
            kind,
        };
    };
    if let Some(why) = refused_type(config, context.version) {
        return Read {
            canonical: name.clone(),
            name,
            disabled,
            kind: Kind::Refused(why),
        };
    }
    let (canonical, kind) = of_type(&name, config, context);
    Read {
        name,
        canonical,
        disabled,
        kind,
    }
}

/// A filter without configuration, found by its name (before Envoy 1.22).
fn by_name(name: &str, version: IstioVersion) -> Kind {
    if version.envoy() >= BY_TYPE {
        return Kind::Refused(format!(
            "filter `{name}` has no `typed_config`, and Envoy {BY_TYPE} (Istio {}) and newer find filters by its type only: \
             Envoy refuses the listener, which stays as it was",
            BY_TYPE.istio()
        ));
    }
    let present = present_name(name).unwrap_or(name);
    let short = present.rsplit('.').next().unwrap_or_default();
    if HARMLESS.contains(&short) {
        Kind::Step(FilterStep::Other)
    } else {
        Kind::Opaque(format!("filter `{name}` without `typed_config`"))
    }
}

fn of_type(name: &str, config: &Value, context: &Context<'_>) -> (String, Kind) {
    // `udpa.type.v1.TypedStruct` and its successor wrap another message.
    let wrapped = type_name(config).ends_with("TypedStruct");
    let (message, config) = if wrapped {
        let url = text(config, &["type_url"]);
        (
            url.rsplit('/').next().unwrap_or_default(),
            field(config, "value").unwrap_or(&Value::Null),
        )
    } else {
        (type_name(config), config)
    };
    let short = message
        .strip_prefix("envoy.extensions.filters.http.")
        .or_else(|| message.strip_prefix("envoy.config.filter.http."))
        .and_then(|rest| rest.split('.').next())
        .unwrap_or_default();
    let canonical = if short.is_empty() {
        name.to_owned()
    } else {
        format!("envoy.filters.http.{short}")
    };
    let opaque = |why: String| Kind::Opaque(format!("filter `{name}`: {why}"));
    let kind = match short {
        "ext_authz" => match authorizer(name, config, context) {
            Ok(authorizer) => Kind::Authorizer(Box::new(authorizer)),
            Err(why) => opaque(why),
        },
        "lua" => match lua(config) {
            Ok(changes) => headers(changes, chooses_again(config)),
            Err(why) => opaque(why),
        },
        "header_mutation" => match header_mutation(config) {
            Ok(changes) => headers(changes, false),
            Err(why) => opaque(why),
        },
        "rbac" => match envoyrbac::read(config, context.object, context.source, context.version) {
            Ok(Some(policy)) => Kind::Step(FilterStep::Rules(policy.into())),
            Ok(None) => Kind::Step(FilterStep::Other),
            Err(why) => opaque(why),
        },
        "cors" => Kind::Step(FilterStep::Cors),
        "router" => Kind::Step(FilterStep::Router),
        short if HARMLESS.contains(&short) => Kind::Step(FilterStep::Other),
        "" if message.starts_with("istio.") || message.starts_with("stats.") => {
            Kind::Step(FilterStep::Other)
        }
        "wasm" => Kind::Opaque(format!("the WebAssembly filter `{name}`")),
        "" => Kind::Opaque(format!("filter `{name}` of type `{message}`")),
        _ => Kind::Opaque(format!("filter `{name}` (`{canonical}`)")),
    };
    (canonical, kind)
}

fn headers(changes: Vec<HeaderChange>, chooses_again: bool) -> Kind {
    Kind::Step(if changes.is_empty() {
        FilterStep::Other
    } else {
        FilterStep::Headers {
            changes: changes.into(),
            chooses_again,
        }
    })
}

/// A script that changes headers makes Envoy forget the route, unless it is told
/// not to (`lua_filter.cc` onHeadersModified, `clear_route_cache`).
fn chooses_again(config: &Value) -> bool {
    field(config, "clear_route_cache")
        .and_then(Value::as_bool)
        .unwrap_or(true)
}

fn lua(config: &Value) -> Result<Vec<HeaderChange>, String> {
    for name in names(config) {
        if !matches!(
            name.as_ref(),
            "@type" | "inline_code" | "default_source_code" | "stat_prefix" | "clear_route_cache"
        ) {
            return Err(format!("`{name}` of a Lua filter"));
        }
    }
    let script = match at(config, &["default_source_code", "inline_string"]) {
        Some(script) => script,
        None if field(config, "default_source_code").is_some() => {
            return Err("a Lua script that is not inline".to_owned());
        }
        None => field(config, "inline_code").unwrap_or(&Value::Null),
    };
    lua::request_changes(script.as_str().unwrap_or_default())
}

fn header_mutation(config: &Value) -> Result<Vec<HeaderChange>, String> {
    let mut changes = Vec::new();
    for mutation in items(config, &["mutations", "request_mutations"]) {
        if let Some(name) = field(mutation, "remove").and_then(Value::as_str) {
            changes.push(lua::change("remove", name, None)?);
            continue;
        }
        let Some(append) = field(mutation, "append") else {
            return Err("a header mutation".to_owned());
        };
        changes.extend(header_option(append)?);
    }
    let odd = names(config).find(|name| !matches!(name.as_ref(), "@type" | "mutations"));
    if let Some(name) = odd {
        return Err(format!("`{name}` of a header mutation"));
    }
    Ok(changes)
}

/// `envoy.config.core.v3.HeaderValueOption` with a constant value; nothing where
/// that is empty and so not put in.
pub(crate) fn header_option(option: &Value) -> Result<Option<HeaderChange>, String> {
    let name = text(option, &["header", "key"]);
    let value = text(option, &["header", "value"]);
    let Some(value) = headerops::literal(value) else {
        return Err(format!("a computed value of `{name}`"));
    };
    let action = text(option, &["append_action"]);
    let append = field(option, "append").and_then(Value::as_bool);
    let method = match (action, append) {
        ("" | "APPEND_IF_EXISTS_OR_ADD", None | Some(true)) | ("ADD_IF_ABSENT", None) => "add",
        ("", Some(false)) | ("OVERWRITE_IF_EXISTS_OR_ADD" | "OVERWRITE_IF_EXISTS", None) => {
            "replace"
        }
        (other, _) => return Err(format!("`{other}` of `{name}`")),
    };
    let change = match (action, lua::change(method, name, Some(&value))?) {
        ("ADD_IF_ABSENT", HeaderChange::Add(name, value)) => {
            HeaderChange::AddIfAbsent(name, vec![value])
        }
        ("OVERWRITE_IF_EXISTS", HeaderChange::Set(name, value)) => {
            HeaderChange::SetIfPresent(name, value)
        }
        (_, change) => change,
    };
    let kept = !value.is_empty() || flag(option, &["keep_empty_value"]);
    Ok(kept.then_some(change))
}

/// Fields of `ExtAuthz` that are read, or that cannot change an answer.
const AUTHORIZER_FIELDS: [&str; 22] = [
    "@type",
    "http_service",
    "grpc_service",
    "transport_api_version",
    "failure_mode_allow",
    "failure_mode_allow_header_add",
    "status_on_error",
    "stat_prefix",
    "with_request_body",
    "clear_route_cache",
    "allowed_headers",
    "include_peer_certificate",
    "include_tls_session",
    "metadata_context_namespaces",
    "typed_metadata_context_namespaces",
    "route_metadata_context_namespaces",
    "bootstrap_metadata_labels_key",
    "filter_enabled",
    "emit_filter_state_stats",
    "encode_raw_headers",
    "enable_dynamic_metadata_ingestion",
    "charge_cluster_response_stats",
];

/// Reads Envoy's own configuration into the provider's form.
pub(crate) fn authorizer(
    name: &str,
    config: &Value,
    context: &Context<'_>,
) -> Result<Authorizer, String> {
    for field in names(config) {
        if !AUTHORIZER_FIELDS.contains(&field.as_ref()) {
            return Err(format!("`{field}` of an ext_authz filter"));
        }
    }
    if let Some(enabled) = field(config, "filter_enabled") {
        let value = field(enabled, "default_value").unwrap_or(&Value::Null);
        let of = match text(value, &["denominator"]) {
            "TEN_THOUSAND" => 10_000,
            "MILLION" => 1_000_000,
            _ => 100,
        };
        if number(value, &["numerator"]).unwrap_or(0) < of {
            return Err("an ext_authz filter that is asked for a share of the requests".to_owned());
        }
    }
    let mut settings = ExtAuthzHttp {
        fail_open: flag(config, &["failure_mode_allow"]),
        status_on_error: number(config, &["status_on_error", "code"]).map(|code| code.to_string()),
        ..ExtAuthzHttp::default()
    };
    let label = format!("{}: {name}", context.object.name);
    let grpc = field(config, "grpc_service");
    if let Some(grpc) = grpc {
        let cluster = text(grpc, &["envoy_grpc", "cluster_name"]);
        let target = text(grpc, &["google_grpc", "target_uri"]);
        (settings.service, settings.port) = if cluster.is_empty() {
            let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
            (host.to_owned(), port.parse().unwrap_or(0))
        } else {
            endpoint(cluster, context)?
        };
        settings.timeout = duration_of(grpc);
        // The authorizer sees every header and may set any.
        settings.include_request_headers_in_check = vec!["*".to_owned()];
        settings.headers_to_upstream_on_allow = vec!["*".to_owned()];
        let mut authorizer = Authorizer::http(
            &label,
            settings,
            context.object.clone(),
            context.source.clone(),
        );
        authorizer.grpc = true;
        return Ok(authorizer);
    }
    let service = field(config, "http_service")
        .ok_or("an ext_authz filter with neither http_service nor grpc_service")?;
    (settings.service, settings.port) =
        endpoint(text(service, &["server_uri", "cluster"]), context)?;
    settings.timeout = field(service, "server_uri").and_then(duration_of);
    settings.path_prefix = text(service, &["path_prefix"]).to_owned();
    let request = field(service, "authorization_request").unwrap_or(&Value::Null);
    let response = field(service, "authorization_response").unwrap_or(&Value::Null);
    let odd =
        names(request).find(|name| !matches!(name.as_ref(), "allowed_headers" | "headers_to_add"));
    if let Some(name) = odd {
        return Err(format!("`{name}` of an authorization_request"));
    }
    settings.include_request_headers_in_check = patterns(request, "allowed_headers")?;
    settings
        .include_request_headers_in_check
        .extend(patterns(config, "allowed_headers")?);
    for header in items(request, &["headers_to_add"]) {
        settings.include_additional_headers_in_check.insert(
            text(header, &["key"]).to_owned(),
            text(header, &["value"]).to_owned(),
        );
    }
    for name in names(response) {
        match name.as_ref() {
            "allowed_upstream_headers" | "allowed_client_headers" => {}
            "allowed_client_headers_on_success" | "dynamic_metadata_from_headers" => {}
            other => return Err(format!("`{other}` of an authorization_response")),
        }
    }
    settings.headers_to_upstream_on_allow = patterns(response, "allowed_upstream_headers")?;
    settings.headers_to_downstream_on_deny = patterns(response, "allowed_client_headers")?;
    settings.headers_to_downstream_on_allow =
        patterns(response, "allowed_client_headers_on_success")?;
    Ok(Authorizer::http(
        &label,
        settings,
        context.object.clone(),
        context.source.clone(),
    ))
}

fn duration_of(value: &Value) -> Option<String> {
    let timeout = field(value, "timeout")?;
    timeout.as_str().map(str::to_owned)
}

/// Where a cluster leads: one that Istio makes of a Service,
/// `outbound|8080||authservice.istio-system.svc.cluster.local`, or one that an
/// EnvoyFilter adds.
fn endpoint(cluster: &str, context: &Context<'_>) -> Result<(String, u16), String> {
    let mut parts = cluster.split('|').skip(1);
    let port = parts.next().and_then(|port| port.parse().ok());
    if let (Some(port), Some(host)) = (port, parts.nth(1)) {
        return Ok((host.to_owned(), port));
    }
    (context.cluster)(cluster)
        .ok_or_else(|| format!("an ext_authz filter that asks the unknown cluster `{cluster}`"))
}

fn patterns(value: &Value, list: &str) -> Result<Vec<String>, String> {
    let read = |value: &Value| {
        let text = |name: &str| field(value, name).and_then(Value::as_str);
        text("exact")
            .map(str::to_owned)
            .or_else(|| text("prefix").map(|p| format!("{p}*")))
            .or_else(|| text("suffix").map(|s| format!("*{s}")))
            .ok_or_else(|| {
                format!("a header pattern of `{list}` that is none of exact, prefix, suffix")
            })
    };
    items(value, &[list, "patterns"]).map(read).collect()
}

impl Read {
    /// The filter for the chain; an authorizer is counted among those.
    pub(crate) fn into_filter(self, authorizers: &mut Vec<Authorizer>) -> Filter {
        let step = match self.kind {
            Kind::Authorizer(authorizer) => {
                authorizers.push(*authorizer);
                FilterStep::Authorizer(authorizers.len() - 1)
            }
            Kind::Step(step) => step,
            Kind::Opaque(_) | Kind::Refused(_) => FilterStep::Other,
        };
        Filter {
            name: self.name,
            canonical: self.canonical,
            disabled: self.disabled,
            step,
            inserted_by: None,
        }
    }
}

/// Whether a filter can change who gets in.
pub(crate) fn concerns_access(canonical: &str) -> bool {
    let short = canonical.rsplit('.').next().unwrap_or_default();
    !HARMLESS.contains(&short) && canonical != chain::ROUTER
}
