//! The invariants of ARCHITECTURE.md that can be read off the source.

use super::source::{code, lines_with, without_tests};
use super::{File, Finding};

/// Words that must not stand in the code of some places.
struct Ban {
    /// Beginnings of paths it is about.
    places: &'static [&'static str],
    /// Beginnings of paths below them that are free.
    except: &'static [&'static str],
    words: &'static [&'static str],
    /// Whether tests are bound too.
    tests: Tests,
    why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tests {
    Bound,
    Free,
}

const ENVIRONMENT: &[&str] = &[
    "std::env",
    "env::var",
    "env::vars",
    "env::var_os",
    "env::args",
    "env::args_os",
    "env::current_dir",
    "env::home_dir",
    "env::temp_dir",
];

const BANS: &[Ban] = &[
    Ban {
        places: &["crates/policy/", "crates/verify/"],
        except: &[],
        words: &[
            "std::fs",
            "fs::",
            "std::process",
            "SystemTime",
            "Instant",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "tokio",
            "async",
            ".await",
        ],
        tests: Tests::Free,
        why: "policy and verify do no I/O, read no clock and are not async",
    },
    Ban {
        places: &["crates/policy/"],
        except: &[],
        words: &["std::thread"],
        tests: Tests::Free,
        why: "policy starts no threads",
    },
    Ban {
        places: &["crates/models/"],
        except: &[],
        words: &[
            "std::fs",
            "fs::",
            "std::net",
            "std::process",
            "std::thread",
            "Command::new",
            "File::open",
            "tokio",
        ],
        tests: Tests::Free,
        why: "models opens no socket or file and executes nothing",
    },
    Ban {
        places: &["crates/"],
        except: &["crates/sidegate/"],
        words: ENVIRONMENT,
        tests: Tests::Free,
        why: "only sidegate and xtask read arguments and environment",
    },
    Ban {
        places: &["crates/", "xtask/"],
        except: &["crates/models/src/kernels", "crates/sidegate/src/pages.rs"],
        words: &["unsafe"],
        tests: Tests::Bound,
        why: "unsafe is forbidden outside the kernels of models and the one call of pages.rs",
    },
    Ban {
        places: &["crates/", "xtask/"],
        except: &[],
        words: &[
            concat!("to", "do!"),
            concat!("unimple", "mented!"),
            concat!("#[ig", "nore"),
        ],
        tests: Tests::Bound,
        why: "nothing is left out or skipped",
    },
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "misc", "manager", "types",
];

const MAX_LINES: usize = 600;

pub(super) fn check(file: &File, findings: &mut Vec<Finding>) {
    let all = code(&file.text);
    let own = if is_test(&file.path) {
        String::new()
    } else {
        without_tests(&all)
    };
    let mut find = |line: usize, what: String| {
        findings.push(Finding {
            path: file.path.clone(),
            line,
            what,
        });
    };
    for ban in BANS {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|p| file.path.starts_with(p));
        if !starts(ban.places) || starts(ban.except) {
            continue;
        }
        let code = if ban.tests == Tests::Bound {
            &all
        } else {
            &own
        };
        for word in ban.words {
            for line in lines_with(code, word) {
                find(line, format!("`{word}`: {}", ban.why));
            }
        }
    }
    if !file.path.starts_with("crates/policy/") {
        for line in permits_made(&all) {
            find(line, "a Permit is made here: only policy does".into());
        }
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        find(0, format!("{lines} lines: expected at most {MAX_LINES}"));
    }
    let name = file
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs");
    let folder = file.path.rsplit('/').nth(1).unwrap_or_default();
    if EMPTY_NAMES.contains(&name) || EMPTY_NAMES.contains(&folder) {
        find(
            0,
            "a name that collects strangers: expected one that says what is inside".into(),
        );
    }
}

/// Whether the whole file is test code.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("crates/testkit/")
}

/// Lines with a struct expression of `Permit`. Its name before a block that is
/// not one (`-> Permit {`, `impl X for Permit {`) does not count, nor does the
/// variant of an enum (`Verdict::Permit { … }`).
fn permits_made(code: &str) -> Vec<usize> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut lines = Vec::new();
    for (at, _) in code.match_indices("Permit {") {
        let Some((before, _)) = code.split_at_checked(at) else {
            continue;
        };
        let outside = before.trim_end_matches(is_path);
        let path = before.strip_prefix(outside).unwrap_or_default();
        let qualifier = path
            .trim_end_matches("::")
            .rsplit("::")
            .next()
            .unwrap_or_default();
        let other_name = !path.is_empty() && !path.ends_with("::");
        let variant = qualifier.starts_with(char::is_uppercase);
        let head = outside.trim_end();
        let no_expression = head.ends_with("->")
            || head.ends_with('&')
            || ["impl", "for", "struct", "enum", "trait", "union"]
                .iter()
                .any(|word| {
                    !lines_with(head.lines().next_back().unwrap_or_default(), word).is_empty()
                        && head.ends_with(word)
                });
        if !other_name && !variant && !no_expression {
            lines.push(before.lines().count().max(1));
        }
    }
    lines
}
