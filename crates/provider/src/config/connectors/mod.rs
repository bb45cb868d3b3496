//! `connectors`: other places that know who somebody is (`cmd/dex/config.go`, `connector/oidc`,
//! `connector/ldap`).

mod expand;
mod ldap;
mod oidc;

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

pub(super) use self::expand::expand;
use self::ldap::RawLdap;
use self::oidc::RawOidc;
use super::ConfigError;
use super::check::Env;
use crate::user::LOCAL;

pub use self::ldap::LdapConnector;
pub use self::oidc::OidcConnector;

/// One of `connectors`.
#[derive(Debug, Clone)]
pub struct Connector {
    /// `id`: in `sub`, in `federated_claims` and in addresses.
    pub id: String,
    /// `name`, shown to people.
    pub name: String,
    /// `grantTypes`: what it may be used for; everything where none is listed.
    pub grant_types: Vec<String>,
    /// `type` with its `config`.
    pub kind: ConnectorKind,
}

/// What a connector speaks.
#[derive(Debug, Clone)]
pub enum ConnectorKind {
    /// `oidc`: another OpenID provider.
    Oidc(Box<OidcConnector>),
    /// `ldap`: a directory that checks passwords.
    Ldap(Box<LdapConnector>),
}

impl Connector {
    /// Whether `grantTypes` lets it be used for this.
    pub(crate) fn allows(&self, grant_type: &str) -> bool {
        self.grant_types.is_empty() || self.grant_types.iter().any(|known| known == grant_type)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawConnector {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    name: String,
    config: Option<Value>,
    grant_types: Vec<String>,
}

pub(super) fn check(
    at: &str,
    raw: RawConnector,
    issuer_path: &str,
    env: Env<'_>,
) -> Result<Connector, ConfigError> {
    let invalid = |name: &str, value: &str, expected| ConfigError::Invalid {
        field: format!("{at}.{name}"),
        value: value.to_owned(),
        expected,
    };
    let word = |text: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !text.is_empty()
            && text.len() <= 100
            && text.bytes().all(fine)
            && text != "."
            && text != ".."
    };
    if !word(&raw.id) || raw.id == LOCAL {
        let expected =
            "letters, digits, `-`, `_` and `.`, and not `local`, which are the users here";
        return Err(invalid("id", &raw.id, expected));
    }
    if matches!(raw.id.as_str(), "second" | "enrol" | "enrolled") {
        let expected = "another one: `/auth/` and this is a page of the login here";
        return Err(invalid("id", &raw.id, expected));
    }
    let kind = |config: Value| match raw.kind.as_str() {
        "oidc" => {
            let config = config_of::<RawOidc>(at, config)?;
            oidc::check(&format!("{at}.config"), &raw.id, issuer_path, config)
                .map(|config| ConnectorKind::Oidc(Box::new(config)))
        }
        "ldap" => {
            let config = config_of::<RawLdap>(at, config)?;
            ldap::check(&format!("{at}.config"), config)
                .map(|config| ConnectorKind::Ldap(Box::new(config)))
        }
        other => Err(invalid("type", other, instead_of(other))),
    };
    let mut config = raw.config.unwrap_or_default();
    if matches!(raw.kind.as_str(), "oidc" | "ldap") {
        expand(&format!("{at}.config"), &mut config, env)?;
    }
    let kind = kind(config)?;
    Ok(Connector {
        name: if raw.name.is_empty() {
            raw.id.clone()
        } else {
            raw.name
        },
        id: raw.id,
        grant_types: raw.grant_types,
        kind,
    })
}

/// What to do instead of a type that is not there.
fn instead_of(kind: &str) -> &'static str {
    match kind {
        "google" => "`oidc`, with issuer `https://accounts.google.com`",
        "microsoft" => {
            "`oidc`, with issuer `https://login.microsoftonline.com/TENANT/v2.0`, as registered there"
        }
        "gitlab" | "gitea" => {
            "`oidc`, with the server's own address as issuer: it is an OpenID provider"
        }
        "linkedin" => "`oidc`, with issuer `https://www.linkedin.com/oauth`",
        "github" | "bitbucket-cloud" | "oauth" | "openshift" => {
            "`oidc` or `ldap`: this one has no ID tokens; put an OpenID provider that knows it between"
        }
        "saml" | "samlExperimental" => {
            "`oidc` or `ldap`: SAML is not spoken here; most such providers speak OpenID Connect, too"
        }
        "authproxy" => "`oidc` or `ldap`: headers of a proxy are not believed here",
        "mockCallback" | "mockPassword" => "`oidc` or `ldap`; for trying out, `staticPasswords`",
        _ => "`oidc` or `ldap`",
    }
}

/// The error names no value: it may be a secret.
pub(super) fn config_of<T: DeserializeOwned + Default>(
    at: &str,
    config: Value,
) -> Result<T, ConfigError> {
    if config.is_null() {
        return Ok(T::default());
    }
    serde_path_to_error::deserialize(config).map_err(|error| ConfigError::Invalid {
        field: match error.path().to_string() {
            path if path == "." => format!("{at}.config"),
            path => format!("{at}.config.{path}"),
        },
        value: "(hidden)".to_owned(),
        expected: "a value of the type that Dex has there",
    })
}

/// The types of all connectors, as far as the file can be read that far: which keys there are
/// below `config` depends on them.
pub(super) fn types(text: &str) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Outer {
        connectors: Vec<Inner>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "type")]
        kind: String,
        #[serde(rename = "config")]
        _config: Option<IgnoredAny>,
    }
    let outer: Outer =
        serde_saphyr::from_str_with_options(text, yaml::options()).unwrap_or_default();
    outer
        .connectors
        .into_iter()
        .map(|inner| inner.kind)
        .collect()
}
