//! Dex's configuration file as written (`cmd/dex/config.go`), and the keys that it knows.

use serde::Deserialize;
use yaml::{Step, Text, dotted};

use super::connectors::RawConnector;
use super::factors::RawMfa;
use super::signer::RawSigner;
use super::storage::RawStorage;
use super::{Exchange, Pkce, PromptNone, RefreshLifetime, SecondFactor, Warning};
use crate::keys::Algorithm;
use secret::Secret;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawConfig {
    pub(super) issuer: Option<String>,
    pub(super) storage: Option<RawStorage>,
    pub(super) web: RawWeb,
    pub(super) oauth2: RawOauth2,
    pub(super) expiry: RawExpiry,
    pub(super) frontend: RawFrontend,
    pub(super) sessions: Option<RawSessions>,
    pub(super) signer: RawSigner,
    pub(super) mfa: RawMfa,
    #[serde(rename = "enablePasswordDB")]
    pub(super) enable_password_db: bool,
    pub(super) second_factor: SecondFactor,
    pub(super) connectors: Vec<RawConnector>,
    pub(super) static_passwords: Vec<RawPassword>,
    pub(super) static_clients: Vec<RawClient>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawFrontend {
    pub(super) issuer: Option<String>,
    pub(super) theme: Option<String>,
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
pub(super) struct RawWeb {
    pub(super) http: Option<String>,
    pub(super) https: Option<String>,
    pub(super) tls_cert: String,
    pub(super) tls_key: String,
    pub(super) tls_min_version: String,
    pub(super) tls_max_version: String,
    pub(super) allowed_origins: Vec<String>,
    pub(super) allowed_headers: Vec<String>,
    #[serde(rename = "clientRemoteIP")]
    pub(super) client_remote_ip: RawClientIp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawClientIp {
    pub(super) header: String,
    pub(super) trusted_proxies: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawOauth2 {
    pub(super) skip_approval_screen: bool,
    pub(super) always_show_login_screen: bool,
    pub(super) response_types: Vec<String>,
    pub(super) grant_types: Vec<String>,
    pub(super) password_connector: String,
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
    pub(super) allowed_connectors: Vec<String>,
    pub(super) allowed_scopes: Vec<String>,
    pub(super) grant_types: Vec<String>,
    pub(super) second_factor: SecondFactor,
    pub(super) public: bool,
    pub(super) name: String,
    pub(super) id_token_signed_response_alg: Option<Algorithm>,
    pub(super) access_token_signed_response_alg: Option<Algorithm>,
    pub(super) token_exchange: Vec<Exchange>,
    pub(super) client_credentials_claims: RawClaims,
    pub(super) mfa_chain: Option<Vec<String>>,
    pub(super) refresh_token_lifetime: RefreshLifetime,
    pub(super) pkce: Option<Pkce>,
    pub(super) prompt_none: Option<PromptNone>,
    pub(super) sso_shared_with: Option<Vec<String>>,
    #[serde(rename = "postLogoutRedirectURIs")]
    pub(super) post_logout_redirect_uris: Vec<String>,
    #[serde(rename = "backchannelLogoutURI")]
    pub(super) backchannel_logout_uri: Option<String>,
}

/// What a key means to us.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    /// It has the effect that it has in Dex.
    Taken,
    /// About what is done otherwise here: why it has no effect.
    Elsewhere(&'static str),
    /// A key of Dex whose effect is missing here.
    Unsupported,
    /// An object with keys of its own.
    Object(&'static [(&'static str, Key)]),
    /// A list of such objects.
    List(&'static [(&'static str, Key)]),
    /// An object whose keys depend on the `type` beside it.
    Typed,
}

use Key::{Elsewhere, List, Object, Taken, Typed, Unsupported};

const ROOT: &[(&str, Key)] = &[
    ("issuer", Taken),
    (
        "storage",
        Elsewhere("keys, sessions and tokens are kept in one file of the data folder"),
    ),
    ("web", Object(WEB)),
    (
        "telemetry",
        Elsewhere("health is answered beside the issuer's URLs"),
    ),
    ("grpc", Unsupported),
    ("logger", Elsewhere("the program writes its own log")),
    ("frontend", Object(FRONTEND)),
    ("signer", Object(SIGNER)),
    ("connectors", List(CONNECTOR)),
    ("sessions", Object(SESSIONS)),
    ("mfa", Object(MFA)),
    ("secondFactor", Taken),
    ("enablePasswordDB", Taken),
    ("oauth2", Object(OAUTH2)),
    ("expiry", Object(EXPIRY)),
    ("staticPasswords", List(PASSWORD)),
    ("staticClients", List(CLIENT)),
];
const FRONTEND: &[(&str, Key)] = &[
    ("issuer", Taken),
    ("theme", Taken),
    (
        "dir",
        Elsewhere(
            "pages have templates of their own: the folder of `--theme` changes their look and words",
        ),
    ),
    (
        "logoURL",
        Elsewhere(
            "pages load nothing: put it into the folder of `--theme` as logo.svg or logo.png",
        ),
    ),
    ("extra", Elsewhere("only templates of Dex read it")),
];
const SIGNER: &[(&str, Key)] = &[
    ("type", Taken),
    (
        "config",
        Object(&[("keysRotationPeriod", Taken), ("algorithm", Taken)]),
    ),
];
const MFA: &[(&str, Key)] = &[
    (
        "authenticators",
        List(&[
            ("id", Taken),
            ("type", Taken),
            (
                "config",
                Elsewhere("apps and passkeys have settings of their own"),
            ),
            ("connectorTypes", Taken),
        ]),
    ),
    ("defaultMFAChain", Taken),
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
const WEB: &[(&str, Key)] = &[
    ("http", Taken),
    ("https", Taken),
    ("tlsCert", Taken),
    ("tlsKey", Taken),
    ("tlsMinVersion", Taken),
    ("tlsMaxVersion", Taken),
    (
        "headers",
        Elsewhere("pages have strict headers of their own"),
    ),
    ("allowedOrigins", Taken),
    ("allowedHeaders", Taken),
    (
        "clientRemoteIP",
        Object(&[("header", Taken), ("trustedProxies", Taken)]),
    ),
];
const OAUTH2: &[(&str, Key)] = &[
    ("skipApprovalScreen", Taken),
    ("responseTypes", Taken),
    ("grantTypes", Taken),
    ("alwaysShowLoginScreen", Taken),
    ("passwordConnector", Taken),
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
    ("accessTokenSignedResponseAlg", Taken),
    ("logoURL", Unsupported),
    ("allowedConnectors", Taken),
    ("allowedScopes", Taken),
    ("grantTypes", Taken),
    ("secondFactor", Taken),
    ("pkce", Taken),
    ("promptNone", Taken),
    ("postLogoutRedirectURIs", Taken),
    ("backchannelLogoutURI", Taken),
    ("refreshTokenLifetime", Taken),
    ("ssoSharedWith", Taken),
    ("mfaChain", Taken),
    ("clientCredentialsClaims", Object(&[("groups", Taken)])),
    (
        "tokenExchange",
        List(&[("subject", Taken), ("user", Taken)]),
    ),
];

const CONNECTOR: &[(&str, Key)] = &[
    ("type", Taken),
    ("id", Taken),
    ("name", Taken),
    ("config", Typed),
    ("grantTypes", Taken),
];
const OIDC: &[(&str, Key)] = &[
    ("issuer", Taken),
    ("issuerAlias", Taken),
    ("clientID", Taken),
    ("clientSecret", Taken),
    ("redirectURI", Taken),
    (
        "providerDiscoveryOverrides",
        Object(&[
            ("tokenURL", Taken),
            ("authURL", Taken),
            ("jwksURL", Taken),
            ("userInfoURL", Taken),
            ("deviceAuthURL", Elsewhere("nobody asks there")),
            (
                "endSessionURL",
                Elsewhere("a logout here does not reach it"),
            ),
        ]),
    ),
    ("basicAuthUnsupported", Taken),
    ("scopes", Taken),
    ("hostedDomains", Taken),
    ("rootCAs", Taken),
    ("insecureSkipEmailVerified", Taken),
    ("insecureEnableGroups", Taken),
    ("allowedGroups", Taken),
    ("acrValues", Taken),
    ("insecureSkipVerify", Taken),
    ("getUserInfo", Taken),
    ("userIDKey", Taken),
    ("userNameKey", Taken),
    ("promptType", Taken),
    ("pkceChallenge", Elsewhere("PKCE is always used, with S256")),
    ("overrideClaimMapping", Taken),
    (
        "claimMapping",
        Object(&[
            ("preferred_username", Taken),
            ("email", Taken),
            ("groups", Taken),
        ]),
    ),
    (
        "claimModifications",
        Object(&[
            (
                "newGroupFromClaims",
                List(&[
                    ("claims", Taken),
                    ("delimiter", Taken),
                    ("clearDelimiter", Taken),
                    ("prefix", Taken),
                ]),
            ),
            ("filterGroupClaims", Object(&[("groupsFilter", Taken)])),
            (
                "modifyGroupNames",
                Object(&[("prefix", Taken), ("suffix", Taken)]),
            ),
        ]),
    ),
];
const LDAP: &[(&str, Key)] = &[
    ("host", Taken),
    ("insecureNoSSL", Taken),
    ("insecureSkipVerify", Taken),
    ("startTLS", Taken),
    ("rootCA", Taken),
    ("rootCAData", Taken),
    ("clientCert", Taken),
    ("clientKey", Taken),
    ("bindDN", Taken),
    ("bindPW", Taken),
    ("usernamePrompt", Taken),
    (
        "kerberos",
        Elsewhere("passwords are taken, tickets are not"),
    ),
    (
        "userSearch",
        Object(&[
            ("baseDN", Taken),
            ("filter", Taken),
            ("username", Taken),
            ("scope", Taken),
            ("idAttr", Taken),
            ("emailAttr", Taken),
            ("nameAttr", Taken),
            ("preferredUsernameAttr", Taken),
            ("emailSuffix", Taken),
        ]),
    ),
    (
        "groupSearch",
        Object(&[
            ("baseDN", Taken),
            ("filter", Taken),
            ("scope", Taken),
            ("userAttr", Taken),
            ("groupAttr", Taken),
            ("recursionGroupAttr", Taken),
            (
                "userMatchers",
                List(&[
                    ("userAttr", Taken),
                    ("groupAttr", Taken),
                    ("recursionGroupAttr", Taken),
                ]),
            ),
            ("nameAttr", Taken),
        ]),
    ),
];

/// What the key at a path means: `None` inside of one that is judged as a whole, `Some(None)` for
/// one that Dex does not know. `types` are those of the file's connectors.
pub(super) fn key_at(path: &[Step], types: &[String]) -> Option<Option<Key>> {
    let mut known = ROOT;
    let mut found = None;
    let mut index = 0;
    for step in path {
        match step {
            Step::Key(name) => {
                match found {
                    None | Some(Object(_) | List(_)) => {}
                    Some(Typed) => {
                        known = match types.get(index).map(String::as_str) {
                            Some("oidc") => OIDC,
                            Some("ldap") => LDAP,
                            _ => return None,
                        };
                    }
                    Some(Taken | Elsewhere(_) | Unsupported) => return None,
                }
                let Some((_, key)) = known.iter().find(|(known, _)| known == name) else {
                    let last = path.last() == Some(step);
                    return last.then_some(None);
                };
                if let Object(keys) | List(keys) = key {
                    known = keys;
                }
                found = Some(*key);
            }
            Step::Index(at) => index = *at,
        }
    }
    Some(found)
}

/// Names every key of `document` that has no effect and is expected to have one.
pub(super) fn unused_keys(document: &Text, types: &[String], warnings: &mut Vec<Warning>) {
    for key in document.keys() {
        let name = || dotted(&key.path);
        match key_at(&key.path, types) {
            Some(None) => warnings.push(Warning::UnknownKey { key: name() }),
            Some(Some(Unsupported)) => warnings.push(Warning::UnsupportedKey { key: name() }),
            _ => {}
        }
    }
}
