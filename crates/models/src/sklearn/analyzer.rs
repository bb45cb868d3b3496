//! How a text becomes terms: the analyzers of `sklearn.feature_extraction.text`.

use super::part::Part;
use super::stop_words::ENGLISH;
use crate::LoadError;
use crate::pickle::Node;
use icu_normalizer::DecomposingNormalizer;
use icu_normalizer::properties::CanonicalCombiningClassMap;
use regex::Regex;
use std::collections::HashSet;

#[derive(Debug)]
pub(super) struct Analyzer {
    lowercase: bool,
    accents: Accents,
    units: Units,
    /// The fewest and the most units of a term.
    shortest: usize,
    longest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accents {
    Kept,
    /// Marks are dropped.
    Stripped,
    /// Marks are dropped, but not from a text that is decomposed already, as until 0.20.
    StrippedOnce,
    /// What is not ASCII is dropped.
    Ascii,
}

#[derive(Debug)]
enum Units {
    Words {
        pattern: Pattern,
        stop: HashSet<String>,
    },
    Characters,
    /// Characters, without terms over the borders of words.
    CharactersOfWords,
}

#[derive(Debug)]
enum Pattern {
    /// Runs of at least so many characters of words: `(?u)\b\w\w+\b`, scikit-learn's default, has two.
    Runs(usize),
    Regex(Box<Regex>),
}

impl Analyzer {
    pub(super) fn read(part: &Part<'_, '_>) -> Result<Self, LoadError> {
        for name in ["preprocessor", "tokenizer"] {
            if part.set(name).is_some() {
                return Err(part.setting(format!("`{name}`, which is a function")));
            }
        }
        if !matches!(part.text("input"), Some("content") | None) {
            return Err(part.unknown("input"));
        }
        let accents = match part.set("strip_accents") {
            None => Accents::Kept,
            Some(_) => match part.text("strip_accents") {
                Some("unicode") if part.version() < (0, 21) => Accents::StrippedOnce,
                Some("unicode") => Accents::Stripped,
                Some("ascii") => Accents::Ascii,
                _ => return Err(part.unknown("strip_accents")),
            },
        };
        let units = match part.text("analyzer") {
            Some("word") => Units::Words {
                pattern: pattern(part)?,
                stop: stop_words(part)?,
            },
            Some("char") => Units::Characters,
            Some("char_wb") => Units::CharactersOfWords,
            _ => return Err(part.unknown("analyzer")),
        };
        let range: Vec<usize> = part
            .list("ngram_range")?
            .iter()
            .filter_map(|id| part.graph().integer(*id))
            .filter_map(|size| usize::try_from(size).ok())
            .collect();
        let [shortest, longest] = range.as_slice() else {
            return Err(part.damaged("expected two numbers in `ngram_range`"));
        };
        if *shortest == 0 || shortest > longest || *longest > 64 {
            return Err(part.setting(format!("`ngram_range` = ({shortest}, {longest})")));
        }
        Ok(Self {
            lowercase: part.truth("lowercase") != Some(false),
            accents,
            units,
            shortest: *shortest,
            longest: *longest,
        })
    }

    /// Calls `each` with every term of a text.
    pub(super) fn terms(&self, text: &str, mut each: impl FnMut(&str)) {
        let text = if self.lowercase {
            text.to_lowercase()
        } else {
            text.to_owned()
        };
        let text = self.accents.strip(text);
        match &self.units {
            Units::Words { pattern, stop } => {
                let stays = |word: &str| stop.is_empty() || !stop.contains(word);
                if self.longest == 1 {
                    pattern.find(&text, |word| {
                        if stays(word) {
                            each(word);
                        }
                    });
                    return;
                }
                let mut words = Vec::new();
                pattern.find(&text, |word| {
                    if stays(word) {
                        words.push(word);
                    }
                });
                let mut term = String::new();
                for size in self.shortest..=self.longest.min(words.len()) {
                    for words in words.windows(size) {
                        term.clear();
                        for (number, word) in words.iter().enumerate() {
                            if number > 0 {
                                term.push(' ');
                            }
                            term.push_str(word);
                        }
                        each(&term);
                    }
                }
            }
            Units::Characters => {
                let characters: Vec<char> = one_space(&text).chars().collect();
                let mut term = String::new();
                for size in self.shortest..=self.longest.min(characters.len()) {
                    for characters in characters.windows(size) {
                        term.clear();
                        term.extend(characters);
                        each(&term);
                    }
                }
            }
            Units::CharactersOfWords => {
                let text = one_space(&text);
                let (mut term, mut padded) = (String::new(), Vec::new());
                for word in text.split(is_space).filter(|word| !word.is_empty()) {
                    padded.clear();
                    padded.push(' ');
                    padded.extend(word.chars());
                    padded.push(' ');
                    for size in self.shortest..=self.longest {
                        for characters in padded.windows(size.min(padded.len())) {
                            term.clear();
                            term.extend(characters);
                            each(&term);
                        }
                        // A short word counts once.
                        if size >= padded.len() {
                            break;
                        }
                    }
                }
            }
        }
    }
}

impl Accents {
    fn strip(self, text: String) -> String {
        if self == Self::Kept || text.is_ascii() {
            return text;
        }
        let decomposed = DecomposingNormalizer::new_nfkd()
            .normalize(&text)
            .into_owned();
        match self {
            Self::StrippedOnce if decomposed == text => text,
            Self::Ascii => decomposed.chars().filter(char::is_ascii).collect(),
            _ => {
                let classes = CanonicalCombiningClassMap::new();
                let base = |c: &char| classes.get_u8(*c) == 0;
                decomposed.chars().filter(base).collect()
            }
        }
    }
}

/// Python's `str.isspace` of one character.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Two and more spaces of any kind as one space; one stays as it is.
fn one_space(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut spaces: Option<(char, usize)> = None;
    for character in text.chars().map(Some).chain([None]) {
        match (character, spaces) {
            (Some(c), None) if is_space(c) => spaces = Some((c, 1)),
            (Some(c), Some((first, count))) if is_space(c) => spaces = Some((first, count + 1)),
            (other, found) => {
                out.extend(found.map(|(first, count)| if count == 1 { first } else { ' ' }));
                out.extend(other);
                spaces = None;
            }
        }
    }
    out
}

fn stop_words(part: &Part<'_, '_>) -> Result<HashSet<String>, LoadError> {
    let Some(id) = part.set("stop_words") else {
        return Ok(HashSet::new());
    };
    let graph = part.graph();
    if let Node::Str(text) = graph.node(id) {
        return match text.as_ref() {
            "english" => Ok(ENGLISH.split_whitespace().map(str::to_owned).collect()),
            _ => Err(part.unknown("stop_words")),
        };
    }
    let words = match graph.node(id) {
        Node::List(ids) | Node::Tuple(ids) | Node::Set(ids) => ids.as_slice(),
        // `frozenset([…])` is a call in some protocols.
        Node::Object(object) => graph
            .sequence(object.arguments)
            .and_then(<[_]>::first)
            .and_then(|id| graph.sequence(*id))
            .unwrap_or_default(),
        _ => &[],
    };
    let words: Option<HashSet<String>> = words
        .iter()
        .map(|id| graph.text(*id).map(str::to_owned))
        .collect();
    match words {
        Some(words) if !words.is_empty() => {
            part.pay(words.iter().map(|word| word.len() / 8 + 4).sum())?;
            Ok(words)
        }
        _ => Err(part.unknown("stop_words")),
    }
}

/// The pattern of a word. Python's `\w` is what is a letter or number to Unicode, and `_`.
fn pattern(part: &Part<'_, '_>) -> Result<Pattern, LoadError> {
    let Some(text) = part.text("token_pattern") else {
        return Err(part.unknown("token_pattern"));
    };
    let plain = text.strip_prefix("(?u)").unwrap_or(text);
    match plain {
        r"\b\w\w+\b" | r"\w\w+" | r"\b\w{2,}\b" | r"\w{2,}" => return Ok(Pattern::Runs(2)),
        r"\b\w+\b" | r"\w+" | r"\b\w{1,}\b" | r"\w{1,}" => return Ok(Pattern::Runs(1)),
        r"\b\w\w\w+\b" | r"\b\w{3,}\b" | r"\w{3,}" => return Ok(Pattern::Runs(3)),
        _ => {}
    }
    let mut translated = String::new();
    let mut characters = plain.chars();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('w') if in_class => translated.push_str(r"\p{L}\p{N}_"),
                Some('w') => translated.push_str(r"[\p{L}\p{N}_]"),
                Some('W') if in_class => return Err(part.unknown("token_pattern")),
                Some('W') => translated.push_str(r"[^\p{L}\p{N}_]"),
                Some(other) => translated.extend(['\\', other]),
                None => return Err(part.unknown("token_pattern")),
            },
            '[' => {
                in_class = true;
                translated.push('[');
            }
            ']' => {
                in_class = false;
                translated.push(']');
            }
            other => translated.push(other),
        }
    }
    // Looking around and back references are not in this language: such a pattern is refused.
    match regex::RegexBuilder::new(&translated)
        .size_limit(1 << 20)
        .build()
    {
        Ok(regex) if regex.captures_len() <= 2 => Ok(Pattern::Regex(Box::new(regex))),
        _ => Err(part.unknown("token_pattern")),
    }
}

/// Python's `str.isalnum` of one character, or `_`. Rust's letters include marks, Python's do not.
fn is_word(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    // Letters and numbers of which no mark or symbol is one.
    character.is_numeric() || (character.is_alphabetic() && !is_mark(character))
}

/// What has the property Alphabetic and is no letter: vowel signs and letters in circles.
fn is_mark(character: char) -> bool {
    thread_local! {
        static LETTER: Option<Regex> = Regex::new(r"\A\p{L}\z").ok();
    }
    let mut buffer = [0; 4];
    let text: &str = character.encode_utf8(&mut buffer);
    LETTER.with(|letter| !letter.as_ref().is_some_and(|letter| letter.is_match(text)))
}

impl Pattern {
    fn find<'t>(&self, text: &'t str, mut each: impl FnMut(&'t str)) {
        match self {
            Self::Runs(shortest) => text
                .split(|character| !is_word(character))
                .filter(|run| run.chars().take(*shortest).count() == *shortest)
                .for_each(each),
            // `re.findall` gives the group if there is one.
            Self::Regex(regex) => {
                for captures in regex.captures_iter(text) {
                    let found = captures.get(captures.len() - 1);
                    each(found.map_or("", |found| found.as_str()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_python() {
        for (character, expected) in [
            ('a', true),
            ('_', true),
            ('é', true),
            ('ß', true),
            ('²', true),
            ('½', true),
            ('電', true),
            ('一', true),
            ('٣', true),
            ('Ⅷ', true),
            ('-', false),
            ('😀', false),
            ('\u{301}', false),
            ('\u{93e}', false),
            ('Ⓐ', false),
            ('\u{200d}', false),
            ('‿', false),
        ] {
            assert_eq!(is_word(character), expected, "{character:?}");
        }
    }

    #[test]
    fn spaces_are_joined_as_by_python() {
        for (text, expected) in [
            ("a\tb", "a\tb"),
            ("a \n b", "a b"),
            ("  ", " "),
            ("\u{1c}\u{1d}a", " a"),
            ("", ""),
        ] {
            assert_eq!(one_space(text), expected);
        }
    }
}
