//! `sidegate session`: who is logged in at the gateway, and the end of it.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Output;
use crate::control::{self, Done, OpenSession, Order, SessionsOrder};
use crate::output::{self, Style};
use crate::token::minute_of;
use crate::user::Place;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate session list user@example.com                  where somebody is logged in
  sidegate session end user@example.com                   ends all of it, for the next request
  sidegate session end user@example.com --id 4Yk0sZ7LmQ2d ends one, by its name in the list

Works while `sidegate authz` or `sidegate up` runs on the data folder, and while neither does. With Redis it counts at
all replicas within half a second. Who is logged in at the provider as well gets another session there without a
password: end that one, too.
Exit codes: 0 done, 1 it failed, 3 there is no such session.";

#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    pub(crate) command: SessionCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions of a person
    List(ListArgs),
    /// End the sessions of a person, or one of them
    End(EndArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The person: as the user id is written in `kubeflow-userid`
    email: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// The person: as the user id is written in `kubeflow-userid`
    email: String,
    /// This one alone, by its name in the list
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl SessionCommand {
    pub(crate) fn output(&self) -> Output {
        match self {
            Self::List(args) => args.place.output,
            Self::End(args) => args.place.output,
        }
    }
}

pub(crate) fn run(args: SessionArgs) -> anyhow::Result<ExitCode> {
    let form = args.command.output();
    let (place, order) = match args.command {
        SessionCommand::List(args) => (args.place, SessionsOrder::List(args.email)),
        SessionCommand::End(args) => {
            let order = match args.id {
                Some(id) => SessionsOrder::EndOne {
                    email: args.email,
                    id,
                },
                None => SessionsOrder::EndAll(args.email),
            };
            (args.place, order)
        }
    };
    let done = control::ask(place.data, Order::Sessions(order), None)?;
    match form {
        Output::Json => output::data(&serde_json::to_string_pretty(&control::document(&done))?)?,
        Output::Text => tell(&done)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(done: &Done) -> anyhow::Result<()> {
    match done {
        Done::Sessions(sessions) => list(sessions),
        Done::SessionsEnded { email, count } => {
            let line = match count {
                0 => format!("{email} has no session"),
                1 => format!("1 session of {email} is ended"),
                count => format!("{count} sessions of {email} are ended"),
            };
            output::note(&Style::Plain, &line);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// One line for each session.
fn list(sessions: &[OpenSession]) -> anyhow::Result<()> {
    if sessions.is_empty() {
        output::note(&Style::Plain, "there are no sessions");
        return Ok(());
    }
    let lines: Vec<String> = sessions
        .iter()
        .map(|session| {
            let (used, until) = (minute_of(session.used_at), minute_of(session.expires_at));
            let issuer = session.issuer.as_deref().unwrap_or_default();
            let line = format!(
                "{}  {}  used {used}  until {until}  {issuer}",
                session.id, session.email
            );
            line.trim_end().to_owned()
        })
        .collect();
    output::data(&lines.join("\n"))
}
