//! Rules for crates and for the map of them.

use std::collections::BTreeSet;

use super::{File, Finding};

const MAP: &str = "ARCHITECTURE.md";

/// Crates of an asynchronous world, which pure crates must not even depend on.
const IMPURE: &[&str] = &["tokio", "hyper", "reqwest", "object_store", "axum"];
const PURE: &[&str] = &["policy", "verify", "models"];

pub(super) fn check(files: &[File], findings: &mut Vec<Finding>) {
    let map = files
        .iter()
        .find(|f| f.path == MAP)
        .map_or("", |f| f.text.as_str());
    let mut crates = BTreeSet::new();
    for file in files {
        if let Some(name) = file
            .path
            .strip_prefix("crates/")
            .and_then(|p| p.split_once('/'))
        {
            crates.insert(name.0);
        }
        if file.path.ends_with("/Cargo.toml") {
            manifest(file, findings);
        }
    }
    for name in crates {
        if !map.contains(&format!("crates/{name}`")) {
            findings.push(Finding {
                path: MAP.into(),
                line: 0,
                what: format!("`crates/{name}` is not in the code map"),
            });
        }
    }
}

fn manifest(file: &File, findings: &mut Vec<Finding>) {
    let mut find = |line: usize, what: String| {
        findings.push(Finding {
            path: file.path.clone(),
            line,
            what,
        });
    };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    if !lines
        .iter()
        .any(|line| line.starts_with("description = \"") && line.len() > 20)
    {
        find(0, "no description".into());
    }
    if !lines
        .windows(2)
        .any(|pair| pair == ["[lints]", "workspace = true"])
    {
        find(0, "the lints of the workspace are not in force".into());
    }
    let folder = file.path.rsplit('/').nth(1).unwrap_or_default();
    if !PURE.contains(&folder) {
        return;
    }
    let mut section = "";
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if section == "[dependencies]" && IMPURE.contains(&name) {
            find(index + 1, format!("{folder} must not depend on {name}"));
        }
    }
}
