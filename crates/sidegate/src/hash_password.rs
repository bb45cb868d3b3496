//! `sidegate hash-password`: what a configuration holds in a password's place.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use provider::{PasswordHash, Secret};

use crate::output::{self, BadInput};

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate hash-password                       asks twice, shows nothing
  printf %s \"$PASSWORD\" | sidegate hash-password

The hash goes into `hash` of a user in `staticPasswords`. A password on the command line would be
seen by everybody on the machine, so there is no option for it.";

#[derive(Debug, Args)]
pub(crate) struct HashPasswordArgs {
    /// Powers of two of work: each more doubles the time of every login
    #[arg(long, default_value_t = PasswordHash::COST, value_name = "10-16", value_parser = clap::value_parser!(u32).range(10..=16))]
    cost: u32,
}

pub(crate) fn run(args: &HashPasswordArgs) -> anyhow::Result<ExitCode> {
    let password = read()?;
    let hash = PasswordHash::of(&password, args.cost)
        .map_err(|refusal| BadInput(vec![refusal.to_string()]))?;
    output::data(hash.expose())?;
    Ok(ExitCode::SUCCESS)
}

/// From a terminal without showing it, or else the first line of standard input.
pub(crate) fn read() -> anyhow::Result<Secret> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        read.context("the password cannot be read")?;
        return Ok(Secret::new(line.trim_end_matches(['\r', '\n'])));
    }
    let ask = |prompt: &str| {
        let read = rpassword::prompt_password(prompt);
        read.context("the password cannot be read")
    };
    let first = ask("Password: ")?;
    if first != ask("Again: ")? {
        bail!("these were two passwords; start anew");
    }
    Ok(Secret::new(first))
}
