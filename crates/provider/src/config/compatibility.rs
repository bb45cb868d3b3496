//! What becomes of each key of a Dex configuration, line by line.

use std::fmt;

use yaml::{Text, dotted, undotted};

use super::raw::{Key, key_at};
use super::{ConfigError, DexConfig, Warning, check, connectors};

/// What becomes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It does what it does in Dex.
    Supported,
    /// It has no effect here.
    Ignored,
    /// With it the configuration is not taken.
    Refused,
}

impl Standing {
    /// As it is written for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// A key of the file, or one that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Line of the file, 1-based; of the object around it where the key is missing.
    pub line: u32,
    /// `staticClients[0].secret`; empty for the file as a whole.
    pub key: String,
    /// What becomes of it.
    pub standing: Standing,
    /// Why it is not supported, and what to do; never the value of a secret.
    pub note: String,
}

/// What becomes of every key of a file, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compatibility {
    /// Keys in the order of their lines.
    pub entries: Vec<Entry>,
}

impl Compatibility {
    /// How many keys stand so.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.standing == standing).count()
    }

    /// Those that are not simply supported.
    pub fn remarks(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.standing != Standing::Supported)
    }

    /// Of a file, with `env` as in [`DexConfig::parse`]. Secrets that are published with a
    /// distribution are refused unless `known_secrets` are allowed.
    #[must_use]
    pub fn of(yaml: &str, env: &dyn Fn(&str) -> Option<String>, known_secrets: bool) -> Self {
        let text = Text::new(yaml, 1);
        let mut entries = keys(&text, &connectors::types(yaml));
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
        match check::parse(yaml, env) {
            Err(error) => remark(
                error.field().unwrap_or_default(),
                Standing::Refused,
                error.to_string(),
            ),
            Ok((config, warnings)) => {
                for warning in &warnings {
                    match warning {
                        // The table of keys has these.
                        Warning::UnknownKey { .. } | Warning::UnsupportedKey { .. } => {}
                        Warning::UnsupportedValue { key, .. } => {
                            remark(key, Standing::Ignored, warning.to_string());
                        }
                        Warning::PublishedSecret { client } => {
                            let field = secret_field(&config, &text, client);
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
        Self { entries }
    }
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

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.key.is_empty() {
            "(file)"
        } else {
            &self.key
        };
        write!(f, "{:>9}  {name}", self.standing.name())?;
        if !self.note.is_empty() {
            write!(f, ": {}", self.note)?;
        }
        Ok(())
    }
}
