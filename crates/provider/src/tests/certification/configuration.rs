//! `oidcc-config-certification-test-plan`.

use serde_json::Value;

use super::party::{ISSUER, Module};

fn words(metadata: &Value, name: &str) -> Vec<String> {
    let list = metadata[name]
        .as_array()
        .unwrap_or_else(|| panic!("`{name}` is no list"));
    assert!(!list.is_empty(), "{name}");
    list.iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// Metadata that the suite knows (RFC 8414, and what it has read of extensions): those that are here.
const KNOWN: &[&str] = &[
    "authorization_endpoint",
    "authorization_response_iss_parameter_supported",
    "backchannel_logout_session_supported",
    "backchannel_logout_supported",
    "claims_parameter_supported",
    "claims_supported",
    "code_challenge_methods_supported",
    "device_authorization_endpoint",
    "end_session_endpoint",
    "grant_types_supported",
    "id_token_signing_alg_values_supported",
    "introspection_endpoint",
    "introspection_endpoint_auth_methods_supported",
    "issuer",
    "jwks_uri",
    "prompt_values_supported",
    "request_parameter_supported",
    "request_uri_parameter_supported",
    "response_modes_supported",
    "response_types_supported",
    "revocation_endpoint",
    "revocation_endpoint_auth_methods_supported",
    "scopes_supported",
    "subject_types_supported",
    "token_endpoint",
    "token_endpoint_auth_methods_supported",
    "ui_locales_supported",
    "acr_values_supported",
    "userinfo_endpoint",
];

#[tokio::test]
async fn oidcc_discovery_endpoint_verification() {
    let mut module = Module::begin("oidcc-discovery-endpoint-verification").await;
    let metadata = module.metadata().await;
    assert_eq!(metadata["issuer"], ISSUER);
    let members = metadata.as_object().unwrap();
    module.warn_unless(members.keys().all(|name| KNOWN.contains(&name.as_str())));
    assert!(words(&metadata, "response_types_supported").contains(&"code".to_owned()));
    for subject in words(&metadata, "subject_types_supported") {
        assert!(["public", "pairwise"].contains(&&*subject));
    }
    let algorithms = words(&metadata, "id_token_signing_alg_values_supported");
    assert!(algorithms.contains(&"RS256".to_owned()), "{algorithms:?}");
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
    ] {
        assert!(metadata[name].is_string(), "{name}");
    }
    for (name, value) in members {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let url = url::Url::parse(value.as_str().unwrap()).unwrap();
            assert!(
                url.scheme() == "https" && url.fragment().is_none(),
                "{name}"
            );
        }
    }
    module.keys(&metadata).await;
    words(&metadata, "claims_supported");
    words(&metadata, "grant_types_supported");
    words(&metadata, "code_challenge_methods_supported");
    let scopes = words(&metadata, "scopes_supported");
    assert!(scopes.contains(&"openid".to_owned()));
    // RFC 6749 section 3.3.
    let token = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(scopes.iter().all(|scope| scope.bytes().all(token)));
    // `CheckDiscEndpointLocalesSyntax` and `…CanonicalCasing`.
    if let Some(Value::Array(locales)) = metadata.get("ui_locales_supported") {
        for locale in locales.iter().map(|locale| locale.as_str().unwrap()) {
            let (language, region) = locale.split_once('-').unwrap_or((locale, "XX"));
            assert!(
                language.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{locale}"
            );
            assert!((2..=3).contains(&language.len()), "{locale}");
            assert!(
                region.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{locale}"
            );
        }
    }
    module.end();
}
