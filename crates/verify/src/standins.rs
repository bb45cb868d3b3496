//! Texts that stand for tokens: one that verifies says what it is about, any
//! other is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use policy::{Carrier, Claims, RequestHead, TokenAnswer, TokenContent};
use serde_json::{Map, Value};

use crate::classes::Example;

/// Puts an example's value at a path.
pub(crate) fn insert(claims: &mut Map<String, Value>, path: &[String], example: &Example) {
    let value = match example {
        Example::Text(text) => Value::from(text.as_str()),
        Example::Lines(lines) => Value::from(lines.clone()),
        Example::Absent | Example::Ip(_) => return,
    };
    let Some((last, outer)) = path.split_last() else {
        return;
    };
    let mut at = claims;
    for name in outer {
        let inner = at
            .entry(name.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        let Some(object) = inner.as_object_mut() else {
            return;
        };
        at = object;
    }
    at.insert(last.clone(), value);
}

/// What stands where a token is expected and is none.
pub(crate) const BAD_TOKEN: &str = "x.y.z";

/// `{"alg":"RS256"}`.
const HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";
/// `good`.
const SIGNATURE: &str = "Z29vZA";

/// Stands for a token that says this and verifies.
pub(crate) fn text(claims: &Map<String, Value>) -> String {
    let claims = Value::Object(claims.clone()).to_string();
    format!("{HEADER}.{}.{SIGNATURE}", URL_SAFE_NO_PAD.encode(claims))
}

/// A text that stands for a token with these claims that verifies, for
/// [`decision`](crate::decision) and [`predict`](crate::predict).
pub fn stand_in(claims: &Claims) -> String {
    text(claims.object())
}

/// What such a text says.
pub(crate) fn claims_of(token: &str) -> Option<Claims> {
    let payload = token.strip_prefix(HEADER)?.strip_prefix('.')?;
    let payload = payload.strip_suffix(SIGNATURE)?.strip_suffix('.')?;
    Claims::parse(&URL_SAFE_NO_PAD.decode(payload).ok()?)
}

/// What is found out about such a text, or about anything else.
pub(crate) fn answer(token: &str) -> TokenAnswer {
    match claims_of(token) {
        None => TokenAnswer::Malformed("it is none".into()),
        Some(claims) => {
            let payload = token.split('.').nth(1).unwrap_or_default().to_owned();
            TokenAnswer::Read(Box::new(TokenContent {
                claims,
                payload,
                time: None,
                signature: None,
            }))
        }
    }
}

/// Puts a token into its place, with something before the prefix.
pub(crate) fn put(
    head: &mut RequestHead,
    carrier: &Carrier,
    before: &str,
    token: &str,
) -> Option<()> {
    match carrier {
        Carrier::Header { name, prefix } => {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_str(&format!("{before}{prefix}{token}")).ok()?;
            head.headers.append(name, value);
        }
        Carrier::Parameter(name) => {
            let pair = format!("{before}{name}={token}");
            head.query = Some(match head.query.take() {
                Some(query) => format!("{query}&{pair}"),
                None => pair,
            });
        }
        Carrier::Cookie(name) => {
            let value = HeaderValue::from_str(&format!("{name}={token}")).ok()?;
            head.headers.append(http::header::COOKIE, value);
        }
    }
    Some(())
}
