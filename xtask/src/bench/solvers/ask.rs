//! The solvers as programs: a file in, an answer and a model out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::{cache, shell};

/// What a solver says.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// Yes, with the values that make it so.
    Sat(BTreeMap<String, String>),
    Unsat,
    /// Nothing in the time it had.
    Unknown,
}

/// A solver with its version.
pub(super) struct Solver {
    pub(super) name: &'static str,
    pub(super) version: String,
    program: PathBuf,
    script: Option<PathBuf>,
}

/// Both, installed once.
pub(super) fn solvers() -> Result<[Solver; 2]> {
    let peers = shell::root().join("xtask/peers/solvers");
    let python = cache::python("peer-solvers", &peers.join("requirements.txt"))?;
    let version = |package: &str| {
        let ask = format!("from importlib.metadata import version; print(version('{package}'))");
        shell::output(Command::new(&python).args(["-c", &ask]))
    };
    let z3 = python.with_file_name("z3");
    if !z3.exists() {
        bail!("the package z3-solver holds no `bin/z3`");
    }
    Ok([
        Solver {
            name: "z3",
            version: version("z3-solver"),
            program: z3,
            script: None,
        },
        Solver {
            name: "cvc5",
            version: version("cvc5"),
            program: python.clone(),
            script: Some(peers.join("cvc5_run.py")),
        },
    ])
}

impl Solver {
    /// Asks the file's question, and says how long that took: the process from
    /// start to end.
    pub(super) fn ask(&self, file: &Path, limit: Duration) -> Result<(Answer, Duration)> {
        let mut command = Command::new(&self.program);
        match &self.script {
            Some(script) => command
                .arg(script)
                .arg(file)
                .arg(limit.as_millis().to_string()),
            None => command
                .arg(format!("-T:{}", limit.as_secs().max(1)))
                .arg(file),
        };
        let start = Instant::now();
        let output = command
            .output()
            .with_context(|| format!("starting {}", self.name))?;
        let took = start.elapsed();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let answer = read(&text).with_context(|| format!("{} says `{text}{errors}`", self.name))?;
        Ok((answer, took))
    }
}

fn read(text: &str) -> Result<Answer> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match first.trim() {
        "sat" => {}
        "unsat" => return Ok(Answer::Unsat),
        "unknown" | "timeout" => return Ok(Answer::Unknown),
        other => bail!("neither sat nor unsat: `{other}`"),
    }
    let pair = Regex::new(r#"\(([a-z]+|\|[^|]+\|)\s+(?:"((?:[^"]|"")*)"|(true|false))\)"#)?;
    let pairs = pair.captures_iter(rest).filter_map(|found| {
        let value = found.get(2).or_else(|| found.get(3))?.as_str();
        let name = found.get(1)?.as_str().trim_matches('|');
        Some((name.to_owned(), value.replace("\"\"", "\"")))
    });
    Ok(Answer::Sat(pairs.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_solvers_are_read() {
        let model = [
            ("path", "/a"),
            ("port", ""),
            ("has x-t", "true"),
            ("value x-t", "(b"),
        ];
        let model = model.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = Answer::Sat(model.into());
        for text in [
            "sat\n((path \"/a\") (port \"\") (|has x-t| true) (|value x-t| \"(b\"))\n",
            "sat\n((path \"/a\")\n (port \"\")\n (|has x-t| true)\n (|value x-t| \"(b\"))\n",
        ] {
            assert_eq!(read(text).unwrap(), expected);
        }
        assert_eq!(
            read("unsat\n(error \"no model\")\n").unwrap(),
            Answer::Unsat
        );
        assert_eq!(read("timeout\n").unwrap(), Answer::Unknown);
        assert!(read("(error \"line 1\")\nsat\n").is_err());
    }
}
