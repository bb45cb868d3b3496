//! Rules for every text.

use super::{File, Finding};

/// Kinds of files that people write.
const WRITTEN: &[&str] = &[
    ".rs",
    ".toml",
    ".md",
    ".sh",
    ".py",
    ".yaml",
    ".yml",
    ".css",
    ".html",
    ".js",
    "run",
    ".gitignore",
];

/// Words of unfinished work.
const UNFINISHED: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("TO", "DO"),
];

/// Beginnings of absolute paths on the machines of developers.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
];

/// Home of the user in the images of Kubeflow's notebooks.
const NOTEBOOK_HOME: &str = "jovyan";

pub(super) fn check(file: &File, files: &[File], findings: &mut Vec<Finding>) {
    if !WRITTEN.iter().any(|ending| file.path.ends_with(ending)) {
        return;
    }
    let mut find = |line: usize, what: String| {
        findings.push(Finding {
            path: file.path.clone(),
            line,
            what,
        });
    };
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        find(0, "no newline at the end".into());
    }
    if file.text.ends_with("\n\n") {
        find(0, "an empty line at the end".into());
    }
    for (index, line) in file.text.split('\n').enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            find(index + 1, "white space at the end of the line".into());
        }
        for word in UNFINISHED {
            if line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|w| w == *word)
            {
                find(index + 1, format!("`{word}`: finish it, or open an issue"));
            }
        }
        if let Some(path) = machine_path(line) {
            find(index + 1, format!("`{path}` is a path of one machine"));
        }
    }
    if file.path.ends_with(".md") {
        for (line, target) in broken_links(file, files) {
            find(line, format!("the link to `{target}` leads nowhere"));
        }
    }
}

fn machine_path(line: &str) -> Option<&str> {
    MACHINE_PATHS.iter().copied().find(|path| {
        line.match_indices(path).any(|(at, _)| {
            let (before, rest) = line.split_at_checked(at).unwrap_or_default();
            let absolute =
                !before.ends_with(|c: char| c.is_alphanumeric() || "_-./}~*".contains(c));
            let file_url = before.ends_with("file://");
            let after = rest.strip_prefix(path).unwrap_or_default();
            (absolute || file_url) && !after.starts_with(NOTEBOOK_HOME)
        })
    })
}

/// Links to files that are not there, with their lines.
fn broken_links(file: &File, files: &[File]) -> Vec<(usize, String)> {
    let mut broken = Vec::new();
    let mut fenced = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            if !exists(&resolve(&file.path, path), files) {
                broken.push((index + 1, target.to_owned()));
            }
        }
    }
    broken
}

/// A relative path as seen from the folder of a file.
fn resolve(from: &str, path: &str) -> String {
    let mut segments: Vec<&str> = from.split('/').collect();
    segments.pop();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    segments.join("/")
}

fn exists(path: &str, files: &[File]) -> bool {
    let folder = format!("{path}/");
    path.is_empty()
        || files
            .iter()
            .any(|f| f.path == path || f.path.starts_with(&folder))
}
