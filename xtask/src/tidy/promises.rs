//! Tests that a document names as what holds its promises, where it says that it does so as
//! [`NOTATION`].

use std::collections::HashMap;

use super::{File, Finding};

/// What such a document explains.
const NOTATION: &str = "`crate::test`";
/// How many lines above a test its attribute may stand.
const ABOVE: usize = 3;

pub(super) fn check(files: &[File], findings: &mut Vec<Finding>) {
    let mut tests: HashMap<&str, Vec<&str>> = HashMap::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let Some(name) = crate_of(&file.path) else {
            continue;
        };
        tests.entry(name).or_default().extend(tests_of(&file.text));
    }
    for file in files {
        if !file.path.ends_with(".md") || !file.text.contains(NOTATION) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            for (name, test) in line.split('`').skip(1).step_by(2).filter_map(promise) {
                // A crate may be named as its folder or as in code.
                let known = tests
                    .get(name)
                    .or_else(|| tests.get(&*name.replace('_', "-")));
                if known.is_some_and(|known| !known.contains(&test)) {
                    findings.push(Finding {
                        path: file.path.clone(),
                        line: index + 1,
                        what: format!("`{name}::{test}` is no test"),
                    });
                }
            }
        }
    }
}

fn crate_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?
        .split_once('/')
        .map(|(name, _)| name)
}

/// Crate and test, where a word is written like that.
fn promise(word: &str) -> Option<(&str, &str)> {
    let (name, test) = word.split_once("::")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!test.is_empty() && test.chars().all(plain)).then_some((name, test))
}

fn tests_of(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut tests = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let Some((name, _)) = line.strip_prefix("fn ").and_then(|l| l.split_once("()")) else {
            continue;
        };
        let above = lines.iter().take(index).rev().take(ABOVE);
        let mut attributes = above.take_while(|line| line.starts_with("#["));
        if attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")) {
            tests.push(name);
        }
    }
    tests
}
