//! Whether text can be read: the contrast of the colours that the stylesheet gives names
//! (WCAG 2.2, success criteria 1.4.3 and 1.4.11).

use super::style::without_comments;

/// What stands on what, and the ratio that it needs.
pub(super) const PAIRS: [(&str, &str, f64); 20] = [
    ("--ink", "--bg", 4.5),
    ("--ink", "--surface", 4.5),
    ("--ink", "--raised", 4.5),
    ("--muted", "--bg", 4.5),
    ("--muted", "--surface", 4.5),
    ("--muted", "--raised", 4.5),
    ("--accent", "--bg", 4.5),
    ("--accent", "--surface", 4.5),
    ("--accent", "--raised", 4.5),
    ("--accent", "--accent-soft", 4.5),
    ("--accent-ink", "--accent", 4.5),
    ("--good", "--good-soft", 4.5),
    ("--good", "--surface", 4.5),
    ("--warn", "--warn-soft", 4.5),
    ("--warn", "--surface", 4.5),
    ("--bad", "--bad-soft", 4.5),
    ("--bad", "--surface", 4.5),
    ("--focus", "--bg", 3.0),
    ("--focus", "--surface", 3.0),
    ("--field", "--surface", 3.0),
];

/// Names and values of colours.
pub(super) type Palette = Vec<(String, String)>;

/// The colours of a stylesheet in the light and in the dark. In the dark those count that are in a
/// block for it, before those that are not.
pub(super) fn palettes(css: &str) -> [Palette; 2] {
    let plain = without_comments(css).unwrap_or_default();
    let (mut light, mut dark) = (Palette::new(), Palette::new());
    let mut depth = 0_usize;
    let mut dark_depth = None;
    for piece in plain.split_inclusive(['{', '}', ';']) {
        let text = piece.trim_end_matches(['{', '}', ';']).trim();
        match piece.chars().last() {
            Some('{') => {
                let compact: String = text.split_whitespace().collect();
                if compact.contains("prefers-color-scheme:dark") {
                    dark_depth = Some(depth);
                }
                depth += 1;
            }
            end => {
                if let Some((name, value)) = text.split_once(':')
                    && name.trim().starts_with("--")
                {
                    let into = if dark_depth.is_some() {
                        &mut dark
                    } else {
                        &mut light
                    };
                    into.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                if end == Some('}') {
                    depth = depth.saturating_sub(1);
                    if dark_depth == Some(depth) {
                        dark_depth = None;
                    }
                }
            }
        }
    }
    let mut night = light.clone();
    night.extend(dark);
    [light, night]
}

/// The contrast of two colours of a palette; `None` when one is not there or not in `#rrggbb`.
pub(super) fn ratio(palette: &Palette, front: &str, back: &str) -> Option<f64> {
    let luminance = |name: &str| {
        let (_, value) = palette.iter().rev().find(|(known, _)| known == name)?;
        luminance(value)
    };
    let (front, back) = (luminance(front)?, luminance(back)?);
    Some((front.max(back) + 0.05) / (front.min(back) + 0.05))
}

/// Relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2, "relative luminance").
fn luminance(colour: &str) -> Option<f64> {
    let digits = colour.strip_prefix('#')?;
    let whole = match digits.len() {
        3 => digits.chars().flat_map(|c| [c, c]).collect(),
        6 => digits.to_owned(),
        _ => return None,
    };
    let channel = |at: usize| {
        let value = u8::from_str_radix(whole.get(at..at + 2)?, 16).ok()?;
        let value = f64::from(value) / 255.0;
        Some(if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        })
    };
    Some(0.2126 * channel(0)? + 0.7152 * channel(2)? + 0.0722 * channel(4)?)
}

/// What of a theme's colours, over ours, is hard to read.
pub(super) fn warnings(css: &str) -> Vec<String> {
    let ours = palettes(super::look::STYLE);
    let theirs = palettes(css);
    let mut found = Vec::new();
    for ((mut all, own), when) in ours.into_iter().zip(theirs).zip(["light", "dark"]) {
        let touched = |name: &str| own.iter().any(|(known, _)| known == name);
        let pairs: Vec<_> = PAIRS
            .into_iter()
            .filter(|(front, back, _)| touched(front) || touched(back))
            .collect();
        all.extend(own.clone());
        for (front, back, least) in pairs {
            if let Some(ratio) = ratio(&all, front, back)
                && ratio < least
            {
                found.push(format!(
                    "`{front}` on `{back}` has a contrast of {ratio:.1} in the {when}: people need {least}"
                ));
            }
        }
    }
    found
}
