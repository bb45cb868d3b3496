//! Relying parties that nobody changed, against the provider: each logs in, refreshes, logs out as its users do.

mod certified;
mod clocked;
pub(crate) mod envoy;
mod gateway;
pub(crate) mod kubeflow;
mod node;
mod served;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::clocked::Clocked;
pub(crate) use self::served::{Provider, hash};
use crate::oracle::Check;
use crate::{cache, shell};

/// A check for each of them.
pub(crate) fn suite() -> Vec<Check> {
    vec![
        ("openid-client", Box::new(node::openid_client)),
        (
            "openid-client exchanges a ServiceAccount's token",
            Box::new(node::exchange),
        ),
        ("oidc-client-ts in Chromium", Box::new(node::page)),
        ("Authlib", Box::new(authlib)),
        ("go-oidc", Box::new(go_oidc)),
        (
            "oauth2-proxy with Kubeflow's settings, and the login script of its users",
            Box::new(kubeflow::login),
        ),
        (
            "every setting of oauth2-proxy is known",
            Box::new(kubeflow::settings_are_known),
        ),
        (
            "the login script of Kubeflow's users at `sidegate up`",
            Box::new(kubeflow::embedded),
        ),
        ("Envoy's oauth2", Box::new(gateway::oauth2)),
        (
            "Envoy's jwt_authn through rotations of the signing keys",
            Box::new(gateway::rotations),
        ),
        (
            "our relying party at the package oidc-provider",
            Box::new(certified::ours),
        ),
    ]
}

/// One of them by its name, or all: `cargo xtask relying [NAME]`.
pub(crate) fn run(wanted: Option<&str>) -> Result<()> {
    let mut ran = 0;
    for (name, check) in suite() {
        if wanted.is_none_or(|wanted| name.contains(wanted)) {
            ran += 1;
            check().with_context(|| name.to_owned())?;
            println!("{name}: ok");
        }
    }
    if ran == 0 {
        bail!("no relying party is called so");
    }
    Ok(())
}

fn authlib() -> Result<()> {
    let provider = Provider::start("http://127.0.0.1:9")?;
    let mut command = Command::new(python()?);
    command.arg(folder().join("authlib_client.py"));
    script(command.arg(&provider.issuer)).map(|_| ())
}

/// The Python that has the packages of the relying parties.
fn python() -> Result<PathBuf> {
    cache::python("relying-parties", &folder().join("requirements.txt"))
}

fn go_oidc() -> Result<()> {
    let sources = folder().join("go");
    let mut text = String::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        text += &std::fs::read_to_string(sources.join(file))?;
    }
    let program = cache::built("go-oidc", &text, "relying", |program: &Path| {
        shell::run(
            Command::new("go")
                .args(["build", "-buildvcs=false", "-o"])
                .arg(program)
                .arg(".")
                .env("GOFLAGS", "-mod=readonly")
                .env("GOTOOLCHAIN", "auto")
                .current_dir(&sources),
        )
        .context("this needs Go 1.26 or newer (https://go.dev/dl)")
    })?;
    let provider = Clocked::start()?;
    script(Command::new(program).args([provider.issuer(), provider.clock()])).map(|_| ())
}

/// Where scripts and lock files of the relying parties are.
fn folder() -> PathBuf {
    shell::root().join("xtask/peers/relying")
}

/// The program under test.
fn sidegate() -> PathBuf {
    shell::target().join("debug/sidegate")
}

/// Runs a script to its end. It prints a line for each thing that it found right; the last one.
fn script(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let done = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "after {} steps: {}",
            done.lines().count(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let last = done.lines().last();
    let last = last.with_context(|| format!("{command:?} found nothing right"))?;
    Ok(last.to_owned())
}
