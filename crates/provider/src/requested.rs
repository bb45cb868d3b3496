//! Claims that an application asks for one by one, with `claims` (OpenID Connect Core 1.0 section
//! 5.5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Client;
use crate::factors::Strength;
use crate::token::Person;
use crate::user::User;

/// Longest parameter that is read.
const MAX_LENGTH: usize = 4096;

/// What was asked for beside the scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requested {
    #[serde(default)]
    pub(crate) userinfo: Vec<ClaimName>,
    #[serde(default)]
    pub(crate) id_token: Vec<ClaimName>,
}

/// A claim that is not there anyway. Others are passed over (section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClaimName {
    Email,
    EmailVerified,
    Groups,
    Name,
    PreferredUsername,
}

/// A `claims` parameter as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimsParameter {
    pub(crate) requested: Requested,
    /// `sub` with a value: nobody else may log in (section 5.5.1).
    pub(crate) subject: Option<String>,
    /// `acr` that has to be one of some values (section 5.5.1.1): the weakest login that is one, or
    /// `Err` where none ever is.
    pub(crate) demanded: Option<Result<Strength, ()>>,
}

impl ClaimName {
    const ALL: [Self; 5] = [
        Self::Email,
        Self::EmailVerified,
        Self::Groups,
        Self::Name,
        Self::PreferredUsername,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailVerified => "email_verified",
            Self::Groups => "groups",
            Self::Name => "name",
            Self::PreferredUsername => "preferred_username",
        }
    }

    /// The scope that tells it, too: who allowed one has allowed the other.
    fn scope(self) -> &'static str {
        match self {
            Self::Email | Self::EmailVerified => "email",
            Self::Groups => "groups",
            Self::Name | Self::PreferredUsername => "profile",
        }
    }
}

impl ClaimsParameter {
    /// The error says what is wrong with the parameter.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("`claims` is too long");
        }
        let Ok(Value::Object(whole)) = serde_json::from_str(text) else {
            return Err("`claims` is not an object of JSON");
        };
        let part = |name: &str| match whole.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members.clone()),
            Some(_) => Err("a member of `claims` is not an object"),
        };
        let (userinfo, id_token) = (part("userinfo")?, part("id_token")?);
        let subjects =
            || [&id_token, &userinfo].map(|part| part.get("sub")?.get("value")?.as_str());
        let subject = match subjects() {
            [Some(one), Some(other)] if one != other => return Err("`claims` names two people"),
            [one, other] => one.or(other).map(str::to_owned),
        };
        let acr = id_token.get("acr");
        let member = |name: &str| acr.and_then(|acr| acr.get(name));
        Ok(Self {
            subject,
            demanded: match member("essential") {
                Some(Value::Bool(true)) => demanded(member("value"), member("values")),
                _ => None,
            },
            requested: Requested {
                userinfo: known(&userinfo),
                id_token: known(&id_token),
            },
        })
    }
}

/// The weakest login that has one of these values.
fn demanded(value: Option<&Value>, values: Option<&Value>) -> Option<Result<Strength, ()>> {
    if value.is_none() && values.is_none() {
        return None;
    }
    let listed = values.and_then(Value::as_array).into_iter().flatten();
    let classes = value.into_iter().chain(listed).filter_map(Value::as_str);
    Some(classes.filter_map(Strength::of_class).min().ok_or(()))
}

fn known(members: &Map<String, Value>) -> Vec<ClaimName> {
    let asked = |name: &ClaimName| members.contains_key(name.name());
    ClaimName::ALL.into_iter().filter(asked).collect()
}

impl Requested {
    /// Scopes that tell as much.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.userinfo
            .iter()
            .chain(&self.id_token)
            .map(|claim| claim.scope())
    }

    /// Leaves out what the client may not ask for: what a claim is for is no error (section 5.5.1).
    pub(crate) fn within(mut self, client: &Client) -> Self {
        for claims in [&mut self.userinfo, &mut self.id_token] {
            claims.retain(|claim| client.allows_scope(claim.scope()));
        }
        self
    }

    /// The parameter that asks for the same again, with the login that is demanded, if there was one.
    pub(crate) fn parameter(&self, demanded: Option<Strength>) -> Option<String> {
        if *self == Self::default() && demanded.is_none() {
            return None;
        }
        let part = |claims: &[ClaimName]| -> Value {
            let members = claims
                .iter()
                .map(|claim| (claim.name().to_owned(), Value::Null));
            Value::Object(members.collect())
        };
        let mut id_token = part(&self.id_token);
        if let (Some(strength), Some(members)) = (demanded, id_token.as_object_mut()) {
            let acr = serde_json::json!({"essential": true, "value": strength.class()});
            members.insert("acr".to_owned(), acr);
        }
        let whole = serde_json::json!({
            "id_token": id_token,
            "userinfo": part(&self.userinfo),
        });
        Some(whole.to_string())
    }
}

impl Person {
    /// With these claims as well.
    pub(crate) fn and(mut self, user: &User, claims: &[ClaimName]) -> Self {
        for claim in claims {
            match claim {
                ClaimName::Email => self.email = Some(user.email.clone()),
                ClaimName::EmailVerified => self.email_verified = Some(user.email_verified),
                ClaimName::Groups if user.groups.is_empty() => {}
                ClaimName::Groups => self.groups = Some(user.groups.clone()),
                ClaimName::Name => self.name = Some(user.name.clone()),
                ClaimName::PreferredUsername => {
                    self.preferred_username.clone_from(&user.preferred_username);
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_claims_are_read_and_others_passed_over() {
        let text = r#"{"userinfo": {"given_name": {"essential": true}, "name": null, "email":
            {"essential": true}}, "id_token": {"groups": {"values": ["a"]}, "auth_time": null}}"#;
        let read = ClaimsParameter::parse(text).unwrap();
        assert_eq!(read.requested.userinfo, [ClaimName::Email, ClaimName::Name]);
        assert_eq!(read.requested.id_token, [ClaimName::Groups]);
        assert_eq!((read.subject, read.demanded), (None, None));
        for demanded in [None, Some(Strength::SecondFactor)] {
            let again = read.requested.parameter(demanded).unwrap();
            let again = ClaimsParameter::parse(&again).unwrap();
            assert_eq!(again.requested, read.requested);
            assert_eq!(again.demanded, demanded.map(Ok));
        }
        assert_eq!(
            ClaimsParameter::parse("{}").unwrap(),
            ClaimsParameter::default()
        );
        assert_eq!(Requested::default().parameter(None), None);
    }

    #[test]
    fn a_person_and_a_way_to_log_in_can_be_demanded() {
        let parse = |text: &str| ClaimsParameter::parse(text).unwrap();
        let sub = parse(r#"{"id_token": {"sub": {"value": "x"}}}"#);
        assert_eq!(sub.subject.as_deref(), Some("x"));
        for (values, expected) in [
            (r#""values": ["1"]"#, Ok(Strength::Password)),
            (r#""values": ["2", "x"]"#, Ok(Strength::SecondFactor)),
            (r#""values": ["2", "1"]"#, Ok(Strength::Password)),
            (r#""value": "2""#, Ok(Strength::SecondFactor)),
            (r#""value": "urn:other""#, Err(())),
            (r#""values": []"#, Err(())),
            (r#""values": [2, null]"#, Err(())),
        ] {
            let text = format!(r#"{{"id_token": {{"acr": {{"essential": true, {values}}}}}}}"#);
            assert_eq!(parse(&text).demanded, Some(expected), "{text}");
        }
        for voluntary in [
            r#"{"id_token": {"acr": {"values": ["1"]}}}"#,
            r#"{"id_token": {"acr": {"essential": true}}}"#,
            r#"{"id_token": {"acr": null}}"#,
        ] {
            assert_eq!(parse(voluntary).demanded, None, "{voluntary}");
        }
    }

    #[test]
    fn what_is_no_claims_parameter_is_refused() {
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(MAX_LENGTH));
        let deep = "[".repeat(4000);
        for text in [
            "",
            "null",
            "[]",
            "{",
            r#"{"userinfo": []}"#,
            r#"{"id_token": "name"}"#,
            r#"{"id_token": {"sub": {"value": "a"}}, "userinfo": {"sub": {"value": "b"}}}"#,
            &long,
            &deep,
        ] {
            assert!(ClaimsParameter::parse(text).is_err(), "{text:.60}");
        }
    }
}
