//! The two readings of a string condition: `policy` matches one string with
//! it, `verify` reads it as a set of strings.

use policy::{Matcher, TestValue};
use regex::bytes::Regex;

use super::Target;
use super::random::Random;

pub(crate) struct Matchers;

/// What conditions are made of.
const PIECES: [&str; 25] = [
    "", "/", "a", "b", "A", "/a", "/a/", "/dex/", "healthz", "*", "**", ".", "x.y", "{*}", "{**}",
    "[a-c]+", "(a|b)", "(?i)a", ".*", "a{1,3}", "%2f", ";", "\\.", "+", "?",
];

/// What strings are made of.
const LETTERS: [&str; 22] = [
    "/", "a", "b", "A", "B", "x", ".", "y", "dex", "healthz", "*", "%2f", "%2F", ";", "@", "\n",
    " ", "{", "-", "~", "c", "\"",
];

impl Target for Matchers {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let conditions: Vec<TestValue> = (0..=random.below(3))
            .filter_map(|_| condition(random))
            .collect();
        if conditions.is_empty() {
            return Ok("no condition");
        }
        let mut readings = Vec::new();
        for condition in &conditions {
            let pattern = verify::as_set(condition)
                .ok_or_else(|| format!("{condition:?}: a string condition without a set"))?;
            let whole = format!("(?-u)^(?:{pattern})$");
            let regex = Regex::new(&whole)
                .map_err(|error| format!("{condition:?}: `{pattern}` is no pattern: {error}"))?;
            readings.push(regex);
        }
        let classes = verify::string_classes(&conditions);
        for _ in 0..24 {
            let text = string(random, &conditions);
            let holds: Vec<bool> = conditions.iter().map(|c| holds(c, &text)).collect();
            for ((condition, regex), holds) in conditions.iter().zip(&readings).zip(&holds) {
                let inside = regex.is_match(text.as_bytes());
                if inside != *holds {
                    return Err(format!(
                        "{condition:?} on {text:?}: matches {holds}, as a set {inside}"
                    ));
                }
            }
            // Every string is of some class: else a claim could overlook it.
            let printable = text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
            if let Some(classes) = &classes
                && printable
                && !classes.iter().any(|(class, _)| *class == holds)
            {
                return Err(format!("{conditions:?} on {text:?}: {holds:?} is no class"));
            }
        }
        for (class, example) in classes.iter().flatten() {
            let found: Vec<bool> = conditions.iter().map(|c| holds(c, example)).collect();
            if found != *class {
                return Err(format!(
                    "{conditions:?}: {example:?} is no example of {class:?}"
                ));
            }
        }
        Ok(if classes.is_some() {
            "agree"
        } else {
            "agree, too complex for classes"
        })
    }

    fn input(&self, random: &mut Random) -> String {
        let conditions: Vec<TestValue> = (0..=random.below(3))
            .filter_map(|_| condition(random))
            .collect();
        format!("{conditions:?}")
    }
}

fn holds(condition: &TestValue, text: &str) -> bool {
    match condition {
        TestValue::Text(matcher) => matcher.matches(text),
        TestValue::TextIgnoringCase(matcher) => matcher.matches_ignoring_case(text),
        TestValue::Net(_) | TestValue::Port(_) => false,
    }
}

fn condition(random: &mut Random) -> Option<TestValue> {
    let mut text = String::new();
    for _ in 0..=random.below(3) {
        text.push_str(random.word(&PIECES));
    }
    let matcher = match random.below(9) {
        0 => Matcher::Present,
        1 => Matcher::Exact(text),
        2 | 3 => Matcher::Prefix(text),
        4 => Matcher::PathPrefix(text),
        5 => Matcher::Suffix(text),
        6 => Matcher::of_template(&text).ok()?,
        _ => Matcher::of_regex(&text).ok()?,
    };
    Some(if random.one_in(5) {
        TestValue::TextIgnoringCase(matcher)
    } else {
        TestValue::Text(matcher)
    })
}

/// Of letters, or made from what a condition says.
fn string(random: &mut Random, conditions: &[TestValue]) -> String {
    let mut text = String::new();
    if random.one_in(2)
        && let Some(TestValue::Text(matcher) | TestValue::TextIgnoringCase(matcher)) =
            random.of(conditions)
    {
        let (before, after) = (random.one_in(3), random.one_in(3));
        if before {
            text.push_str(random.word(&LETTERS));
        }
        match matcher {
            Matcher::Exact(part)
            | Matcher::Prefix(part)
            | Matcher::PathPrefix(part)
            | Matcher::Suffix(part) => text.push_str(part),
            Matcher::Present | Matcher::Regex(_) => {}
        }
        if after {
            text.push_str(random.word(&LETTERS));
        }
        if random.one_in(4) {
            text = text.to_ascii_uppercase();
        }
        return text;
    }
    for _ in 0..random.below(8) {
        text.push_str(random.word(&LETTERS));
    }
    text
}
