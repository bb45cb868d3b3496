//! Parameters of a query or form, each at most once (RFC 6749 section 3.1).

use std::borrow::Cow;

use percent_encoding::percent_decode;
use secret::Secret;

/// Longest query or form that is read.
pub(crate) const MAX_LENGTH: usize = 16 * 1024;

pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

/// A parameter that is there twice.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is there twice")]
pub(crate) struct Repeated(pub(crate) &'static str);

/// Text that nobody can mean.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("expected less than 16 KiB")]
    TooLong,
    #[error("expected UTF-8 without NUL")]
    NotText,
}

impl Params {
    pub(crate) fn parse(encoded: &[u8]) -> Result<Self, Unreadable> {
        if encoded.len() > MAX_LENGTH {
            return Err(Unreadable::TooLong);
        }
        let pairs = encoded
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let mut halves = pair.splitn(2, |byte| *byte == b'=');
                let mut half = || decode(halves.next().unwrap_or_default());
                Some((half()?, half()?))
            })
            .collect::<Option<_>>()
            .ok_or(Unreadable::NotText)?;
        Ok(Self { pairs })
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

    /// All values of a parameter that may be repeated, as `audience` (RFC 8693 section 2.1).
    pub(crate) fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn secret(&self, name: &'static str) -> Result<Option<Secret>, Repeated> {
        Ok(self.get(name)?.map(Secret::new))
    }
}

/// One half of a pair of `application/x-www-form-urlencoded`; bytes that are no text are not
/// replaced by something else.
fn decode(half: &[u8]) -> Option<String> {
    let spaced: Cow<'_, [u8]> = if half.contains(&b'+') {
        let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
        half.iter().map(space).collect::<Vec<_>>().into()
    } else {
        half.into()
    };
    let text = String::from_utf8(percent_decode(&spaced).collect()).ok()?;
    (!text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let params = Params::parse(b"a=1+2%2B&&b&c=x%3Dy=z&d=%ED%95%9C&e=&=q").unwrap();
        let get = |name| params.get(name).unwrap();
        assert_eq!(get("a"), Some("1 2+"));
        assert_eq!((get("b"), get("e"), get("f")), (None, None, None));
        assert_eq!(get("c"), Some("x=y=z"));
        assert_eq!(get("d"), Some("한"));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for bad in ["a=%ff", "a=%00", "%c3%28=1", "a=%ED%A0%80"] {
            assert!(matches!(
                Params::parse(bad.as_bytes()),
                Err(Unreadable::NotText)
            ));
        }
        let long = format!("a={}", "x".repeat(MAX_LENGTH));
        assert!(matches!(
            Params::parse(long.as_bytes()),
            Err(Unreadable::TooLong)
        ));
        let twice = Params::parse(b"a=1&a=").unwrap();
        assert!(twice.get("a").is_err());
        assert_eq!(twice.all("a").collect::<Vec<_>>(), ["1"]);
    }
}
