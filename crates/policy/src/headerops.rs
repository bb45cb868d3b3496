//! Header operations of routes (istio `TranslateHeadersOperations`, envoy
//! `HeaderParser`): removals first, then what overwrites, then what is added.

use http::{HeaderName, HeaderValue};
use resources::istio::{HeaderOperations, Headers};

use crate::permit::HeaderChange;

/// Operations of one level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    pub(crate) request: Level,
    pub(crate) response: Level,
    /// New authority: `Host` or `:authority` of the request's operations.
    pub(crate) authority: Option<String>,
}

/// Operations on one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Operations {
    /// Compiles what a route or destination writes. Values that Envoy computes
    /// are left out and said so.
    pub(crate) fn compile(
        headers: Option<&Headers>,
        notes: &mut Vec<String>,
    ) -> Result<Self, String> {
        let Some(headers) = headers else {
            return Ok(Self::default());
        };
        let authority = |operations: &HeaderOperations| {
            let mut all = operations.set.iter().chain(&operations.add);
            let found = all.find(|(name, _)| is_authority(name));
            found.map(|(_, value)| value.clone())
        };
        Ok(Self {
            request: Level::compile(&headers.request, notes)?,
            response: Level::compile(&headers.response, notes)?,
            authority: authority(&headers.request).filter(|value| !value.is_empty()),
        })
    }

    /// Adds operations of a single destination: Istio appends them to the route's.
    pub(crate) fn extend(&mut self, more: Self) {
        self.request.extend(more.request);
        self.response.extend(more.response);
    }
}

impl Level {
    fn compile(operations: &HeaderOperations, notes: &mut Vec<String>) -> Result<Self, String> {
        let mut level = Self::default();
        for name in operations.remove.iter().filter(|name| !is_internal(name)) {
            level.remove.push(header_name(name)?);
        }
        for (from, overwrites) in [(&operations.set, true), (&operations.add, false)] {
            for (name, text) in from.iter().filter(|(name, _)| !is_internal(name)) {
                let name = header_name(name)?;
                // An empty value changes nothing (`keep_empty_value`).
                let Some(text) = literal(text) else {
                    notes.push(format!(
                        "header `{name}: {text}` is computed by Envoy and not understood here; the client's own is taken away"
                    ));
                    level.remove.push(name);
                    continue;
                };
                if text.is_empty() {
                    continue;
                }
                let value = HeaderValue::from_str(&text)
                    .map_err(|_| format!("`{text}` is not a header value"))?;
                if overwrites {
                    level.set.push((name, value));
                } else {
                    level.add.push((name, value));
                }
            }
        }
        Ok(level)
    }

    fn extend(&mut self, more: Self) {
        self.remove.extend(more.remove);
        self.set.extend(more.set);
        self.add.extend(more.add);
    }

    /// In the order that Envoy takes them.
    pub(crate) fn changes(&self) -> Vec<HeaderChange> {
        let remove = self.remove.iter().cloned().map(HeaderChange::Remove);
        let set = self.set.iter().cloned();
        let add = self.add.iter().cloned();
        remove
            .chain(set.map(|(name, value)| HeaderChange::Set(name, value)))
            .chain(add.map(|(name, value)| HeaderChange::Add(name, value)))
            .collect()
    }
}

/// Changes of one level in the order that Envoy takes them (`HeaderParser`
/// evaluateHeaders), with the names of headers of which that order is not
/// known: whether a header is there is looked at before others overwrite it.
pub(crate) fn in_order(changes: Vec<HeaderChange>) -> (Vec<HeaderChange>, Vec<HeaderName>) {
    let mut out: Vec<HeaderChange> = Vec::new();
    for change in changes {
        let same = |known: &&mut HeaderChange| match (&**known, &change) {
            (HeaderChange::AddIfAbsent(a, _), HeaderChange::AddIfAbsent(b, _)) => a == b,
            _ => false,
        };
        match (out.iter_mut().find(same), change) {
            (Some(HeaderChange::AddIfAbsent(_, all)), HeaderChange::AddIfAbsent(_, more)) => {
                all.extend(more);
            }
            (_, change) => out.push(change),
        }
    }
    // What is always overwritten later is not overwritten before.
    let names: Vec<Option<HeaderName>> = out.iter().map(set_name).collect();
    let mut index = 0;
    out.retain(|change| {
        index += 1;
        let mut later = names.iter().skip(index).flatten();
        !matches!(change, HeaderChange::SetIfPresent(name, _) if later.any(|set| set == name))
    });
    out.sort_by_key(|change| match change {
        HeaderChange::Remove(_) => 0,
        HeaderChange::SetIfPresent(..) => 1,
        HeaderChange::AddIfAbsent(..) => 2,
        HeaderChange::Set(..) => 3,
        HeaderChange::Add(..) => 4,
    });
    let unclear = out.iter().filter_map(|change| match change {
        HeaderChange::AddIfAbsent(name, _) | HeaderChange::SetIfPresent(name, _) => {
            let sets = |c: &HeaderChange| set_name(c).as_ref() == Some(name);
            out.iter().any(sets).then(|| name.clone())
        }
        _ => None,
    });
    let unclear = unclear.collect();
    (out, unclear)
}

fn set_name(change: &HeaderChange) -> Option<HeaderName> {
    match change {
        HeaderChange::Set(name, _) => Some(name.clone()),
        _ => None,
    }
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Names that header operations cannot change.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a header name"))
}

/// The value, unless it is made of the request: values are format strings, in
/// which `%%` is a percent sign.
pub(crate) fn literal(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        out.push('%');
        rest = after.strip_prefix('%')?;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_format_strings() {
        for (text, expected) in [
            ("plain", Some("plain")),
            ("50%%", Some("50%")),
            ("%REQ(x-user)%", None),
            ("50%", None),
        ] {
            assert_eq!(literal(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn removals_come_first_and_additions_last() {
        let operations = HeaderOperations {
            set: [
                ("x".to_owned(), "1".to_owned()),
                ("host".to_owned(), "h".to_owned()),
            ]
            .into(),
            add: [("a".to_owned(), "2".to_owned())].into(),
            remove: vec!["x".into(), ":path".into()],
        };
        let level = Level::compile(&operations, &mut Vec::new()).unwrap();
        let names: Vec<String> = level
            .changes()
            .iter()
            .map(|change| match change {
                HeaderChange::Set(name, _) => format!("set {name}"),
                HeaderChange::Add(name, _) => format!("add {name}"),
                HeaderChange::AddIfAbsent(name, _) => format!("default {name}"),
                HeaderChange::SetIfPresent(name, _) => format!("replace {name}"),
                HeaderChange::Remove(name) => format!("remove {name}"),
            })
            .collect();
        assert_eq!(names, ["remove x", "set x", "add a"]);
    }
}
