//! `response_type`: what an application gets by way of the browser (RFC 6749 section 3.1.1, OAuth 2.0 Multiple Response
//! Types 1.0).
//!
//! A code, and where `oauth2.responseTypes` lists them tokens as well, which RFC 9700 section 2.1.2 advises against.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is asked for, or offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseType {
    /// An authorization code.
    pub code: bool,
    /// An access token.
    pub token: bool,
    /// An ID token.
    pub id_token: bool,
}

impl Default for ResponseType {
    fn default() -> Self {
        Self::CODE
    }
}

impl ResponseType {
    pub(crate) const CODE: Self = Self {
        code: true,
        token: false,
        id_token: false,
    };
    const NONE: Self = Self {
        code: false,
        token: false,
        id_token: false,
    };

    /// The words of a list or a parameter; none where one of them is unknown or there twice.
    pub(crate) fn of<'a>(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = Self::NONE;
        for word in words {
            let there = match word {
                "code" => &mut found.code,
                "token" => &mut found.token,
                "id_token" => &mut found.id_token,
                _ => return None,
            };
            if std::mem::replace(there, true) {
                return None;
            }
        }
        (found != Self::NONE).then_some(found)
    }

    /// What a request asks for, if that is offered. A token alone would be nobody's: it comes with an ID token or a code.
    pub(crate) fn asked(text: &str, offered: Self) -> Option<Self> {
        let asked = Self::of(text.split(' ').filter(|word| !word.is_empty()))?;
        let there = (offered.code || !asked.code)
            && (offered.token || !asked.token)
            && (offered.id_token || !asked.id_token);
        (there && (asked.code || asked.id_token)).then_some(asked)
    }

    /// Whether tokens go by way of the browser, behind the `#` of an address.
    pub(crate) fn has_tokens(self) -> bool {
        self.token || self.id_token
    }

    /// All that can be asked for where this is offered.
    pub(crate) fn combinations(self) -> Vec<String> {
        [
            "code",
            "id_token",
            "id_token token",
            "code id_token",
            "code token",
            "code id_token token",
        ]
        .into_iter()
        .filter(|text| Self::asked(text, self).is_some())
        .map(str::to_owned)
        .collect()
    }
}

impl fmt::Display for ResponseType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.code, "code"),
            (self.id_token, "id_token"),
            (self.token, "token"),
        ];
        let words: Vec<&str> = words
            .into_iter()
            .filter_map(|(there, word)| there.then_some(word))
            .collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_offered() {
        let all = ResponseType::of(["token", "code", "id_token"].into_iter()).unwrap();
        let implicit = ResponseType::of(["id_token", "token"].into_iter()).unwrap();
        for (text, code, implicit_only) in [
            ("code", true, false),
            ("id_token", false, true),
            ("token id_token", false, true),
            ("id_token code", false, false),
            ("token", false, false),
            ("", false, false),
            ("code code", false, false),
            ("none", false, false),
        ] {
            let asked = |offered| ResponseType::asked(text, offered).is_some();
            assert_eq!(asked(ResponseType::CODE), code, "{text}");
            assert_eq!(asked(implicit), implicit_only, "{text}");
        }
        assert_eq!(all.combinations().len(), 6);
        assert_eq!(ResponseType::CODE.combinations(), ["code"]);
        assert_eq!(implicit.combinations(), ["id_token", "id_token token"]);
        let text = ResponseType::asked("token  code", all).unwrap().to_string();
        assert_eq!(text, "code token");
    }
}
