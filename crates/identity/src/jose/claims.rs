//! Claims: one JSON object, no name twice, and the checks they all need.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::JwtError;

/// How far a clock of an issuer may be ahead of ours.
const LEEWAY: u64 = 30;

/// A JSON object without duplicate names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(crate) fn into_object(self) -> Map<String, Value> {
        self.0
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Puts a value in the place of a claim, or takes it away.
    pub(crate) fn set(&mut self, name: &str, value: Option<&Value>) {
        match value {
            Some(value) => self.0.insert(name.to_owned(), value.clone()),
            None => self.0.remove(name),
        };
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// A claim that is a string or an array of strings; `None` if it is there
    /// and neither, an empty list if it is not there.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.get(name) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::String(one)) => Some(vec![one]),
            Some(Value::Array(many)) => many.iter().map(Value::as_str).collect(),
            Some(_) => None,
        }
    }

    /// A NumericDate (RFC 7519 §2), fractions cut off.
    pub(crate) fn time(&self, name: &str) -> Result<Option<u64>, JwtError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if let Some(seconds) = value.as_u64() {
            return Ok(Some(seconds));
        }
        match value.as_f64() {
            Some(seconds) if (0.0..1e15).contains(&seconds) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the range is checked above"
                )]
                let seconds = seconds as u64;
                Ok(Some(seconds))
            }
            _ => Err(JwtError::Claim(name.to_owned())),
        }
    }

    /// Checks `iss`, `exp`, `nbf` and `iat`; returns `exp`.
    pub(crate) fn check(&self, issuer: &str, now: u64) -> Result<u64, JwtError> {
        if self.text("iss") != Some(issuer) {
            return Err(JwtError::Issuer);
        }
        let Some(expires) = self.time("exp")? else {
            return Err(JwtError::Claim("exp".to_owned()));
        };
        if expires <= now {
            return Err(JwtError::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|from| from > now + LEEWAY) {
                return Err(JwtError::NotYet);
            }
        }
        Ok(expires)
    }

    /// Checks that the token is for one of `accepted`.
    pub(crate) fn check_audience<'a>(
        &self,
        mut accepted: impl Iterator<Item = &'a str>,
    ) -> Result<(), JwtError> {
        let audiences = self
            .texts("aud")
            .ok_or_else(|| JwtError::Claim("aud".to_owned()))?;
        match accepted.any(|ours| audiences.contains(&ours)) {
            true => Ok(()),
            false => Err(JwtError::Audience),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without duplicate names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name appears twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
