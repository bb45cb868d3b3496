//! Dex's configuration file as written (`cmd/dex/config.go`), and the keys that it knows.

use serde::Deserialize;
use serde_json::Value;

use super::{Exchange, Pkce, PromptNone, Warning};
use crate::keys::Algorithm;
use secret::Secret;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawConfig {
    pub(super) issuer: Option<String>,
    pub(super) oauth2: RawOauth2,
    pub(super) expiry: RawExpiry,
    pub(super) sessions: Option<RawSessions>,
    #[serde(rename = "enablePasswordDB")]
    pub(super) enable_password_db: bool,
    pub(super) static_passwords: Vec<RawPassword>,
    pub(super) static_clients: Vec<RawClient>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawClaims {
    pub(super) groups: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawSessions {
    pub(super) absolute_lifetime: Option<String>,
    pub(super) valid_if_not_used_for: Option<String>,
    pub(super) sso_shared_with_default: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawOauth2 {
    pub(super) skip_approval_screen: bool,
    pub(super) response_types: Vec<String>,
    pub(super) grant_types: Vec<String>,
    pub(super) pkce: RawPkce,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawPkce {
    pub(super) enforce: bool,
    pub(super) code_challenge_methods_supported: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawExpiry {
    pub(super) id_tokens: Option<String>,
    pub(super) auth_requests: Option<String>,
    pub(super) signing_keys: Option<String>,
    pub(super) device_requests: Option<String>,
    pub(super) refresh_tokens: RawRefresh,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawRefresh {
    pub(super) disable_rotation: bool,
    pub(super) reuse_interval: Option<String>,
    pub(super) valid_if_not_used_for: Option<String>,
    pub(super) absolute_lifetime: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawPassword {
    pub(super) email: String,
    pub(super) hash: Option<Secret>,
    pub(super) hash_from_env: Option<String>,
    pub(super) username: String,
    pub(super) name: Option<String>,
    pub(super) preferred_username: Option<String>,
    pub(super) email_verified: Option<bool>,
    pub(super) groups: Vec<String>,
    #[serde(rename = "userID")]
    pub(super) user_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawClient {
    pub(super) id: Option<String>,
    pub(super) id_env: Option<String>,
    pub(super) secret: Option<Secret>,
    pub(super) secret_env: Option<String>,
    #[serde(rename = "redirectURIs")]
    pub(super) redirect_uris: Vec<String>,
    pub(super) trusted_peers: Vec<String>,
    pub(super) public: bool,
    pub(super) name: String,
    pub(super) id_token_signed_response_alg: Algorithm,
    pub(super) token_exchange: Vec<Exchange>,
    pub(super) client_credentials_claims: RawClaims,
    pub(super) pkce: Option<Pkce>,
    pub(super) prompt_none: Option<PromptNone>,
    pub(super) sso_shared_with: Option<Vec<String>>,
    #[serde(rename = "postLogoutRedirectURIs")]
    pub(super) post_logout_redirect_uris: Vec<String>,
    #[serde(rename = "backchannelLogoutURI")]
    pub(super) backchannel_logout_uri: Option<String>,
}

/// What a key means to us.
#[derive(Clone, Copy)]
enum Key {
    /// Read, or about a process of its own that the embedded provider does not have.
    Taken,
    /// A key of Dex whose effect is missing here.
    Unsupported,
    /// An object with keys of its own.
    Object(&'static [(&'static str, Key)]),
    /// A list of such objects.
    List(&'static [(&'static str, Key)]),
}

use Key::{List, Object, Taken, Unsupported};

const ROOT: &[(&str, Key)] = &[
    ("issuer", Taken),
    ("storage", Taken),
    ("web", Taken),
    ("telemetry", Taken),
    ("grpc", Unsupported),
    ("logger", Taken),
    ("frontend", Unsupported),
    ("signer", Unsupported),
    ("connectors", Unsupported),
    ("sessions", Object(SESSIONS)),
    ("mfa", Unsupported),
    ("enablePasswordDB", Taken),
    ("oauth2", Object(OAUTH2)),
    ("expiry", Object(EXPIRY)),
    ("staticPasswords", List(PASSWORD)),
    ("staticClients", List(CLIENT)),
];
const SESSIONS: &[(&str, Key)] = &[
    ("cookieName", Unsupported),
    ("absoluteLifetime", Taken),
    ("validIfNotUsedFor", Taken),
    ("rememberMeCheckedByDefault", Unsupported),
    // Cookies hold a random name and nothing else.
    ("cookieEncryptionKey", Taken),
    ("ssoSharedWithDefault", Taken),
];
const OAUTH2: &[(&str, Key)] = &[
    ("skipApprovalScreen", Taken),
    ("responseTypes", Taken),
    ("grantTypes", Taken),
    ("alwaysShowLoginScreen", Taken),
    ("passwordConnector", Unsupported),
    (
        "pkce",
        Object(&[("enforce", Taken), ("codeChallengeMethodsSupported", Taken)]),
    ),
];
const EXPIRY: &[(&str, Key)] = &[
    ("idTokens", Taken),
    ("authRequests", Taken),
    ("signingKeys", Taken),
    ("deviceRequests", Taken),
    (
        "refreshTokens",
        Object(&[
            ("disableRotation", Taken),
            ("reuseInterval", Taken),
            ("validIfNotUsedFor", Taken),
            ("absoluteLifetime", Taken),
        ]),
    ),
];
const PASSWORD: &[(&str, Key)] = &[
    ("email", Taken),
    ("hash", Taken),
    ("hashFromEnv", Taken),
    ("username", Taken),
    ("name", Taken),
    ("preferredUsername", Taken),
    ("emailVerified", Taken),
    ("groups", Taken),
    ("userID", Taken),
];
const CLIENT: &[(&str, Key)] = &[
    ("id", Taken),
    ("idEnv", Taken),
    ("secret", Taken),
    ("secretEnv", Taken),
    ("redirectURIs", Taken),
    ("trustedPeers", Taken),
    ("public", Taken),
    ("name", Taken),
    ("idTokenSignedResponseAlg", Taken),
    ("logoURL", Unsupported),
    ("allowedConnectors", Unsupported),
    ("pkce", Taken),
    ("promptNone", Taken),
    ("postLogoutRedirectURIs", Taken),
    ("backchannelLogoutURI", Taken),
    ("refreshTokenLifetime", Unsupported),
    ("ssoSharedWith", Taken),
    ("mfaChain", Unsupported),
    ("clientCredentialsClaims", Object(&[("groups", Taken)])),
    (
        "tokenExchange",
        List(&[("subject", Taken), ("user", Taken)]),
    ),
];

/// Names every key of `document` that has no effect.
pub(super) fn unused_keys(document: &Value, warnings: &mut Vec<Warning>) {
    walk(document, ROOT, "", warnings);
}

fn walk(value: &Value, known: &[(&str, Key)], path: &str, warnings: &mut Vec<Warning>) {
    let Value::Object(object) = value else { return };
    for (name, inner) in object {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match known.iter().find(|(known, _)| known == name) {
            None => warnings.push(Warning::UnknownKey { key: path }),
            Some((_, Taken)) => {}
            Some((_, Unsupported)) => warnings.push(Warning::UnsupportedKey { key: path }),
            Some((_, Object(keys))) => walk(inner, keys, &path, warnings),
            Some((_, List(keys))) => {
                for (index, item) in inner.as_array().into_iter().flatten().enumerate() {
                    walk(item, keys, &format!("{path}[{index}]"), warnings);
                }
            }
        }
    }
}
