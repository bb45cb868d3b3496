//! A Redis that takes connections and answers nothing, as one that is stopped does.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::world::{World, calls, nothing_piled_up, open_files};
use super::{at_once, until};
use crate::authz::Authz;
use crate::http::ask_host;
use crate::person::{DASHBOARD, Person};
use crate::redis::{PASSWORD, Server};
use crate::shell;

/// How long one authorizer believes its memory; the other, five minutes.
const STALE: Duration = Duration::from_secs(4);
/// How soon who is known has an answer.
const KNOWN: Duration = Duration::from_secs(1);
/// And who is not, who is asked about in vain.
const UNKNOWN: Duration = Duration::from_secs(5);
const PARALLEL: usize = 100;

pub(super) fn check() -> Result<()> {
    let server = Server::start("always")?;
    let world = World::start("")?;
    let url = format!("{}/4", server.url());
    let password = world.folder.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n"))?;
    let (password, provider) = (
        password.display().to_string(),
        world.relay.address.to_string(),
    );
    let files = world.folder.path().join("files");
    let long = Authz::on(
        &files,
        &world.folder.path().join("data-of-long"),
        0,
        &[
            "--provider",
            &provider,
            "--redis",
            &url,
            "--redis-password",
            &password,
        ],
    )?;
    let seed = std::fs::read_to_string(files.join("cluster.yaml"))?;
    let kubernetes = "      type: kubernetes\n      config:\n        inCluster: true\n";
    ensure!(seed.contains(kubernetes), "the seed's storage");
    let redis = format!(
        "      type: redis\n      config: {{url: \"{url}\", password: {PASSWORD}, staleFor: {}s}}\n",
        STALE.as_secs()
    );
    let brief_files = world.folder.path().join("files-of-brief");
    std::fs::create_dir_all(&brief_files)?;
    std::fs::copy(
        files.join("sidegate.yaml"),
        brief_files.join("sidegate.yaml"),
    )?;
    std::fs::write(
        brief_files.join("cluster.yaml"),
        seed.replace(kubernetes, &redis),
    )?;
    let data = world.folder.path().join("data-of-brief");
    let brief = Authz::on(&brief_files, &data, 0, &["--provider", &provider])?;
    let at = [&brief, &long].map(|authz| authz.checks.to_string());
    let [first, second] = &at;

    let mut known = Person::default();
    known.log_in(first, second, &world.provider)?;
    let key = key(&data)?;
    for at in &at {
        until("a session of the other", || known.is_inside(at))?;
        until("a key of the other", || Ok(calls(at, &key)? == 200))?;
    }
    for _ in 0..2 {
        let before = [open_files(&brief)?, open_files(&long)?];
        server.freeze(true)?;
        let began = Instant::now();
        for at in &at {
            let cookies = known.cookies();
            all_within(KNOWN, 200, |_| page(at, &cookies))?;
            all_within(KNOWN, 200, |_| calls(at, &key))?;
        }
        ensure!(
            began.elapsed() < STALE,
            "who is known waited for {:?}",
            began.elapsed()
        );
        for at in &at {
            strangers(at, &known.cookies(), &key)?;
        }
        let login = Person::default().log_in(second, second, &world.provider);
        ensure!(login.is_err(), "a login while Redis hangs");
        // For so long and no longer, and with an answer all the same.
        until("memory that is too old", || Ok(!known.is_inside(first)?))?;
        ensure!(began.elapsed() >= STALE, "{:?}", began.elapsed());
        let cookies = known.cookies();
        let statuses = at_once(PARALLEL, |_| page(first, &cookies))?;
        ensure!(!statuses.contains(&200), "too old: {statuses:?}");
        ensure!(calls(first, &key)? != 200, "a key of too old memory");
        ensure!(known.is_inside(second)?, "five minutes are not over");
        ensure!(calls(second, &key)? == 200, "nor for keys");
        server.freeze(false)?;
        for at in &at {
            until("a session afterwards", || known.is_inside(at))?;
            until("a key afterwards", || Ok(calls(at, &key)? == 200))?;
            until("a login afterwards", || {
                Ok(Person::default().log_in(at, at, &world.provider).is_ok())
            })?;
        }
        let [of_brief, of_long] = before;
        nothing_piled_up(&brief, of_brief)?;
        nothing_piled_up(&long, of_long)?;
    }
    Ok(())
}

/// Cookies and keys that are nobody's, many at a time, with who is known among them.
fn strangers(at: &str, cookies: &str, key: &str) -> Result<()> {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            within(UNKNOWN, |number| {
                if number.is_multiple_of(2) {
                    let other = cookies.replacen("session=", &format!("session=x{number}"), 1);
                    ensure!(other != cookies, "no session: {cookies}");
                    page(at, &other)
                } else {
                    let end = if key.ends_with('a') { 'b' } else { 'a' };
                    calls(
                        at,
                        &format!("{}{end}", key.get(..key.len() - 1).unwrap_or_default()),
                    )
                }
            })
        });
        while !waiting.is_finished() {
            let began = Instant::now();
            ensure!(page(at, cookies)? == 200, "a session among strangers");
            ensure!(began.elapsed() < KNOWN, "it waits for strangers");
            std::thread::sleep(KNOWN / 20);
        }
        let ended = waiting.join();
        let statuses = ended.map_err(|_| anyhow::anyhow!("a stranger panicked"))??;
        ensure!(!statuses.contains(&200), "strangers: {statuses:?}");
        Ok(())
    })
}

fn all_within(
    time: Duration,
    expected: u16,
    ask: impl Fn(usize) -> Result<u16> + Sync,
) -> Result<()> {
    let statuses = within(time, ask)?;
    let right = statuses.iter().all(|status| *status == expected);
    ensure!(right, "not all {expected}: {statuses:?}");
    Ok(())
}

/// What so many get at the same time, none of them later than that.
fn within(time: Duration, ask: impl Fn(usize) -> Result<u16> + Sync) -> Result<Vec<u16>> {
    let began = Instant::now();
    let statuses = at_once(PARALLEL, ask)?;
    let took = began.elapsed();
    ensure!(
        took < time,
        "{PARALLEL} answers took {took:?}, not {time:?}"
    );
    Ok(statuses)
}

/// The status of the dashboard for a browser with those cookies.
fn page(at: &str, cookies: &str) -> Result<u16> {
    let headers = [("cookie", cookies), ("accept", "text/html")];
    Ok(ask_host(at, DASHBOARD, "GET", "/external/", &headers, "")?.status)
}

fn key(data: &std::path::Path) -> Result<String> {
    let output = Command::new(shell::target().join("debug/sidegate"))
        .args([
            "token",
            "create",
            "--service",
            "job",
            "-o",
            "json",
            "--data",
        ])
        .arg(data)
        .output()
        .context("cannot run sidegate")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no key: {said}");
    let made: Value = serde_json::from_slice(&output.stdout)?;
    let secret = made.pointer("/secret").and_then(Value::as_str);
    Ok(secret.context("no secret")?.to_owned())
}
