//! Regular expressions that a whole value matches or not.

use std::cell::OnceCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, Compiler, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, HirKind, Look};

/// One takes this much memory at most while it is compiled.
pub(crate) const SIZE_LIMIT: usize = 1 << 20;

/// Deeper ones are refused, as by RE2.
pub(crate) const MAX_DEPTH: usize = 200;

thread_local! {
    /// Has tables that are made once, which takes longer than most patterns do.
    static COMPILER: OnceCell<Compiler> = const { OnceCell::new() };
}

/// A compiled regular expression. Only asked whether all of a value matches,
/// it needs neither groups nor a way back, which a `Regex` is built with.
#[derive(Clone)]
pub struct Pattern(Arc<Compiled>);

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

struct Compiled {
    text: Box<str>,
    /// What every value begins with that matches.
    prefix: Box<str>,
    dfa: DFA,
    caches: Pool<Cache, NewCache>,
}

impl Pattern {
    /// `text` begins with `^` and ends with `$`, in the syntax of
    /// `regex-syntax`, with bytes that are no text allowed.
    ///
    /// # Errors
    /// What of it is no regular expression, or that it takes too much memory.
    pub(crate) fn new(text: String) -> Result<Self, String> {
        let hir = regex_syntax::ParserBuilder::new()
            .utf8(false)
            .nest_limit(u32::try_from(MAX_DEPTH).unwrap_or(u32::MAX))
            .build()
            .parse(&text)
            .map_err(|error| {
                let error = error.to_string();
                error.lines().last().unwrap_or_default().to_owned()
            })?;
        let nfa = COMPILER.with(|compiler| {
            let built = compiler.get_or_init(compiler_of).build_from_hir(&hir);
            built.map_err(|error| match error.size_limit() {
                Some(limit) => format!("takes more than {} KiB compiled", limit >> 10),
                None => error.to_string(),
            })
        })?;
        // Without bytes that end a search, and with a cache that is emptied as
        // often as it has to be, a search always comes to an end.
        let config = DFA::config().skip_cache_capacity_check(true);
        let built = DFA::builder().configure(config).build_from_nfa(nfa);
        let dfa = built.map_err(|error| error.to_string())?;
        let of_cache = dfa.clone();
        let caches: NewCache = Box::new(move || of_cache.create_cache());
        Ok(Self(Arc::new(Compiled {
            text: text.into(),
            prefix: literal_prefix(&hir).into(),
            dfa,
            caches: Pool::new(caches),
        })))
    }

    /// As it was compiled, with `^(?:` and `)$` around it.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// A text that every value begins with that matches; may be empty.
    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Whether all of a value matches.
    pub fn is_match(&self, value: &str) -> bool {
        if !value.starts_with(self.prefix()) {
            return false;
        }
        let input = Input::new(value).anchored(Anchored::Yes).earliest(true);
        let mut cache = self.0.caches.get();
        matches!(self.0.dfa.try_search_fwd(&mut cache, &input), Ok(Some(_)))
    }
}

fn compiler_of() -> Compiler {
    let mut compiler = Compiler::new();
    compiler.configure(
        thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(SIZE_LIMIT)),
    );
    compiler
}

/// The text that an expression begins with, as far as it is the only one.
fn literal_prefix(hir: &Hir) -> String {
    let mut bytes = Vec::new();
    begin(hir, &mut bytes);
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(valid);
            String::from_utf8(bytes).unwrap_or_default()
        }
    }
}

/// Adds what an expression begins with; says whether that is all of it.
fn begin(hir: &Hir, bytes: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(Look::Start) => true,
        HirKind::Literal(literal) => {
            bytes.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => begin(&capture.sub, bytes),
        HirKind::Concat(all) => all.iter().all(|part| begin(part, bytes)),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            begin(&repetition.sub, bytes);
            false
        }
        _ => false,
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_those_of_all_values() {
        for (written, expected) in [
            ("/api/[a-z]+(/.*)?", "/api/"),
            ("/v1/(models|x)", "/v1/"),
            ("(/a)(/b).*", "/a/b"),
            ("(?:/ab)+c", "/ab"),
            ("(?:/ab)?c", ""),
            ("/a|/b", ""),
            ("a|b", ""),
            ("(?i)/api", "/"),
            ("(?i:x)y", ""),
            ("", ""),
            (r"/(?-u:\xff)", "/"),
            ("/é{2}x", "/é"),
        ] {
            let pattern = Pattern::new(format!("^(?:{written})$")).unwrap();
            assert_eq!(pattern.prefix(), expected, "{written}");
        }
    }
}
