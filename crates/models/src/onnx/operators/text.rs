//! Operators over text: `StringNormalizer`, the `Tokenizer` of ONNX Runtime, `TfIdfVectorizer`.

use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};
use regex::Regex;
use std::collections::{HashMap, HashSet};

fn texts(tensor: &Tensor) -> Result<&[String], String> {
    match tensor.values() {
        Values::Text(texts) => Ok(texts),
        _ => Err("expected text".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Keep,
    Lower,
    Upper,
}

impl Case {
    /// Letter by letter: what becomes more than one letter stays, as in C.
    fn change(self, text: &str) -> String {
        fn single(mut letters: impl Iterator<Item = char>, letter: char) -> char {
            match (letters.next(), letters.next()) {
                (Some(changed), None) => changed,
                _ => letter,
            }
        }
        match self {
            Self::Keep => text.to_owned(),
            Self::Lower => text.chars().map(|c| single(c.to_lowercase(), c)).collect(),
            Self::Upper => text.chars().map(|c| single(c.to_uppercase(), c)).collect(),
        }
    }
}

#[derive(Debug)]
struct Normalizer {
    case: Case,
    stopwords: HashSet<String>,
    sensitive: bool,
}

pub(super) fn normalizer(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Text])?;
    let sensitive = site.int("is_case_sensitive")?.unwrap_or(0) != 0;
    let stopwords = site.texts("stopwords")?;
    let case = if sensitive { Case::Keep } else { Case::Lower };
    let normalizer = Normalizer {
        case: match site.text("case_change_action")?.unwrap_or("NONE") {
            "NONE" => Case::Keep,
            "LOWER" => Case::Lower,
            "UPPER" => Case::Upper,
            _ => return Err("the `case_change_action` is none that there is".to_owned()),
        },
        stopwords: stopwords.iter().map(|word| case.change(word)).collect(),
        sensitive,
    };
    Ok(Built::new(normalizer, &[ElementType::Text]))
}

impl Operator for Normalizer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let row = match input.shape() {
            [_] => false,
            [1, _] => true,
            _ => return Err("expected one list of texts".to_owned()),
        };
        work.room(ElementType::Text, input.shape())?;
        let kept = texts(input)?.iter().filter(|text| {
            if self.stopwords.is_empty() {
                true
            } else if self.sensitive {
                !self.stopwords.contains(*text)
            } else {
                !self.stopwords.contains(&Case::Lower.change(text))
            }
        });
        let mut kept: Vec<String> = kept.map(|text| self.case.change(text)).collect();
        if kept.is_empty() {
            kept.push(String::new());
        }
        let shape = if row {
            vec![1, kept.len()]
        } else {
            vec![kept.len()]
        };
        Ok(vec![made(shape, Values::Text(kept))?])
    }
}

#[derive(Debug)]
enum Tokens {
    /// What an expression matches.
    Matches(Regex),
    /// What is between matches, of each expression in turn.
    Between(Vec<Regex>),
    Letters,
}

#[derive(Debug)]
struct Tokenizer {
    tokens: Tokens,
    mark: bool,
    pad: String,
    least: usize,
}

pub(super) fn tokenizer(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Text])?;
    let separators = site.texts("separators")?;
    let tokens = match (site.text("tokenexp")?, separators.as_slice()) {
        (Some(expression), _) => Tokens::Matches(compiled(expression)?),
        (None, [separator]) if separator.is_empty() => Tokens::Letters,
        (None, []) => return Err("expected `tokenexp` or `separators`".to_owned()),
        (None, separators) => Tokens::Between(
            separators
                .iter()
                .map(|text| compiled(text))
                .collect::<Result<_, _>>()?,
        ),
    };
    let least = site.int("mincharnum")?.unwrap_or(1);
    let tokenizer = Tokenizer {
        tokens,
        mark: site.int("mark")?.unwrap_or(0) != 0,
        pad: site.text("pad_value")?.unwrap_or_default().to_owned(),
        least: usize::try_from(least).map_err(|_| "expected a number of letters")?,
    };
    Ok(Built::new(tokenizer, &[ElementType::Text]))
}

/// An expression of RE2, whose classes of letters are those of ASCII.
fn compiled(expression: &str) -> Result<Regex, String> {
    let mut translated = String::new();
    let mut letters = expression.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            translated.push(letter);
            continue;
        }
        match letters.next() {
            Some('w') => translated.push_str("[0-9A-Za-z_]"),
            Some('W') => translated.push_str("[^0-9A-Za-z_]"),
            Some('d') => translated.push_str("[0-9]"),
            Some('D') => translated.push_str("[^0-9]"),
            Some('s') => translated.push_str(r"[\t\n\f\r ]"),
            Some('S') => translated.push_str(r"[^\t\n\f\r ]"),
            Some('b') => translated.push_str(r"(?-u:\b)"),
            Some(other) => translated.extend(['\\', other]),
            None => translated.push('\\'),
        }
    }
    regex::RegexBuilder::new(&translated)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| "an expression is not supported".to_owned())
}

impl Tokenizer {
    fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let long = |token: &&str| token.chars().count() >= self.least;
        match &self.tokens {
            Tokens::Letters => text
                .char_indices()
                .filter_map(|(at, letter)| text.get(at..at + letter.len_utf8()))
                .collect(),
            Tokens::Matches(expression) => expression
                .find_iter(text)
                .map(|found| found.as_str())
                .filter(long)
                .collect(),
            Tokens::Between(separators) => {
                let mut tokens = vec![text];
                for separator in separators {
                    let parts = tokens.iter().flat_map(|token| separator.split(token));
                    tokens = parts.filter(long).collect();
                }
                tokens
            }
        }
    }
}

impl Operator for Tokenizer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        if !matches!(input.shape().len(), 1 | 2) {
            return Err("expected rows of text".to_owned());
        }
        let rows: Vec<Vec<&str>> = texts(input)?.iter().map(|text| self.split(text)).collect();
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = match longest {
            0 => 0,
            longest if self.mark => longest + 2,
            longest => longest,
        };
        let mut shape = input.shape().to_vec();
        shape.push(width);
        let mut out = Vec::with_capacity(work.room(ElementType::Text, &shape)?);
        for tokens in &rows {
            let end = out.len() + width;
            if width > 0 {
                out.extend(self.mark.then(|| "\u{2}".to_owned()));
                out.extend(tokens.iter().map(|token| (*token).to_owned()));
                out.extend(self.mark.then(|| "\u{3}".to_owned()));
            }
            out.resize(end, self.pad.clone());
        }
        Ok(vec![made(shape, Values::Text(out))?])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Counts,
    Weights,
    Both,
}

/// Counts sequences of words, which may leave out some in between.
#[derive(Debug)]
struct Vectorizer {
    mode: Mode,
    shortest: usize,
    longest: usize,
    skips: usize,
    words: Words,
    /// The column of each sequence of known words.
    columns: HashMap<Vec<u32>, usize>,
    width: usize,
    weights: Vec<f32>,
}

#[derive(Debug)]
enum Words {
    Texts(HashMap<String, u32>),
    Ints(HashMap<i64, u32>),
}

/// Words of a sequence.
const LENGTH: usize = 64;

pub(super) fn vectorizer(site: &Site<'_, '_>) -> Result<Built, String> {
    use ElementType::{Int32, Int64, Text};
    let element = site.of(0, &[Text, Int64, Int32])?;
    let size = |name: &str| -> Result<usize, String> {
        let value = site.int(name)?.unwrap_or(0);
        usize::try_from(value).map_err(|_| format!("expected zero or more in `{name}`"))
    };
    let (shortest, longest) = (size("min_gram_length")?, size("max_gram_length")?);
    let skips = size("max_skip_count")?;
    if !(1..=LENGTH).contains(&shortest)
        || !(shortest..=LENGTH).contains(&longest)
        || skips > 1 << 16
    {
        return Err("expected lengths of sequences of words".to_owned());
    }
    let mut numbers: Vec<u32> = Vec::new();
    let full = |_| "more words than are supported".to_owned();
    let words = if element == Text {
        let mut known = HashMap::new();
        for word in site.texts("pool_strings")? {
            let next = u32::try_from(known.len()).map_err(full)?;
            numbers.push(*known.entry(word).or_insert(next));
        }
        Words::Texts(known)
    } else {
        let mut known = HashMap::new();
        for word in site.ints("pool_int64s")? {
            let next = u32::try_from(known.len()).map_err(full)?;
            numbers.push(*known.entry(*word).or_insert(next));
        }
        Words::Ints(known)
    };
    let indexes = site.ints("ngram_indexes")?;
    let (columns, width) = sequences(&numbers, site.ints("ngram_counts")?, indexes)?;
    let weights = site.floats("weights")?.to_vec();
    if !weights.is_empty() && weights.len() != indexes.len() {
        return Err("expected a weight for each sequence".to_owned());
    }
    let vectorizer = Vectorizer {
        mode: match site.text("mode")? {
            Some("TF") => Mode::Counts,
            Some("IDF") => Mode::Weights,
            Some("TFIDF") => Mode::Both,
            _ => return Err("the `mode` is none that there is".to_owned()),
        },
        shortest,
        longest,
        skips,
        words,
        columns,
        width,
        weights,
    };
    Ok(Built::new(vectorizer, &[ElementType::Float]))
}

/// Where each length of sequences begins in the pool, and the column of each.
fn sequences(
    pool: &[u32],
    starts: &[i64],
    indexes: &[i64],
) -> Result<(HashMap<Vec<u32>, usize>, usize), String> {
    let wrong = || "the pool of sequences does not hold together".to_owned();
    let starts: Vec<usize> = starts
        .iter()
        .map(|start| usize::try_from(*start))
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let mut columns = HashMap::new();
    let mut indexes = indexes.iter();
    let mut width = 0;
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(pool.len());
        let part = pool.get(*start..end).ok_or_else(wrong)?;
        let sequences = part.chunks_exact(number + 1);
        if !sequences.remainder().is_empty() {
            return Err(wrong());
        }
        for sequence in sequences {
            let column = indexes
                .next()
                .and_then(|index| usize::try_from(*index).ok());
            // A column far out would make much of a small file.
            let column = column.filter(|column| *column <= pool.len().saturating_mul(64));
            let column = column.ok_or_else(wrong)?;
            width = width.max(column + 1);
            columns.insert(sequence.to_vec(), column);
        }
    }
    if indexes.next().is_some() || width == 0 {
        return Err(wrong());
    }
    Ok((columns, width))
}

impl Vectorizer {
    fn numbers(&self, values: &Values) -> Result<Vec<Option<u32>>, String> {
        Ok(match (&self.words, values) {
            (Words::Texts(known), Values::Text(texts)) => {
                texts.iter().map(|text| known.get(text).copied()).collect()
            }
            (Words::Ints(known), Values::Int64(ints)) => {
                ints.iter().map(|int| known.get(int).copied()).collect()
            }
            (Words::Ints(known), Values::Int32(ints)) => ints
                .iter()
                .map(|int| known.get(&i64::from(*int)).copied())
                .collect(),
            _ => return Err("expected the type of the pool".to_owned()),
        })
    }

    fn count(&self, words: &[Option<u32>], counts: &mut [f32]) {
        let mut sequence = Vec::with_capacity(self.longest);
        for stride in 1..=self.skips + 1 {
            // Single words are not affected by what is left out.
            let shortest = if stride > 1 {
                self.shortest.max(2)
            } else {
                self.shortest
            };
            if shortest > self.longest {
                break;
            }
            for start in 0..words.len() {
                sequence.clear();
                for word in words.iter().skip(start).step_by(stride).take(self.longest) {
                    let Some(word) = word else { break };
                    sequence.push(*word);
                    if sequence.len() < shortest {
                        continue;
                    }
                    let column = self.columns.get(sequence.as_slice());
                    if let Some(count) = column.and_then(|column| counts.get_mut(*column)) {
                        *count += 1.0;
                    }
                }
            }
        }
    }
}

impl Operator for Vectorizer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let (rows, columns, shape) = match input.shape() {
            [columns] => (1, *columns, vec![self.width]),
            [rows, columns] => (*rows, *columns, vec![*rows, self.width]),
            _ => return Err("expected rows of words".to_owned()),
        };
        let count = work.room(ElementType::Float, &shape)?;
        work.steps(&[rows, columns, self.skips + 1, self.longest])?;
        let words = self.numbers(input.values())?;
        let mut out = vec![0.0; count];
        for (row, counts) in out.chunks_exact_mut(self.width).enumerate() {
            let words = words.get(row * columns..(row + 1) * columns);
            self.count(words.unwrap_or_default(), counts);
            if self.mode == Mode::Counts {
                continue;
            }
            for (column, count) in counts.iter_mut().enumerate() {
                let weight = match self.weights.get(column) {
                    Some(weight) => *weight,
                    None => 1.0,
                };
                *count = match self.mode {
                    Mode::Weights if *count > 0.0 => weight,
                    Mode::Both => *count * weight,
                    _ => *count,
                };
            }
        }
        Ok(vec![made(shape, Values::Float(out))?])
    }
}
