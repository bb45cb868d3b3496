//! `storage`: where state is kept. Dex's own types mean the data folder here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::ConfigError;
use super::check::{Env, lifetime};
use super::connectors::{config_of, expand};
use secret::Secret;

/// Where state is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StorageConfig {
    /// In one file of the data folder. All types of Dex mean this.
    #[default]
    Folder,
    /// `type: redis`: in Redis, shared by replicas.
    Redis(RedisConfig),
}

/// `config` of a storage of type `redis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `url`: `redis://`, `rediss://` or `unix://`, with user, password and number of the database
    /// where they are not given by themselves.
    pub url: Secret,
    /// `username`.
    pub username: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// A file with the password: whoever connects reads it, in place of `password`.
    pub password_file: Option<std::path::PathBuf>,
    /// `rootCA`: a file with the authorities of Redis' certificate.
    pub root_ca: Option<std::path::PathBuf>,
    /// `prefix` (`sidegate`) of all keys.
    pub prefix: String,
    /// `staleFor` (`5m`): how long what is in memory is believed while Redis does not answer.
    pub stale_for: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawStorage {
    #[serde(rename = "type")]
    kind: String,
    config: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRedis {
    url: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    #[serde(rename = "rootCA")]
    root_ca: Option<std::path::PathBuf>,
    prefix: Option<String>,
    #[serde(rename = "staleFor")]
    stale_for: Option<String>,
}

pub(super) fn check(raw: Option<RawStorage>, env: Env<'_>) -> Result<StorageConfig, ConfigError> {
    let Some(raw) = raw.filter(|raw| raw.kind == "redis") else {
        return Ok(StorageConfig::Folder);
    };
    let mut config = raw.config.unwrap_or_default();
    expand("storage.config", &mut config, env)?;
    let raw = config_of::<RawRedis>("storage", config)?;
    let url = raw.url.ok_or(ConfigError::Missing {
        field: "storage.config.url".to_owned(),
        expected: "where Redis is, such as `rediss://redis.auth:6379`",
    })?;
    let config = RedisConfig {
        url,
        username: raw.username,
        password: raw.password,
        password_file: None,
        root_ca: raw.root_ca,
        prefix: raw.prefix.unwrap_or_else(|| "sidegate".to_owned()),
        stale_for: lifetime(
            "storage.config.staleFor",
            raw.stale_for,
            RedisConfig::STALE_FOR,
        )?,
    };
    config.check()?;
    Ok(StorageConfig::Redis(config))
}

impl RedisConfig {
    /// `stale_for`, where it is not set.
    pub const STALE_FOR: Duration = Duration::from_secs(300);

    #[cfg(not(feature = "redis"))]
    fn check(&self) -> Result<(), ConfigError> {
        Err(ConfigError::Invalid {
            field: "storage.type".to_owned(),
            value: "redis".to_owned(),
            expected: "another type: this program was built without the feature `redis`",
        })
    }

    #[cfg(feature = "redis")]
    fn check(&self) -> Result<(), ConfigError> {
        use replicated::BadSettings;

        // The file of authorities is read when it is needed.
        let (field, expected) = match self.settings(None) {
            Ok(_) => return Ok(()),
            Err(BadSettings::Prefix(_)) => {
                ("prefix", "at most 64 letters, digits, `-`, `_` and `.`")
            }
            Err(_) => (
                "url",
                "`redis://host:6379`, `rediss://host:6379` or `unix:///path`, perhaps with `user:password@` before and `/number` behind",
            ),
        };
        Err(ConfigError::Invalid {
            field: format!("storage.config.{field}"),
            // It may hold a password.
            value: "(hidden)".to_owned(),
            expected,
        })
    }

    /// What a connection takes.
    ///
    /// # Errors
    /// When the URL, the prefix or the authority cannot be used.
    #[cfg(feature = "redis")]
    pub fn settings(
        &self,
        authority: Option<&[u8]>,
    ) -> Result<replicated::Settings, replicated::BadSettings> {
        replicated::Settings::new(
            &self.url,
            self.username.as_deref(),
            self.password.as_ref(),
            authority,
            &self.prefix,
        )
        .map(|settings| settings.believed_for(self.stale_for))
    }
}
