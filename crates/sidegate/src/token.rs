//! `sidegate token`: tokens of ServiceAccounts, like `kubectl create token`, and API keys of
//! people and programs.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, Subcommand};
use identity::{ClusterIssuer, ClusterIssuerConfig, TokenRequest};
use policy::ServiceAccount;

use crate::cli::{self, Output};
use crate::control::{self, ApiKey, Done, KeyOrder, KeysOrder, Order};
use crate::output::Style;
use crate::user::Place;
use crate::{folder, output};

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate token create default -n kserve-test --duration 10m      a ServiceAccount's, as kubectl makes it
  sidegate token create --user user@example.com --name laptop      an API key of a person
  sidegate token create --service nightly-job --only-namespace kserve-test --duration 30d
  sidegate token list
  sidegate token revoke ID                                         counts for the next request

An API key is shown once: what is kept is a digest. It is sent as `Authorization: Bearer sgk_…` to models
(access level `token`), for as much as its owner may do, or less with --only-namespace and --only-model.
ServiceAccount tokens need a running `sidegate up`; API keys are made, listed and revoked also while none runs.
Exit codes: 0 done, 1 it failed, 3 it cannot be as asked for, or there is no such key.";

/// How long an API key counts, if nothing is said.
const KEY_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long a ServiceAccount's token does.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a token: of a ServiceAccount of the running cluster, or an API key
    #[command(
        after_help = "Examples:\n  sidegate token create default -n kserve-test --duration 10m\n  sidegate token create --user user@example.com --name laptop"
    )]
    Create(Box<CreateArgs>),
    /// List API keys: whose they are, what for, how long, when last used
    List(ListArgs),
    /// Revoke an API key
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["service_account", "user", "service"]))]
pub(crate) struct CreateArgs {
    /// ServiceAccount
    service_account: Option<String>,
    /// Namespace of the ServiceAccount
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Audience (repeatable) [default: the cluster's own]
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// An API key of this person
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// A group of the person, until the next login says otherwise (repeatable)
    #[arg(long = "group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,
    /// An API key of a program with this name: `service:NAME` in limits
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// What the key is called in lists [default: the day it is made]
    #[arg(long, value_name = "NAME", conflicts_with = "service_account")]
    name: Option<String>,
    /// The key is for models of this namespace only (repeatable)
    #[arg(
        long = "only-namespace",
        value_name = "NAMESPACE",
        conflicts_with = "service_account"
    )]
    namespaces: Vec<String>,
    /// The key is for this model only: NAMESPACE/NAME (repeatable)
    #[arg(
        long = "only-model",
        value_name = "MODEL",
        conflicts_with = "service_account"
    )]
    models: Vec<String>,
    /// How long the token is valid: 10m, 1h, 90d [default: 1h, an API key 90d]
    #[arg(long, value_parser = cli::duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Id of the key, as listed
    id: String,
    #[command(flatten)]
    place: Place,
}

impl TokenCommand {
    pub(crate) fn output(&self) -> Output {
        match self {
            Self::Create(args) => args.place.output,
            Self::List(args) => args.place.output,
            Self::Revoke(args) => args.place.output,
        }
    }
}

pub(crate) fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    let form = args.command.output();
    let (place, order) = match args.command {
        TokenCommand::Create(mut args) => match args.service_account.take() {
            Some(account) => return service_account(&account, *args),
            None => key_order(*args),
        },
        TokenCommand::List(args) => (args.place, Order::Keys(KeysOrder::List)),
        TokenCommand::Revoke(args) => (args.place, Order::Keys(KeysOrder::Revoke(args.id))),
    };
    let done = control::ask(place.data, order, None)?;
    match form {
        Output::Json => output::data(&serde_json::to_string_pretty(&control::document(&done))?)?,
        Output::Text => tell(&done)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn key_order(args: CreateArgs) -> (Place, Order) {
    let order = KeyOrder {
        user: args.user,
        service: args.service,
        groups: args.groups,
        name: args.name.unwrap_or_else(|| day(SystemTime::now())),
        namespaces: args.namespaces,
        models: args.models,
        seconds: args.duration.unwrap_or(KEY_LIFE).as_secs(),
    };
    (args.place, Order::Keys(KeysOrder::Add(order)))
}

fn service_account(account: &str, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let (data, running) = folder::find_running(args.place.data)?;
    let wanted = format!("{}/{account}", args.namespace);
    if !running.service_accounts.contains(&wanted) {
        bail!(
            "no ServiceAccount `{wanted}` in the running configuration; there are: {}",
            running.service_accounts.join(", ")
        );
    }
    let issuer = ClusterIssuer::open(&data, ClusterIssuerConfig::default())
        .context("the key of the cluster's token issuer cannot be read")?;
    let request = TokenRequest {
        service_account: ServiceAccount {
            namespace: args.namespace.as_str().into(),
            name: account.into(),
        },
        uid: None,
        audiences: args.audiences,
        duration: args.duration.unwrap_or(TOKEN_LIFE),
        pod: None,
    };
    let token = issuer.issue(&request, SystemTime::now())?;
    match args.place.output {
        Output::Text => output::data(token.expose())?,
        Output::Json => {
            let value = serde_json::json!({ "serviceAccount": wanted, "token": token.expose() });
            output::data(&serde_json::to_string_pretty(&value)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(done: &Done) -> anyhow::Result<()> {
    match done {
        Done::Key { key, secret } => {
            let line = format!(
                "API key {} of {} for {}, until {}; it is not shown again:",
                key.id,
                key.owner(),
                key.scope(),
                day_of(key.expires_at)
            );
            output::note(&Style::Plain, &line);
            output::data(secret)
        }
        Done::Keys(keys) => list(keys),
        Done::KeyRevoked(key) => {
            let line = format!("API key {} of {} is revoked", key.id, key.owner());
            output::note(&Style::Plain, &line);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// One line for each key.
fn list(keys: &[ApiKey]) -> anyhow::Result<()> {
    if keys.is_empty() {
        output::note(&Style::Plain, "there are no API keys");
        return Ok(());
    }
    let rows: Vec<[String; 6]> = keys
        .iter()
        .map(|key| {
            let used = key.last_used_at.map_or_else(
                || "never used".to_owned(),
                |at| format!("used {}", day_of(at)),
            );
            [
                key.id.clone(),
                key.owner(),
                key.name.clone(),
                key.scope(),
                format!("until {}", day_of(key.expires_at)),
                used,
            ]
        })
        .collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            line.join("  ").trim_end().to_owned()
        })
        .collect();
    output::data(&lines.join("\n"))
}

/// A day as `29 Nov 2026`, in UTC.
pub(crate) fn day(time: SystemTime) -> String {
    let text = httpdate::fmt_http_date(time);
    text.get(5..16).unwrap_or(&text).to_owned()
}

/// A minute as `29 Nov 2026 12:30`, in UTC.
pub(crate) fn minute_of(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let text = httpdate::fmt_http_date(time);
    text.get(5..22).unwrap_or(&text).to_owned()
}

pub(crate) fn day_of(seconds: u64) -> String {
    day(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
