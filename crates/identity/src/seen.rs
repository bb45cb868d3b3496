//! What the login machinery looks at of a request, whether it came as one or
//! as an authorizer's check.

use http::{HeaderMap, Method};
use policy::{Check, RequestHead, Scheme};

/// A request as far as it may be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) method: &'a Method,
    pub(crate) authority: &'a str,
    pub(crate) https: bool,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> From<&'a RequestHead> for Seen<'a> {
    fn from(head: &'a RequestHead) -> Self {
        Self {
            method: &head.method,
            authority: &head.authority,
            https: head.scheme == Scheme::Https,
            path: &head.path,
            query: head.query.as_deref(),
            headers: &head.headers,
        }
    }
}

impl<'a> From<&'a Check> for Seen<'a> {
    fn from(check: &'a Check) -> Self {
        let (path, query) = match check.path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (check.path_and_query.as_str(), None),
        };
        Self {
            method: &check.method,
            authority: &check.authority,
            https: false,
            path,
            query,
            headers: &check.headers,
        }
    }
}

impl Seen<'_> {
    pub(crate) fn path_and_query(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a query parameter that is there once.
    ///
    /// # Errors
    /// When it is there more than once.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<String>, Twice> {
        let mut values = url::form_urlencoded::parse(self.query.unwrap_or_default().as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned());
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Twice),
        }
    }
}

/// A parameter that has to be there once was there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twice;
