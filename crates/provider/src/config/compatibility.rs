//! What becomes of each key of a Dex configuration, line by line.

use compat::{Entry, Report, Standing};
use yaml::{Text, dotted, undotted};

use super::raw::{Key, key_at};
use super::{ConfigError, DexConfig, Pkce, StorageConfig, Warning, check, connectors};

/// About what is better left away (RFC 9700 sections 2.4 and 2.1.2).
const PASSWORDS: &str =
    "applications get to see passwords, which second factors do not protect: RFC 9700 forbids it";
const TOKENS: &str = "tokens go by way of the browser: RFC 9700 advises `code` alone";
/// About a client with a secret that may leave PKCE away: all of Dex's may.
const WITHOUT_PKCE: &str =
    "as in Dex, PKCE counts where it is sent and need not be: `pkce: required` demands it";

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
    let read = check::parse_text(yaml, &text, &types, env);
    if let Err(error @ ConfigError::Yaml { line, .. }) = &read {
        entries.push(Entry {
            line: line.unwrap_or(1),
            key: String::new(),
            standing: Standing::Refused,
            note: error.to_string(),
        });
    }
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
    match &read {
        Err(ConfigError::Yaml { .. }) => {}
        Err(error) => remark(
            error.field().unwrap_or_default(),
            Standing::Refused,
            error.to_string(),
        ),
        Ok((config, warnings)) => {
            if matches!(config.storage, StorageConfig::Redis(_)) {
                remark("storage", Standing::Supported, String::new());
            }
            if config.password_connector.is_some() {
                remark(
                    "oauth2.passwordConnector",
                    Standing::Supported,
                    PASSWORDS.to_owned(),
                );
            }
            if config.response_types.has_tokens() {
                remark(
                    "oauth2.responseTypes",
                    Standing::Supported,
                    TOKENS.to_owned(),
                );
            }
            for (index, client) in config.clients.iter().enumerate() {
                if client.pkce == Pkce::Optional {
                    let field = format!("staticClients[{index}].pkce");
                    remark(&field, Standing::Supported, WITHOUT_PKCE.to_owned());
                }
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

/// Something about a configuration, and the line, 1-based, of its text that it is about.
pub type Line<T> = (u32, T);

/// As [`DexConfig::parse`], with the lines of what is wrong and of each warning.
///
/// # Errors
/// When the configuration cannot be used.
pub fn parse_with_lines(
    yaml: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(DexConfig, Vec<Line<Warning>>), Line<ConfigError>> {
    let text = Text::new(yaml, 1);
    let line_of = |field: &str| text.line_of(&undotted(field)).unwrap_or(1);
    let read = check::parse_text(yaml, &text, &connectors::types(yaml), env);
    let (config, warnings) = read.map_err(|error| match error {
        ConfigError::Yaml { message, line } => {
            let message = without_place(&message).to_owned();
            (line.unwrap_or(1), ConfigError::Yaml { message, line })
        }
        other => (line_of(other.field().unwrap_or_default()), other),
    })?;
    let lines = warnings.into_iter().map(|warning| {
        let line = match &warning {
            Warning::UnknownKey { key }
            | Warning::UnsupportedKey { key }
            | Warning::UnsupportedValue { key, .. } => line_of(key),
            Warning::PublishedSecret { client } => line_of(&secret_field(&config, &text, client)),
        };
        (line, warning)
    });
    let lines = lines.collect();
    Ok((config, lines))
}

/// What a parser says without where, ` at line 3, column 5`: that is told otherwise.
fn without_place(message: &str) -> &str {
    let Some((said, place)) = message.rsplit_once(" at line ") else {
        return message;
    };
    let rest = place.replace(", column ", "");
    match rest.bytes().all(|byte| byte.is_ascii_digit()) {
        true => said,
        false => message,
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
