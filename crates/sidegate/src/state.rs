//! Where the state of the identity provider is: in the data folder, or in Redis.

use std::path::Path;

use anyhow::bail;
use identity::{ApiKeys, SessionConfig, Sessions};
use provider::{RedisConfig, Storage, StorageConfig};

use crate::folder;
#[cfg(feature = "redis")]
use crate::output::{self, Style};

/// In the data folder while its state is elsewhere: where that is.
const ELSEWHERE: &str = "provider-state";

/// Keys of marks in the data folder.
pub(crate) const MARK_KEYS: &str = "mark.keys";

/// Sessions that replicas may share: each of them has all in memory.
#[cfg(feature = "redis")]
const IN_MEMORY: u64 = 100_000;

/// Opens the state that a configuration means. With Redis the folder remembers it, so that no
/// command takes a file of the folder for the state.
pub(crate) fn open(folder: &Path, config: &StorageConfig) -> anyhow::Result<Storage> {
    match config {
        StorageConfig::Folder => {
            remember(folder, None)?;
            Ok(Storage::open(folder)?)
        }
        StorageConfig::Redis(redis) => {
            let (storage, address) = connect(redis, folder)?;
            remember(folder, Some(&address))?;
            Ok(storage)
        }
    }
}

/// Writes down where the state of a folder is, if it is not there.
fn remember(folder: &Path, address: Option<&str>) -> anyhow::Result<()> {
    let mark = folder.join(ELSEWHERE);
    if let Some(address) = address {
        return folder::write_atomically(&mark, address.as_bytes());
    }
    match std::fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a gateway without a provider of its own keeps.
pub(crate) struct Kept {
    pub(crate) sessions: Sessions,
    pub(crate) api_keys: ApiKeys,
}

/// Opens sessions and API keys. With Redis, what browsers hold during a login, refresh tokens and
/// marks are sealed with keys that all replicas have, which are written into the folder.
pub(crate) fn open_kept(
    folder: &Path,
    config: &StorageConfig,
    rules: SessionConfig,
) -> anyhow::Result<Kept> {
    let clock = identity::system_clock();
    match config {
        StorageConfig::Folder => {
            remember(folder, None)?;
            Ok(Kept {
                sessions: Sessions::open(folder, rules, clock.clone())?,
                api_keys: ApiKeys::open(folder, clock)?,
            })
        }
        StorageConfig::Redis(redis) => kept_in_redis(folder, redis, rules),
    }
}

#[cfg(feature = "redis")]
fn kept_in_redis(
    folder: &Path,
    config: &RedisConfig,
    rules: SessionConfig,
) -> anyhow::Result<Kept> {
    use anyhow::Context as _;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let (shared, clock) = (settings(config)?, identity::system_clock());
    let address = shared.address();
    let open = || -> anyhow::Result<Kept> {
        let [marks] = identity::shared_keys(shared.clone(), ["marks"])?;
        let marks = format!("{}\n", STANDARD.encode(marks));
        write_key(&folder.join(MARK_KEYS), marks.as_bytes())?;
        Ok(Kept {
            sessions: sessions_in_redis(folder, config, rules)?,
            api_keys: ApiKeys::open_redis(shared.clone(), clock)?,
        })
    };
    let kept = open().with_context(|| format!("what replicas share in Redis at {address}"))?;
    remember(folder, Some(&address))?;
    Ok(kept)
}

#[cfg(not(feature = "redis"))]
fn kept_in_redis(_: &Path, _: &RedisConfig, _: SessionConfig) -> anyhow::Result<Kept> {
    bail!("this program was built without the feature `redis`")
}

#[cfg(feature = "redis")]
fn write_key(file: &Path, key: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(file).ok().as_deref() != Some(key) {
        folder::write_atomically(file, key)?;
    }
    Ok(())
}

/// Opens the sessions of a gateway in the same place. What browsers hold during a login, and refresh
/// tokens of sessions, are sealed with keys that all gateways on one state have.
pub(crate) fn open_sessions(folder: &Path, config: &StorageConfig) -> anyhow::Result<Sessions> {
    let (rules, clock) = (SessionConfig::default(), identity::system_clock());
    match config {
        StorageConfig::Folder => Ok(Sessions::open(folder, rules, clock)?),
        StorageConfig::Redis(redis) => sessions_in_redis(folder, redis, rules),
    }
}

#[cfg(feature = "redis")]
fn sessions_in_redis(
    folder: &Path,
    config: &RedisConfig,
    rules: SessionConfig,
) -> anyhow::Result<Sessions> {
    let settings = settings(config)?;
    let names = ["login", "sessions"];
    let [login, sessions] = identity::shared_keys(settings.clone(), names)?;
    write_key(&folder.join("login.key"), &login)?;
    write_key(&folder.join("sessions.key"), &sessions)?;
    // Each replica has all of them in memory.
    let rules = SessionConfig {
        max_sessions: rules.max_sessions.min(IN_MEMORY),
        ..rules
    };
    let clock = identity::system_clock();
    Ok(Sessions::open_redis(settings, folder, rules, clock)?)
}

#[cfg(not(feature = "redis"))]
fn sessions_in_redis(_: &Path, _: &RedisConfig, _: SessionConfig) -> anyhow::Result<Sessions> {
    bail!("this program was built without the feature `redis`")
}

/// Opens the state of a folder for a command, while no program runs on it.
pub(crate) fn open_alone(folder: &Path) -> anyhow::Result<Storage> {
    if let Ok(address) = std::fs::read_to_string(folder.join(ELSEWHERE)) {
        bail!(
            "users, clients and keys are in Redis at {address}, and no sidegate runs on data folder `{}`: \
             start it, or give the data folder of one that runs with `--data`",
            folder.display()
        );
    }
    Ok(Storage::open(folder)?)
}

#[cfg(feature = "redis")]
fn connect(config: &RedisConfig, folder: &Path) -> anyhow::Result<(Storage, String)> {
    use anyhow::Context as _;

    let settings = settings(config)?;
    let address = settings.address();
    let storage = Storage::open_redis(settings)
        .with_context(|| format!("state in Redis at {address} (`storage` of the configuration)"))?;
    if storage.take_over(folder)? {
        let line = format!("what was in provider.redb is in Redis at {address} now");
        output::note(&Style::Plain, &line);
    }
    Ok((storage, address))
}

/// What a connection takes, of files as they are then.
#[cfg(feature = "redis")]
fn settings(config: &RedisConfig) -> anyhow::Result<replicated::Settings> {
    let settings = settings_now(config)?;
    if config.root_ca.is_none() && config.password_file.is_none() {
        return Ok(settings);
    }
    let config = config.clone();
    Ok(settings.read_again(move || {
        settings_now(&config)
            .inspect_err(|error| {
                tracing::warn!("{error:#}: what was there before goes on to count")
            })
            .ok()
    }))
}

#[cfg(feature = "redis")]
fn settings_now(config: &RedisConfig) -> anyhow::Result<replicated::Settings> {
    use anyhow::Context as _;

    let authority = match &config.root_ca {
        None => None,
        Some(file) => Some(
            std::fs::read(file)
                .with_context(|| format!("`storage.config.rootCA`: `{}`", file.display()))?,
        ),
    };
    let mut config = config.clone();
    if let Some(file) = &config.password_file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("`--redis-password {}`", file.display()))?;
        config.password = Some(provider::Secret::new(text.trim_end_matches(['\r', '\n'])));
    }
    config
        .settings(authority.as_deref())
        .context("`storage.config`")
}

#[cfg(not(feature = "redis"))]
fn connect(_: &RedisConfig, _: &Path) -> anyhow::Result<(Storage, String)> {
    bail!("this program was built without the feature `redis`")
}
