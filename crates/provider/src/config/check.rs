//! From the file as written to a configuration that is right.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::{self, Defaults};
use super::factors::Chains;
use super::raw::{self, RawConfig, RawExpiry, RawFrontend, RawPassword, RawSessions};
use super::{
    ClientIp, ClientSecret, ConfigError, Connector, ConnectorKind, DexConfig, Expiry, Frontend,
    Grants, Issuer, Pkce, PromptNone, RefreshExpiry, Scheme, SessionRules, Warning, connectors,
    duration, signer, storage, tls,
};
use crate::cors::Cors;
use crate::hash::PasswordHash;
use crate::response_type::ResponseType;
use crate::token_endpoint::{DEVICE_CODE, TOKEN_EXCHANGE};
use crate::user::{LOCAL, User};
use secret::Secret;
use yaml::Text;

pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Longest name shown on pages, in characters.
const MAX_NAME: usize = 60;

pub(super) fn parse(text: &str, env: Env<'_>) -> Result<(DexConfig, Vec<Warning>), ConfigError> {
    parse_text(text, &Text::new(text, 1), &connectors::types(text), env)
}

/// As [`parse`], with the keys of the text and the types of its connectors, where these are known.
pub(super) fn parse_text(
    text: &str,
    keys: &Text,
    types: &[String],
    env: Env<'_>,
) -> Result<(DexConfig, Vec<Warning>), ConfigError> {
    let raw: RawConfig = read(text)?;
    let mut warnings = Vec::new();
    raw::unused_keys(keys, types, &mut warnings);
    let mut grant_types = vec![
        "authorization_code",
        "refresh_token",
        "client_credentials",
        DEVICE_CODE,
        TOKEN_EXCHANGE,
    ];
    let asked = &raw.oauth2;
    grant_types.extend((!asked.password_connector.is_empty()).then_some("password"));
    let has_tokens = asked.response_types.iter().any(|kind| kind != "code");
    grant_types.extend(has_tokens.then_some("implicit"));
    for (key, values, offered) in [
        (
            "oauth2.responseTypes",
            &asked.response_types,
            &["code", "token", "id_token"][..],
        ),
        ("oauth2.grantTypes", &asked.grant_types, &grant_types[..]),
        (
            "oauth2.pkce.codeChallengeMethodsSupported",
            &asked.pkce.code_challenge_methods_supported,
            &["S256"][..],
        ),
    ] {
        for value in values.iter().filter(|v| !offered.contains(&v.as_str())) {
            warnings.push(Warning::UnsupportedValue {
                key: key.to_owned(),
                value: value.clone(),
            });
        }
    }
    if !raw.enable_password_db && raw.connectors.is_empty() {
        return Err(ConfigError::Missing {
            field: "enablePasswordDB".to_owned(),
            expected: "`true`, or `connectors`: there is no other way to log in",
        });
    }
    let issuer = check_issuer(raw.issuer)?;
    let connectors = raw
        .connectors
        .into_iter()
        .enumerate()
        .map(|(index, connector)| {
            connectors::check(
                &format!("connectors[{index}]"),
                connector,
                issuer.path(),
                env,
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    unique(
        "connectors",
        "id",
        connectors.iter().map(|connector| connector.id.clone()),
    )?;
    let users = raw
        .static_passwords
        .into_iter()
        .enumerate()
        .map(|(index, user)| check_user(&format!("staticPasswords[{index}]"), user, env))
        .collect::<Result<Vec<_>, _>>()?;
    unique(
        "staticPasswords",
        "email",
        users.iter().map(|u| u.email.to_lowercase()),
    )?;
    unique(
        "staticPasswords",
        "userID",
        users.iter().map(|u| u.user_id.clone()),
    )?;
    let response_types = ResponseType::of(
        (raw.oauth2.response_types.iter().map(String::as_str))
            .filter(|word| matches!(*word, "code" | "token" | "id_token")),
    )
    .unwrap_or_default();
    let password_connector = check_password_connector(
        raw.oauth2.password_connector,
        raw.enable_password_db,
        &connectors,
    )?;
    let mut grants = grants(&raw.oauth2.grant_types);
    grants.implicit &= response_types.has_tokens();
    grants.password &= password_connector.is_some();
    let signer = signer::check(raw.signer, env)?;
    let chains = Chains::check(raw.mfa, &connectors)?;
    let defaults = Defaults {
        grants,
        signing: signer.algorithm,
        chains: &chains,
        pkce: if raw.oauth2.pkce.enforce {
            Pkce::Required
        } else {
            Pkce::Optional
        },
        prompt_none: match raw.sessions {
            Some(_) => PromptNone::Refuse,
            None => PromptNone::Ignore,
        },
    };
    let clients = raw
        .static_clients
        .into_iter()
        .enumerate()
        .map(|(index, client)| {
            let at = format!("staticClients[{index}]");
            client::check(&at, client, &defaults, env)
        })
        .collect::<Result<Vec<_>, _>>()?;
    unique("staticClients", "id", clients.iter().map(|c| c.id.clone()))?;
    for client in &clients {
        let published =
            |secret: &ClientSecret| compat::PUBLISHED_SECRETS.iter().any(|p| secret.matches(p));
        if client.secret.as_ref().is_some_and(published) {
            warnings.push(Warning::PublishedSecret {
                client: client.id.clone(),
            });
        }
    }
    let frontend = check_frontend(raw.frontend, &mut warnings)?;
    let second_factor_of_clients = chains.default_for_clients()?;
    let mut expiry = check_expiry(raw.expiry)?;
    // As in Dex, where both are there.
    expiry.signing_keys = signer.rotation.unwrap_or(expiry.signing_keys);
    let pkce = defaults.pkce;
    let config = DexConfig {
        frontend,
        signing: signer.algorithm,
        second_factor_of_clients,
        issuer,
        password_db: raw.enable_password_db,
        second_factor: raw.second_factor,
        connectors,
        always_show_login_screen: raw.oauth2.always_show_login_screen,
        storage: storage::check(raw.storage, env)?,
        tls: tls::check(&raw.web)?,
        listen: (raw.web.http)
            .filter(|text| !text.is_empty())
            .map(|text| check_listen("web.http", text))
            .transpose()?,
        cors: Cors::parse(raw.web.allowed_origins, raw.web.allowed_headers)?,
        client_ip: ClientIp::check(raw.web.client_remote_ip)?,
        skip_approval_screen: raw.oauth2.skip_approval_screen,
        sessions: raw.sessions.map(check_sessions).transpose()?,
        pkce,
        grants,
        response_types,
        password_connector,
        expiry,
        users,
        clients,
    };
    Ok((config, warnings))
}

/// The error has no snippet of the source: the line may hold a secret.
fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str_with_options(text, yaml::options()).map_err(|error| ConfigError::Yaml {
        message: yaml::plain(&error.without_snippet().to_string()),
        line: error
            .location()
            .and_then(|at| u32::try_from(at.line()).ok()),
    })
}

fn check_issuer(issuer: Option<String>) -> Result<Issuer, ConfigError> {
    let expected = "an http or https URL without query, fragment and trailing slash";
    let field = || "issuer".to_owned();
    let Some(text) = issuer.filter(|text| !text.is_empty()) else {
        return Err(ConfigError::Missing {
            field: field(),
            expected,
        });
    };
    let path = match url::Url::parse(&text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
                && is_header_safe(&text)
                && !text.ends_with('/') =>
        {
            url.path().trim_end_matches('/').to_owned()
        }
        _ => {
            return Err(ConfigError::Invalid {
                field: field(),
                value: text,
                expected,
            });
        }
    };
    Ok(Issuer { url: text, path })
}

fn check_frontend(raw: RawFrontend, warnings: &mut Vec<Warning>) -> Result<Frontend, ConfigError> {
    let name = raw.issuer.filter(|name| !name.trim().is_empty());
    if let Some(name) = &name
        && (name.chars().count() > MAX_NAME || name.chars().any(char::is_control))
    {
        return Err(ConfigError::Invalid {
            field: "frontend.issuer".to_owned(),
            value: name.chars().take(MAX_NAME).collect(),
            expected: "a name of at most 60 characters",
        });
    }
    let scheme = match raw.theme.as_deref() {
        None | Some("") => Scheme::Both,
        Some("light") => Scheme::Light,
        Some("dark") => Scheme::Dark,
        Some(other) => {
            warnings.push(Warning::UnsupportedValue {
                key: "frontend.theme".to_owned(),
                value: other.to_owned(),
            });
            Scheme::Both
        }
    };
    Ok(Frontend { name, scheme })
}

/// As Go listens: `:5556` is every address.
pub(super) fn check_listen(field: &str, text: String) -> Result<SocketAddr, ConfigError> {
    let written = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.replacen("localhost:", "127.0.0.1:", 1),
    };
    written.parse().map_err(|_| ConfigError::Invalid {
        field: field.to_owned(),
        value: text,
        expected: "an address and a port such as `0.0.0.0:5556`",
    })
}

fn check_expiry(raw: RawExpiry) -> Result<Expiry, ConfigError> {
    let default = Expiry::default();
    let refresh = raw.refresh_tokens;
    Ok(Expiry {
        id_tokens: lifetime("expiry.idTokens", raw.id_tokens, default.id_tokens)?,
        auth_requests: lifetime(
            "expiry.authRequests",
            raw.auth_requests,
            default.auth_requests,
        )?,
        device_requests: lifetime(
            "expiry.deviceRequests",
            raw.device_requests,
            default.device_requests,
        )?,
        signing_keys: lifetime("expiry.signingKeys", raw.signing_keys, default.signing_keys)?,
        refresh: RefreshExpiry {
            disable_rotation: refresh.disable_rotation,
            reuse_interval: lifetime(
                "expiry.refreshTokens.reuseInterval",
                refresh.reuse_interval,
                default.refresh.reuse_interval,
            )?,
            idle: lifetime(
                "expiry.refreshTokens.validIfNotUsedFor",
                refresh.valid_if_not_used_for,
                default.refresh.idle,
            )?,
            absolute: lifetime(
                "expiry.refreshTokens.absoluteLifetime",
                refresh.absolute_lifetime,
                default.refresh.absolute,
            )?,
        },
    })
}

fn grants(listed: &[String]) -> Grants {
    let has = |name: &str| listed.iter().any(|grant| grant == name);
    Grants {
        client_credentials: has("client_credentials"),
        device_code: listed.is_empty() || has(DEVICE_CODE),
        token_exchange: listed.is_empty() || has(TOKEN_EXCHANGE),
        implicit: listed.is_empty() || has("implicit"),
        password: listed.is_empty() || has("password"),
    }
}

/// Only users here and directories take passwords.
fn check_password_connector(
    id: String,
    password_db: bool,
    connectors: &[Connector],
) -> Result<Option<String>, ConfigError> {
    let known = match id.as_str() {
        "" => return Ok(None),
        LOCAL => password_db,
        id => connectors.iter().any(|connector| {
            connector.id == id && matches!(connector.kind, ConnectorKind::Ldap(_))
        }),
    };
    match known {
        true => Ok(Some(id)),
        false => Err(ConfigError::Invalid {
            field: "oauth2.passwordConnector".to_owned(),
            value: id,
            expected: "`local` with `enablePasswordDB`, or the `id` of a connector of type `ldap`",
        }),
    }
}

/// Lifetimes are Dex's where they are not given.
fn check_sessions(raw: RawSessions) -> Result<SessionRules, ConfigError> {
    let hours = |h: u64| Duration::from_secs(h * 3600);
    let shared = raw.sso_shared_with_default.unwrap_or_default();
    Ok(SessionRules {
        absolute: lifetime(
            "sessions.absoluteLifetime",
            raw.absolute_lifetime,
            hours(24),
        )?,
        idle: lifetime(
            "sessions.validIfNotUsedFor",
            raw.valid_if_not_used_for,
            hours(1),
        )?,
        shared_with_all: match shared.as_str() {
            "all" => true,
            "none" | "" => false,
            _ => {
                return Err(ConfigError::Invalid {
                    field: "sessions.ssoSharedWithDefault".to_owned(),
                    value: shared,
                    expected: "`all` or `none`",
                });
            }
        },
    })
}

pub(super) fn lifetime(
    field: &str,
    text: Option<String>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let Some(text) = text else {
        return Ok(default);
    };
    duration::parse(&text).ok_or(ConfigError::Invalid {
        field: field.to_owned(),
        value: text,
        expected: "a duration such as `24h` or `1h30m`",
    })
}

fn check_user(at: &str, raw: RawPassword, env: Env<'_>) -> Result<User, ConfigError> {
    let email = required(at, "email", raw.email, "an e-mail address")?;
    let user_id = required(
        at,
        "userID",
        raw.user_id,
        "an identifier that never changes",
    )?;
    let username = required(at, "username", raw.username, "a name")?;
    // Dex reads `hashFromEnv` only when there is no `hash`.
    let (field, text) = match (raw.hash, raw.hash_from_env) {
        (Some(hash), _) if !hash.expose().is_empty() => (format!("{at}.hash"), hash),
        (_, Some(variable)) => {
            let field = format!("{at}.hashFromEnv");
            let value = from_env(&field, &variable, env)?;
            (field, Secret::new(value))
        }
        _ => {
            return Err(ConfigError::Missing {
                field: format!("{at}.hash"),
                expected: "a bcrypt hash, here or in `hashFromEnv`",
            });
        }
    };
    let hash = PasswordHash::parse(text.expose().trim()).ok_or(ConfigError::Invalid {
        field,
        value: "(hidden)".to_owned(),
        expected: "a bcrypt hash (`$2a$`, `$2b$` or `$2y$`) of cost 10 to 16, plain or in base64",
    })?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(User {
        email,
        email_verified: raw.email_verified.unwrap_or(true),
        hash: Some(hash),
        name: filled(raw.name).unwrap_or(username),
        preferred_username: filled(raw.preferred_username),
        groups: raw.groups,
        user_id,
        connector: LOCAL.to_owned(),
        epoch: 0,
    })
}

/// A value that may stand in the file or in the environment, not both.
pub(super) fn either(
    at: &str,
    [name, env_name]: [&'static str; 2],
    value: Option<String>,
    variable: Option<String>,
    env: Env<'_>,
) -> Result<Option<String>, ConfigError> {
    let value = value.filter(|value| !value.is_empty());
    match (value, variable.filter(|variable| !variable.is_empty())) {
        (Some(_), Some(_)) => Err(ConfigError::Exclusive {
            field: format!("{at}.{name}"),
            other: env_name,
        }),
        (None, Some(variable)) => from_env(&format!("{at}.{env_name}"), &variable, env).map(Some),
        (value, None) => Ok(value),
    }
}

fn from_env(field: &str, variable: &str, env: Env<'_>) -> Result<String, ConfigError> {
    env(variable)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ConfigError::Environment {
            field: field.to_owned(),
            variable: variable.to_owned(),
        })
}

pub(super) fn required(
    at: &str,
    name: &str,
    value: String,
    expected: &'static str,
) -> Result<String, ConfigError> {
    if value.is_empty() {
        return Err(missing(at, name, expected));
    }
    Ok(value)
}

pub(super) fn missing(at: &str, name: &str, expected: &'static str) -> ConfigError {
    ConfigError::Missing {
        field: format!("{at}.{name}"),
        expected,
    }
}

pub(super) fn unique(
    list: &str,
    name: &str,
    values: impl Iterator<Item = String>,
) -> Result<(), ConfigError> {
    let mut seen = std::collections::HashSet::new();
    for (index, value) in values.enumerate() {
        if !seen.insert(value.clone()) {
            return Err(ConfigError::Duplicate {
                field: format!("{list}[{index}].{name}"),
                value,
            });
        }
    }
    Ok(())
}

/// Where logout tokens can be sent (OpenID Connect Back-Channel Logout 1.0, section 2.2).
pub(crate) fn is_logout_target(uri: &str) -> bool {
    url::Url::parse(uri).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none()
    })
}

/// A path of this host, or an absolute URI whose scheme does not run in the browser.
pub(crate) fn is_redirect_target(uri: &str) -> bool {
    if !is_header_safe(uri) || uri.contains(['#', '\\']) {
        return false;
    }
    if uri.starts_with('/') {
        return !uri.starts_with("//");
    }
    url::Url::parse(uri).is_ok_and(|url| {
        !matches!(
            url.scheme(),
            "javascript" | "data" | "vbscript" | "blob" | "about" | "file"
        )
    })
}

/// Visible ASCII only: what a `Location` header carries unchanged.
pub(super) fn is_header_safe(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
