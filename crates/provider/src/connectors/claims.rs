//! From the claims of another provider to a person, by the rules of Dex (`connector/oidc`).

use serde_json::{Map, Value};

use super::{Identity, Trouble};
use crate::config::OidcConnector;

/// Most groups of a person, and the longest text that is taken over.
const MAX_GROUPS: usize = 2000;
const MAX_TEXT: usize = 1000;

type Claims = Map<String, Value>;

pub(super) fn identity(config: &OidcConnector, claims: &Claims) -> Result<Identity, Trouble> {
    let missing = |name: &str| {
        let more = match config.get_user_info {
            true => "",
            false => ": with `getUserInfo` the userinfo endpoint is asked, too",
        };
        Trouble::Unusable(format!("the claim `{name}` is missing{more}"))
    };
    let text = |name: &str| {
        let value = claims.get(name).and_then(Value::as_str);
        value.filter(|text| text.len() <= MAX_TEXT && !text.chars().any(char::is_control))
    };
    let needed = |name: &str| text(name).ok_or_else(|| missing(name));
    // A claim of the standard, or the one that stands in its place.
    let mapped = |standard: &str, other: &str| match text(standard) {
        Some(value) if other.is_empty() || !config.override_claims => Some(value),
        None if other.is_empty() => None,
        _ => text(other),
    };
    let subject = needed("sub")?;
    let wants_email = config.scopes.iter().any(|scope| scope == "email");
    let email = mapped("email", &config.mapping.email);
    if email.is_none() && wants_email {
        return Err(missing("email"));
    }
    let email_verified = match claims.get("email_verified").and_then(Value::as_bool) {
        Some(verified) => verified,
        None if config.skip_email_verified => true,
        None if wants_email => return Err(missing("email_verified")),
        None => false,
    };
    let user_id = match &config.user_id_key {
        Some(name) => needed(name)?,
        None => subject,
    };
    if user_id.is_empty() {
        return Err(missing("sub"));
    }
    let preferred = mapped("preferred_username", &config.mapping.preferred_username);
    Ok(Identity {
        user_id: user_id.to_owned(),
        name: needed(&config.user_name_key)?.to_owned(),
        preferred_username: preferred.map(str::to_owned),
        email: email.unwrap_or_default().to_owned(),
        email_verified,
        groups: groups(config, claims)?,
        again: None,
    })
}

fn groups(config: &OidcConnector, claims: &Claims) -> Result<Vec<String>, Trouble> {
    let rules = &config.modifications;
    let mut groups = Vec::new();
    if config.groups {
        let other = &config.mapping.groups;
        let standard = claims.get("groups").filter(|value| value.is_array());
        let value = match standard {
            Some(value) if other.is_empty() || !config.override_claims => Some(value),
            _ if other.is_empty() => claims.get("groups"),
            _ => claims.get(other),
        };
        groups = match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => all.iter().map(group).collect::<Result<_, _>>()?,
            Some(_) => return Err(malformed()),
        };
        if let Some(filter) = &rules.filter {
            groups.retain(|group| filter.is_match(group));
        }
        if !config.allowed_groups.is_empty() {
            groups.retain(|group| config.allowed_groups.contains(group));
            if groups.is_empty() {
                let text = "the person is in none of `allowedGroups`";
                return Err(Trouble::Refused(text.to_owned()));
            }
        }
    }
    for group in &mut groups {
        *group = format!("{}{group}{}", rules.prefix, rules.suffix);
    }
    for new in &rules.new_groups {
        let mut parts = vec![new.prefix.clone()];
        for value in new
            .claims
            .iter()
            .filter_map(|name| claims.get(name)?.as_str())
        {
            parts.push(match new.clear_delimiter {
                true => value.replace(&new.delimiter, ""),
                false => value.to_owned(),
            });
        }
        if parts.len() > 1 {
            groups.push(parts.join(&new.delimiter));
        }
    }
    let sound = |group: &String| group.len() <= MAX_TEXT && !group.chars().any(char::is_control);
    if groups.len() > MAX_GROUPS || !groups.iter().all(sound) {
        return Err(malformed());
    }
    Ok(groups)
}

/// A name, or an object that has one.
fn group(value: &Value) -> Result<String, Trouble> {
    let name = value.as_str().or_else(|| value.get("name")?.as_str());
    name.map(str::to_owned).ok_or_else(malformed)
}

fn malformed() -> Trouble {
    Trouble::Unusable("the claim of groups is malformed".to_owned())
}
