//! What conditions look at.

use policy::{Attribute, Condition, Matcher, Test, TestValue};

use crate::paths::Head;

/// A path test that the partition by strings settles.
pub(crate) fn head_of(test: &TestValue) -> Option<Head> {
    match test {
        TestValue::Text(Matcher::Exact(text)) => Some(Head::Exact(text.clone())),
        TestValue::Text(Matcher::Prefix(text)) => Some(Head::Prefix(text.clone())),
        _ => None,
    }
}

/// Whether the partition by strings settles a path test.
pub(crate) fn is_head(test: &TestValue) -> bool {
    matches!(
        test,
        TestValue::Text(Matcher::Exact(_) | Matcher::Prefix(_))
    )
}

/// A path test that every path satisfies: none is empty.
pub(crate) fn always(test: &TestValue) -> bool {
    match test {
        TestValue::Text(Matcher::Present) | TestValue::TextIgnoringCase(Matcher::Present) => true,
        TestValue::Text(Matcher::Suffix(text)) => text.is_empty(),
        TestValue::Text(Matcher::Regex(regex)) => {
            matches!(regex.as_str(), "^(?:.+)$" | "^(?:.*)$")
        }
        _ => false,
    }
}

pub(crate) fn is_suffix(test: &TestValue) -> bool {
    matches!(test, TestValue::Text(Matcher::Suffix(_)))
}

/// All tests of an attribute in a condition.
pub(crate) fn tests_of<'c>(
    condition: &'c Condition,
    attribute: &Attribute,
    out: &mut Vec<&'c TestValue>,
) {
    match condition {
        Condition::All(all) | Condition::Any(all) => {
            all.iter().for_each(|c| tests_of(c, attribute, out));
        }
        Condition::Not(inner) => tests_of(inner, attribute, out),
        Condition::Test(Test {
            attribute: a,
            value,
        }) if a == attribute => out.push(value),
        Condition::Test(_) => {}
    }
}

/// Whether a condition looks at what tokens change: claims, or a header or the
/// query that carries one.
pub(crate) fn looks_at_tokens(condition: &Condition, headers: &[String]) -> bool {
    match condition {
        Condition::All(all) | Condition::Any(all) => {
            all.iter().any(|c| looks_at_tokens(c, headers))
        }
        Condition::Not(inner) => looks_at_tokens(inner, headers),
        Condition::Test(test) => match &test.attribute {
            Attribute::Claim(_) | Attribute::PathAndQuery | Attribute::Query(_) => true,
            Attribute::Header(name) => headers.iter().any(|header| **header == **name),
            _ => false,
        },
    }
}
