//! YAML, mutated, through parsing and compilation to a few decisions.

use std::collections::BTreeMap;

use policy::{IstioVersion, Settings, Snapshot};

use super::Target;
use super::decide;
use super::random::Random;

pub(crate) struct Configuration {
    /// Documents of the corpus.
    documents: Vec<String>,
    files: Vec<String>,
    /// Values of the corpus by key: one in place of another of its key still loads.
    values: BTreeMap<String, Vec<String>>,
}

impl Configuration {
    pub(crate) fn new(files: Vec<String>) -> Self {
        let documents = files
            .iter()
            .flat_map(|file| file.split("\n---\n"))
            .map(str::to_owned)
            .collect();
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in files.iter().flat_map(|file| pairs(file)) {
            values
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        Self {
            documents,
            files,
            values,
        }
    }
}

impl Target for Configuration {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let text = self.input(random);
        let cluster = match resources::parse(&[("fuzz.yaml".into(), text)]) {
            Ok(cluster) => cluster,
            Err(errors) if errors.errors.is_empty() => return Err("fails without a reason".into()),
            Err(_) => return Ok("does not load"),
        };
        let all: Vec<IstioVersion> = IstioVersion::all().collect();
        let settings = Settings {
            istio_version: random.of(&all).copied(),
            ..Settings::default()
        };
        let snapshot = match Snapshot::compile(&cluster, &settings) {
            Ok(snapshot) => snapshot,
            Err(problems) if problems.is_empty() => return Err("fails without a reason".into()),
            Err(_) => return Ok("does not compile"),
        };
        for _ in 0..4 {
            decide::decide(&snapshot, random)?;
        }
        Ok("decides")
    }

    fn input(&self, random: &mut Random) -> String {
        let mut text = random.of(&self.files).cloned().unwrap_or_default();
        for _ in 0..=random.below(8) {
            self.exchange(&mut text, random);
        }
        if random.one_in(2) {
            for _ in 0..=random.below(2) {
                self.mutate(&mut text, random);
            }
        }
        text
    }
}

/// Special where a text is expected.
const TEXTS: [&str; 24] = [
    "\"\"",
    "\"*\"",
    "\"**\"",
    "\"*a*\"",
    "\"/a/{*}/{**}\"",
    "\"/{**}/x\"",
    "\".*\"",
    "\"(?i)a\"",
    "\"(a|b){1,3}\"",
    "\"a)|(b\"",
    "\"[a-\"",
    "'\\C'",
    "\"x{1001}\"",
    "\"(((x{10}){10}){10}){2}\"",
    "GET",
    "MERGE",
    "REMOVE",
    "INSERT_BEFORE",
    "INSERT_FIRST",
    "REPLACE",
    "ANY",
    "DENY",
    "CUSTOM",
    "\"\u{e4}\"",
];

/// What stands where something else was expected, and what is special somewhere.
const VALUES: [&str; 44] = [
    "null",
    "~",
    "[]",
    "{}",
    "[null]",
    "\"\"",
    "0",
    "-1",
    "65536",
    "1e309",
    "true",
    "no",
    "0x10",
    "*",
    "**",
    "\"*\"",
    "\"*a*\"",
    "/a/{*}/{**}",
    "/{**}/x",
    "{*}",
    ".*",
    "(?i)a",
    "(a|b){1,3}",
    "a)|(b",
    "[a-",
    "\\\\C",
    "x{1001}",
    "10.0.0.0/33",
    "::/0",
    "1.2.3",
    "GET",
    "MERGE",
    "REMOVE",
    "INSERT_BEFORE",
    "INSERT_FIRST",
    "ADD",
    "REPLACE",
    "GATEWAY",
    "HTTP_FILTER",
    "VIRTUAL_HOST",
    "DENY",
    "CUSTOM",
    "|\n  block\n",
    "&a [*a]",
];

/// `key: value` of block and flow style.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(['{', '}', ',', '[', ']', '\n'])
        .filter_map(|part| part.trim().trim_start_matches("- ").split_once(": "))
        .filter(|(key, value)| !key.is_empty() && !value.trim().is_empty())
}

impl Configuration {
    /// A value of the same key, or once in a while something special.
    fn exchange(&self, text: &mut String, random: &mut Random) {
        let all: Vec<(&str, &str)> = pairs(text).collect();
        let Some((key, value)) = random.of(&all).copied() else {
            return;
        };
        let known = self.values.get(key).map(Vec::as_slice).unwrap_or_default();
        let new = if random.one_in(5) {
            random.word(&TEXTS).to_owned()
        } else {
            random.of(known).cloned().unwrap_or_default()
        };
        let old = format!("{key}: {value}");
        let count = text.matches(&old).count();
        let chosen = random.below(count);
        if let Some((at, _)) = text.match_indices(&old).nth(chosen) {
            text.replace_range(at..at + old.len(), &format!("{key}: {new}"));
        }
    }

    fn mutate(&self, text: &mut String, random: &mut Random) {
        let lines: Vec<&str> = text.lines().collect();
        let at = random.below(lines.len());
        let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        let Some(line) = lines.get(at).cloned() else {
            return;
        };
        match random.below(9) {
            // A value in place of another.
            0..=2 => {
                if let (Some((key, _)), Some(place)) = (line.split_once(": "), lines.get_mut(at)) {
                    *place = format!("{key}: {}", random.word(&VALUES));
                }
            }
            // A word in place of another, also inside of flow style.
            3 => {
                let words: Vec<&str> = line
                    .split_inclusive([' ', ',', '[', ']', '{', '}', ':'])
                    .collect();
                let word = random.of(&words).copied().unwrap_or_default();
                if let Some(place) = lines.get_mut(at) {
                    *place = line.replacen(word, random.word(&VALUES), 1);
                }
            }
            4 => {
                lines.remove(at);
            }
            5 => lines.insert(at, line),
            6 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            7 => {
                if let Some(place) = lines.get_mut(at) {
                    *place = if random.one_in(2) {
                        format!("  {line}")
                    } else {
                        line.strip_prefix("  ").unwrap_or(&line).to_owned()
                    };
                }
            }
            // A document from elsewhere.
            _ => {
                let other = random.of(&self.documents).cloned().unwrap_or_default();
                lines.push("---".to_owned());
                lines.push(other);
            }
        }
        *text = lines.join("\n");
        if random.one_in(12) {
            flip(text, random);
        }
        text.push('\n');
    }
}

/// One byte becomes another.
fn flip(text: &mut String, random: &mut Random) {
    let at = random.below(text.len());
    let byte = b" \t\n:-[]{},&*#'\"|>%@!?\\x0"
        .get(random.below(24))
        .copied();
    let mut bytes = std::mem::take(text).into_bytes();
    if let (Some(place), Some(byte)) = (bytes.get_mut(at), byte) {
        *place = byte;
    }
    *text = String::from_utf8_lossy(&bytes).into_owned();
}
