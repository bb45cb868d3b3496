//! Which language a person is spoken to in.

use super::Language;

/// How many languages of a request are looked at.
const MAX_LISTED: usize = 32;

impl Language {
    /// The language of a tag such as `ko-KR`; script and region make no difference here.
    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// `ui_locales`: tags in the order of preference (OpenID Connect Core 1.0 section 3.1.2.1).
    /// One that is not spoken here is passed over.
    pub(crate) fn of_locales(locales: &str) -> Option<Self> {
        locales
            .split(' ')
            .filter(|tag| !tag.is_empty())
            .take(MAX_LISTED)
            .find_map(Self::of_tag)
    }

    /// `Accept-Language` (RFC 9110 section 12.5.4).
    pub(crate) fn of_accepted(header: &str) -> Option<Self> {
        let mut best: Option<(Self, u16)> = None;
        for range in header.split(',').take(MAX_LISTED) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = parameters
                .trim()
                .strip_prefix("q=")
                .map_or(Some(1000), thousandths);
            let language = match tag.trim() {
                "*" => Some(Self::default()),
                tag => Self::of_tag(tag),
            };
            let (Some(language), Some(weight)) = (language, weight) else {
                continue;
            };
            if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }
}

/// A weight from 0 to 1 with at most three digits, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let whole: u16 = whole.parse().ok()?;
    if whole > 1 || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{digits:0<3}").parse().ok()?;
    Some((whole * 1000 + part).min(1000))
}
