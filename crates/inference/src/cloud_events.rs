//! CloudEvents 1.0 around requests and answers, as KServe treats them.

use crate::EventSettings;
use crate::write::Style;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// How the answer to an event is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// A plain answer.
    Plain,
    /// Attributes in headers.
    Binary,
    /// Attributes around the data in the body.
    Structured,
}

/// A request is an event in binary mode when all four required attributes are there.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    ["ce-specversion", "ce-source", "ce-type", "ce-id"]
        .iter()
        .all(|name| headers.contains_key(*name))
}

const TYPE: &str = "io.kserve.inference.response";

/// Attributes that a request may have and an answer has anew, or never.
const FRESH: [&str; 3] = ["id", "time", "datacontenttype"];

/// The attributes of an event: names, and values as JSON.
pub(crate) type Attributes = Vec<(String, String)>;

/// The attributes of a request in binary mode.
pub(crate) fn of_headers(headers: &HeaderMap) -> Attributes {
    let attribute = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix("ce-")?;
        Some((name.to_owned(), quoted(value.to_str().ok()?)))
    };
    headers.iter().filter_map(attribute).collect()
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    Style::Spaced.text(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// An answer's attributes in the order in which the package `cloudevents` writes them: those of the specification, which
/// stand before the data, and extensions.
pub(crate) fn attributes(
    model: &str,
    settings: &EventSettings,
    request: Attributes,
) -> (Attributes, Attributes) {
    let mut merged = if settings.merge { request } else { Vec::new() };
    merged.retain(|(name, _)| !FRESH.contains(&name.as_str()));
    let mut take = |name: &str| {
        let at = merged.iter().position(|(known, _)| known == name)?;
        Some((name.to_owned(), merged.remove(at).1))
    };
    let new = |name: &str, value: &str| Some((name.to_owned(), quoted(value)));
    let version = take("specversion").or_else(|| new("specversion", "1.0"));
    drop((take("source"), take("type")));
    let source = format!("io.kserve.inference.{model}");
    let standard = [
        version,
        new("id", &Uuid::new_v4().to_string()),
        new("source", settings.source.as_deref().unwrap_or(&source)),
        new("type", settings.kind.as_deref().unwrap_or(TYPE)),
        take("dataschema"),
        take("subject"),
        new("time", &now()),
    ];
    (standard.into_iter().flatten().collect(), merged)
}

/// Adds the attributes to the headers of an answer.
pub(crate) fn add_headers(
    model: &str,
    settings: &EventSettings,
    request: &HeaderMap,
    headers: &mut HeaderMap,
) {
    let (standard, extensions) = attributes(model, settings, of_headers(request));
    for (name, value) in standard.into_iter().chain(extensions) {
        let text = serde_json::from_str::<String>(&value).unwrap_or(value);
        let name = HeaderName::try_from(format!("ce-{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(text)) {
            headers.insert(name, value);
        }
    }
}

/// The time in RFC 3339 with microseconds, as Python's `isoformat` has it.
fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    show(since.as_secs(), since.subsec_micros())
}

fn show(seconds: u64, micros: u32) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar from days since 1970 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_civil() {
        assert_eq!(super::show(0, 0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(
            super::show(1_611_867_883, 144_141),
            "2021-01-28T21:04:43.144141+00:00"
        );
        assert_eq!(
            super::show(951_782_400, 1),
            "2000-02-29T00:00:00.000001+00:00"
        );
    }
}
