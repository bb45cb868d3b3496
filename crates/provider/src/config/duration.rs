//! Durations as Go's `time.ParseDuration` reads them: `24h`, `1h30m`, `2.5s`, `300ms`.

use std::time::Duration;

/// Parses `text`; `None` when it is not a non-negative Go duration below 100 years.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|end| *end > 0)?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    (seconds < 100.0 * 365.0 * 86400.0).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, milliseconds: Option<u64>) {
        assert_eq!(
            parse(text),
            milliseconds.map(Duration::from_millis),
            "{text}"
        );
    }

    #[test]
    fn go_durations() {
        check("24h", Some(86_400_000));
        check("1h30m", Some(5_400_000));
        check("2.5s", Some(2_500));
        check("300ms", Some(300));
        check("0", Some(0));
        check("", None);
        check("24", None);
        check("h", None);
        check("-1h", None);
        check("1d", None);
        check("1.2.3s", None);
        check("99999999999999h", None);
    }
}
