//! Cookies: reading what browsers send, writing what they keep (RFC 6265).

use http::{HeaderMap, HeaderValue, header};

/// More cookie bytes than this are not looked at.
const MAX_COOKIE_BYTES: usize = 64 * 1024;

/// Values of the cookie `name`, in the order sent, over all `cookie` headers.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut budget = MAX_COOKIE_BYTES;
    headers
        .get_all(header::COOKIE)
        .iter()
        .take_while(move |value| {
            let fits = value.len() <= budget;
            budget = budget.saturating_sub(value.len());
            fits
        })
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(|text| text.split(';'))
        .filter_map(move |pair| {
            let (key, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
            (key == name).then(|| unquote(value))
        })
}

fn unquote(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}

/// Whether a cookie is marked `Secure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecureCookies {
    /// Where the request came over https, as far as is known.
    #[default]
    WhenHttps,
    /// Always: something in front ends TLS.
    Always,
}

/// What `Set-Cookie` carries besides the value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) secure: bool,
}

impl Attributes<'_> {
    /// `Set-Cookie` that keeps `value` for `max_age` seconds.
    pub(crate) fn set(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        let Self { name, path, secure } = self;
        let secure = if *secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!(
            "{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
        ))
        .ok()
    }

    /// `Set-Cookie` that removes the cookie; browsers want the same attributes.
    pub(crate) fn clear(&self) -> Option<HeaderValue> {
        self.set("", 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sent: &[&str], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in sent {
            headers.append(
                header::COOKIE,
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
        }
        let found: Vec<_> = values(&headers, "s").collect();
        assert_eq!(found, expected, "{sent:?}");
    }

    #[test]
    fn cookies_are_read_as_browsers_send_them() {
        check(&["s=1"], &["1"]);
        check(&["a=0; s=1; b=2"], &["1"]);
        check(&["a=0;s=1"], &["1"]);
        check(&["s=1; s=2"], &["1", "2"]);
        check(&["s=1", "s=2"], &["1", "2"]);
        check(&["s=\"1\""], &["1"]);
        check(&["s=a=b"], &["a=b"]);
        check(&["S=1; xs=1; s =1; s"], &[]);
        check(&[""], &[]);
        check(&["ü=1; s=ok"], &["ok"]);
    }

    #[test]
    fn a_flood_of_cookie_lines_is_not_read_on() {
        let long = format!("a={}", "x".repeat(60 * 1024));
        check(&[&long, "s=1"], &["1"]);
        check(&[&long, &long, "s=1"], &[]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                headers.append(header::COOKIE, value);
            }
            for value in values(&headers, "s") {
                prop_assert!(!value.contains(';'));
            }
        }
    }
}
