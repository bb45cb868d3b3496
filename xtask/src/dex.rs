//! The identity provider beside Dex: one configuration, one script that asks everything that applications and people see. Dex
//! was asked before (`cargo xtask record --dex PROGRAM`); it is not needed to compare.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::answers::{self, Answers, Differences};
use crate::child::Running;
use crate::oracle::Check;
use crate::shell;

/// Where the page says what differs.
const PAGE: &str = "docs/dex.md";
const DEADLINE: Duration = Duration::from_secs(30);
/// How differences name it.
const ID: &str = "dex";

pub(crate) fn suite() -> Vec<Check> {
    let asked: Check = ("what Dex answers", Box::new(check));
    let page: Check = (
        "the page about Dex",
        Box::new(|| {
            let path = shell::root().join(PAGE);
            if std::fs::read_to_string(&path)? != page()? {
                bail!("{PAGE} is not what was recorded: run `cargo xtask record --dex PROGRAM`");
            }
            Ok(())
        }),
    );
    vec![asked, page]
}

/// Asks Dex everything anew, writes the answers and the page.
pub(crate) fn record(dex: &Path) -> Result<()> {
    let found = ask_dex(dex)?;
    answers::write(&recorded(), &found)?;
    std::fs::write(shell::root().join(PAGE), page()?)?;
    println!("{} calls", found.len());
    Ok(())
}

/// Asks Dex everything anew: it answers as it did.
pub(crate) fn compare(dex: &Path) -> Result<()> {
    let found = ask_dex(dex)?;
    answers::same(&recorded(), &found)?;
    println!("{} calls, none differs", found.len());
    Ok(())
}

fn ask_dex(dex: &Path) -> Result<Answers> {
    let mut command = Command::new(dex);
    command.arg("serve").stderr(Stdio::null());
    ask(command, None)
}

fn check() -> Result<()> {
    let data = tempfile::tempdir()?;
    let (log, secrets) = (data.path().join("log"), data.path().join("secrets"));
    let mut command = Command::new(shell::target().join("debug/sidegate"));
    command.args(["provider", "--data"]).arg(data.path());
    command
        .env("RUST_LOG", "debug,provider=trace,sidegate=trace")
        .stderr(std::fs::File::create(&log)?)
        .arg("--config");
    let found = ask(command, Some(&secrets))?;
    let expected = differences()?.expected(&recorded(), ID)?;
    answers::compare("Dex", &found, &expected)?;
    nothing_secret(
        &std::fs::read_to_string(&log)?,
        &std::fs::read_to_string(&secrets)?,
    )
}

/// That no code, token or password of the run is in the log, which tells of the run.
fn nothing_secret(log: &str, secrets: &str) -> Result<()> {
    ensure!(log.contains("logged in"), "the log does not tell of logins");
    ensure!(
        secrets.lines().count() > 50,
        "codes and tokens were not noted"
    );
    for (number, secret) in secrets.lines().enumerate() {
        // Of a JWT, what makes it one.
        let part = secret.rsplit('.').next().unwrap_or(secret);
        ensure!(
            !log.contains(part),
            "the log has the secret in line {}",
            number + 1
        );
    }
    Ok(())
}

/// Starts a provider, `command` with the file of its configuration behind it, and asks; codes, tokens and passwords go to a file.
fn ask(mut command: Command, secrets: Option<&Path>) -> Result<Answers> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    let text = std::fs::read_to_string(peer().join("config.yaml"))?;
    std::fs::write(&config, text.replace("127.0.0.1:0", &address))?;
    let mut running = Running::start(command.arg(&config).stdout(Stdio::null()))?;
    let issuer = format!("http://{address}/dex");
    running
        .until(DEADLINE, || answers_at(&issuer))
        .with_context(|| format!("{command:?} does not answer at {issuer}"))?;
    let output = Command::new("python3")
        .arg(peer().join("ask.py"))
        .arg(&issuer)
        .args(secrets)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .context("cannot run python3")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ask.py ended with {}: {said}", output.status);
    }
    answers::parse(&String::from_utf8_lossy(&output.stdout))
}

fn answers_at(issuer: &str) -> bool {
    let status = Command::new("curl")
        .args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*"])
        .args(["--output", "/dev/null"])
        .arg(format!("{issuer}/keys"))
        .status();
    status.is_ok_and(|status| status.success())
}

fn peer() -> PathBuf {
    shell::root().join("xtask/peers/dex")
}

fn recorded() -> PathBuf {
    peer().join("answers.txt")
}

fn differences() -> Result<Differences> {
    Differences::read(&peer().join("differences.txt"))
}

/// The page: how many answers are Dex's, and why the others are not.
fn page() -> Result<String> {
    let differences = differences()?;
    let calls = differences.expected(&recorded(), ID)?.len();
    let mut text = include_str!("../peers/dex/page.md").to_owned();
    let differ = differences.of(ID);
    let _ = writeln!(
        text,
        "\n{calls} answers are compared, {} are Dex's.\n\n| what differs | answers |\n|---|---|",
        calls - differ
    );
    for (reason, count) in differences.reasons() {
        let _ = writeln!(text, "| {reason} | {count} |");
    }
    Ok(text)
}
