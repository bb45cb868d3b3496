//! What the pages say, in each language.

mod choose;
mod table;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub(crate) use table::Words;

/// A language that every text is there in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ko")]
    Korean,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// The language subtag (RFC 5646 section 2.2.1).
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// What it calls itself.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Korean => "한국어",
        }
    }
}

/// Chooses one text of the table.
pub(crate) type Pick = fn(&Words) -> &str;

/// A text of the table with what stands in its gaps, in whatever language it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pick: Pick,
    gaps: Vec<(&'static str, String)>,
}

impl Text {
    pub(crate) fn new(pick: Pick) -> Self {
        Self {
            pick,
            gaps: Vec::new(),
        }
    }

    /// Puts `value` where the text says `{gap}`.
    pub(crate) fn with(mut self, gap: &'static str, value: impl ToString) -> Self {
        self.gaps.push((gap, value.to_string()));
        self
    }

    pub(crate) fn say(&self, words: &Words) -> String {
        let mut said = String::new();
        for part in parts((self.pick)(words)) {
            match part {
                Part::Text(text) => said.push_str(text),
                Part::Gap(name) => {
                    let filled = self.gaps.iter().find(|(gap, _)| *gap == name);
                    said.push_str(filled.map_or("", |(_, value)| value));
                }
            }
        }
        said
    }
}

/// A piece of a text with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    Text(&'t str),
    /// The name between braces.
    Gap(&'t str),
}

/// Divides `text` at its gaps: `{name}` with letters and `_` only.
pub(crate) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let gap = after.split_once('}').filter(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        });
        let Some((name, behind)) = gap else {
            break;
        };
        if !before.is_empty() {
            found.push(Part::Text(before));
        }
        found.push(Part::Gap(name));
        rest = behind;
    }
    if !rest.is_empty() {
        found.push(Part::Text(rest));
    }
    found
}

/// Names of the gaps of a text, sorted.
pub(crate) fn gaps(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = parts(text)
        .into_iter()
        .filter_map(|part| match part {
            Part::Gap(name) => Some(name),
            Part::Text(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Makes a [`Words`] of a table with all languages in each line: a text that misses one does not
/// compile.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $english:literal, $korean:literal;)*) => {
        /// All texts in one language. `{name}` is a gap that the page fills.
        #[derive(Debug, Clone)]
        pub(crate) struct Words {
            $($(#[$doc])* pub(crate) $name: std::borrow::Cow<'static, str>,)*
        }

        impl Words {
            /// Names of the texts, as files of a theme call them.
            #[cfg(test)]
            pub(crate) const KEYS: &[&str] = &[$(stringify!($name)),*];

            pub(crate) fn of(language: super::Language) -> Self {
                match language {
                    super::Language::English => Self {
                        $($name: std::borrow::Cow::Borrowed($english),)*
                    },
                    super::Language::Korean => Self {
                        $($name: std::borrow::Cow::Borrowed($korean),)*
                    },
                }
            }

            /// The text with this name.
            pub(crate) fn text_mut(
                &mut self,
                key: &str,
            ) -> Option<&mut std::borrow::Cow<'static, str>> {
                match key {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}
use words;

/// A text of a theme in place of one of ours.
pub(crate) fn replace(words: &mut Words, key: &str, text: String) -> Result<(), Unfit> {
    let Some(ours) = words.text_mut(key) else {
        return Err(Unfit::Unknown);
    };
    let expected: Vec<String> = gaps(ours).into_iter().map(str::to_owned).collect();
    if gaps(&text) != expected {
        return Err(Unfit::Gaps(expected));
    }
    *ours = Cow::Owned(text);
    Ok(())
}

/// Why a text cannot stand in another's place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is no text of that name.
    Unknown,
    /// It has other gaps than these.
    Gaps(Vec<String>),
}
