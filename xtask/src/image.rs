//! `cargo xtask image`: the program of `deploy/Dockerfile`, built by its own lines without Docker, and what an image of it has.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

const DOCKERFILE: &str = "deploy/Dockerfile";

/// What the program may have of an image of 25 MB. The certificates beside it have 0.2 MB.
const MOST: u64 = 24_700_000;

/// A model, and what it answers to.
const MODEL: &str = "examples/models/sklearn-iris/model.joblib";

/// How the Dockerfile builds.
#[derive(Debug, PartialEq, Eq)]
struct Build<'t> {
    environment: Vec<(&'t str, &'t str)>,
    arguments: Vec<&'t str>,
    /// Below the folder of what is built.
    program: &'t str,
}

/// Builds it, and says how large it is.
pub(crate) fn run() -> Result<()> {
    let text = std::fs::read_to_string(shell::root().join(DOCKERFILE))?;
    let build = read(&text)?;
    let mut command = shell::cargo();
    command
        .args(&build.arguments)
        .envs(build.environment.iter().copied());
    shell::run(&mut command)?;
    let program = shell::target().join(build.program);
    let size = std::fs::metadata(&program)
        .with_context(|| format!("{} was not built", program.display()))?
        .len();
    stands_alone(&program)?;
    println!("{}: {size} bytes", program.display());
    ensure!(
        size <= MOST,
        "expected at most {MOST} bytes: with certificates an image has at most 25 MB"
    );
    Ok(())
}

fn read(dockerfile: &str) -> Result<Build<'_>> {
    let mut environment = Vec::new();
    let mut arguments = Vec::new();
    let mut program = None;
    for line in dockerfile.lines() {
        if let Some(line) = line.strip_prefix("ENV ") {
            environment.extend(assignments(line)?);
        }
        if let Some((_, line)) = line.split_once("cargo ") {
            arguments = line
                .split_whitespace()
                .take_while(|word| *word != "\\")
                .collect();
        }
        if let Some((_, line)) = line.split_once("cp target/") {
            program = line.split_whitespace().next();
        }
    }
    let program = program.context("nothing copies the program out of `target`")?;
    ensure!(!arguments.is_empty(), "there is no `cargo build`");
    Ok(Build {
        environment,
        arguments,
        program,
    })
}

/// `A="some words" B=word`.
fn assignments(mut rest: &str) -> Result<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    while let Some((name, value)) = rest.trim_start().split_once('=') {
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').context("a quote is not closed")?,
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        found.push((name, value));
        rest = behind;
    }
    if !rest.trim().is_empty() {
        bail!("`{rest}`: expected NAME=VALUE");
    }
    Ok(found)
}

/// In an empty image there is nothing that could load it, and nothing else that it could load.
fn stands_alone(program: &Path) -> Result<()> {
    let wants_loader = wants_loader(&std::fs::read(program)?).context("it is no program")?;
    ensure!(!wants_loader, "it is not linked statically");
    let mut inspect = Command::new(program);
    inspect
        .env_clear()
        .args(["model", "inspect"])
        .arg(shell::root().join(MODEL));
    shell::run(&mut inspect)
}

/// Whether one of its program headers names a loader (`PT_INTERP`; ELF of 64 bits, little endian).
fn wants_loader(program: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    let half = |at: usize| Some(u16::from_le_bytes(*program.get(at..)?.first_chunk()?));
    let begin = usize::try_from(u64::from_le_bytes(*program.get(32..)?.first_chunk()?)).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let headers = program.get(begin..)?.chunks_exact(size.max(1)).take(count);
    let mut kinds =
        headers.map(|header| header.first_chunk().map(|kind| u32::from_le_bytes(*kind)));
    Some(kinds.any(|kind| kind == Some(INTERPRETER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_dockerfile_are_understood() {
        let text = std::fs::read_to_string(shell::root().join(DOCKERFILE)).unwrap();
        let build = read(&text).unwrap();
        let names: Vec<&str> = build.environment.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["RUSTFLAGS", "AWS_LC_SYS_SMALL"]);
        assert_eq!(build.arguments.first(), Some(&"build"));
        assert!(build.program.ends_with("/image/sidegate"), "{build:?}");
    }

    #[test]
    fn a_program_that_wants_a_loader_is_told_from_others() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(
            wants_loader(&this),
            Some(cfg!(not(target_feature = "crt-static")))
        );
        assert_eq!(wants_loader(b"#!/bin/sh"), None);
    }

    #[test]
    fn variables_of_the_environment_are_read_as_docker_reads_them() {
        assert_eq!(
            assignments("A=\"b c\" D=e").unwrap(),
            [("A", "b c"), ("D", "e")]
        );
        assert_eq!(assignments("A=\"b=c\"").unwrap(), [("A", "b=c")]);
        assert!(assignments("A=\"b").is_err());
        assert!(assignments("A").is_err());
    }
}
