//! Settings as they are given: by a file and by the environment, which goes before it.

use std::collections::BTreeMap;
use std::time::Duration;

use secret::Secret;

use crate::report::{Entry, Report, Standing};
use crate::{Around, PUBLISHED_SECRETS};

/// A setting.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// As people find it: a key of the file, or a variable.
    pub(crate) name: String,
    /// Line of the file; 0 for a variable.
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// Its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<String>),
    /// Nothing of these.
    Other,
}

impl Value {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Number(_) | Self::Flag(_) | Self::Other => false,
        }
    }
}

/// Settings of one program, each looked at once. What is not looked at is found in the table of those that have no effect.
pub(crate) struct Settings<'a> {
    given: BTreeMap<String, Given>,
    around: Around<'a>,
    entries: Vec<Entry>,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(given: BTreeMap<String, Given>, around: Around<'a>) -> Self {
        Self {
            given,
            around,
            entries: Vec::new(),
        }
    }

    /// Takes a setting out, as supported. A remark changes that.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        let given = self.given.remove(key)?;
        self.entries.push(Entry {
            line: given.line,
            key: given.name,
            standing: Standing::Supported,
            note: String::new(),
        });
        Some(given.value)
    }

    /// Says of the setting that was taken last that it stands otherwise.
    pub(crate) fn last(&mut self, standing: Standing, note: impl Into<String>) {
        if let Some(entry) = self.entries.last_mut() {
            (entry.standing, entry.note) = (standing, note.into());
        }
    }

    /// Refuses the setting that was taken last.
    pub(crate) fn refuse(&mut self, note: impl Into<String>) {
        self.last(Standing::Refused, note);
    }

    /// Says of the setting that was taken last that it has no effect.
    pub(crate) fn ignore(&mut self, note: impl Into<String>) {
        self.last(Standing::Ignored, note);
    }

    /// Refuses the configuration for a setting that is not there.
    pub(crate) fn missing(&mut self, key: &str, what: &str) {
        self.entries.push(Entry {
            line: 0,
            key: key.to_owned(),
            standing: Standing::Refused,
            note: format!("is missing: {what}"),
        });
    }

    /// A text that is not empty.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::Text(text) if text.is_empty() => None,
            Value::Text(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Flag(_) | Value::List(_) | Value::Other => {
                self.refuse("expected a text");
                None
            }
        }
    }

    /// Yes or no, as Go reads it.
    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = match self.take(key)? {
            Value::Flag(flag) => Some(flag),
            Value::Text(text) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if value.is_none() {
            self.refuse("expected true or false");
        }
        value
    }

    /// Several texts; one text is divided at commas.
    pub(crate) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let list: Vec<String> = match self.take(key)? {
            Value::List(list) => list,
            Value::Text(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            _ => {
                self.refuse("expected a list of texts");
                return None;
            }
        };
        let list: Vec<String> = list.into_iter().filter(|text| !text.is_empty()).collect();
        (!list.is_empty()).then_some(list)
    }

    /// A duration as Go writes it (`1h30m`), or a number of seconds where `plain` lets one.
    pub(crate) fn duration(&mut self, key: &str, plain: bool) -> Option<Duration> {
        let value = match self.take(key)? {
            Value::Number(0) => Some(Duration::ZERO),
            Value::Number(number) if plain => u64::try_from(number).ok().map(Duration::from_secs),
            Value::Text(text) => match text.parse() {
                Ok(seconds) if plain || seconds == 0 => Some(Duration::from_secs(seconds)),
                _ => duration(&text),
            },
            _ => None,
        };
        if value.is_none() {
            self.refuse("expected a duration, like `24h`");
        }
        value
    }

    /// A secret, or what is in the file that `file` names. One that is published is refused.
    pub(crate) fn secret(&mut self, key: &str, file: Option<&str>) -> Option<Secret> {
        let given = self.text(key);
        let found = match (given, file.and_then(|file| self.text(file))) {
            (Some(_), Some(_)) => {
                self.refuse(format!("`{key}` is given too: expected one of them"));
                None
            }
            (Some(secret), None) => Some(secret),
            (None, Some(path)) => match (self.around.file)(&path) {
                Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(why) => {
                    self.refuse(format!("`{path}` cannot be read: {why}"));
                    None
                }
            },
            (None, None) => None,
        };
        let found = Secret::new(found?);
        if PUBLISHED_SECRETS.iter().any(|known| found.matches(known)) {
            let note = "is published with a distribution: anyone can use it";
            if self.around.known_secrets {
                self.last(Standing::Supported, note);
            } else {
                self.refuse(format!(
                    "{note}; set your own, or allow it with `--allow-known-secrets` where nobody else gets to it"
                ));
            }
        }
        Some(found)
    }

    /// Those that were not taken, with what `known` says of their keys. The report is in the order of the lines.
    pub(crate) fn finish(mut self, known: impl Fn(&str) -> Option<&'static str>) -> Report {
        for (key, given) in std::mem::take(&mut self.given) {
            let note = known(key.split(' ').next().unwrap_or(&key))
                .unwrap_or("not a setting of the program: no effect");
            self.entries.push(Entry {
                line: given.line,
                key: given.name,
                standing: Standing::Ignored,
                note: note.to_owned(),
            });
        }
        self.entries.sort_by_key(|entry| entry.line);
        Report {
            entries: self.entries,
        }
    }

    /// Whether something was refused so far.
    pub(crate) fn is_refused(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.standing == Standing::Refused)
    }
}

/// A duration as Go writes it: `1h30m`, `24h`, `90s`, `1.5h`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = behind;
    }
    Some(total)
}
