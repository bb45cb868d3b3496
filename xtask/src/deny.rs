//! `cargo xtask deny`: what dependencies may be.

use std::process::Command;

use anyhow::Result;

use crate::{cache, shell};

const VERSION: &str = "0.20.2";

/// Licences, bans and sources always; advisories if their database can be
/// fetched.
pub(crate) fn run() -> Result<()> {
    let tool = cache::cargo_tool("cargo-deny", VERSION)?;
    let deny = || {
        let mut command = Command::new(&tool);
        command.current_dir(shell::root());
        command
    };
    // Dependencies of other platforms are looked at too, and no build fetches them.
    shell::run(shell::cargo().args(["fetch", "--locked"]))?;
    shell::run(deny().args([
        "--offline",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))?;
    if shell::run(deny().args(["fetch", "db"])).is_ok() {
        return shell::run(deny().args(["check", "--disable-fetch", "advisories"]));
    }
    let bar = "!".repeat(72);
    eprintln!("{bar}");
    eprintln!("!! The advisory database could not be fetched: ADVISORIES WERE NOT CHECKED.");
    eprintln!("!! Run `cargo xtask deny` again where github.com can be reached.");
    eprintln!("{bar}");
    Ok(())
}
