//! Conditions of which only some is known.

use policy::{Attribute, Condition, Matcher, TestValue};

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    No,
    Yes,
    Maybe,
}

impl Truth {
    pub(crate) fn of(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }

    pub(crate) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Yes => Self::No,
            Self::Maybe => Self::Maybe,
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Maybe,
        }
    }
}

/// A condition, given what is known of each test.
pub(crate) fn holds(
    condition: &Condition,
    test: &mut impl FnMut(&Attribute, &TestValue) -> Truth,
) -> Truth {
    match condition {
        Condition::Test(t) => test(&t.attribute, &t.value),
        Condition::Not(inner) => holds(inner, test).not(),
        Condition::Any(all) => {
            let mut out = Truth::No;
            for inner in all {
                out = out.or(holds(inner, test));
                if out == Truth::Yes {
                    break;
                }
            }
            out
        }
        Condition::All(all) => {
            let mut out = Truth::Yes;
            for inner in all {
                out = out.not().or(holds(inner, test).not()).not();
                if out == Truth::No {
                    break;
                }
            }
            out
        }
    }
}

/// Whether a text satisfies a condition on texts.
pub(crate) fn text_satisfies(value: &TestValue, text: &str) -> bool {
    match value {
        TestValue::Text(matcher) => matcher.matches(text),
        TestValue::TextIgnoringCase(matcher) => matcher.matches_ignoring_case(text),
        TestValue::Net(_) | TestValue::Port(_) => false,
    }
}

pub(crate) fn matcher(value: &TestValue) -> Option<&Matcher> {
    match value {
        TestValue::Text(matcher) | TestValue::TextIgnoringCase(matcher) => Some(matcher),
        TestValue::Net(_) | TestValue::Port(_) => None,
    }
}

/// The text that alone satisfies a condition.
pub(crate) fn only(value: &TestValue) -> Option<&str> {
    match value {
        TestValue::Text(Matcher::Exact(text)) => Some(text),
        _ => None,
    }
}

/// What every text begins with that satisfies a regular expression, as far as
/// it is plain to see.
pub(crate) fn beginning(pattern: &str) -> &str {
    let Some(inner) = pattern.strip_prefix("^(?:") else {
        return "";
    };
    if inner.contains('|') {
        return "";
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-".contains(&b);
    let mut length = inner.bytes().take_while(|b| plain(*b)).count();
    // A quantifier speaks of the last one.
    let next = inner.as_bytes().get(length);
    if next.is_some_and(|b| b"?*+{".contains(b)) {
        length = length.saturating_sub(1);
    }
    inner.get(..length).unwrap_or_default()
}
