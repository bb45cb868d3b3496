//! Where requests carry tokens, read as Envoy does (`jwt_authn/extractor.cc`).

use std::collections::BTreeMap;

use http::HeaderMap;
use resources::istio::JwtRule;

use crate::request::RequestHead;

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// A header, after a prefix that may stand anywhere in its value.
    Header {
        /// Name, lower case.
        name: String,
        /// What the value has to contain; may be empty.
        prefix: String,
    },
    /// The first query parameter of a name.
    Parameter(String),
    /// A cookie.
    Cookie(String),
}

impl Carrier {
    /// The places that a rule names, or the default ones, in the order in
    /// which Envoy finds tokens. It looks at the last one first.
    pub(crate) fn of(rule: &JwtRule, with_cookies: bool) -> Vec<Self> {
        let mut headers = BTreeMap::new();
        let mut add = |name: &str, prefix: &str| {
            let name = name.to_ascii_lowercase();
            headers
                .entry(format!("{name}{prefix}"))
                .or_insert_with(|| Self::Header {
                    name,
                    prefix: prefix.to_owned(),
                });
        };
        for header in &rule.from_headers {
            add(&header.name, &header.prefix);
        }
        let mut parameters: Vec<&str> = rule.from_params.iter().map(String::as_str).collect();
        let mut cookies: Vec<&str> = if with_cookies {
            rule.from_cookies.iter().map(String::as_str).collect()
        } else {
            Vec::new()
        };
        if rule.from_headers.is_empty() && parameters.is_empty() && cookies.is_empty() {
            add("authorization", "Bearer ");
            parameters.push("access_token");
        }
        for list in [&mut parameters, &mut cookies] {
            list.sort_unstable();
            list.dedup();
        }
        let mut all: Vec<Self> = headers.into_values().collect();
        all.extend(
            parameters
                .into_iter()
                .map(|n| Self::Parameter(n.to_owned())),
        );
        all.extend(cookies.into_iter().map(|n| Self::Cookie(n.to_owned())));
        all
    }

    /// The tokens that a request carries here, in order.
    pub fn tokens(&self, head: &RequestHead) -> Vec<String> {
        match self {
            Self::Header { name, prefix } => header_values(&head.headers, name)
                .into_iter()
                .filter_map(|value| after(&value, prefix))
                .collect(),
            Self::Parameter(name) => {
                let query = head.query.as_deref().unwrap_or_default();
                let value = parameters(query).find(|(key, _)| *key == name.as_bytes());
                value
                    .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
                    .into_iter()
                    .collect()
            }
            Self::Cookie(name) => cookie(&head.headers, name).into_iter().collect(),
        }
    }

    /// For messages: `header authorization`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Header { name, prefix } if prefix.is_empty() => format!("header `{name}`"),
            Self::Header { name, prefix } => format!("header `{name}` after `{prefix}`"),
            Self::Parameter(name) => format!("query parameter `{name}`"),
            Self::Cookie(name) => format!("cookie `{name}`"),
        }
    }
}

fn header_values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

/// From the first character after the prefix that a token can have, to the
/// end; the value itself where there is none.
fn after(value: &str, prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return Some(value.to_owned());
    }
    let (_, rest) = value.split_once(prefix)?;
    let start = rest.find(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let token = start.and_then(|at| rest.get(at..)).unwrap_or(value);
    Some(token.to_owned())
}

/// Names and values of a query, percent-decoded.
fn parameters(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    // Nothing after the last `&` is no parameter, nothing before it is one.
    let whole = query.strip_suffix('&').unwrap_or(query);
    let pairs = (!query.is_empty()).then(|| whole.split('&'));
    pairs.into_iter().flatten().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> Vec<u8> {
    let hex = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        if byte == b'%'
            && let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next()))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            out.push(byte);
            bytes = ahead;
        } else {
            out.push(byte);
        }
    }
    out
}

/// The query without a parameter: decoded, sorted by name (Envoy
/// `QueryParamsMulti::replaceQueryString`).
pub(crate) fn without_parameter(query: &str, name: &str) -> Option<String> {
    let mut all: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for (key, value) in parameters(query) {
        all.entry(key).or_default().push(value);
    }
    all.remove(name.as_bytes());
    let mut out: Vec<String> = Vec::new();
    for (key, values) in &all {
        for value in values {
            out.push(format!("{}={}", encoded(key), encoded(value)));
        }
    }
    (!out.is_empty()).then(|| out.join("&"))
}

/// As it is, but for what cannot stand in a request target.
fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if (0x21..0x7f).contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The first cookie of a name (Envoy `Utility::forEachCookie`).
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(http::header::COOKIE).iter();
    let mut cookies = values.flat_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let pairs = text.split(';').filter_map(|pair| {
            let (key, value) = pair.trim_start_matches(' ').split_once('=')?;
            let quoted = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'));
            Some((key.to_owned(), quoted.unwrap_or(value).to_owned()))
        });
        pairs.collect::<Vec<_>>()
    });
    cookies.find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_stand_anywhere() {
        for (value, prefix, expected) in [
            ("Bearer a.b.c", "Bearer ", Some("a.b.c")),
            ("Basic Zm9v, Bearer a.b.c", "Bearer ", Some("a.b.c")),
            ("Bearer  \"a.b.c", "Bearer ", Some("a.b.c")),
            (
                "Bearer a.b.c,Bearer d.e.f",
                "Bearer ",
                Some("a.b.c,Bearer d.e.f"),
            ),
            ("Bearer \"\"", "Bearer ", Some("Bearer \"\"")),
            ("bearer a.b.c", "Bearer ", None),
            ("a.b.c", "", Some("a.b.c")),
        ] {
            assert_eq!(after(value, prefix).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn queries_without_a_parameter() {
        for (query, expected) in [
            ("t=x", None),
            ("b=1&t=x&a=%31", Some("a=1&b=1")),
            ("%74=x&b&b=2", Some("b=&b=2")),
            ("a=%20", Some("a=%20")),
            ("t=x&&a", Some("=&a=")),
        ] {
            assert_eq!(
                without_parameter(query, "t").as_deref(),
                expected,
                "{query}"
            );
        }
    }
}
