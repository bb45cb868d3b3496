//! Cookies that are ours alone go no further than here.

use http::{HeaderMap, HeaderValue, header};

use crate::host::Settings;

/// What becomes of the `cookie` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cookies {
    /// There is none of ours in it.
    Stay,
    /// Without ours.
    Are(HeaderValue),
    /// Nothing is left of it.
    Go,
}

impl Settings {
    /// The cookies of a request without ours.
    pub(crate) fn strip(&self, headers: &HeaderMap) -> Cookies {
        let mut lines = headers.get_all(header::COOKIE).iter().peekable();
        if lines.peek().is_none() {
            return Cookies::Stay;
        }
        let mut kept = String::new();
        let mut gone = false;
        for line in lines {
            // What cannot be read may hold ours.
            let Ok(text) = std::str::from_utf8(line.as_bytes()) else {
                gone = true;
                continue;
            };
            for pair in text.split(';').map(|pair| pair.trim_matches([' ', '\t'])) {
                let name = pair.split_once('=').map_or(pair, |(name, _)| name);
                let name = name.trim_end_matches([' ', '\t']);
                if self.cookies.iter().any(|ours| ours == name) {
                    gone = true;
                } else if !pair.is_empty() {
                    if !kept.is_empty() {
                        kept.push_str("; ");
                    }
                    kept.push_str(pair);
                }
            }
        }
        match HeaderValue::try_from(kept) {
            _ if !gone => Cookies::Stay,
            Ok(kept) if !kept.is_empty() => Cookies::Are(kept),
            _ => Cookies::Go,
        }
    }
}
