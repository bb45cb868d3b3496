//! Sentences in which names stand between backticks.

/// A sentence, in parts; names are code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rich {
    pub(crate) parts: Vec<(bool, String)>,
}

impl Rich {
    pub(crate) fn of(text: &str) -> Self {
        // A single backtick is just that.
        let marks = text.matches('`').count();
        let parts = text.splitn(marks / 2 * 2 + 1, '`').enumerate();
        Self {
            parts: parts
                .map(|(number, part)| (number % 2 == 1, part.to_owned()))
                .filter(|(_, part)| !part.is_empty())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_between_pairs() {
        let check = |text: &str, expected: &[(bool, &str)]| {
            let found = Rich::of(text);
            let found: Vec<(bool, &str)> =
                found.parts.iter().map(|(c, p)| (*c, p.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("a `b` c", &[(false, "a "), (true, "b"), (false, " c")]);
        check("`b`", &[(true, "b")]);
        check("a ` c", &[(false, "a ` c")]);
        check("`a` b ` c", &[(true, "a"), (false, " b ` c")]);
        check("", &[]);
    }
}
