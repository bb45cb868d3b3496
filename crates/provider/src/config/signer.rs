//! `signer`: who signs tokens, and how.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::ConfigError;
use super::check::{Env, lifetime};
use super::connectors::{config_of, expand};
use crate::keys::Algorithm;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawSigner {
    #[serde(rename = "type")]
    kind: String,
    config: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawLocal {
    keys_rotation_period: Option<String>,
    algorithm: Option<String>,
}

/// What `signer` says.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    /// How long one key signs, where it is said here.
    pub(super) rotation: Option<Duration>,
}

pub(super) fn check(raw: RawSigner, env: Env<'_>) -> Result<Signer, ConfigError> {
    let invalid = |field: &str, value: String, expected| ConfigError::Invalid {
        field: format!("signer.{field}"),
        value,
        expected,
    };
    match raw.kind.as_str() {
        "" | "local" => {}
        // Whoever keeps keys there does not want them on a disk.
        _ => {
            let expected = "`local`: keys are made here and kept with the other data";
            return Err(invalid("type", raw.kind, expected));
        }
    }
    let mut config = raw.config.unwrap_or_default();
    expand("signer.config", &mut config, env)?;
    let local = config_of::<RawLocal>("signer", config)?;
    let algorithm = match local.algorithm.as_deref() {
        None | Some("" | "RS256") => Algorithm::Rs256,
        Some("ES256") => Algorithm::Es256,
        Some("EdDSA") => Algorithm::EdDsa,
        Some(other) => {
            let expected = "`RS256`, `ES256` or `EdDSA`";
            return Err(invalid("config.algorithm", other.to_owned(), expected));
        }
    };
    let rotation = local.keys_rotation_period.filter(|text| !text.is_empty());
    let field = "signer.config.keysRotationPeriod";
    let rotation = rotation.map(|text| lifetime(field, Some(text), Duration::ZERO));
    Ok(Signer {
        algorithm,
        rotation: rotation.transpose()?,
    })
}
