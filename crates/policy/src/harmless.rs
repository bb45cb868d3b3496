//! Patches outside of HTTP filters: which of them cannot change who gets in.

use serde_json::Value;

use crate::proto::{field, names, text};

/// What a patch of something that is no HTTP filter and no route does to a
/// listener: `None` when it cannot change who gets in.
pub(crate) fn effect(apply_to: &str, operation: &str, value: &Value) -> Option<String> {
    let merge = operation == "MERGE" || operation == "MERGE_AND_REPLACE_LIST";
    match apply_to {
        // A configuration that filters refer to; those are what matters.
        "EXTENSION_CONFIG" => None,
        "CLUSTER" => cluster(operation, merge, value),
        "BOOTSTRAP" => fields(value, "of the bootstrap", &BOOTSTRAP),
        "LISTENER" if merge => fields(value, "of a listener", &LISTENER),
        "LISTENER" => Some(format!("`{operation}` of a listener")),
        "LISTENER_FILTER" => listener_filter(operation, value),
        "FILTER_CHAIN" => Some(format!("`{operation}` of a filter chain")),
        "NETWORK_FILTER" if merge => connection_manager(value),
        "NETWORK_FILTER" => network_filter(operation, value),
        other => Some(format!("a patch of `{other}`")),
    }
}

const BOOTSTRAP: [&str; 8] = [
    "admin",
    "cluster_manager",
    "flags_path",
    "stats_config",
    "stats_flush_interval",
    "stats_sinks",
    "tracing",
    "overload_manager",
];

const LISTENER: [&str; 13] = [
    "access_log",
    "connection_balance_config",
    "drain_type",
    "enable_reuse_port",
    "ignore_global_conn_limit",
    "listener_filters_timeout",
    "max_connections_to_accept_per_socket_event",
    "metadata",
    "per_connection_buffer_limit_bytes",
    "socket_options",
    "stat_prefix",
    "tcp_backlog_size",
    "traffic_direction",
];

/// Settings of how an upstream is spoken to, not of which it is.
const CLUSTER: [&str; 25] = [
    "alt_stat_name",
    "circuit_breakers",
    "close_connections_on_host_health_failure",
    "common_http_protocol_options",
    "common_lb_config",
    "connect_timeout",
    "dns_lookup_family",
    "dns_refresh_rate",
    "health_checks",
    "http2_protocol_options",
    "http_protocol_options",
    "ignore_health_on_host_removal",
    "lb_policy",
    "least_request_lb_config",
    "max_requests_per_connection",
    "metadata",
    "name",
    "outlier_detection",
    "per_connection_buffer_limit_bytes",
    "protocol_selection",
    "respect_dns_ttl",
    "ring_hash_lb_config",
    "track_cluster_stats",
    "track_timeout_budgets",
    "upstream_connection_options",
];

fn cluster(operation: &str, merge: bool, value: &Value) -> Option<String> {
    match operation {
        // Nothing leads to it until a route or a filter says so.
        "ADD" => None,
        _ if merge => {
            let known =
                |name: &str| CLUSTER.contains(&name) || name == "typed_extension_protocol_options";
            let odd = names(value).find(|name| !known(name));
            odd.map(|name| format!("`{name}` of a cluster, which may lead elsewhere,"))
        }
        _ => Some(format!("`{operation}` of a cluster")),
    }
}

fn listener_filter(operation: &str, value: &Value) -> Option<String> {
    let name = text(value, &["name"]);
    let short = name.rsplit('.').next().unwrap_or_default();
    match short {
        "tls_inspector" | "http_inspector" | "local_ratelimit" | "set_filter_state" if operation != "REMOVE" => None,
        "proxy_protocol" => Some(
            "a `proxy_protocol` listener filter: client addresses come from the load balancer's header, and"
                .to_owned(),
        ),
        _ => Some(format!("`{operation}` of listener filter `{name}`")),
    }
}

fn network_filter(operation: &str, value: &Value) -> Option<String> {
    let name = text(value, &["name"]);
    let short = name.rsplit('.').next().unwrap_or_default();
    let harmless = matches!(
        short,
        "connection_limit" | "local_ratelimit" | "metadata_exchange" | "stats" | "sni_cluster"
    );
    (!harmless || operation == "REMOVE")
        .then(|| format!("`{operation}` of network filter `{name}`"))
}

/// Fields of the connection manager that cannot change who gets in.
const MANAGER: [&str; 32] = [
    "@type",
    "access_log",
    "access_log_flush_interval",
    "access_log_options",
    "add_proxy_protocol_connection_state",
    "add_user_agent",
    "always_set_request_id_in_response",
    "append_local_overload",
    "codec_type",
    "delayed_close_timeout",
    "drain_timeout",
    "flush_access_log_on_new_request",
    "generate_request_id",
    "http2_protocol_options",
    "http3_protocol_options",
    "max_request_headers_kb",
    "preserve_external_request_id",
    "proxy_100_continue",
    "proxy_status_config",
    "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
    "request_headers_timeout",
    "request_id_extension",
    "request_timeout",
    "server_header_transformation",
    "server_name",
    "stat_prefix",
    "stream_error_on_invalid_http_message",
    "stream_flush_timeout",
    "stream_idle_timeout",
    "tracing",
    "typed_header_validation_stats",
    "via",
];

fn connection_manager(value: &Value) -> Option<String> {
    let config = field(value, "typed_config")?;
    for name in names(config) {
        if MANAGER.contains(&name.as_ref()) {
            continue;
        }
        let inner = field(config, &name).unwrap_or(&Value::Null);
        let why = match name.as_ref() {
            "common_http_protocol_options" => {
                let rejects = matches!(
                    text(inner, &["headers_with_underscores_action"]),
                    "" | "ALLOW" | "REJECT_REQUEST"
                );
                if rejects {
                    continue;
                }
                "header names with `_` are dropped".to_owned()
            }
            // Casing and such; the request line is read as before.
            "http_protocol_options" => {
                let plain = names(inner).all(|name| {
                    matches!(
                        name.as_ref(),
                        "header_key_format"
                            | "accept_http_10"
                            | "enable_trailers"
                            | "default_host_for_http_10"
                    )
                });
                if plain && field(inner, "accept_http_10").is_none() {
                    continue;
                }
                "how HTTP/1 is read".to_owned()
            }
            "upgrade_configs" => {
                let filters = inner.as_array().into_iter().flatten();
                let mut filters = filters.filter(|upgrade| field(upgrade, "filters").is_some());
                if filters.next().is_none() {
                    continue;
                }
                "upgrades that pass other filters".to_owned()
            }
            "local_reply_config" => {
                // Answers are worded, none is given that was not.
                continue;
            }
            "normalize_path"
            | "merge_slashes"
            | "path_with_escaped_slashes_action"
            | "path_normalization_options" => "how paths are normalised".to_owned(),
            "strip_matching_host_port" | "strip_any_host_port" | "strip_trailing_host_dot" => {
                "how hosts are read".to_owned()
            }
            "use_remote_address"
            | "xff_num_trusted_hops"
            | "original_ip_detection_extensions"
            | "skip_xff_append"
            | "internal_address_config" => "whose address counts".to_owned(),
            "forward_client_cert_details" | "set_current_client_cert_details" => {
                "the header `x-forwarded-client-cert`".to_owned()
            }
            "http_filters" => {
                "HTTP filters after the router, which Envoy refuses with the whole listener,"
                    .to_owned()
            }
            other => format!("`{other}` of the connection manager"),
        };
        return Some(format!("`{name}` of the connection manager ({why})"));
    }
    None
}

fn fields(value: &Value, of: &str, harmless: &[&str]) -> Option<String> {
    let odd = names(value).find(|name| !harmless.contains(&name.as_ref()));
    odd.map(|name| format!("`{name}` {of}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_patches_cannot_change_who_gets_in() {
        for (apply_to, operation, value, harmless) in [
            ("CLUSTER", "MERGE", json!({"connectTimeout": "1s"}), true),
            ("CLUSTER", "MERGE", json!({"load_assignment": {}}), false),
            ("CLUSTER", "ADD", json!({"name": "x"}), true),
            ("CLUSTER", "REMOVE", json!({}), false),
            ("BOOTSTRAP", "MERGE", json!({"stats_config": {}}), true),
            ("BOOTSTRAP", "MERGE", json!({"layered_runtime": {}}), false),
            ("LISTENER", "MERGE", json!({"socket_options": []}), true),
            ("LISTENER", "ADD", json!({"name": "x"}), false),
            (
                "FILTER_CHAIN",
                "MERGE",
                json!({"transport_socket": {}}),
                false,
            ),
            (
                "LISTENER_FILTER",
                "INSERT_FIRST",
                json!({"name": "envoy.filters.listener.proxy_protocol"}),
                false,
            ),
            (
                "NETWORK_FILTER",
                "INSERT_FIRST",
                json!({"name": "envoy.filters.network.connection_limit"}),
                true,
            ),
            (
                "NETWORK_FILTER",
                "INSERT_FIRST",
                json!({"name": "envoy.filters.network.rbac"}),
                false,
            ),
            (
                "NETWORK_FILTER",
                "MERGE",
                json!({"typed_config": {"access_log": [], "server_name": "x"}}),
                true,
            ),
            (
                "NETWORK_FILTER",
                "MERGE",
                json!({"typed_config": {"mergeSlashes": true}}),
                false,
            ),
            (
                "NETWORK_FILTER",
                "MERGE",
                json!({"typed_config": {"use_remote_address": true}}),
                false,
            ),
            ("EXTENSION_CONFIG", "ADD", json!({}), true),
            ("NONSENSE", "ADD", json!({}), false),
        ] {
            let found = effect(apply_to, operation, &value);
            assert_eq!(
                found.is_none(),
                harmless,
                "{apply_to} {operation} {value}: {found:?}"
            );
        }
    }
}
