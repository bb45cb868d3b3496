//! What is installed once per machine, by version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// A folder for that thing and version, made if it is not there.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: expected a place for the cache")?;
    let folder = base.join("sidegate").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// Does `install` once in that folder. An install that was cut short is done
/// again.
fn once(folder: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = folder.join("complete");
    if !done.exists() {
        install()?;
        std::fs::write(&done, "")?;
    }
    Ok(())
}

/// The Python of a virtual environment with the packages of a requirements
/// file. Its first line may name another Python than `python3`: `# python3.9`.
pub(crate) fn python(name: &str, requirements: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(requirements)
        .with_context(|| format!("reading {}", requirements.display()))?;
    let folder = folder(&format!("{name}-{:016x}", fingerprint(&text)))?;
    let python = folder.join("bin/python");
    once(&folder, || {
        eprintln!(
            "installing the packages of {} (once)",
            requirements.display()
        );
        let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let interpreter = first.filter(|word| word.starts_with("python"));
        let interpreter = interpreter.unwrap_or("python3");
        shell::run(Command::new(interpreter).args(["-m", "venv"]).arg(&folder)).with_context(
            || format!("this needs {interpreter} with venv (Debian: apt-get install python3-venv)"),
        )?;
        shell::run(
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                ])
                .arg(requirements),
        )
    })?;
    Ok(python)
}

/// A cargo tool of that version.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    let folder = folder(&format!("{name}-{version}"))?;
    once(&folder, || {
        eprintln!("installing {name} {version} (once, some minutes)");
        shell::run(
            shell::cargo()
                .args(["install", name, "--locked", "--version", version, "--root"])
                .arg(&folder)
                .env("CARGO_TARGET_DIR", folder.join("target")),
        )?;
        std::fs::remove_dir_all(folder.join("target")).context("removing what the build left")
    })?;
    Ok(folder.join("bin").join(name))
}

/// The program that `build` makes from sources of that text.
pub(crate) fn built(
    name: &str,
    sources: &str,
    program: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = folder(&format!("{name}-{:016x}", fingerprint(sources)))?;
    let program = folder.join(program);
    once(&folder, || build(&program))?;
    Ok(program)
}

/// FNV-1a: stable over versions of Rust, which the standard hasher is not.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_is_done_once_and_again_after_it_failed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(once(folder.path(), || anyhow::bail!("no network")).is_err());
        let mut runs = 0;
        for _ in 0..2 {
            once(folder.path(), || {
                runs += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(runs, 1);
    }

    #[test]
    fn fingerprints_are_those_of_fnv() {
        assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
