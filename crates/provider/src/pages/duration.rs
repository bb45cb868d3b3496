//! How long something lasts, for people.

use crate::words::{Text, Words};

/// `seconds` in the largest unit that it is a whole number of, and more than one: `24 hours`, `165 days`.
pub(super) fn say(seconds: u64, words: &Words) -> String {
    let whole = |unit: u64| seconds >= 2 * unit && seconds.is_multiple_of(unit);
    let text = match seconds {
        _ if whole(86_400) => Text::new(|w| &w.days).with("count", seconds / 86_400),
        _ if whole(3600) => Text::new(|w| &w.hours).with("count", seconds / 3600),
        _ if whole(60) => Text::new(|w| &w.minutes).with("count", seconds / 60),
        _ => Text::new(|w| &w.seconds).with("count", seconds),
    };
    text.say(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    #[test]
    fn durations_are_whole_numbers_of_the_largest_unit() {
        let words = Words::of(Language::English);
        for (seconds, expected) in [
            (165 * 86_400, "165 days"),
            (2 * 86_400, "2 days"),
            (86_400, "24 hours"),
            (36 * 3600, "36 hours"),
            (3600, "60 minutes"),
            (5400, "90 minutes"),
            (60, "60 seconds"),
            (61, "61 seconds"),
        ] {
            assert_eq!(say(seconds, &words), expected);
        }
        assert_eq!(say(7200, &Words::of(Language::Korean)), "2시간");
    }
}
