//! Where the state of the identity provider is: in the data folder, or in Redis.

use std::path::Path;

use anyhow::bail;
use identity::{SessionConfig, Sessions};
use provider::{RedisConfig, Storage, StorageConfig};

use crate::folder;
#[cfg(feature = "redis")]
use crate::output::{self, Style};

/// In the data folder while its state is elsewhere: where that is.
const ELSEWHERE: &str = "provider-state";

/// Opens the state that a configuration means. With Redis the folder remembers it, so that no
/// command takes a file of the folder for the state.
pub(crate) fn open(folder: &Path, config: &StorageConfig) -> anyhow::Result<Storage> {
    let mark = folder.join(ELSEWHERE);
    match config {
        StorageConfig::Folder => {
            match std::fs::remove_file(&mark) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
            Ok(Storage::open(folder)?)
        }
        StorageConfig::Redis(redis) => {
            let (storage, address) = connect(redis, folder)?;
            folder::write_atomically(&mark, address.as_bytes())?;
            Ok(storage)
        }
    }
}

/// Opens the sessions of a gateway in the same place. What browsers hold during a login, and refresh
/// tokens of sessions, are sealed with keys that all gateways on one state have.
pub(crate) fn open_sessions(
    folder: &Path,
    config: &StorageConfig,
    storage: &Storage,
) -> anyhow::Result<Sessions> {
    let (rules, clock) = (SessionConfig::default(), identity::system_clock());
    #[cfg(feature = "redis")]
    if let StorageConfig::Redis(redis) = config {
        for (name, key) in [
            ("login.key", "gateway-login"),
            ("sessions.key", "gateway-sessions"),
        ] {
            let (file, key) = (folder.join(name), storage.shared_key(key)?);
            if std::fs::read(&file).ok().as_ref() != Some(&key) {
                folder::write_atomically(&file, &key)?;
            }
        }
        return Ok(Sessions::open_redis(
            settings(redis)?,
            folder,
            rules,
            clock,
        )?);
    }
    #[cfg(not(feature = "redis"))]
    let _ = (config, storage);
    Ok(Sessions::open(folder, rules, clock)?)
}

/// Opens the state of a folder for a command, while no program runs on it.
pub(crate) fn open_alone(folder: &Path) -> anyhow::Result<Storage> {
    if let Ok(address) = std::fs::read_to_string(folder.join(ELSEWHERE)) {
        bail!(
            "users and clients are in Redis at {address}, and no sidegate runs on data folder `{}`: \
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

#[cfg(feature = "redis")]
fn settings(config: &RedisConfig) -> anyhow::Result<replicated::Settings> {
    use anyhow::Context as _;

    let authority = match &config.root_ca {
        None => None,
        Some(file) => Some(
            std::fs::read(file)
                .with_context(|| format!("`storage.config.rootCA`: `{}`", file.display()))?,
        ),
    };
    config
        .settings(authority.as_deref())
        .context("`storage.config`")
}

#[cfg(not(feature = "redis"))]
fn connect(_: &RedisConfig, _: &Path) -> anyhow::Result<(Storage, String)> {
    bail!("this program was built without the feature `redis`")
}
