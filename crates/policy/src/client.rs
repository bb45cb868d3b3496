//! What kind of client a request is from, told by what only that kind sends.

use http::{HeaderMap, Method, header};

use crate::request::RequestHead;

/// What browsers send with a page that nobody has opened yet.
const AHEAD: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// Where a page is shown that a person opened (Fetch metadata, §2.1).
const SHOWN: [&str; 3] = ["document", "iframe", "frame"];

/// What programs ask for in the place of a page.
const DATA: [&str; 2] = ["application/json", "text/event-stream"];

impl RequestHead {
    /// A person's browser opening a page: the only client a login redirect
    /// helps. A page that is fetched ahead is none, for nobody asked for a login.
    pub fn is_navigation(&self) -> bool {
        (self.method == Method::GET || self.method == Method::HEAD) && self.is_for_a_person()
    }

    /// A person's browser sending a form. A redirect would lose what it sends
    /// without a word.
    pub fn is_form(&self) -> bool {
        const FORMS: [&str; 3] = [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/plain",
        ];
        let kind = self.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        self.method == Method::POST
            && FORMS.iter().any(|form| form.eq_ignore_ascii_case(kind))
            && self.is_for_a_person()
    }

    /// Whether a person sees the answer.
    fn is_for_a_person(&self) -> bool {
        let has = |name: &str| self.headers.contains_key(name);
        let program = has("authorization") || has("x-requested-with");
        if program || self.is_upgrade() || AHEAD.into_iter().any(has) {
            return false;
        }
        let wanted = Wanted::read(&self.headers);
        match self.header("sec-fetch-mode") {
            // No script can write it.
            Some(mode) => {
                let shown = self.header("sec-fetch-dest");
                mode == "navigate"
                    && shown.is_none_or(|place| SHOWN.contains(&place))
                    && wanted.is_some_and(|wanted| wanted.page > 0 && wanted.page >= wanted.most())
            }
            // Browsers say nothing of it on plain HTTP.
            None => {
                wanted.is_some_and(|wanted| wanted.page > wanted.data && wanted.page >= wanted.text)
            }
        }
    }
}

/// How much an answer is wanted as a page, as text and as data, in thousandths.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    page: u16,
    /// Browsers of terminals want it as much as a page.
    text: u16,
    data: u16,
}

impl Wanted {
    fn most(&self) -> u16 {
        self.text.max(self.data)
    }

    /// Of `Accept` (RFC 9110 §12.5.1); nothing if it has no reading. Browsers
    /// write one that has; Java's client, which asks for `text/html` first, does not.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            let parts = value.to_str().ok()?.split(',').map(str::trim);
            for part in parts.filter(|part| !part.is_empty()) {
                ranges.push(range(part)?);
            }
        }
        if ranges.is_empty() {
            ranges.push(("*/*", 1000));
        }
        let of = |media: &str| quality(&ranges, media);
        Some(Self {
            page: of("text/html"),
            text: of("text/plain"),
            data: DATA.into_iter().map(of).max().unwrap_or(0),
        })
    }
}

/// The quality of the most specific range that covers a media type.
fn quality(ranges: &[(&str, u16)], media: &str) -> u16 {
    let kind = media.split('/').next().unwrap_or_default();
    let places = |range: &str| match range.split_once('/') {
        Some(("*", _)) => 1,
        Some((of, "*")) if of.eq_ignore_ascii_case(kind) => 2,
        _ if range.eq_ignore_ascii_case(media) => 3,
        _ => 0,
    };
    let covering = ranges
        .iter()
        .map(|(range, quality)| (places(range), *quality));
    let best = covering.filter(|(place, _)| *place > 0).max();
    best.map_or(0, |(_, quality)| quality)
}

/// A media range and its quality.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next()?;
    let (kind, sub) = media.split_once('/')?;
    let name = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !name(kind) || !name(sub) || (kind == "*" && sub != "*") {
        return None;
    }
    let mut weight = 1000;
    for part in parts {
        match part.split_once('=') {
            Some((q, value)) if q.eq_ignore_ascii_case("q") => weight = thousandths(value)?,
            _ => {}
        }
    }
    Some((media, weight))
}

/// A quality value (RFC 9110 §12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::connection::Connection;
    use crate::request::{Entrance, Scheme};

    const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn head(method: Method, headers: &[(&str, &str)]) -> RequestHead {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        RequestHead {
            entrance: Entrance::External,
            method,
            scheme: Scheme::Http,
            authority: "a".to_owned(),
            path: "/".to_owned(),
            query: None,
            headers: headers.collect(),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            connection: Connection::default(),
            workload: None,
        }
    }

    #[test]
    fn a_page_is_wanted_more_than_data() {
        for (accept, opens) in [
            (HTML, true),
            ("text/html", true),
            ("text/html, text/plain, text/css, */*;q=0.01", true),
            ("text/html;q=0.9, text/plain", false),
            ("text/*, */*;q=0.1", false),
            ("Text/HTML;level=1, */*;q=0.9", true),
            ("text/html, */*", false),
            ("text/html;q=0.4, application/json;q=0.5", false),
            ("text/html;q=0.5, application/json;q=0.4", true),
            ("text/html;q=0", false),
            ("", false),
            ("*/*", false),
            ("text/event-stream", false),
            ("application/json, text/plain, */*", false),
            // Java's HttpURLConnection.
            (
                "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
                false,
            ),
            ("text/html;q=1.5", false),
            ("text/html;q=0.1234", false),
            ("text/html/x", false),
            ("*/html", false),
        ] {
            let head = head(Method::GET, &[("accept", accept)]);
            assert_eq!(head.is_navigation(), opens, "{accept}");
        }
    }

    #[test]
    fn what_a_script_cannot_write_decides_where_it_is() {
        let mode = |mode, dest, accept| {
            let headers = [
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
                ("accept", accept),
            ];
            head(Method::GET, &headers).is_navigation()
        };
        assert!(mode("navigate", "document", HTML));
        assert!(mode("navigate", "iframe", HTML));
        assert!(mode("navigate", "document", "*/*"));
        assert!(!mode("navigate", "document", "application/json"));
        assert!(!mode("navigate", "object", HTML));
        assert!(!mode("cors", "empty", HTML));
        assert!(!mode("no-cors", "image", HTML));
    }

    #[test]
    fn programs_that_ask_for_html_are_none() {
        for (name, value) in [
            ("authorization", "Basic eDp5"),
            ("x-requested-with", "XMLHttpRequest"),
            ("upgrade", "websocket"),
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
        ] {
            let head = head(Method::GET, &[("accept", HTML), (name, value)]);
            assert!(!head.is_navigation(), "{name}");
        }
        for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
            let head = head(method, &[("accept", HTML)]);
            assert!(!head.is_navigation() && !head.is_form());
        }
    }

    #[test]
    fn forms_are_those_that_browsers_send() {
        for (kind, is) in [
            ("application/x-www-form-urlencoded", true),
            ("multipart/form-data; boundary=x", true),
            ("Text/Plain;charset=utf-8", true),
            ("application/json", false),
            ("application/grpc-web", false),
            ("", false),
        ] {
            let headers = [("accept", HTML), ("content-type", kind)];
            let post = head(Method::POST, &headers);
            assert_eq!(post.is_form(), is, "{kind}");
            assert!(!post.is_navigation());
            assert!(!head(Method::GET, &headers).is_form());
        }
        let program = [
            ("accept", "*/*"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        assert!(!head(Method::POST, &program).is_form());
    }
}
