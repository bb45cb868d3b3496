//! Sidegate: gate, serve and prove, in one program.
//!
//! This crate reads the command line and wires the others together; what they
//! do is theirs.

mod authz;
mod backends;
mod backup;
mod cli;
mod client;
mod cluster_api;
mod control;
mod diff;
mod documents;
mod embedded;
mod exec;
mod explain;
mod fix;
mod folder;
mod graphs;
mod hash_password;
mod health;
mod hygiene;
mod inputs;
mod intents;
mod issuers;
mod keys_page;
mod limits;
mod live;
mod log_lines;
mod login;
mod model;
mod model_limits;
mod outgoing;
mod output;
mod page;
mod pages;
mod paint;
mod proof;
mod provider;
mod providers;
mod replay;
mod report;
mod runtime;
mod session;
mod side;
mod signals;
mod signed_identity;
mod standing;
mod state;
mod steps;
mod summary;
mod tls;
mod token;
mod up;
mod user;
mod verify;
mod watch;
mod who;

use std::process::ExitCode;

use clap::Parser;

/// A fifth of the time of `verify` goes into small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (arguments, passed_over) = runtime::known(std::env::args_os().collect());
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            passed_over.tell();
            let printed = error.print();
            debug_assert!(printed.is_ok());
            return ExitCode::from(if error.use_stderr() { 3 } else { 0 });
        }
    };
    let form = cli.command.output();
    let outcome = match cli.command {
        cli::Command::Up(args) => up::run(*args),
        cli::Command::Exec(args) => exec::run(args),
        cli::Command::Token(args) => token::run(args),
        cli::Command::Explain(args) => explain::run(args),
        cli::Command::Verify(args) => verify::run(args),
        cli::Command::Diff(args) => diff::run(args),
        cli::Command::WhoReaches(args) => who::run(args),
        cli::Command::Fix(args) => fix::run(args),
        cli::Command::Report(args) => report::run(args),
        cli::Command::Runtime(args) => runtime::run(&args, &passed_over),
        cli::Command::Model(args) => model::run(&args),
        cli::Command::Provider(args) => provider::run(&args),
        cli::Command::Authz(args) => authz::run(&args),
        cli::Command::User(args) => user::run(args),
        cli::Command::Client(args) => client::run(args),
        cli::Command::Session(args) => session::run(args),
        cli::Command::Backup(args) => backup::run(args),
        cli::Command::HashPassword(args) => hash_password::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        output::error(&error);
        output::refused(&error, form);
        ExitCode::from(output::code(&error))
    })
}
