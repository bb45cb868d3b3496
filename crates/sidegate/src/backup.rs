//! `sidegate backup`: the provider's keys, users and tokens in one file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::cli::Output;
use crate::control::{self, Done, Order};
use crate::output::{self, Style};
use crate::user::Place;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate backup ./provider-backup.redb
  cp ./provider-backup.redb ~/.local/share/sidegate/provider.redb     restores it, while nothing runs

The file holds private keys, as the original does, and is readable by its owner only. Works while
`sidegate up` or `sidegate provider` runs: what it answered before is in it.";

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where to; a file that is there is replaced
    file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    // The running program has another working folder.
    let file = std::path::absolute(&args.file)
        .with_context(|| format!("`{}` is no place for a file", args.file.display()))?;
    let done = control::ask(args.place.data, Order::Backup(file), None)?;
    match args.place.output {
        Output::Json => output::data(&serde_json::to_string_pretty(&control::document(&done))?)?,
        Output::Text => {
            if let Done::BackedUp(file) = &done {
                output::note(&Style::Plain, &format!("backed up to {}", file.display()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
