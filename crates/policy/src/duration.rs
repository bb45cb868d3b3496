//! Durations of Istio's objects.

use std::time::Duration;

/// Reads a duration as Istio writes them: `600s`, `0.5s`, `250ms`, `1m30s`.
/// `None` for anything else, and for nothing at all (`0s`).
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(letters)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = next;
    }
    (!total.is_zero()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_istio_writes_them() {
        for (text, expected) in [
            ("600s", Some(Duration::from_secs(600))),
            ("0.5s", Some(Duration::from_millis(500))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("0s", None),
            ("", None),
            ("5", None),
            ("5d", None),
            ("-5s", None),
            ("1e300h", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
