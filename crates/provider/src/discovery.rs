//! What relying parties read before anything else: `/.well-known/openid-configuration`.

use bytes::Bytes;
use serde_json::json;

use crate::config::DexConfig;
use crate::keys::Algorithm;
use crate::token_endpoint::{DEVICE_CODE, TOKEN_EXCHANGE};
use crate::words::Language;

/// OpenID Connect Discovery 1.0 section 3, with Dex's URLs.
pub(crate) fn document(config: &DexConfig, tells: bool) -> Bytes {
    let url = |path: &str| format!("{}{path}", config.issuer.url());
    let mut grants = vec!["authorization_code", "refresh_token"];
    grants.extend(config.grants.device_code.then_some(DEVICE_CODE));
    grants.extend(
        config
            .grants
            .client_credentials
            .then_some("client_credentials"),
    );
    grants.extend(config.grants.token_exchange.then_some(TOKEN_EXCHANGE));
    grants.extend(config.grants.implicit.then_some("implicit"));
    grants.extend(config.grants.password.then_some("password"));
    let mut modes = vec!["query"];
    modes.extend(config.response_types.has_tokens().then_some("fragment"));
    let mut algorithms = vec![Algorithm::Rs256.name()];
    let of_clients = config.clients.iter().map(|client| client.signing);
    for algorithm in std::iter::once(config.signing).chain(of_clients) {
        if !algorithms.contains(&algorithm.name()) {
            algorithms.push(algorithm.name());
        }
    }
    let mut document = json!({
        "issuer": config.issuer.url(),
        "authorization_endpoint": url("/auth"),
        "token_endpoint": url("/token"),
        "jwks_uri": url("/keys"),
        "userinfo_endpoint": url("/userinfo"),
        "device_authorization_endpoint": url("/device/code"),
        "introspection_endpoint": url("/token/introspect"),
        "introspection_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint": url("/token/revoke"),
        "revocation_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "none"],
        "grant_types_supported": grants,
        "response_types_supported": config.response_types.combinations(),
        "response_modes_supported": modes,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported":
            ["openid", "email", "groups", "profile", "offline_access", "federated:id"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "none"],
        "claims_supported": ["iss", "sub", "aud", "azp", "iat", "exp", "auth_time",
            "nonce", "at_hash", "sid", "amr", "acr", "email", "email_verified", "groups", "name",
            "preferred_username"],
        "acr_values_supported": ["1", "2"],
        "ui_locales_supported": Language::ALL.map(Language::tag),
        "authorization_response_iss_parameter_supported": true,
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    let sessions = json!({
        "end_session_endpoint": url("/logout"),
        "backchannel_logout_supported": tells,
        "backchannel_logout_session_supported": tells,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
    });
    if let (Some(document), Some(_), serde_json::Value::Object(more)) =
        (document.as_object_mut(), &config.sessions, sessions)
    {
        document.extend(more);
    }
    document.to_string().into()
}
