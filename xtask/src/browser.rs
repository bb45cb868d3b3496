//! The provider's pages in a real browser: Chromium, whose authenticators are made of software.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::child::Running;
use crate::clients::free_port;
use crate::oracle::Check;
use crate::{cache, shell};

/// The hash is of `12341234`.
const CONFIG: &str = "issuer: http://localhost/dex
enablePasswordDB: true
sessions: {ssoSharedWithDefault: all}
staticClients:
- {id: platform, name: Kubeflow, public: true}
- {id: cli, name: Command line, public: true}
";
const HASH: &str = "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72";

pub(crate) fn suite() -> Vec<Check> {
    vec![("pages of the provider in Chromium", Box::new(check))]
}

fn check() -> Result<()> {
    let peers = shell::root().join("xtask/peers");
    let modules = cache::node_modules("relying-parties", &peers.join("relying"))?;
    let chromium = cache::chromium()?;
    let work = tempfile::tempdir().context("making a folder")?;
    let mut config = format!("{CONFIG}staticPasswords:\n");
    for (index, user) in ["user", "first", "second", "plain"].iter().enumerate() {
        config.push_str(&format!(
            "- {{email: {user}@example.com, username: {user}, userID: '{index}', hash: {HASH}}}\n"
        ));
    }
    let (_configured, started) = start(&work.path().join("configured"), &config, " on 127.0.0.1:")?;
    let port = started.split(',').next().unwrap_or_default();
    // Without users there is a link for the first one.
    let (_empty, link) = start(&work.path().join("empty"), CONFIG, "http://127.0.0.1:")?;
    // Users of the first one are people of a connector here.
    let below = free_port()?;
    let config = CONFIG.replace("staticClients", &connector(port, below));
    let folder = work.path().join("below");
    let (_below, _) = start_at(below, &folder, &config, " on 127.0.0.1:")?;
    let mut script = Command::new("node");
    script
        .arg(peers.join("browser/pages.mjs"))
        .arg(modules.join("playwright-core"))
        .arg(chromium)
        .arg(format!("http://localhost:{port}/dex"))
        .arg(format!("http://localhost:{}", link.trim()))
        .arg(format!("http://localhost:{below}/dex"))
        // Pictures of all pages, for whoever wants to look at them.
        .args(std::env::var_os("SIDEGATE_PICTURES"));
    shell::run(&mut script)
}

/// Logins by the provider on the port `above`, for one on `below`. Its addresses have no port in its own words.
fn connector(above: &str, below: u16) -> String {
    let at = format!("http://localhost:{above}/dex");
    format!(
        "connectors:
- type: oidc
  id: up
  name: Company login
  config:
    issuer: {at}
    issuerAlias: http://localhost/dex
    clientID: cli
    redirectURI: http://localhost:{below}/dex/callback
    providerDiscoveryOverrides: {{authURL: '{at}/auth', tokenURL: '{at}/token', jwksURL: '{at}/keys'}}
staticClients"
    )
}

/// Starts a provider, and what it says behind `mark`.
fn start(folder: &Path, config: &str, mark: &str) -> Result<(Running, String)> {
    start_at(0, folder, config, mark)
}

fn start_at(port: u16, folder: &Path, config: &str, mark: &str) -> Result<(Running, String)> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("dex.yaml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(shell::target().join("debug/sidegate"));
    command
        .arg("provider")
        .arg(format!("--listen=127.0.0.1:{port}"))
        .arg("--config")
        .arg(&file)
        .arg("--data")
        .arg(folder.join("data"));
    Running::until_it_says(&mut command, |line| {
        line.split_once(mark).map(|(_, rest)| rest.to_owned())
    })
}
