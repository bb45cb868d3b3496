//! What becomes of each key of a Dex configuration, line by line.

use compat::{Entry, Report, Standing};
use yaml::{Text, dotted, undotted};

use super::raw::{Key, key_at};
use super::{ConfigError, DexConfig, StorageConfig, Warning, check, connectors};

/// What becomes of every key of a file, with `env` as in [`DexConfig::parse`]. Secrets that are published with a
/// distribution are refused unless `known_secrets` are allowed.
#[must_use]
pub fn compatibility(
    yaml: &str,
    env: &dyn Fn(&str) -> Option<String>,
    known_secrets: bool,
) -> Report {
    examined(yaml, env, known_secrets).0
}

/// As [`compatibility`], with the configuration as [`DexConfig::parse`] reads it: one look at the file for both.
pub fn examined(
    yaml: &str,
    env: &dyn Fn(&str) -> Option<String>,
    known_secrets: bool,
) -> (Report, Result<DexConfig, ConfigError>) {
    let text = Text::new(yaml, 1);
    let types = connectors::types(yaml);
    let mut entries = keys(&text, &types);
    let mut remark = |field: &str, standing: Standing, note: String| {
        if let Some(entry) = entries.iter_mut().find(|entry| entry.key == field) {
            entry.standing = standing;
            entry.note = note;
            return;
        }
        entries.push(Entry {
            line: text.line_of(&undotted(field)).unwrap_or(1),
            key: field.to_owned(),
            standing,
            note,
        });
    };
    let read = check::parse_text(yaml, &text, &types, env);
    match &read {
        Err(error) => remark(
            error.field().unwrap_or_default(),
            Standing::Refused,
            error.to_string(),
        ),
        Ok((config, warnings)) => {
            if matches!(config.storage, StorageConfig::Redis(_)) {
                remark("storage", Standing::Supported, String::new());
            }
            for warning in warnings {
                match warning {
                    // The table of keys has these.
                    Warning::UnknownKey { .. } | Warning::UnsupportedKey { .. } => {}
                    Warning::UnsupportedValue { key, .. } => {
                        remark(key, Standing::Ignored, warning.to_string());
                    }
                    Warning::PublishedSecret { client } => {
                        let field = secret_field(config, &text, client);
                        let (standing, note) = if known_secrets {
                            (Standing::Supported, warning.to_string())
                        } else {
                            let advice = "or allow it with `--allow-known-secrets` where nobody else gets to it";
                            (Standing::Refused, format!("{warning}, {advice}"))
                        };
                        remark(&field, standing, note);
                    }
                }
            }
        }
    }
    entries.sort_by_key(|entry| entry.line);
    let config = read.map(|(config, _)| config);
    (Report { entries }, config)
}

/// What the table says of the keys that are there.
fn keys(text: &Text, types: &[String]) -> Vec<Entry> {
    let standing = |key: Option<Key>| match key {
        Some(Key::Taken) => Some((Standing::Supported, String::new())),
        Some(Key::Elsewhere(why)) => Some((Standing::Ignored, why.to_owned())),
        Some(Key::Unsupported) => Some((Standing::Ignored, "not supported: no effect".to_owned())),
        Some(Key::Object(_) | Key::List(_) | Key::Typed) => None,
        None => Some((Standing::Ignored, "not a key of Dex: no effect".to_owned())),
    };
    let found = text.keys().into_iter().filter_map(|key| {
        let (standing, note) = standing(key_at(&key.path, types)?)?;
        Some(Entry {
            line: key.line,
            key: dotted(&key.path),
            standing,
            note,
        })
    });
    found.collect()
}

/// Where the secret of a client is written.
fn secret_field(config: &DexConfig, text: &Text, client: &str) -> String {
    let index = config.clients.iter().position(|c| c.id == client);
    let at = format!("staticClients[{}]", index.unwrap_or_default());
    let written = |name: &str| {
        let field = undotted(&format!("{at}.{name}"));
        text.keys().iter().any(|key| key.path == field)
    };
    let name = if written("secret") {
        "secret"
    } else {
        "secretEnv"
    };
    format!("{at}.{name}")
}

impl ConfigError {
    /// Path of the field that is wrong or missing; `None` for the file as a whole.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Yaml { .. } => None,
            Self::Missing { field, .. }
            | Self::Invalid { field, .. }
            | Self::Environment { field, .. }
            | Self::Exclusive { field, .. }
            | Self::Duplicate { field, .. } => Some(field),
        }
    }
}
