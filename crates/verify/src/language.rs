//! String conditions as sets: the second reading of [`Matcher`], and the
//! classes that a family of conditions divides all strings into.

use policy::{Matcher, TestValue};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, MatchKind};
use rustc_hash::FxHashMap;

/// A string condition as a regular expression over bytes that matches the same
/// strings as a whole.
pub fn as_set(value: &TestValue) -> Option<String> {
    let (matcher, fold) = match value {
        TestValue::Text(matcher) => (matcher, false),
        TestValue::TextIgnoringCase(matcher) => (matcher, true),
        TestValue::Net(_) | TestValue::Port(_) => return None,
    };
    let pattern = match matcher {
        Matcher::Present => "(?s-u:.*)".to_owned(),
        Matcher::Exact(text) => regex_syntax::escape(text),
        Matcher::Prefix(text) => format!("{}(?s-u:.*)", regex_syntax::escape(text)),
        Matcher::PathPrefix(text) => format!("{}(?:/(?s-u:.*))?", regex_syntax::escape(text)),
        Matcher::Suffix(text) => format!("(?s-u:.*){}", regex_syntax::escape(text)),
        Matcher::Regex(regex) => {
            // Case matters to a regex, whatever is said about the rest.
            return Some(format!("(?:{})", regex.as_str()));
        }
    };
    Some(if fold {
        format!("(?i-u:{pattern})")
    } else {
        pattern
    })
}

/// Bytes in the order in which witnesses use them.
pub(crate) fn ordinary_bytes() -> impl Iterator<Item = u8> {
    let first = b"x/abcdefghijklmnopqrstuvwyz0123456789-.:_=,";
    let rest = (0x21..0x7fu8).filter(move |b| !first.contains(b));
    first.iter().copied().chain(rest)
}

/// Why a family of conditions was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooComplex;

const DFA_BYTES: usize = 8 << 20;
/// Pairs of prefixes and suffixes of one attribute that are looked at.
const MAX_PAIRS: usize = 4_096;
const MAX_STATES: usize = 20_000;

/// One automaton for several whole-string patterns.
#[derive(Debug)]
pub(crate) struct Patterns {
    dfa: dense::DFA<Vec<u32>>,
    count: usize,
}

impl Patterns {
    pub(crate) fn new(patterns: &[String]) -> Result<Self, TooComplex> {
        let whole: Vec<String> = patterns.iter().map(|p| format!("^(?:{p})$")).collect();
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Anchored)
                    .accelerate(false)
                    .dfa_size_limit(Some(DFA_BYTES))
                    .determinize_size_limit(Some(DFA_BYTES)),
            )
            .syntax(
                regex_automata::util::syntax::Config::new()
                    .unicode(false)
                    .utf8(false),
            )
            .thompson(
                regex_automata::nfa::thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(DFA_BYTES)),
            )
            .build_many(&whole)
            .map_err(|_| TooComplex)?;
        Ok(Self {
            dfa,
            count: patterns.len(),
        })
    }

    /// Memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.dfa.memory_usage()
    }

    pub(crate) fn start(&self) -> Result<StateID, TooComplex> {
        let config = regex_automata::util::start::Config::new().anchored(Anchored::Yes);
        self.dfa.start_state(&config).map_err(|_| TooComplex)
    }

    pub(crate) fn next(&self, state: StateID, byte: u8) -> StateID {
        self.dfa.next_state(state, byte)
    }

    /// Which patterns match a string that ends in this state.
    pub(crate) fn matches(&self, state: StateID) -> Vec<bool> {
        let end = self.dfa.next_eoi_state(state);
        let mut out = vec![false; self.count];
        if self.dfa.is_match_state(end) {
            for index in 0..self.dfa.match_len(end) {
                let pattern = self.dfa.match_pattern(end, index).as_usize();
                if let Some(slot) = out.get_mut(pattern) {
                    *slot = true;
                }
            }
        }
        out
    }

    /// Every combination of matching patterns that some string realises, with
    /// a shortest such string of printable bytes, shortest first.
    pub(crate) fn classes(&self) -> Result<Vec<(Vec<bool>, String)>, TooComplex> {
        self.classes_from(self.start()?, |_| true)
    }

    /// The same for strings that may have spaces, but not at their ends.
    fn spaced_classes(&self) -> Result<Vec<(Vec<bool>, String)>, TooComplex> {
        let bytes: Vec<u8> = ordinary_bytes().chain([b' ']).collect();
        self.search(self.start()?, &bytes, |byte| byte != b' ')
    }

    /// The same for the strings whose continuation starts in `state`; `allowed`
    /// says which first bytes may be taken.
    pub(crate) fn classes_from(
        &self,
        state: StateID,
        allowed: impl Fn(u8) -> bool,
    ) -> Result<Vec<(Vec<bool>, String)>, TooComplex> {
        let bytes: Vec<u8> = ordinary_bytes().collect();
        self.search(state, &bytes, allowed)
    }

    fn search(
        &self,
        state: StateID,
        bytes: &[u8],
        allowed: impl Fn(u8) -> bool,
    ) -> Result<Vec<(Vec<bool>, String)>, TooComplex> {
        let mut found: Vec<(Vec<bool>, String)> = vec![(self.matches(state), String::new())];
        // By state, and whether a string may end there.
        let mut seen: FxHashMap<(StateID, bool), ()> = FxHashMap::default();
        let mut layer = vec![(state, String::new())];
        let mut first = true;
        while !layer.is_empty() {
            let mut next_layer = Vec::new();
            for (state, text) in layer {
                for &byte in bytes {
                    if first && !allowed(byte) {
                        continue;
                    }
                    let next = self.next(state, byte);
                    let ends = byte != b' ';
                    if seen.contains_key(&(next, ends)) {
                        continue;
                    }
                    if seen.len() >= MAX_STATES {
                        return Err(TooComplex);
                    }
                    seen.insert((next, ends), ());
                    let mut longer = text.clone();
                    longer.push(char::from(byte));
                    let matches = self.matches(next);
                    if ends && !found.iter().any(|(known, _)| *known == matches) {
                        found.push((matches, longer.clone()));
                    }
                    next_layer.push((next, longer));
                }
            }
            layer = next_layer;
            first = false;
        }
        Ok(found)
    }
}

impl Patterns {
    /// For a single pattern: whether some longer string fails it, and whether
    /// some longer string satisfies it.
    pub(crate) fn continuations(&self, state: StateID) -> Result<(bool, bool), TooComplex> {
        let mut found = (false, false);
        let mut seen: FxHashMap<StateID, ()> = FxHashMap::default();
        let mut todo = vec![state];
        while let Some(state) = todo.pop() {
            for byte in ordinary_bytes() {
                let next = self.next(state, byte);
                if seen.insert(next, ()).is_some() {
                    continue;
                }
                if seen.len() > MAX_STATES {
                    return Err(TooComplex);
                }
                match self.matches(next).first() {
                    Some(true) => found.1 = true,
                    _ => found.0 = true,
                }
                if found == (true, true) {
                    return Ok(found);
                }
                todo.push(next);
            }
        }
        Ok(found)
    }
}

/// A class of strings: which conditions hold for all of them, and one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) holds: Vec<bool>,
    pub(crate) example: String,
}

/// The classes into which the conditions divide the strings that `base` accepts.
///
/// Exact, prefix and suffix conditions are settled by candidates: every named
/// string, and a filler between the longest prefix and the longest suffix that
/// hold. Where there is a regular expression, by one automaton for all.
pub(crate) fn classes(
    tests: &[&TestValue],
    base: impl Fn(&str) -> bool,
) -> Result<Vec<Class>, TooComplex> {
    let mut found = classes_within(tests, &[], base)?;
    let mut seen: Vec<Vec<bool>> = Vec::new();
    found.retain(|class| {
        let new = !seen.contains(&class.holds);
        if new {
            seen.push(class.holds.clone());
        }
        new
    });
    Ok(found)
}

/// The same, each class with an example in every combination of some patterns in
/// which there is one: `base` may accept some combinations and not others. Classes
/// may be there more than once.
pub(crate) fn classes_within(
    tests: &[&TestValue],
    within: &[String],
    base: impl Fn(&str) -> bool,
) -> Result<Vec<Class>, TooComplex> {
    let holds = |text: &str| -> Vec<bool> { tests.iter().map(|t| holds_for(t, text)).collect() };
    let mut out: Vec<Class> = Vec::new();
    let mut add = |text: String| {
        if !base(&text) {
            return;
        }
        let holds = holds(&text);
        if !within.is_empty() || !out.iter().any(|class| class.holds == holds) {
            out.push(Class {
                holds,
                example: text,
            });
        }
    };
    let mut prefixes = vec![String::new()];
    let mut suffixes = vec![String::new()];
    let mut regex = false;
    let (mut fold, mut exact_case) = (false, false);
    let mut named = Vec::new();
    for test in tests {
        let matcher = match test {
            TestValue::Text(m) => {
                exact_case |= !matches!(m, Matcher::Present);
                m
            }
            TestValue::TextIgnoringCase(m) => {
                fold = true;
                m
            }
            TestValue::Net(_) | TestValue::Port(_) => continue,
        };
        match matcher {
            Matcher::Present => {}
            Matcher::Exact(text) => named.push(text.clone()),
            Matcher::Prefix(text) => prefixes.push(text.clone()),
            Matcher::PathPrefix(text) => prefixes.extend([text.clone(), format!("{text}/")]),
            Matcher::Suffix(text) => suffixes.push(text.clone()),
            Matcher::Regex(_) => regex = true,
        }
    }
    if prefixes.len().saturating_mul(suffixes.len()) > MAX_PAIRS || named.len() > MAX_PAIRS {
        return Err(TooComplex);
    }
    for filler in ["x", "x0", "q7z"] {
        for prefix in &prefixes {
            for suffix in &suffixes {
                add(format!("{prefix}{filler}{suffix}"));
            }
        }
    }
    add(String::new());
    for text in named.iter().chain(&prefixes).chain(&suffixes) {
        add(text.clone());
        if fold {
            add(text.to_ascii_lowercase());
        }
        add(flip_case(text));
    }
    // A string can be spelled for one condition and not for the other, letter by letter.
    if regex || (fold && exact_case) {
        let patterns: Option<Vec<String>> = tests.iter().map(|t| as_set(t)).collect();
        let mut patterns = patterns.ok_or(TooComplex)?;
        patterns.extend_from_slice(within);
        let patterns = Patterns::new(&patterns)?;
        // Those without spaces by themselves: not every attribute can have them.
        let plain = patterns.classes()?;
        for (_, example) in plain.into_iter().chain(patterns.spaced_classes()?) {
            add(example);
        }
    }
    Ok(out)
}

/// Authorities of a host, exact or `*.x`, in any case and with any port; `None`
/// for `*`, which all are of.
pub(crate) fn authorities_of(host: &str) -> Option<String> {
    let (anything, name) = match host.strip_prefix('*') {
        None => ("", host),
        Some("") => return None,
        Some(suffix) => ("(?s-u:.*)", suffix),
    };
    let name = regex_syntax::escape(name);
    Some(format!("{anything}(?i-u:{name})(?::(?-u:[^:])*)?"))
}

/// The combinations of conditions that some printable string fulfils, each with
/// an example; `None` when there are too many to tell.
pub fn string_classes(tests: &[TestValue]) -> Option<Vec<(Vec<bool>, String)>> {
    let tests: Vec<&TestValue> = tests.iter().collect();
    let found = classes(&tests, |_| true).ok()?;
    Some(found.into_iter().map(|c| (c.holds, c.example)).collect())
}

fn flip_case(text: &str) -> String {
    let flip = |c: char| {
        if c.is_ascii_lowercase() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    };
    text.chars().map(flip).collect()
}

/// Whether a string condition holds for a string.
pub(crate) fn holds_for(test: &TestValue, text: &str) -> bool {
    match test {
        TestValue::Text(matcher) => matcher.matches(text),
        TestValue::TextIgnoringCase(matcher) => matcher.matches_ignoring_case(text),
        TestValue::Net(_) | TestValue::Port(_) => false,
    }
}

/// What every string begins with that satisfies a condition; empty when
/// nothing is known.
pub(crate) fn beginning(test: &TestValue) -> String {
    let TestValue::Text(Matcher::Regex(_)) = test else {
        return String::new();
    };
    let found = as_set(test).and_then(|pattern| {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(&pattern)
            .ok()?;
        let literals = regex_syntax::hir::literal::Extractor::new().extract(&hir);
        let bytes = literals.longest_common_prefix()?;
        Some(std::str::from_utf8(bytes).ok()?.to_owned())
    });
    found.unwrap_or_default()
}

/// A name by which equal conditions are the same.
pub(crate) fn key(test: &TestValue) -> String {
    let (fold, matcher) = match test {
        TestValue::Text(matcher) => ("", matcher),
        TestValue::TextIgnoringCase(matcher) => ("i", matcher),
        TestValue::Net(net) => return format!("n:{net}"),
        TestValue::Port(port) => return format!("#:{port}"),
    };
    match matcher {
        Matcher::Present => format!("{fold}*:"),
        Matcher::Exact(text) => format!("{fold}=:{text}"),
        Matcher::Prefix(text) => format!("{fold}<:{text}"),
        Matcher::PathPrefix(text) => format!("{fold}/:{text}"),
        Matcher::Suffix(text) => format!("{fold}>:{text}"),
        Matcher::Regex(regex) => format!("{fold}~:{}", regex.as_str()),
    }
}
