//! Where replicas share what they keep.

use std::path::PathBuf;

use clap::Args;
use provider::{RedisConfig, StorageConfig};
use resources::Cluster;

use super::manifests::REDIS_FOLDER;
use crate::login;
use crate::output::BadInput;

/// What keys of Redis begin with, unless it is said otherwise.
const PREFIX: &str = "sidegate";

#[derive(Debug, Args)]
#[command(next_help_heading = "Several replicas")]
pub(crate) struct RedisArgs {
    /// Redis that replicas share sessions, API keys and keys of marks through: redis://, rediss:// (TLS) or unix://
    /// [default: the storage of ConfigMap `dex`, if that is Redis; else none]
    #[arg(
        long,
        env = "SIDEGATE_REDIS",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) redis: Option<String>,
    /// User of Redis
    #[arg(long, value_name = "NAME", requires = "redis")]
    pub(super) redis_user: Option<String>,
    /// File with its password, read for each connection
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(super) redis_password: Option<PathBuf>,
    /// Authorities that its certificate has to come from, PEM [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(super) redis_ca: Option<PathBuf>,
    /// What its keys begin with
    #[arg(long, default_value = PREFIX, value_name = "TEXT")]
    pub(super) redis_prefix: String,
}

impl RedisArgs {
    /// Where sessions and keys are; the files may say so, too.
    pub(super) fn storage(&self, cluster: Option<&Cluster>) -> anyhow::Result<StorageConfig> {
        let Some(url) = &self.redis else {
            return cluster.map_or(Ok(StorageConfig::Folder), login::storage);
        };
        if let Some(file) = &self.redis_password
            && let Err(error) = std::fs::read_to_string(file)
        {
            let why = format!("`--redis-password {}`: {error}", file.display());
            return Err(BadInput(vec![why]).into());
        }
        Ok(StorageConfig::Redis(RedisConfig {
            url: provider::Secret::new(url.as_str()),
            username: self.redis_user.clone(),
            password: None,
            password_file: self.redis_password.clone(),
            root_ca: self.redis_ca.clone(),
            prefix: self.redis_prefix.clone(),
            stale_for: RedisConfig::STALE_FOR,
        }))
    }

    /// Whether replicas share what they keep. Files of a pod are not looked at.
    pub(super) fn storage_in_a_pod(&self, cluster: &Cluster) -> anyhow::Result<bool> {
        let Some(url) = &self.redis else {
            return Ok(login::storage(cluster)? != StorageConfig::Folder);
        };
        if url.contains('@') {
            let why = "`--redis`: expected a URL without a password, which everybody would read; it goes \
                       into a file, `--redis-password FILE`";
            return Err(BadInput(vec![why.to_owned()]).into());
        }
        Ok(true)
    }

    /// The arguments of the program in a pod, which has the files in a folder of its own.
    pub(super) fn in_a_pod(&self) -> Vec<String> {
        let Some(url) = &self.redis else {
            return Vec::new();
        };
        let mut arguments = vec![format!("--redis={url}")];
        arguments.extend(
            self.redis_user
                .iter()
                .map(|name| format!("--redis-user={name}")),
        );
        if self.redis_password.is_some() {
            arguments.push(format!("--redis-password={REDIS_FOLDER}/password"));
        }
        if self.redis_ca.is_some() {
            arguments.push(format!("--redis-ca={REDIS_FOLDER}/ca.crt"));
        }
        if self.redis_prefix != PREFIX {
            arguments.push(format!("--redis-prefix={}", self.redis_prefix));
        }
        arguments
    }
}
