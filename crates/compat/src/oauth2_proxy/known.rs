//! Settings of oauth2-proxy that have no effect here, and why.

const PAGES: &str = "there is no page before the provider's";
const LOGS: &str = "logs have one form";
const FORWARDS: &str = "nothing is forwarded from here";
const OTHERS: &str = "of another provider: no effect with `oidc`";
const STORE: &str = "sessions lie in the data folder (`--data`)";
const CSRF: &str = "logins under way are bounded and need no settings";
const TLS: &str = "TLS is set by options of `sidegate authz`";
const ADDRESS: &str = "addresses of clients are not looked at";

/// Why a setting has no effect, if it is one of oauth2-proxy.
pub(super) fn effect(key: &str) -> Option<&'static str> {
    let found = TABLE.iter().find(|(names, _)| names.contains(&key));
    found.map(|(_, why)| *why)
}

pub(super) const TABLE: [(&[&str], &str); 13] = [
    (
        &[
            "approval_prompt",
            "banner",
            "custom_sign_in_logo",
            "custom_templates_dir",
            "display_htpasswd_form",
            "footer",
            "provider_display_name",
            "show_debug_on_error",
            "skip_provider_button",
        ],
        PAGES,
    ),
    (
        &[
            "auth_logging",
            "auth_logging_format",
            "errors_to_info_log",
            "exclude_logging_paths",
            "logging_compress",
            "logging_filename",
            "logging_local_time",
            "logging_max_age",
            "logging_max_backups",
            "logging_max_size",
            "request_id_header",
            "request_logging",
            "request_logging_format",
            "silence_ping_logging",
            "standard_logging",
            "standard_logging_format",
        ],
        LOGS,
    ),
    (
        &[
            "basic_auth_password",
            "disable_keep_alives",
            "flush_interval",
            "pass_access_token",
            "pass_authorization_header",
            "pass_basic_auth",
            "pass_host_header",
            "pass_user_headers",
            "prefer_email_to_user",
            "proxy_websockets",
            "set_basic_auth",
            "signature_key",
            "skip_auth_strip_headers",
            "ssl_upstream_insecure_skip_verify",
            "upstream_timeout",
        ],
        FORWARDS,
    ),
    (
        &[
            "azure_graph_group_field",
            "azure_tenant",
            "bitbucket_repository",
            "bitbucket_team",
            "bitbucket_workspace",
            "entra_id_allowed_tenants",
            "entra_id_federated_token_auth",
            "github_org",
            "github_repo",
            "github_team",
            "github_token",
            "github_users",
            "gitlab_groups",
            "gitlab_projects",
            "google_admin_api_user_scope",
            "google_admin_email",
            "google_groups",
            "google_service_account_json",
            "google_target_principal",
            "google_use_application_default_credentials",
            "google_use_organization_id",
            "jwt_key",
            "jwt_key_file",
            "keycloak_groups",
            "pubjwk_url",
            "resource",
        ],
        OTHERS,
    ),
    (
        &[
            "redis_ca_path",
            "redis_cluster_connection_urls",
            "redis_connection_idle_timeout",
            "redis_connection_url",
            "redis_insecure_skip_tls_verify",
            "redis_password",
            "redis_sentinel_connection_urls",
            "redis_sentinel_master_name",
            "redis_sentinel_password",
            "redis_use_cluster",
            "redis_use_sentinel",
            "redis_username",
            "session_cookie_minimal",
            "session_store_type",
        ],
        STORE,
    ),
    (
        &[
            "cookie_csrf_expire",
            "cookie_csrf_per_request",
            "cookie_csrf_per_request_limit",
            "cookie_csrf_samesite",
            "encode_state",
        ],
        CSRF,
    ),
    (
        &[
            "force_https",
            "https_address",
            "metrics_address",
            "metrics_secure_address",
            "metrics_tls_cert_file",
            "metrics_tls_key_file",
            "tls_cert_file",
            "tls_cipher_suites",
            "tls_key_file",
            "tls_min_version",
        ],
        TLS,
    ),
    (
        &[
            "real_client_ip_header",
            "reverse_proxy",
            "trusted_proxy_ips",
        ],
        ADDRESS,
    ),
    (
        &[
            "oidc_public_key_files",
            "provider_ca_files",
            "use_system_trust_store",
        ],
        "the provider is reached as the rest of the system reaches it, and its keys are those that it publishes",
    ),
    (
        &[
            "backend_logout_url",
            "profile_url",
            "skip_claims_from_profile_url",
            "validate_url",
        ],
        "the provider says in its discovery where these are",
    ),
    (
        &["whitelist_domains"],
        "people come back to the host that they came from",
    ),
    (
        &["auth_request_response_mode", "oidc_enabled_signing_algs"],
        "the provider answers with a code, and each of its keys has one algorithm",
    ),
    (
        &["allow_query_semicolons", "htpasswd_user_groups"],
        "nothing here depends on it",
    ),
];
