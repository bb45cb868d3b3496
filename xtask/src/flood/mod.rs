//! `cargo xtask flood`: strangers ask the identity provider for everything, and the authorizer, very often. Nothing is written
//! for them, and memory does not grow.

mod authorizer;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::load::Connection;
use crate::clients::free_port;
use crate::crash::Provider;
use crate::http::ask;
use crate::oracle::Check;
use crate::shell;
use crate::visitor::CONFIG;

/// Connections at the same time.
const WORKERS: u64 = 4;
/// What memory may grow by after a tenth of the requests, in KiB: pages of the allocator, not something for each stranger.
const GROWTH_KIB: u64 = 4 * 1024;

/// A short run for `cargo xtask test`.
pub(crate) fn suite() -> Vec<Check> {
    let short: Check = (
        "the identity provider, asked by strangers",
        Box::new(|| run(&shell::target().join("debug/sidegate"), 20_000).map(|_| ())),
    );
    let checks: Check = (
        "the authorizer, asked by strangers",
        Box::new(|| authorizer::run(&shell::target().join("debug/sidegate"), 20_000).map(|_| ())),
    );
    vec![short, checks]
}

/// The arguments of the command: `[authz] [--requests N] [--program FILE]`.
pub(crate) fn command(args: &[&str]) -> Result<()> {
    let mut requests = 1_000_000;
    let mut program = shell::target().join("release/sidegate");
    let (checks, args) = match args {
        ["authz", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        let value = rest
            .next()
            .with_context(|| format!("`{option}`: expected a value"))?;
        match *option {
            "--requests" => requests = value.parse()?,
            "--program" => program = PathBuf::from(value),
            other => bail!("option `{other}`: expected --requests or --program"),
        }
    }
    let began = Instant::now();
    if checks {
        let (before, after) = authorizer::run(&program, requests)?;
        println!(
            "{requests} checks of strangers in {} s: {before} KiB resident after a tenth, {after} KiB after all",
            began.elapsed().as_secs()
        );
        return Ok(());
    }
    let (before, after) = run(&program, requests)?;
    println!(
        "{requests} requests of strangers in {} s: {before} KiB resident after a tenth, {after} KiB after all, nothing written",
        began.elapsed().as_secs()
    );
    Ok(())
}

/// Resident memory after a tenth of the requests and after all.
fn run(program: &Path, requests: u64) -> Result<(u64, u64)> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let config = folder.path().join("dex.yaml");
    std::fs::write(&config, CONFIG.replace("127.0.0.1:0", &address))?;
    let data = folder.path().join("data");
    let provider = Provider::start(program, &config, &data, &address)?;
    let wires = wires(&address)?;
    let file = data.join("provider.redb");
    let written = std::fs::read(&file)?;
    let wire = |number: u64| {
        let at = usize::try_from(number)? % wires.len();
        wires.get(at).cloned().context("there are some")
    };
    flood(port, requests / 10, wire)?;
    let before = resident_kib(provider.id())?;
    flood(port, requests - requests / 10, wire)?;
    let after = resident_kib(provider.id())?;
    ensure!(
        std::fs::read(&file)? == written,
        "{} changed: something was written for strangers",
        file.display()
    );
    ensure!(
        after <= before + GROWTH_KIB,
        "memory grew from {before} to {after} KiB"
    );
    Ok((before, after))
}

/// What strangers ask: logins that are begun and not ended, forms, codes and tokens that are none.
fn wires(address: &str) -> Result<Vec<Vec<u8>>> {
    let start = "/dex/auth?client_id=app&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&response_type=code&scope=openid&state=a";
    let form = ask(address, "GET", start, &[], "")?;
    let form = form.header("location").context("no login is begun")?;
    let get = |target: &str, more: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n{more}\r\n").into_bytes()
    };
    let post = |target: &str, body: &str| {
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        );
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    Ok(vec![
        get(start, ""),
        get(form, ""),
        get("/dex/auth/local?req=x", ""),
        get("/dex/approval?req=x", ""),
        get("/dex/callback?state=x&code=y", ""),
        get("/dex/device?user_code=ABCD-EFGH", ""),
        get("/dex/userinfo", "authorization: Bearer a.b.c\r\n"),
        get(
            "/dex/logout?post_logout_redirect_uri=https%3A%2F%2Fevil.example",
            "",
        ),
        get("/dex/nothing", "cookie: dex_session=AAAA\r\n"),
        get("/dex/keys", ""),
        post(form, "login=user%40example.com&password=x"),
        post(
            "/dex/token",
            "grant_type=authorization_code&code=x&client_id=app&client_secret=y",
        ),
        post(
            "/dex/token",
            "grant_type=refresh_token&refresh_token=x&client_id=nobody",
        ),
        post("/dex/token/introspect", "token=x"),
        post("/dex/token/revoke", "token=x"),
        post("/dex/device/code", "client_id=nobody&scope=openid"),
        post("/dex/device/auth/verify_code", "user_code=ABCD-EFGH"),
    ])
}

/// Sends what `wire` makes of each number below `requests`, over several connections.
fn flood(port: u16, requests: u64, wire: impl Fn(u64) -> Result<Vec<u8>> + Sync) -> Result<()> {
    let wire = &wire;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn(move || -> Result<()> {
                    let mut connection = Connection::open(port)?;
                    for number in 0..requests / WORKERS {
                        // A refusal may close the connection.
                        if connection.ask(&wire(number * WORKERS + worker)?).is_err() {
                            connection = Connection::open(port)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            let ended = worker.join();
            ended.map_err(|_| anyhow::anyhow!("a connection panicked"))??;
        }
        Ok(())
    })
}

fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    kib.context("no VmRSS")
}
