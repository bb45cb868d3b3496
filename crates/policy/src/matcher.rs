//! String matchers of routes and policies.

use std::fmt;
use std::hash::{Hash, Hasher};

use resources::istio::StringMatch;

use crate::pattern::Pattern;
use crate::re2::full_match;

/// One string condition.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// Anything, if there.
    Present,
    /// Equal.
    Exact(String),
    /// Byte prefix.
    Prefix(String),
    /// Path prefix that ends where a segment ends: `/a` is a prefix of `/a`,
    /// `/a/` and `/a/b`, not of `/ab`.
    PathPrefix(String),
    /// Byte suffix.
    Suffix(String),
    /// Full match.
    Regex(Pattern),
}

/// Regular expressions are the same when they are written the same.
impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, Self::Present) => true,
            (Self::Exact(a), Self::Exact(b))
            | (Self::Prefix(a), Self::Prefix(b))
            | (Self::PathPrefix(a), Self::PathPrefix(b))
            | (Self::Suffix(a), Self::Suffix(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Present => {}
            Self::Exact(text)
            | Self::Prefix(text)
            | Self::PathPrefix(text)
            | Self::Suffix(text) => {
                text.hash(state);
            }
            Self::Regex(regex) => regex.as_str().hash(state),
        }
    }
}

impl Matcher {
    /// Istio's StringMatch, as a VirtualService writes it.
    pub(crate) fn of_route(spec: &StringMatch) -> Result<Self, String> {
        Ok(match (&spec.exact, &spec.prefix, &spec.regex) {
            (Some(exact), _, _) => Self::Exact(exact.clone()),
            (_, Some(prefix), _) => Self::Prefix(prefix.clone()),
            (_, _, Some(regex)) if regex == "*" => Self::Present,
            (_, _, Some(regex)) => Self::Regex(full_match(regex)?),
            _ => Self::Present,
        })
    }

    /// A header value of an AuthorizationPolicy: `*` is presence
    /// (istio `authz/matcher/header.go`).
    pub(crate) fn of_policy_header(value: &str) -> Self {
        if value == "*" {
            Self::Present
        } else {
            Self::of_wildcard(value)
        }
    }

    /// A string value of an AuthorizationPolicy: `*` is any non-empty value
    /// (istio `authz/matcher/string.go`).
    pub(crate) fn of_policy_string(value: &str) -> Result<Self, String> {
        if value == "*" {
            Ok(Self::Regex(full_match(".+")?))
        } else {
            Ok(Self::of_wildcard(value))
        }
    }

    /// A leading `*` is looked at before a trailing one; any other is literal.
    fn of_wildcard(value: &str) -> Self {
        if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else {
            Self::Exact(value.to_owned())
        }
    }

    /// A regular expression that the whole value matches (RE2).
    ///
    /// # Errors
    /// What of it is not RE2, or not understood.
    pub fn of_regex(pattern: &str) -> Result<Self, String> {
        Ok(Self::Regex(full_match(pattern)?))
    }

    /// A path template with `{*}` and `{**}` (Istio 1.22; envoy `uri_template`).
    ///
    /// # Errors
    /// Braces that hold something else.
    pub fn of_template(template: &str) -> Result<Self, String> {
        let segment = r"[a-zA-Z0-9\-._~%!$&'()+,;:@=*]";
        let mut pattern = String::new();
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('{') {
            pattern.push_str(&regex::escape(literal));
            if let Some(after) = after.strip_prefix("**}") {
                pattern.push_str(&format!("(?:{segment}|/)*"));
                rest = after;
            } else if let Some(after) = after.strip_prefix("*}") {
                pattern.push_str(&format!("{segment}+"));
                rest = after;
            } else {
                return Err(format!(
                    "path template `{template}`: expected `{{*}}` or `{{**}}` after `{literal}`"
                ));
            }
        }
        pattern.push_str(&regex::escape(rest));
        Ok(Self::Regex(full_match(&pattern)?))
    }

    /// Anything that contains a text.
    pub fn containing(text: &str) -> Self {
        let pattern = format!("(?s:.*){}(?s:.*)", regex::escape(text));
        match full_match(&pattern) {
            Ok(regex) if !text.is_empty() => Self::Regex(regex),
            _ => Self::Present,
        }
    }

    /// Anything but nothing.
    pub fn not_empty() -> Self {
        full_match("(?s:.+)").map_or(Self::Present, Self::Regex)
    }

    /// An audience of a token, as rules compare them: without scheme and
    /// trailing `/` it is this one.
    pub fn of_audience(bare: &str) -> Self {
        let pattern = format!("(?:https?://)?{}/?", regex::escape(bare));
        full_match(&pattern).map_or_else(|_| Self::Exact(bare.to_owned()), Self::Regex)
    }

    /// Whether a value that is there satisfies the condition.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact,
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Self::PathPrefix(prefix) => value
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Suffix(suffix) => value.ends_with(suffix.as_str()),
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// The same, ASCII case ignored (exact, prefix and suffix).
    pub fn matches_ignoring_case(&self, value: &str) -> bool {
        let equal = |a: &[u8], b: &str| a.eq_ignore_ascii_case(b.as_bytes());
        let bytes = value.as_bytes();
        let start = |prefix: &str| {
            let (start, rest) = bytes.split_at_checked(prefix.len())?;
            equal(start, prefix).then_some(rest)
        };
        match self {
            Self::Exact(exact) => equal(bytes, exact),
            Self::Prefix(prefix) => start(prefix).is_some(),
            Self::PathPrefix(prefix) => {
                start(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
            Self::Suffix(suffix) => bytes
                .len()
                .checked_sub(suffix.len())
                .and_then(|at| bytes.get(at..))
                .is_some_and(|end| equal(end, suffix)),
            Self::Present | Self::Regex(_) => self.matches(value),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("anything"),
            Self::Exact(exact) => write!(f, "exact {exact}"),
            Self::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Self::PathPrefix(prefix) => write!(f, "path prefix {prefix}"),
            Self::Suffix(suffix) => write!(f, "suffix {suffix}"),
            Self::Regex(regex) => {
                let pattern = regex.as_str();
                let inner = pattern
                    .strip_prefix("^(?:")
                    .and_then(|p| p.strip_suffix(")$"));
                write!(f, "regex {}", inner.unwrap_or(pattern))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row was observed on Envoy 1.40 configured by Istio.
    #[test]
    fn policy_strings() {
        for (pattern, value, expected) in [
            ("/a*", "/ab", true),
            ("/a/*", "/a", false),
            ("/a/**", "/a/b", false),
            ("/a/**", "/a/*b", true),
            ("/a/*/b", "/a/x/b", false),
            ("*/healthz", "/x/healthz", true),
            ("*/a*", "/x/a*", true),
            ("*", "", false),
            ("*", "x", true),
        ] {
            let matcher = Matcher::of_policy_string(pattern).unwrap();
            assert_eq!(matcher.matches(value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn templates() {
        for (template, value, expected) in [
            ("/foo/{*}", "/foo/bar", true),
            ("/foo/{*}", "/foo/", false),
            ("/foo/{*}", "/foo/a/b", false),
            ("/foo/{**}", "/foo/", true),
            ("/foo/{**}", "/foo", false),
            ("/foo/{**}", "/foo/a/b", true),
            ("/foo/{*}/bar", "/foo/x/bar", true),
        ] {
            let matcher = Matcher::of_template(template).unwrap();
            assert_eq!(matcher.matches(value), expected, "{template} {value}");
        }
        assert!(Matcher::of_template("/x/{a}").is_err());
    }
}
