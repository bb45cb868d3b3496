//! Bearer tokens: reading the header (RFC 6750 §2.1), remembering what was
//! verified.

use http::{HeaderMap, header};
use policy::{KEY_HEADER, TokenError, TokenHolder, is_api_key};
use sha2::{Digest as _, Sha256};

use crate::jose::MAX_BEARER_BYTES;

/// A verified token is believed for so many seconds without looking again.
const REMEMBER: u64 = 60;

/// Tokens remembered.
const CACHED: usize = 10_000;

/// What `authorization` holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Authorization<'a> {
    /// Nothing, or credentials of another scheme.
    Absent {
        /// There is a header, of another scheme.
        other_scheme: bool,
    },
    /// A bearer token.
    Bearer(&'a str),
    /// Something that must not be guessed about.
    Wrong(TokenError),
}

fn wrong(text: &str) -> TokenError {
    TokenError(text.to_owned())
}

/// Reads `authorization`.
pub(crate) fn authorization(headers: &HeaderMap) -> Authorization<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Authorization::Absent {
            other_scheme: false,
        };
    };
    if values.next().is_some() {
        return Authorization::Wrong(wrong("more than one authorization header, expected one"));
    }
    let Ok(text) = value.to_str() else {
        return Authorization::Wrong(wrong("the authorization header is not ASCII"));
    };
    // An empty credential is none, whatever the header's presence suggests.
    if text.trim().is_empty() {
        return Authorization::Absent {
            other_scheme: false,
        };
    }
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Authorization::Absent { other_scheme: true };
    }
    let token = rest.trim_start_matches(' ');
    if token.is_empty() {
        return Authorization::Wrong(wrong(
            "the authorization header has no token after `Bearer`",
        ));
    }
    if token.len() > MAX_BEARER_BYTES {
        return Authorization::Wrong(wrong("the token is longer than 8192 bytes"));
    }
    // None is passed over: so many are looked at at a time.
    if !token
        .bytes()
        .fold(true, |all, byte| all & is_b64token(byte))
    {
        return Authorization::Wrong(wrong(
            "the token has characters that no token has, expected one token after `Bearer`",
        ));
    }
    Authorization::Bearer(token)
}

/// The API key in a header of its own. A header of this name without one is for
/// upstreams.
pub(crate) fn own_key(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    let values = headers.get_all(&KEY_HEADER);
    if !values.iter().any(|value| is_api_key(&KEY_HEADER, value)) {
        return Ok(None);
    }
    let mut values = values.iter();
    let (first, second) = (values.next(), values.next());
    match (first.and_then(|value| value.to_str().ok()), second) {
        (Some(key), None) => Ok(Some(key)),
        (None, _) => Err(wrong("the x-api-key header is not ASCII")),
        (_, Some(_)) => Err(wrong("more than one x-api-key header, expected one")),
    }
}

/// RFC 6750 §2.1, `b64token`.
fn is_b64token(byte: u8) -> bool {
    let is = |other: u8| byte == other;
    let mark = is(b'-') | is(b'.') | is(b'_') | is(b'~') | is(b'+') | is(b'/') | is(b'=');
    let lower = byte | 0x20;
    lower.is_ascii_lowercase() | byte.is_ascii_digit() | mark
}

/// Verified tokens by the SHA-256 of what decides about them, and of themselves.
pub(crate) struct Verified {
    /// Issuers, their keys' places and audiences.
    context: [u8; 32],
    /// Until when each is believed stands beside it.
    cache: quick_cache::sync::Cache<[u8; 32], (TokenHolder, u64)>,
}

impl Verified {
    /// `context` is what is configured of issuers and audiences.
    pub(crate) fn new(context: &str) -> Self {
        Self {
            context: Sha256::digest(context).into(),
            cache: quick_cache::sync::Cache::new(CACHED),
        }
    }

    pub(crate) fn key(&self, login: &str, token: &str) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.context);
        digest.update(login);
        digest.update([0]);
        digest.update(token);
        digest.finalize().into()
    }

    pub(crate) fn get(&self, key: &[u8; 32], now: u64) -> Option<TokenHolder> {
        let (holder, until) = self.cache.get(key)?;
        (now < until).then_some(holder)
    }

    pub(crate) fn remember(&self, key: [u8; 32], holder: &TokenHolder, expires: u64, now: u64) {
        let until = expires.min(now.saturating_add(REMEMBER));
        self.cache.insert(key, (holder.clone(), until));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn check(sent: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(
                header::AUTHORIZATION,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let found = match authorization(&headers) {
            Authorization::Absent { other_scheme } => format!("absent {other_scheme}"),
            Authorization::Bearer(token) => format!("bearer {token}"),
            Authorization::Wrong(TokenError(text)) => text,
        };
        assert!(found.starts_with(expected), "{sent:?}: {found}");
    }

    #[test]
    fn the_header_is_read_strictly() {
        check(&[], "absent false");
        check(&["Bearer a.b.c"], "bearer a.b.c");
        check(&["bearer a.b.c"], "bearer a.b.c");
        check(&["BEARER   a.b.c"], "bearer a.b.c");
        check(&["Bearer"], "the authorization header has no token");
        check(&["Bearer "], "the authorization header has no token");
        check(&["Bearer a b"], "the token has characters");
        check(&["Bearer a,b"], "the token has characters");
        check(&["Bearer\ta"], "absent true");
        check(&["Bearer a", "Bearer a"], "more than one");
        check(&["Basic eA==", "Bearer a"], "more than one");
        check(&["Basic eA=="], "absent true");
        check(&["Bearerx a"], "absent true");
        check(&[""], "absent false");
        check(&["  "], "absent false");
        check(&["Bearer ü"], "the authorization header is not ASCII");
        check(
            &[&format!("Bearer {}", "a".repeat(8193))],
            "the token is longer",
        );
        check(
            &[&format!("Bearer {}", "a".repeat(1 << 20))],
            "the token is longer",
        );
        check(&[&format!("Bearer {}", "a".repeat(8192))], "bearer aaaa");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_stumble(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.append(header::AUTHORIZATION, value);
                if let Authorization::Bearer(token) = authorization(&headers) {
                    prop_assert!(token.bytes().all(is_b64token));
                }
            }
        }
    }
}
