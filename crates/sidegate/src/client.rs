//! `sidegate client`: applications that people log in to, beside those of the configuration.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use provider::{GrantType, Pkce, PromptNone, SecondFactor};

use crate::cli::Output;
use crate::control::{self, Client, ClientOrder, Done, Order};
use crate::output::{self, Style};
use crate::user::Place;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate client add grafana --redirect-uri https://grafana.example.com/login/generic_oauth
  sidegate client add cli --public --redirect-uri http://127.0.0.1/callback
  sidegate client add wiki --redirect-uri https://wiki.example.com/cb --pkce optional      it knows no PKCE
  sidegate client add grades --redirect-uri https://grades.example.com/cb --allowed-scope email --second-factor
  sidegate client add nightly --grant-type client_credentials      a program of its own, which no person logs in to
  sidegate client list
  sidegate client remove grafana

The secret is printed once: what is kept is a digest. Works while `sidegate up` or
`sidegate provider` runs on the data folder, and while neither does. Clients of `staticClients` are
changed in the configuration.
Exit codes: 0 done, 1 it failed, 3 there is no such client, or there is one already.";

#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[command(subcommand)]
    pub(crate) command: ClientCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Add a client and print its secret
    Add(AddArgs),
    /// List clients: those of the database, and of the configuration of a running program
    List(ListArgs),
    /// Remove a client, with all tokens that it was given
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its `client_id`
    id: String,
    /// Where codes may be sent, compared as a whole string (repeatable)
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// The name shown to people [default: the id]
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// It can keep no secret: a program on people's machines, or in a browser
    #[arg(long)]
    public: bool,
    /// A client that may ask for tokens with this one in `aud` (repeatable)
    #[arg(long = "trusted-peer", value_name = "ID")]
    trusted_peers: Vec<String>,
    /// Where a logout may lead (repeatable)
    #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// Where it is told that a session has ended
    #[arg(long = "backchannel-logout-uri", value_name = "URI")]
    backchannel_logout_uri: Option<String>,
    /// A connector that people may log in with, `local` for users here (repeatable) [default: all]
    #[arg(long = "allowed-connector", value_name = "ID")]
    allowed_connectors: Vec<String>,
    /// A scope that it may ask for beside `openid` (repeatable) [default: all]
    #[arg(long = "allowed-scope", value_name = "SCOPE")]
    allowed_scopes: Vec<String>,
    /// A way to tokens, such as `authorization_code` (repeatable) [default: all that are offered]
    #[arg(long = "grant-type", value_name = "GRANT", value_parser = grant_type)]
    grant_types: Vec<GrantType>,
    /// Users here log in to it with a second factor
    #[arg(long)]
    second_factor: bool,
    /// Whether it has to use PKCE; `optional` is for programs that know none
    #[arg(
        long,
        value_enum,
        default_value = "required",
        conflicts_with = "public"
    )]
    pkce: PkceArg,
    /// What `prompt=none` of it means: an error where a page is needed, or nothing, as to Dex
    #[arg(long, value_enum, default_value = "refuse")]
    prompt_none: PromptNoneArg,
    #[command(flatten)]
    place: Place,
}

/// `pkce`, as the configuration has it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PkceArg {
    Required,
    Optional,
}

/// `promptNone`, as the configuration has it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PromptNoneArg {
    Refuse,
    Ignore,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Its `client_id`
    id: String,
    #[command(flatten)]
    place: Place,
}

fn grant_type(text: &str) -> Result<GrantType, String> {
    GrantType::parse(text).ok_or_else(|| format!("expected {}", GrantType::names()))
}

impl ClientCommand {
    pub(crate) fn output(&self) -> Output {
        match self {
            Self::Add(args) => args.place.output,
            Self::List(args) => args.place.output,
            Self::Remove(args) => args.place.output,
        }
    }
}

pub(crate) fn run(args: ClientArgs) -> anyhow::Result<ExitCode> {
    let form = args.command.output();
    let (place, order) = match args.command {
        ClientCommand::Add(args) => {
            let order = ClientOrder {
                id: args.id,
                name: args.name,
                redirect_uris: args.redirect_uris,
                public: args.public,
                trusted_peers: args.trusted_peers,
                post_logout_redirect_uris: args.post_logout_redirect_uris,
                backchannel_logout_uri: args.backchannel_logout_uri,
                allowed_connectors: args.allowed_connectors,
                allowed_scopes: args.allowed_scopes,
                grant_types: args.grant_types,
                second_factor: match args.second_factor {
                    true => SecondFactor::Required,
                    false => SecondFactor::Optional,
                },
                pkce: match args.pkce {
                    PkceArg::Required => Pkce::Required,
                    PkceArg::Optional => Pkce::Optional,
                },
                prompt_none: match args.prompt_none {
                    PromptNoneArg::Refuse => PromptNone::Refuse,
                    PromptNoneArg::Ignore => PromptNone::Ignore,
                },
            };
            (args.place, Order::AddClient(order))
        }
        ClientCommand::List(args) => (args.place, Order::ListClients),
        ClientCommand::Remove(args) => (args.place, Order::RemoveClient(args.id)),
    };
    let done = control::ask(place.data, order, None)?;
    match form {
        Output::Json => output::data(&serde_json::to_string_pretty(&control::document(&done))?)?,
        Output::Text => tell(&done)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(done: &Done) -> anyhow::Result<()> {
    match done {
        Done::Client { client, secret } => {
            let line = match secret {
                Some(_) => format!(
                    "client {}; its secret, which is not shown again:",
                    client.id
                ),
                None => format!("client {}, public: it has no secret", client.id),
            };
            output::note(&Style::Plain, &line);
            secret.as_deref().map_or(Ok(()), output::data)
        }
        Done::Clients(clients) => list(clients),
        Done::Removed(id) => {
            let line = format!("client {id} is removed, its tokens do not count any more");
            output::note(&Style::Plain, &line);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn list(clients: &[Client]) -> anyhow::Result<()> {
    let lengths = clients.iter().map(|client| client.id.chars().count());
    let ids = lengths.max().unwrap_or_default();
    let lines: Vec<String> = clients
        .iter()
        .map(|client| {
            let kind = if client.public { "public" } else { "secret" };
            let (id, state) = (&client.id, &client.state);
            let uris = client.redirect_uris.join(" ");
            let line = format!("{id:<ids$}  {state:<10}  {kind}  {uris}");
            line.trim_end().to_owned()
        })
        .collect();
    if lines.is_empty() {
        output::note(&Style::Plain, "there are no clients");
        return Ok(());
    }
    output::data(&lines.join("\n"))
}
