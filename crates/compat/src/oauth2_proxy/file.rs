//! The file and the variables of oauth2-proxy.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, Value as Toml};

use crate::given::{Given, Value};

/// Larger files are not read.
const MAX: usize = 1 << 20;

/// What stands before the name of a setting in a variable.
const PREFIX: &str = "OAUTH2_PROXY_";

/// The settings of a file.
///
/// # Errors
/// Says where the file is no TOML.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Given>, String> {
    if text.len() > MAX {
        return Err("is larger than 1 MiB".to_owned());
    }
    let line = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        u32::try_from(before.matches('\n').count())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    };
    let document = Document::parse(text).map_err(|error| {
        let at = error.span().map_or(1, |span| line(span.start));
        format!("line {at}: {}", yaml::one_line(error.message()))
    })?;
    let mut given = BTreeMap::new();
    for (key, item) in document.as_table() {
        let at = document.as_table().key(key).and_then(|key| key.span());
        let entry = Given {
            name: key.to_owned(),
            line: at.map_or(1, |span| line(span.start)),
            value: value(item),
        };
        given.insert(key.to_owned(), entry);
    }
    Ok(given)
}

fn value(item: &Item) -> Value {
    let text = |value: &Toml| value.as_str().map(str::to_owned);
    match item.as_value() {
        Some(Toml::String(string)) => Value::Text(string.value().clone()),
        Some(Toml::Integer(number)) => Value::Number(*number.value()),
        Some(Toml::Boolean(flag)) => Value::Flag(*flag.value()),
        Some(Toml::Array(array)) => {
            let list: Option<Vec<String>> = array.iter().map(text).collect();
            list.map_or(Value::Other, Value::List)
        }
        _ => Value::Other,
    }
}

/// The settings of an environment; empty ones are none.
pub(super) fn variables(
    environment: &[(String, String)],
) -> impl Iterator<Item = (String, Given)> + '_ {
    environment.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
        (!value.is_empty()).then(|| {
            let given = Given {
                name: name.clone(),
                line: 0,
                value: Value::Text(value.clone()),
            };
            (key, given)
        })
    })
}
