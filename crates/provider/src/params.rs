//! Parameters of a query or form, each at most once (RFC 6749 section 3.1).

use url::form_urlencoded;

use secret::Secret;

/// Longest query or form that is read.
pub(crate) const MAX_LENGTH: usize = 16 * 1024;

pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

/// A parameter that is there twice.
#[derive(Debug)]
pub(crate) struct Repeated(pub(crate) &'static str);

impl Params {
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        let encoded = encoded.get(..MAX_LENGTH).unwrap_or(encoded);
        Self {
            pairs: form_urlencoded::parse(encoded).into_owned().collect(),
        }
    }

    /// The value of `name`; an empty one counts as absent.
    pub(crate) fn get(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut values = self.pairs.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated(name)),
            (Some((_, value)), None) if !value.is_empty() => Ok(Some(value)),
            _ => Ok(None),
        }
    }

    pub(crate) fn secret(&self, name: &'static str) -> Result<Option<Secret>, Repeated> {
        Ok(self.get(name)?.map(Secret::new))
    }
}
