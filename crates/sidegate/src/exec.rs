//! `sidegate exec`: a command that runs as a pod of the YAML.

use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use identity::{BoundPod, ClusterIssuer, ClusterIssuerConfig, TokenRequest, WorkloadCredentials};
use policy::{ServiceAccount, Workload};

use crate::cli::ExecArgs;
use crate::folder::{self, Running};

/// Life of the token file, as of a projected token in a cluster.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

pub(crate) fn run(args: ExecArgs) -> anyhow::Result<ExitCode> {
    let (data, running) = folder::find_running(args.data)?;
    let workload = workload(&running, &args.namespace, &args.pod)?;
    let credentials = WorkloadCredentials::open(&data, identity::system_clock())
        .context("the workload key cannot be read")?
        .issue(&workload)?;
    let local = running
        .local
        .strip_prefix("http://")
        .unwrap_or(&running.local);
    let proxy = format!(
        "http://{}:{}@{local}",
        credentials.username,
        credentials.password.expose()
    );
    let token_folder = tempfile::Builder::new().prefix("sidegate-pod-").tempdir()?;
    let token_file = token_folder.path().join("token");
    write_token(&data, &workload, &token_file)?;

    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let (program, arguments) = match args.command.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => (shell.as_str(), &[][..]),
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("http_proxy", &proxy)
        .env("HTTP_PROXY", &proxy)
        .env("no_proxy", "localhost,127.0.0.1,::1")
        .env("NO_PROXY", "localhost,127.0.0.1,::1")
        .env("SIDEGATE_TOKEN_FILE", &token_file)
        .env("POD_NAME", &*workload.pod)
        .env("POD_NAMESPACE", &*workload.service_account.namespace)
        .env("HOSTNAME", &*workload.pod)
        .arg0(program);
    let status = command
        .status()
        .with_context(|| format!("`{program}` cannot be started"))?;
    // As shells do: 128 and the number of the signal that ended it.
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn workload(running: &Running, namespace: &str, pod: &str) -> anyhow::Result<Workload> {
    let wanted = format!("{namespace}/{pod}");
    let Some((_, account)) = running.pods.iter().find(|(name, _)| *name == wanted) else {
        let known: Vec<&str> = running.pods.iter().map(|(name, _)| name.as_str()).collect();
        bail!(
            "no pod `{wanted}` in the running configuration; there are: {}",
            known.join(", ")
        );
    };
    let service_account = ServiceAccount {
        namespace: namespace.into(),
        name: account.as_str().into(),
    };
    Ok(Workload {
        pod: pod.into(),
        service_account,
    })
}

fn write_token(data: &Path, workload: &Workload, file: &Path) -> anyhow::Result<()> {
    let issuer = ClusterIssuer::open(data, ClusterIssuerConfig::default())
        .context("the key of the cluster's token issuer cannot be read")?;
    let request = TokenRequest {
        service_account: workload.service_account.clone(),
        uid: None,
        audiences: Vec::new(),
        duration: TOKEN_LIFE,
        pod: Some(BoundPod {
            name: workload.pod.clone(),
            uid: workload.pod.clone(),
        }),
    };
    let token = issuer.issue(&request, SystemTime::now())?;
    folder::write_atomically(file, token.expose().as_bytes())
}
