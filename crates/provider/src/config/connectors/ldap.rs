//! The `config` of an `ldap` connector.

use std::path::PathBuf;

use ::ldap::{Filter, Scope, Security};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secret::Secret;
use serde::Deserialize;

use crate::config::ConfigError;

/// The `config` of an `ldap` connector.
#[derive(Debug, Clone)]
pub struct LdapConnector {
    /// `host` without its port.
    pub host: String,
    /// The port: 636, or 389 without TLS.
    pub port: u16,
    /// `insecureNoSSL`, `startTLS` or neither.
    pub security: Security,
    /// `rootCA`.
    pub root_ca: Option<PathBuf>,
    /// `rootCAData`: PEM.
    pub root_ca_data: Vec<u8>,
    /// `clientCert` and `clientKey`.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `bindDN` and `bindPW`; without them searches are anonymous.
    pub bind: Option<(String, Secret)>,
    /// `usernamePrompt`.
    pub prompt: String,
    /// `userSearch`.
    pub users: UserSearch,
    /// `groupSearch`, where it has a `baseDN`.
    pub groups: Option<GroupSearch>,
}

/// `userSearch`.
#[derive(Debug, Clone)]
pub struct UserSearch {
    pub(crate) base: String,
    pub(crate) filter: Option<Filter>,
    pub(crate) username: Vec<String>,
    pub(crate) scope: Scope,
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: Option<String>,
    pub(crate) preferred_username: Option<String>,
    pub(crate) email_suffix: Option<String>,
}

/// `groupSearch`.
#[derive(Debug, Clone)]
pub struct GroupSearch {
    pub(crate) base: String,
    pub(crate) filter: Option<Filter>,
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// One of `userMatchers`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Matcher {
    pub(crate) user_attr: String,
    pub(crate) group_attr: String,
    pub(crate) recursion_group_attr: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawLdap {
    host: String,
    #[serde(rename = "insecureNoSSL")]
    insecure_no_ssl: bool,
    insecure_skip_verify: bool,
    #[serde(rename = "startTLS")]
    start_tls: bool,
    #[serde(rename = "rootCA")]
    root_ca: String,
    #[serde(rename = "rootCAData")]
    root_ca_data: String,
    client_cert: String,
    client_key: String,
    #[serde(rename = "bindDN")]
    bind_dn: String,
    #[serde(rename = "bindPW")]
    bind_pw: String,
    username_prompt: String,
    kerberos: Option<RawKerberos>,
    user_search: RawUserSearch,
    group_search: RawGroupSearch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawKerberos {
    enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawUserSearch {
    #[serde(rename = "baseDN")]
    base_dn: String,
    filter: String,
    username: OneOrMany,
    scope: String,
    id_attr: String,
    email_attr: String,
    name_attr: String,
    preferred_username_attr: String,
    email_suffix: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawGroupSearch {
    #[serde(rename = "baseDN")]
    base_dn: String,
    filter: String,
    scope: String,
    user_attr: String,
    group_attr: String,
    recursion_group_attr: String,
    user_matchers: Vec<Matcher>,
    name_attr: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

pub(super) fn check(at: &str, raw: RawLdap) -> Result<LdapConnector, ConfigError> {
    let invalid = |name: &str, value: &str, expected| ConfigError::Invalid {
        field: format!("{at}.{name}"),
        value: value.to_owned(),
        expected,
    };
    let missing = |name: &str, expected| ConfigError::Missing {
        field: format!("{at}.{name}"),
        expected,
    };
    if raw.insecure_skip_verify {
        let expected = "`false`: certificates are always verified; name the authority in `rootCA`";
        return Err(invalid("insecureSkipVerify", "true", expected));
    }
    if raw.kerberos.is_some_and(|kerberos| kerberos.enabled) {
        let expected = "`false`: tickets of Kerberos are not taken here, passwords are";
        return Err(invalid("kerberos.enabled", "true", expected));
    }
    let security = match (raw.insecure_no_ssl, raw.start_tls) {
        (true, true) => {
            return Err(ConfigError::Exclusive {
                field: format!("{at}.insecureNoSSL"),
                other: "startTLS",
            });
        }
        (true, false) => Security::None,
        (false, true) => Security::StartTls,
        (false, false) => Security::Tls,
    };
    if raw.host.is_empty() {
        return Err(missing("host", "a host such as `ldap.example.com:636`"));
    }
    let otherwise = if security == Security::None { 389 } else { 636 };
    let (host, port) = host_and_port(&raw.host, otherwise)
        .ok_or_else(|| invalid("host", &raw.host, "a host such as `ldap.example.com:636`"))?;
    let bind = match (raw.bind_dn.is_empty(), raw.bind_pw.is_empty()) {
        (true, true) => None,
        (false, false) => Some((raw.bind_dn, Secret::new(raw.bind_pw))),
        (true, false) => return Err(missing("bindDN", "the name that `bindPW` belongs to")),
        // A name without a password is bound as nobody (RFC 4513 section 5.1.2).
        (false, true) => return Err(missing("bindPW", "the password of `bindDN`")),
    };
    let scope = |name: &str, text: &str| match text {
        "" | "sub" => Ok(Scope::Sub),
        "one" => Ok(Scope::One),
        _ => Err(invalid(name, text, "`sub` or `one`")),
    };
    let filter = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => Filter::parse(text)
            .map(Some)
            .map_err(|_| invalid(name, text, "a filter such as `(objectClass=person)`")),
    };
    let attribute = |text: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b';' | b'_');
        !text.is_empty() && text.bytes().all(fine)
    };
    let (users, groups) = (raw.user_search, raw.group_search);
    if users.base_dn.is_empty() {
        return Err(missing(
            "userSearch.baseDN",
            "a name such as `ou=people,dc=example,dc=com`",
        ));
    }
    let username = match users.username {
        OneOrMany::One(one) if one.is_empty() => Vec::new(),
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    if username.is_empty() {
        return Err(missing("userSearch.username", "an attribute such as `uid`"));
    }
    let or = |text: &str, default: &str| match text {
        "" => default.to_owned(),
        text => text.to_owned(),
    };
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    if !users.email_suffix.is_empty() && users.name_attr.is_empty() {
        let expected = "an attribute: with `emailSuffix` addresses are made of its values";
        return Err(missing("userSearch.nameAttr", expected));
    }
    let mut matchers = groups.user_matchers;
    if matchers
        .first()
        .is_none_or(|matcher| matcher.user_attr.is_empty())
    {
        matchers = vec![Matcher {
            user_attr: groups.user_attr,
            group_attr: groups.group_attr,
            recursion_group_attr: groups.recursion_group_attr,
        }];
    }
    let group_search = match groups.base_dn {
        none if none.is_empty() => None,
        base => Some(GroupSearch {
            base,
            filter: filter("groupSearch.filter", &groups.filter)?,
            scope: scope("groupSearch.scope", &groups.scope)?,
            name: groups.name_attr,
            matchers,
        }),
    };
    let users = UserSearch {
        base: users.base_dn,
        filter: filter("userSearch.filter", &users.filter)?,
        username,
        scope: scope("userSearch.scope", &users.scope)?,
        id: or(&users.id_attr, "uid"),
        email: or(&users.email_attr, "mail"),
        name: filled(users.name_attr),
        preferred_username: filled(users.preferred_username_attr),
        email_suffix: filled(users.email_suffix),
    };
    let mut attributes: Vec<(&str, &str)> = vec![
        ("userSearch.idAttr", &users.id),
        ("userSearch.emailAttr", &users.email),
    ];
    attributes.extend(
        users
            .username
            .iter()
            .map(|name| ("userSearch.username", name.as_str())),
    );
    attributes.extend(
        users
            .name
            .iter()
            .map(|name| ("userSearch.nameAttr", name.as_str())),
    );
    let preferred = users.preferred_username.iter();
    attributes.extend(preferred.map(|name| ("userSearch.preferredUsernameAttr", name.as_str())));
    if let Some(groups) = &group_search {
        attributes.push(("groupSearch.nameAttr", &groups.name));
        for matcher in &groups.matchers {
            attributes.push(("groupSearch.userMatchers[0].userAttr", &matcher.user_attr));
            attributes.push(("groupSearch.userMatchers[0].groupAttr", &matcher.group_attr));
        }
    }
    if let Some((name, bad)) = attributes.into_iter().find(|(_, text)| !attribute(text)) {
        return Err(invalid(name, bad, "the name of an attribute such as `uid`"));
    }
    let data = raw.root_ca_data.split_whitespace().collect::<String>();
    let root_ca_data = STANDARD.decode(&data).map_err(|_| {
        invalid(
            "rootCAData",
            "(hidden)",
            "certificates in PEM, all of it in base64",
        )
    })?;
    Ok(LdapConnector {
        host,
        port,
        security,
        root_ca: filled(raw.root_ca).map(PathBuf::from),
        root_ca_data,
        client: match (raw.client_cert.is_empty(), raw.client_key.is_empty()) {
            (true, true) => None,
            (false, false) => Some((raw.client_cert.into(), raw.client_key.into())),
            (true, false) => return Err(missing("clientCert", "the certificate of `clientKey`")),
            (false, true) => return Err(missing("clientKey", "the key of `clientCert`")),
        },
        bind,
        prompt: or(&raw.username_prompt, "Username"),
        users,
        groups: group_search,
    })
}

/// `host`, `host:port`, `[::1]:port`.
fn host_and_port(text: &str, otherwise: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok()?)
        }
        _ => (text, otherwise),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let fine = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    fine.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, expected) in [
            ("ldap.example.com", Some(("ldap.example.com", 636))),
            ("ldap.example.com:1636", Some(("ldap.example.com", 1636))),
            ("[::1]:1636", Some(("::1", 1636))),
            ("::1", Some(("::1", 636))),
            ("ldap.example.com:x", None),
            (":636", None),
            ("ldap://x", None),
        ] {
            let found = host_and_port(text, 636);
            let found = found.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(found, expected, "{text}");
        }
    }
}
