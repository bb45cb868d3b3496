//! `sidegate user`: who can log in, beside the users of the configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Output;
use crate::control::{self, Done, LoginsOrder, Order, User};
use crate::hash_password;
use crate::output::{self, Style};

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate user add new@example.com --group staff         prints a link to set a password
  printf %s \"$PASSWORD\" | sidegate user add bot@example.com --password-stdin
  sidegate user list -o json
  sidegate user disable new@example.com                   logs the person out everywhere
  sidegate user disable boss@example.com --connector sso  the same of somebody who logs in by a connector
  sidegate user reset new@example.com                     the same, and prints another link
  sidegate user end-sessions new@example.com              logs the person out everywhere, who can log in again
  sidegate user end-sessions --all                        the same of everybody
  sidegate user forget-factors new@example.com            for somebody who lost authenticator app and passkeys

Works while `sidegate up` or `sidegate provider` runs on the data folder, and while neither does.
Users of `staticPasswords` are changed in the configuration; `end-sessions` and `forget-factors` take them while a
program runs.
Exit codes: 0 done, 1 it failed, 3 there is no such user, or there is one already.";

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, who sets a password by a link
    Add(AddArgs),
    /// List users: those of the database, and of the configuration of a running program
    List(ListArgs),
    /// Log a user out everywhere and let them in no more
    Disable(PersonArgs),
    /// Let a user in again
    Enable(PersonArgs),
    /// Take a user's password away, log them out everywhere, and print a link to set another
    Reset(ResetArgs),
    /// Log a user, or everybody, out everywhere: sessions and refresh tokens end
    EndSessions(EndArgs),
    /// Take a user's second factors and recovery codes away: the password is enough again
    ForgetFactors(NamedArgs),
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Data folder [default: ~/.local/share/sidegate]
    #[arg(long, env = "SIDEGATE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// E-mail address
    email: String,
    /// Name of the person [default: the address]
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// A group the person belongs to (repeatable)
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Read the password from standard input instead of making a link
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Where people reach the provider, for the link: https://login.example.com/dex
    /// [default: the issuer if it is https, else where the program listens]
    #[arg(long, value_name = "URL", value_parser = address)]
    url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// People who logged in by this connector instead
    #[arg(long, value_name = "ID")]
    connector: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// E-mail address
    email: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct PersonArgs {
    /// E-mail address; with --connector also the id of the person there
    #[arg(value_name = "EMAIL")]
    user: String,
    /// Somebody who logged in by this connector
    #[arg(long, value_name = "ID")]
    connector: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl PersonArgs {
    fn order(self, enabled: bool) -> (Place, Order) {
        let order = match (self.connector, enabled) {
            (Some(connector), enabled) => Order::SetPerson {
                connector,
                user: self.user,
                enabled,
            },
            (None, true) => Order::EnableUser(self.user),
            (None, false) => Order::DisableUser(self.user),
        };
        (self.place, order)
    }
}

#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// E-mail address; with --connector also the id of the person there
    #[arg(value_name = "EMAIL", required_unless_present = "all")]
    user: Option<String>,
    /// Everybody
    #[arg(long, conflicts_with_all = ["user", "connector"])]
    all: bool,
    /// Somebody who logged in by this connector
    #[arg(long, value_name = "ID")]
    connector: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl EndArgs {
    fn order(self) -> (Place, Order) {
        let whose = match (self.user, self.connector) {
            (Some(user), Some(connector)) => LoginsOrder::OfPerson { connector, user },
            (Some(user), None) => LoginsOrder::OfUser(user),
            (None, _) => LoginsOrder::All,
        };
        (self.place, Order::EndLogins(whose))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// E-mail address
    email: String,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    place: Place,
}

fn address(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.contains(['?', '#', ' ']) => Ok(text.to_owned()),
        _ => Err("expected an address such as `https://login.example.com/dex`".to_owned()),
    }
}

impl UserCommand {
    pub(crate) fn output(&self) -> Output {
        match self {
            Self::Add(args) => args.place.output,
            Self::List(args) => args.place.output,
            Self::Disable(args) | Self::Enable(args) => args.place.output,
            Self::EndSessions(args) => args.place.output,
            Self::ForgetFactors(args) => args.place.output,
            Self::Reset(args) => args.place.output,
        }
    }
}

pub(crate) fn run(args: UserArgs) -> anyhow::Result<ExitCode> {
    let form = args.command.output();
    let (place, order, link) = match args.command {
        UserCommand::Add(args) => {
            let password = if args.password_stdin {
                Some(hash_password::read()?.expose().to_owned())
            } else {
                None
            };
            let order = Order::AddUser {
                email: args.email,
                name: args.name,
                groups: args.groups,
                password,
            };
            (args.place, order, args.link.url)
        }
        UserCommand::List(args) => {
            let order = args.connector.map_or(Order::ListUsers, Order::ListPeople);
            (args.place, order, None)
        }
        UserCommand::Disable(args) => {
            let (place, order) = args.order(false);
            (place, order, None)
        }
        UserCommand::Enable(args) => {
            let (place, order) = args.order(true);
            (place, order, None)
        }
        UserCommand::Reset(args) => (args.place, Order::ResetUser(args.email), args.link.url),
        UserCommand::EndSessions(args) => {
            let (place, order) = args.order();
            (place, order, None)
        }
        UserCommand::ForgetFactors(args) => (args.place, Order::ForgetFactors(args.email), None),
    };
    let done = control::ask(place.data, order, link.as_deref())?;
    match form {
        Output::Json => output::data(&serde_json::to_string_pretty(&control::document(&done))?)?,
        Output::Text => tell(&done)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(done: &Done) -> anyhow::Result<()> {
    match done {
        Done::User { user, link } => {
            let line = format!("user {}: {}", user.email, user.state);
            output::note(&Style::Plain, &line);
            if let Some(link) = link {
                let whole = if link.starts_with('/') {
                    "a password is set, once and within a day, behind the provider's address at"
                } else {
                    "a password is set, once and within a day, at"
                };
                output::note(&Style::Plain, whole);
                output::data(link)?;
            }
            Ok(())
        }
        Done::Users(users) => list(users),
        Done::LoginsEnded { people, sessions } => {
            let line = match people {
                0 => "nobody was logged in at the provider".to_owned(),
                people => format!(
                    "logged out everywhere: {}, {}",
                    counted(*people, "person", "people"),
                    counted(*sessions, "session", "sessions")
                ),
            };
            output::note(&Style::Plain, &line);
            Ok(())
        }
        Done::FactorsForgotten(email) => {
            let line = format!("user {email}: the password is enough");
            output::note(&Style::Plain, &line);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{number} {word}")
}

/// One line for each user; nothing at all where there is none.
fn list(users: &[User]) -> anyhow::Result<()> {
    let width = |of: fn(&User) -> &str| {
        let lengths = users.iter().map(|user| of(user).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (emails, states) = (width(|user| &user.email), width(|user| &user.state));
    let lines: Vec<String> = users
        .iter()
        .map(|user| {
            let line = format!(
                "{:<emails$}  {:<states$}  {}",
                user.email,
                user.state,
                user.groups.join(",")
            );
            line.trim_end().to_owned()
        })
        .collect();
    if lines.is_empty() {
        output::note(&Style::Plain, "there are no users");
        return Ok(());
    }
    output::data(&lines.join("\n"))
}
