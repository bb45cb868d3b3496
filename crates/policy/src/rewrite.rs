//! How a path changes before forwarding (envoy `finalizePathHeader`).

use std::hash::{Hash, Hasher};

use resources::istio::Rewrite;

use crate::matcher::Matcher;
use crate::re2::search;
use crate::routematch::RouteCondition;

/// How the path changes before forwarding.
#[derive(Clone, Debug)]
pub(crate) enum PathRewrite {
    /// The matched prefix is replaced.
    Prefix { from: String, to: String },
    /// The whole path is replaced.
    Whole(String),
    /// Every match is replaced.
    Regex {
        pattern: regex::Regex,
        replacement: String,
    },
}

/// Regular expressions are the same when they are written the same.
impl PartialEq for PathRewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix { from, to }, Self::Prefix { from: f, to: t }) => from == f && to == t,
            (Self::Whole(a), Self::Whole(b)) => a == b,
            (
                Self::Regex {
                    pattern,
                    replacement,
                },
                Self::Regex {
                    pattern: p,
                    replacement: r,
                },
            ) => pattern.as_str() == p.as_str() && replacement == r,
            _ => false,
        }
    }
}

impl Hash for PathRewrite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Prefix { from, to } => (from, to).hash(state),
            Self::Whole(path) => path.hash(state),
            Self::Regex {
                pattern,
                replacement,
            } => (pattern.as_str(), replacement).hash(state),
        }
    }
}

impl PathRewrite {
    /// `by_segment` is the Gateway API's reading: `/` takes the prefix away.
    pub(crate) fn compile(
        rewrite: &Rewrite,
        condition: &RouteCondition,
        by_segment: bool,
    ) -> Result<Option<Self>, String> {
        if let Some(regex) = &rewrite.uri_regex_rewrite {
            let pattern = search(&regex.pattern)?;
            let replacement = replacement(&regex.rewrite, pattern.captures_len())?;
            return Ok(replacement.map(|replacement| Self::Regex {
                pattern,
                replacement,
            }));
        }
        let Some(to) = rewrite.uri.clone().filter(|uri| !uri.is_empty()) else {
            return Ok(None);
        };
        let path = condition.path.as_ref().map(|path| &path.matcher);
        if by_segment && to == "/" {
            // istio: `^<prefix>(/?)(.*)` becomes `/\2`.
            let from = match path {
                Some(Matcher::PathPrefix(from)) => from.as_str(),
                _ => "",
            };
            let pattern = regex::Regex::new(&format!("^{}(/?)(.*)", regex::escape(from)))
                .map_err(|error| error.to_string())?;
            return Ok(Some(Self::Regex {
                pattern,
                replacement: "/${2}".to_owned(),
            }));
        }
        Ok(Some(match path {
            Some(Matcher::Prefix(from) | Matcher::PathPrefix(from)) => Self::Prefix {
                from: from.clone(),
                to,
            },
            None => Self::Prefix {
                from: "/".into(),
                to,
            },
            Some(_) => Self::Whole(to),
        }))
    }

    /// The new path.
    pub(crate) fn apply(&self, path: &str) -> String {
        match self {
            Self::Prefix { from, to } => {
                let rest = path
                    .split_at_checked(from.len())
                    .map_or("", |(_, rest)| rest);
                format!("{to}{rest}")
            }
            Self::Whole(to) => to.clone(),
            Self::Regex {
                pattern,
                replacement,
            } => match pattern.replace_all(path, replacement.as_str()) {
                // A new path that is empty is none.
                new if new.is_empty() => path.to_owned(),
                new => new.into_owned(),
            },
        }
    }
}

/// RE2's `\1` as the regex crate writes it. A group that the regex does not have
/// makes RE2 replace nothing at all.
fn replacement(text: &str, groups: usize) -> Result<Option<String>, String> {
    let mut out = String::new();
    let mut beyond = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some('\\') => out.push('\\'),
                Some(digit) if digit.is_ascii_digit() => {
                    beyond |= digit.to_digit(10).is_some_and(|d| (d as usize) >= groups);
                    out.push_str(&format!("${{{digit}}}"));
                }
                other => {
                    return Err(format!(
                        "rewrite `{text}`: expected a group of the regex after `\\`, found `{}`",
                        other.map_or_else(String::new, String::from)
                    ));
                }
            },
            c => out.push(c),
        }
    }
    Ok((!beyond).then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::istio::RegexRewrite;

    /// Each row was observed on Envoy 1.40 or follows from RE2's `Rewrite`.
    #[test]
    fn regex_rewrites() {
        for (pattern, rewrite, path, expected) in [
            ("^/a/(.*)", r"/\1", "/a/b/c", "/b/c"),
            ("^/a/([0-9]+)", r"/\1x", "/a/12/y", "/12x/y"),
            ("/", "-", "/a/b", "-a-b"),
            ("^/(.*)$", r"/p/\0", "/x", "/p//x"),
            ("^/m", r"/\\$1", "/m", r"/\$1"),
        ] {
            let spec = Rewrite {
                uri_regex_rewrite: Some(RegexRewrite {
                    pattern: pattern.into(),
                    rewrite: rewrite.into(),
                }),
                ..Rewrite::default()
            };
            let rewrite = PathRewrite::compile(&spec, &RouteCondition::default(), false);
            let found = rewrite.unwrap().unwrap().apply(path);
            assert_eq!(found, expected, "{pattern} {path}");
        }
        assert_eq!(replacement(r"\3", 2), Ok(None));
        assert!(replacement(r"\x", 2).is_err());
    }
}
