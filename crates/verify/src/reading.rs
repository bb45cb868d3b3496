//! Two readings of one path: what the policy lets through, and what a backend
//! makes of it that decodes, strips, merges or folds more than the gateway.

use std::collections::BTreeMap;

use policy::{Attribute, Condition, Destination, Matcher, RewriteView, Snapshot, TestValue};
use resources::ServiceName;
use resources::intents::{Backend, Reading, service};

use crate::language::{Patterns, as_set};
use crate::universe::tests_of;

/// How backends read paths, as far as somebody says so.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    services: BTreeMap<ServiceName, Vec<Reading>>,
    hosts: BTreeMap<String, Vec<Reading>>,
}

impl Readings {
    /// As they are declared; the last word counts.
    pub fn of<'b>(backends: impl IntoIterator<Item = &'b Backend>) -> Self {
        let mut out = Self::default();
        for backend in backends {
            match service(&backend.service) {
                Some((namespace, name, _)) => {
                    let name = ServiceName {
                        namespace: namespace.into(),
                        name: name.into(),
                    };
                    out.services.insert(name, backend.reads.clone());
                }
                None => {
                    let host = backend.service.to_ascii_lowercase();
                    out.hosts.insert(host, backend.reads.clone());
                }
            }
        }
        out
    }

    /// Whether nobody says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.hosts.is_empty()
    }

    /// What a backend is said to do; `None` if nobody says.
    pub(crate) fn declared(&self, destination: &Destination) -> Option<&[Reading]> {
        let found = match destination {
            Destination::Service { service, .. } => self.services.get(service),
            Destination::Host { host, .. } => self.hosts.get(&host.to_ascii_lowercase()),
            Destination::Login | Destination::Reply(_) => None,
        };
        found.map(Vec::as_slice)
    }
}

/// A path that a rule lets through, and one that it does not, which some
/// backend reads as the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Escape {
    /// As it is sent.
    pub(crate) sent: String,
    /// As the backend reads it.
    pub(crate) read: String,
    pub(crate) reading: Reading,
}

/// Longer lists of paths are not tried one by one.
const MAX_TARGETS: usize = 12;

/// Paths that a rule names, written so that a backend undoes it.
pub(crate) fn disguises_of(snapshot: &Snapshot, condition: &Condition) -> Vec<Escape> {
    let mut tests = Vec::new();
    tests_of(condition, &Attribute::Path, &mut tests);
    let mut out = Vec::new();
    for path in tests.into_iter().flat_map(examples) {
        for reading in Reading::ALL {
            disguises(&path, reading, &mut out);
        }
    }
    kept(snapshot, out)
}

/// Ways from what a rule names to other paths, that a backend takes.
pub(crate) fn exemptions_of(
    snapshot: &Snapshot,
    condition: &Condition,
    targets: &[String],
) -> Vec<Escape> {
    let mut tests = Vec::new();
    tests_of(condition, &Attribute::Path, &mut tests);
    let mut out = Vec::new();
    for test in tests {
        for target in targets.iter().take(MAX_TARGETS) {
            exemptions(test, target, &mut out);
        }
    }
    kept(snapshot, out)
}

/// What the gateway itself reads otherwise is no second reading.
fn kept(snapshot: &Snapshot, mut escapes: Vec<Escape>) -> Vec<Escape> {
    let stays = |path: &str| {
        let seen = snapshot.split_target(path);
        seen.is_ok_and(|(seen, query)| seen == path && query.is_none())
    };
    escapes.retain(|e| e.sent != e.read && stays(&e.sent) && stays(&e.read));
    escapes.sort_by(|a, b| (a.sent.len(), a).cmp(&(b.sent.len(), b)));
    escapes.dedup();
    escapes
}

/// A path as a backend reads it.
pub(crate) fn read(reading: Reading, path: &str) -> String {
    match reading {
        Reading::DecodesSlashes => {
            let decoded = path.replace("%2f", "/").replace("%2F", "/");
            let mut segments: Vec<&str> = Vec::new();
            for segment in decoded.split('/').skip(1) {
                match segment {
                    "." => {}
                    ".." => drop(segments.pop()),
                    segment => segments.push(segment),
                }
            }
            format!("/{}", segments.join("/"))
        }
        Reading::StripsParameters => {
            let bare = path
                .split('/')
                .map(|s| s.split_once(';').map_or(s, |(bare, _)| bare));
            bare.collect::<Vec<_>>().join("/")
        }
        Reading::MergesSlashes => {
            let mut out = String::new();
            for c in path.chars() {
                if !(c == '/' && out.ends_with('/')) {
                    out.push(c);
                }
            }
            out
        }
        Reading::FoldsCase => path.to_ascii_lowercase(),
    }
}

/// Ways to write a path that a backend undoes.
fn disguises(path: &str, reading: Reading, out: &mut Vec<Escape>) {
    let mut add = |sent: String| {
        out.push(Escape {
            sent,
            read: path.to_owned(),
            reading,
        });
    };
    let at = |index: usize| path.split_at_checked(index);
    let slashes = path.match_indices('/').map(|(index, _)| index);
    match reading {
        Reading::DecodesSlashes => {
            for (head, tail) in slashes.skip(1).filter_map(at) {
                add(format!("{head}%2f{}", tail.trim_start_matches('/')));
            }
            add(format!("/x/..%2f{}", path.trim_start_matches('/')));
        }
        Reading::StripsParameters => {
            let ends = slashes.skip(1).chain([path.len()]);
            for (head, tail) in ends.filter_map(at) {
                if !head.ends_with('/') {
                    add(format!("{head};x{tail}"));
                }
            }
        }
        Reading::MergesSlashes => {
            for (head, tail) in slashes.filter_map(at) {
                add(format!("{head}/{tail}"));
            }
        }
        Reading::FoldsCase => {
            // Listed strings end where segments do: one letter of each is enough.
            let begins = slashes.map(|index| index + 1);
            let letters = begins.filter_map(|index| {
                let rest = path.get(index..)?;
                let (skipped, letter) =
                    rest.char_indices().find(|(_, c)| c.is_ascii_lowercase())?;
                let segment = rest.find('/').unwrap_or(rest.len());
                (skipped < segment).then_some((index + skipped, letter))
            });
            for (index, letter) in letters {
                if let Some((head, tail)) = at(index) {
                    let rest = tail.get(1..).unwrap_or_default();
                    add(format!("{head}{}{rest}", letter.to_ascii_uppercase()));
                }
            }
        }
    }
}

/// Ways out of what a test lets through, to a path that it does not.
fn exemptions(test: &TestValue, target: &str, out: &mut Vec<Escape>) {
    let (TestValue::Text(matcher) | TestValue::TextIgnoringCase(matcher)) = test else {
        return;
    };
    match matcher {
        Matcher::Prefix(prefix) | Matcher::PathPrefix(prefix) if prefix.starts_with('/') => {
            let folder = match prefix.strip_suffix('/') {
                Some(folder) => folder,
                None => prefix,
            };
            let depth = folder.split('/').filter(|s| !s.is_empty()).count();
            if depth > 0 {
                out.push(Escape {
                    sent: format!(
                        "{folder}/{}{}",
                        "..%2f".repeat(depth),
                        target.trim_start_matches('/')
                    ),
                    read: target.to_owned(),
                    reading: Reading::DecodesSlashes,
                });
            }
        }
        Matcher::Suffix(suffix) if !suffix.contains('/') && !target.ends_with('/') => {
            out.push(Escape {
                sent: format!("{target};x{suffix}"),
                read: target.to_owned(),
                reading: Reading::StripsParameters,
            });
        }
        _ => {}
    }
}

/// Paths that satisfy a test, plain ones.
fn examples(test: &TestValue) -> Vec<String> {
    let (TestValue::Text(matcher) | TestValue::TextIgnoringCase(matcher)) = test else {
        return Vec::new();
    };
    let found = match matcher {
        Matcher::Exact(text) | Matcher::PathPrefix(text) => vec![text.clone()],
        Matcher::Prefix(text) if text.ends_with('/') => vec![format!("{text}x")],
        Matcher::Prefix(text) => vec![text.clone(), format!("{text}/x")],
        Matcher::Suffix(text) if text.starts_with('/') => vec![text.clone(), format!("/x{text}")],
        Matcher::Suffix(text) => vec![format!("/x{text}")],
        Matcher::Present => Vec::new(),
        Matcher::Regex(_) => {
            let patterns = as_set(test).and_then(|set| Patterns::new(&[set]).ok());
            let classes = patterns.and_then(|p| p.classes().ok()).unwrap_or_default();
            let holds = classes.into_iter().filter(|(holds, _)| holds == &[true]);
            holds.map(|(_, path)| path).collect()
        }
    };
    found.into_iter().filter(|p| p.starts_with('/')).collect()
}

/// A path as a backend sees it behind a route.
pub(crate) fn behind(rewrite: RewriteView<'_>, path: &str) -> Option<String> {
    match rewrite {
        RewriteView::None => Some(path.to_owned()),
        RewriteView::Prefix { from, to } => Some(format!("{to}{}", path.strip_prefix(from)?)),
        RewriteView::Whole(_) | RewriteView::Regex => None,
    }
}
