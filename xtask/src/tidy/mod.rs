//! `cargo xtask tidy`: a rule that matters is checked, or it is not a rule.

mod architecture;
mod bypasses;
mod image;
mod manifests;
mod promises;
mod source;
mod text;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;

/// A file of the repository that is text.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

/// A rule that does not hold at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// 1-based; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks every rule and lists what does not hold.
pub(crate) fn run() -> Result<()> {
    let mut files = Vec::new();
    collect(shell::root(), "", &mut files)?;
    let mut findings = check(&files);
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} places are not tidy", findings.len());
    }
    println!("tidy: {} files", files.len());
    Ok(())
}

fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        text::check(file, files, &mut findings);
        if file.path.ends_with(".rs") {
            architecture::check(file, &mut findings);
        }
    }
    manifests::check(files, &mut findings);
    image::check(files, &mut findings);
    promises::check(files, &mut findings);
    bypasses::check(files, &mut findings);
    findings
}

/// Folders that hold nothing written by us. Captures of other programs are as
/// they were captured.
fn is_foreign(name: &str) -> bool {
    matches!(
        name,
        ".git" | "target" | "golden" | "testdata" | "node_modules" | "__pycache__"
    )
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_foreign(&name) {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(std::fs::read(entry.path())?)
        {
            files.push(File { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
