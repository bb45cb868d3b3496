//! The one authority of a request.

use std::borrow::Cow;

use http::{HeaderMap, Uri, Version, header};

use crate::Ambiguous;

/// Finds the authority of a request in its target and its `host` header, which
/// have to agree (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
///
/// # Errors
/// They do not, or there is none.
pub fn of(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<String, Ambiguous> {
    let mut lines = headers.get_all(header::HOST).iter();
    let host = match lines.next() {
        None => None,
        Some(line) => Some(line.to_str().map_err(|_| BAD_HOST)?),
    };
    if lines.next().is_some() {
        return Err(Ambiguous("more than one `host` header"));
    }
    let target = uri.authority().map(http::uri::Authority::as_str);
    if version != Version::HTTP_2 {
        if target.is_some() && uri.scheme().is_none() {
            return Err(Ambiguous("expected the target to begin with `/`"));
        }
        if host.is_none() {
            return Err(Ambiguous("no `host` header"));
        }
    }
    match (target, host) {
        (Some(target), Some(host)) => {
            let target = parse(target)?;
            if !target.eq_ignore_ascii_case(&parse(host)?) {
                return Err(Ambiguous("target and `host` header name different hosts"));
            }
            Ok(target.into_owned())
        }
        (Some(only), None) | (None, Some(only)) => parse(only).map(Cow::into_owned),
        (None, None) => Err(Ambiguous("no authority")),
    }
}

const BAD_HOST: Ambiguous = Ambiguous("`host` is not a host name with an optional port");

/// Checks `host[:port]` and writes it in one way: no empty port, no zeros
/// before a port. Case and a final dot stay.
///
/// # Errors
/// It is something else.
pub fn parse(text: &str) -> Result<Cow<'_, str>, Ambiguous> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(BAD_HOST)?;
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| BAD_HOST)?;
            let host = text.get(..address.len() + 2).ok_or(BAD_HOST)?;
            match port {
                "" => (host, None),
                port => (host, Some(port.strip_prefix(':').ok_or(BAD_HOST)?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    // Without a branch for each byte, as all of them are looked at for nearly every request.
    let is_name = host.bytes().fold(true, |all, b| {
        let mark = (b == b'-') | (b == b'.') | (b == b'_') | (b == b'~');
        all & (b.is_ascii_alphanumeric() | mark)
    });
    if host.is_empty() || host.len() > 255 || host == "." || host.ends_with("..") {
        return Err(BAD_HOST);
    }
    if !is_name && !host.starts_with('[') {
        return Err(BAD_HOST);
    }
    match port {
        None | Some("") => Ok(host.into()),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let port: u16 = digits.parse().map_err(|_| BAD_HOST)?;
            Ok(match digits.starts_with('0') {
                false => text.into(),
                true => format!("{host}:{port}").into(),
            })
        }
        Some(_) => Err(BAD_HOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_have_one_spelling() {
        for (input, expected) in [
            ("kubeflow.example", Some("kubeflow.example")),
            ("Kubeflow.Example:80", Some("Kubeflow.Example:80")),
            ("k:", Some("k")),
            ("k:00080", Some("k:80")),
            ("k.", Some("k.")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("[::1]", Some("[::1]")),
            ("10.0.0.1:1", Some("10.0.0.1:1")),
            ("", None),
            (".", None),
            ("k..", None),
            (":80", None),
            ("k:65536", None),
            ("k:+80", None),
            ("k:8a", None),
            ("k:80:80", None),
            ("[::1", None),
            ("[::1]80", None),
            ("[k]", None),
            ("::1", None),
            ("u@k", None),
            ("a,b", None),
            ("a b", None),
            ("a%2eb", None),
            ("a/b", None),
            ("a#b", None),
            ("a\\b", None),
            ("a'b", None),
        ] {
            assert_eq!(parse(input).ok().as_deref(), expected, "{input}");
        }
    }
}
