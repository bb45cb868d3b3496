//! `mfa` and `mfaChain`: for which logins Dex demands a second factor.
//!
//! Users here make and show theirs here, whichever kind it is. People of connectors do not, so a chain that is
//! for them as well is refused: passed over, it would let them in by a password alone.

use std::collections::HashMap;

use serde::Deserialize;

use super::{ConfigError, Connector, ConnectorKind, SecondFactor};
use crate::user::LOCAL;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawMfa {
    authenticators: Vec<RawAuthenticator>,
    #[serde(rename = "defaultMFAChain")]
    default_chain: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawAuthenticator {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    connector_types: Vec<String>,
}

/// Who is asked for a second factor, by the authenticators that chains name.
pub(super) struct Chains {
    /// Types of connectors of each authenticator; all where none is listed.
    authenticators: HashMap<String, Vec<String>>,
    default: Vec<String>,
    /// Ids and types of the connectors.
    connectors: Vec<(String, &'static str)>,
}

const DEFAULT: &str = "mfa.defaultMFAChain";

impl Chains {
    pub(super) fn check(raw: RawMfa, connectors: &[Connector]) -> Result<Self, ConfigError> {
        let mut authenticators = HashMap::new();
        for (index, authenticator) in raw.authenticators.into_iter().enumerate() {
            let at = format!("mfa.authenticators[{index}]");
            let RawAuthenticator { id, kind, .. } = authenticator;
            if id.is_empty() {
                return Err(ConfigError::Missing {
                    field: format!("{at}.id"),
                    expected: "a name for chains",
                });
            }
            if !matches!(kind.as_str(), "TOTP" | "WebAuthn") {
                return Err(ConfigError::Invalid {
                    field: format!("{at}.type"),
                    value: kind,
                    expected: "`TOTP` or `WebAuthn`",
                });
            }
            if authenticators.contains_key(&id) {
                return Err(ConfigError::Duplicate {
                    field: format!("{at}.id"),
                    value: id,
                });
            }
            authenticators.insert(id, authenticator.connector_types);
        }
        let kind = |connector: &Connector| match connector.kind {
            ConnectorKind::Oidc(_) => "oidc",
            ConnectorKind::Ldap(_) => "ldap",
        };
        let connectors = connectors.iter();
        let chains = Self {
            authenticators,
            default: raw.default_chain,
            connectors: connectors
                .map(|connector| (connector.id.clone(), kind(connector)))
                .collect(),
        };
        chains.look_up(DEFAULT, &chains.default)?;
        Ok(chains)
    }

    /// What clients of the database need.
    pub(super) fn default_for_clients(&self) -> Result<SecondFactor, ConfigError> {
        self.demanded(DEFAULT, &self.default, &[])
    }

    /// What a client needs whose `mfaChain` this is: an empty one is none, and where it has none the default counts.
    pub(super) fn second_factor(
        &self,
        at: &str,
        chain: Option<&[String]>,
        allowed: &[String],
    ) -> Result<SecondFactor, ConfigError> {
        match chain {
            Some(chain) => self.demanded(&format!("{at}.mfaChain"), chain, allowed),
            None => self.demanded(DEFAULT, &self.default, allowed),
        }
    }

    fn demanded(
        &self,
        field: &str,
        chain: &[String],
        allowed: &[String],
    ) -> Result<SecondFactor, ConfigError> {
        let kinds = self.look_up(field, chain)?;
        let is_for = |kind: &str| {
            let mut kinds = kinds.iter();
            kinds.any(|listed| listed.is_empty() || listed.iter().any(|listed| listed == kind))
        };
        let lets_in = |id: &String| allowed.is_empty() || allowed.contains(id);
        let mut others = self.connectors.iter();
        if others.any(|(id, kind)| lets_in(id) && is_for(kind)) {
            return Err(ConfigError::Invalid {
                field: field.to_owned(),
                value: chain.join(", "),
                expected: "authenticators with `connectorTypes: [local]`: people of connectors prove themselves \
                           where they are known, so demand a second factor there",
            });
        }
        Ok(match is_for(LOCAL) {
            true => SecondFactor::Required,
            false => SecondFactor::Optional,
        })
    }

    fn look_up(&self, field: &str, chain: &[String]) -> Result<Vec<&Vec<String>>, ConfigError> {
        let found = chain.iter().enumerate().map(|(index, id)| {
            self.authenticators.get(id).ok_or(ConfigError::Invalid {
                field: format!("{field}[{index}]"),
                value: id.clone(),
                expected: "the `id` of one of `mfa.authenticators`",
            })
        });
        found.collect()
    }
}
