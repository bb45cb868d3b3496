//! What a token says, and how it is compared.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::matcher::Matcher;

/// The claims of a token: one JSON object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Arc<Map<String, Value>>);

/// Where a claim is: a name, and names inside of it.
pub type ClaimPath = Arc<[String]>;

impl Claims {
    /// Of an object.
    pub fn new(object: Map<String, Value>) -> Self {
        Self(Arc::new(object))
    }

    /// Reads a JSON object.
    pub fn parse(json: &[u8]) -> Option<Self> {
        match serde_json::from_slice(json).ok()? {
            Value::Object(object) => Some(Self::new(object)),
            _ => None,
        }
    }

    /// All of them.
    pub fn object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A claim that is a string or a list of strings, as a list.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The claim at a path; lists are not looked into.
    pub(crate) fn find<'n>(&self, path: impl IntoIterator<Item = &'n str>) -> Option<&Value> {
        let mut names = path.into_iter();
        let mut value = self.0.get(names.next()?)?;
        for name in names {
            value = value.as_object()?.get(name)?;
        }
        Some(value)
    }

    /// Whether the claim is a string that matches, or a list with one
    /// (istio `MetadataListValueMatcherForJWTClaims`).
    pub(crate) fn matches(&self, path: &[String], matcher: &Matcher) -> bool {
        let text = |value: &Value| value.as_str().is_some_and(|text| matcher.matches(text));
        match self.find(path.iter().map(String::as_str)) {
            Some(Value::Array(list)) => list.iter().any(text),
            Some(value) => text(value),
            None => false,
        }
    }

    /// The strings at a path: what conditions compare.
    pub fn texts_at(&self, path: &[String]) -> Vec<&str> {
        match self.find(path.iter().map(String::as_str)) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(value) => value.as_str().into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// What is at a path, to read.
    pub(crate) fn shown(&self, path: &[String]) -> Vec<String> {
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.unwrap_or_else(|| value.to_string())
        };
        match self.find(path.iter().map(String::as_str)) {
            Some(Value::Array(list)) => list.iter().map(text).collect(),
            Some(value) => vec![text(value)],
            None => Vec::new(),
        }
    }

    /// The same where only a string counts.
    pub(crate) fn matches_text(&self, name: &str, matcher: &Matcher) -> bool {
        self.text(name).is_some_and(|text| matcher.matches(text))
    }

    /// With the claims of these names taken apart at spaces, where they are strings.
    pub(crate) fn spaced<'n>(&self, names: impl Iterator<Item = &'n str>) -> Self {
        let mut out = self.clone();
        for name in names {
            if let Some(list) = self.text(name).and_then(split) {
                Arc::make_mut(&mut out.0).insert(name.to_owned(), list);
            }
        }
        out
    }

    /// As Istio's own filter showed them (up to 1.20): every string taken apart
    /// at spaces, of the audiences the first only.
    pub(crate) fn before_split(&self) -> Self {
        let mut object = apart(&self.0);
        if let Some(Value::Array(list)) = object.get_mut("aud") {
            list.truncate(1);
        }
        Self::new(object)
    }
}

fn split(text: &str) -> Option<Value> {
    let parts: Vec<Value> = text
        .split(' ')
        .filter(|part| !part.is_empty())
        .map(Value::from)
        .collect();
    (!parts.is_empty()).then_some(Value::Array(parts))
}

fn apart(object: &Map<String, Value>) -> Map<String, Value> {
    let entries = object.iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) => split(text).unwrap_or_else(|| Value::Array(Vec::new())),
            Value::Object(inner) => Value::Object(apart(inner)),
            other => other.clone(),
        };
        (name.clone(), value)
    });
    entries.collect()
}

/// The claims that brackets name, `[a][b]`; anything else in brackets is one
/// name, and no brackets name none: that never holds (istio `extractNameInNestedBrackets`).
pub(crate) fn in_brackets(text: &str) -> Result<ClaimPath, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').and_then(|rest| {
            let (name, after) = rest.split_once(']')?;
            (!name.contains('[')).then_some((name, after))
        });
        let Some((name, after)) = inner else {
            return match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                Some(name) => Ok([name.to_owned()].into()),
                None => Err(format!("expected `[NAME]` after the key, found `{text}`")),
            };
        };
        names.push(name.to_owned());
        rest = after;
    }
    Ok(names.into())
}

/// The claims that a header name of a route stands for:
/// `@request.auth.claims.a.b` or `@request.auth.claims[a][b]` (istio
/// `pkg/jwt/routing.go`).
pub(crate) fn of_header_name(name: &str) -> Option<ClaimPath> {
    const PREFIX: &str = "@request.auth.claims";
    let (start, rest) = name.split_at_checked(PREFIX.len())?;
    if !start.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    if let Some(names) = rest.strip_prefix('.').filter(|names| !names.is_empty()) {
        return Some(names.split('.').map(str::to_owned).collect());
    }
    let names = rest.strip_prefix('[')?.strip_suffix(']')?;
    (!names.is_empty()).then(|| names.split("][").map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets() {
        for (text, expected) in [
            ("[a]", Some(vec!["a"])),
            ("[a][b]", Some(vec!["a", "b"])),
            ("[a.b]", Some(vec!["a.b"])),
            ("[a[b]]", Some(vec!["a[b]"])),
            ("[]", Some(vec![""])),
            ("", Some(vec![])),
            ("a", None),
            ("[a", None),
        ] {
            let found = in_brackets(text).ok();
            let expected =
                expected.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected.as_deref(), "{text}");
        }
    }

    #[test]
    fn header_names() {
        for (text, expected) in [
            ("@request.auth.claims.a", Some("a")),
            ("@Request.Auth.Claims[a][b]", Some("a,b")),
            ("@request.auth.claims.a.b", Some("a,b")),
            ("@request.auth.claims", None),
            ("@request.auth.claims[]", None),
            ("x-user", None),
        ] {
            let found = of_header_name(text).map(|names| names.join(","));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn only_strings_match() {
        let claims = Claims::parse(
            br#"{"s": "a b", "list": ["x", 1], "yes": true, "n": {"a": "x", "l": [{"b": "x"}]}}"#,
        )
        .unwrap();
        let any = Matcher::of_policy_string("*").unwrap();
        let exact = |text: &str| Matcher::Exact(text.to_owned());
        let path = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        for (names, matcher, expected) in [
            (&["s"][..], exact("a b"), true),
            (&["s"], exact("a"), false),
            (&["list"], exact("x"), true),
            (&["list"], exact("1"), false),
            (&["yes"], any.clone(), false),
            (&["n"], any.clone(), false),
            (&["n", "a"], exact("x"), true),
            (&["n", "l", "b"], any.clone(), false),
            (&["n.a"], any, false),
        ] {
            assert_eq!(
                claims.matches(&path(names), &matcher),
                expected,
                "{names:?}"
            );
        }
        let spaced = claims.spaced(["s"].into_iter());
        assert!(spaced.matches(&path(&["s"]), &exact("a")));
        assert!(
            claims
                .before_split()
                .matches(&path(&["n", "a"]), &exact("x"))
        );
    }
}
