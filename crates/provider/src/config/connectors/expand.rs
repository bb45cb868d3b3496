//! Variables of the environment in a connector's `config`.

use serde_json::Value;

use crate::config::ConfigError;
use crate::config::check::Env;

/// `$NAME` and `${NAME}` in every text, as Dex does (`os.ExpandEnv`), but for a variable that is
/// not set: that is an error and not an empty text, which could be an empty password.
pub(in crate::config) fn expand(
    at: &str,
    value: &mut Value,
    env: Env<'_>,
) -> Result<(), ConfigError> {
    match value {
        Value::String(text) => {
            *text = expanded(text, env).map_err(|variable| ConfigError::Environment {
                field: at.to_owned(),
                variable,
            })?;
        }
        Value::Array(all) => {
            for (index, value) in all.iter_mut().enumerate() {
                expand(&format!("{at}[{index}]"), value, env)?;
            }
        }
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                expand(&format!("{at}.{name}"), value, env)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// The text with values in the place of variables, or the variable that has none.
fn expanded(text: &str, env: Env<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let name_end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let (name, next) = match braced {
            Some(pair) => pair,
            None => after.split_at_checked(name_end).unwrap_or((after, "")),
        };
        if name.is_empty() {
            // A dollar that names nothing stays, as in Go.
            out.push('$');
            rest = after;
            continue;
        }
        out.push_str(&env(name).ok_or_else(|| name.to_owned())?);
        rest = next;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_those_of_dex() {
        let env = |name: &str| (name == "PW").then(|| "p$w".to_owned());
        for (text, expected) in [
            ("$PW", Ok("p$w")),
            ("a${PW}b", Ok("ap$wb")),
            ("$PW-$PW", Ok("p$w-p$w")),
            ("100%", Ok("100%")),
            ("a$", Ok("a$")),
            ("a$(b)", Ok("a$(b)")),
            ("$NONE", Err("NONE")),
            ("x${NONE}", Err("NONE")),
        ] {
            let found = expanded(text, &env);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
