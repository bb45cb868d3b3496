//! `sidegate token create`: like `kubectl create token`, for the embedded issuer.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use identity::{ClusterIssuer, ClusterIssuerConfig, TokenRequest};
use policy::ServiceAccount;

use crate::cli::{TokenArgs, TokenCommand};
use crate::{folder, output};

pub(crate) fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    let TokenCommand::Create(args) = args.command;
    let (data, running) = folder::find_running(args.data)?;
    let wanted = format!("{}/{}", args.namespace, args.service_account);
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
            name: args.service_account.as_str().into(),
        },
        uid: None,
        audiences: args.audiences,
        duration: args.duration,
        pod: None,
    };
    output::data(issuer.issue(&request, SystemTime::now())?.expose())?;
    Ok(ExitCode::SUCCESS)
}
