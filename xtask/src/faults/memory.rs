//! Many ask while whoever is asked is slow, and others do not end what they ask: memory has a bound.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::relay::{Mode, Relay};
use super::world::{World, calls, nothing_piled_up, open_files};
use super::{at_once, until};
use crate::http::ask_host;
use crate::person::{DASHBOARD, Person};

/// Connections that begin a request and do not go on.
const SLOW: usize = 300;
/// Who asks at the same time, and how often that many do.
const PARALLEL: usize = 150;
const ROUNDS: usize = 6;
/// What one round may add after the first, and all of them together, in KiB.
const GROWTH_KIB: u64 = 4 * 1024;
/// What is resident at most, while all of this goes on.
const MOST_KIB: u64 = 128 * 1024;
/// How long keys are waited for, and a little.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn check() -> Result<()> {
    let keys = Relay::start("127.0.0.1:9", "GET ")?;
    keys.behave(Mode::Silent);
    let world = World::start(&format!(
        "  keys: {{networks: [127.0.0.0/8]}}\n  tokens:\n    issuers:\n    - issuer: https://slow.example\n      \
         jwksUri: http://{}/keys\n      audiences: [app]\n      user: {{claim: email}}\n",
        keys.address
    ))?;
    let authz = world.authz(&[])?;
    let at = authz.checks.to_string();
    let mut known = Person::default();
    known.log_in(&at, &at, &world.provider)?;
    let before = open_files(&authz)?;
    world.relay.behave(Mode::Silent);
    let mut slow = Vec::new();
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        // The first of them are cut off by their deadline meanwhile.
        for number in 0..SLOW / ROUNDS {
            slow.push(begun(&at, number)?);
        }
        let began = Instant::now();
        let statuses = at_once(PARALLEL, |number| ask(&at, round * PARALLEL + number))?;
        let took = began.elapsed();
        ensure!(took < PATIENCE, "round {round} took {took:?}");
        ensure!(!statuses.contains(&200), "round {round}: {statuses:?}");
        ensure!(known.is_inside(&at)?, "a session in round {round}");
        seen.push(memory(authz.id(), "VmRSS:")?);
    }
    let most = memory(authz.id(), "VmHWM:")?;
    ensure!(most < MOST_KIB, "{most} KiB were resident");
    let first = *seen.first().context("a round")?;
    let last = *seen.last().context("a round")?;
    ensure!(last <= first + GROWTH_KIB, "memory grows: {seen:?} KiB");
    drop(slow);
    world.relay.behave(Mode::Answers);
    nothing_piled_up(&authz, before)?;
    until("a login afterwards", || {
        Ok(Person::default().log_in(&at, &at, &world.provider).is_ok())
    })?;
    println!("resident after each round {seen:?} KiB, {most} KiB at most");
    Ok(())
}

/// A third each with tokens whose keys never come, with ends of logins whose provider never answers, and with cookies.
fn ask(at: &str, number: usize) -> Result<u16> {
    match number % 3 {
        0 => calls(at, &token(number)),
        1 => {
            let target = format!("/external/login/oidc?code=c{number}&state=s{number}");
            let headers = [("accept", "text/html")];
            Ok(ask_host(at, DASHBOARD, "GET", &target, &headers, "")?.status)
        }
        _ => {
            let cookie = format!("authservice_session={number:043}; a={}", "x".repeat(4000));
            let headers = [("cookie", &*cookie), ("accept", "text/html")];
            Ok(ask_host(at, DASHBOARD, "GET", "/external/", &headers, "")?.status)
        }
    }
}

fn token(number: usize) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "RS256", "kid": format!("k{number}")}));
    let claims = part(json!({
        "iss": "https://slow.example", "sub": format!("s{number}"), "aud": "app",
        "exp": 4_000_000_000_u64, "padding": "x".repeat(2000),
    }));
    format!("{header}.{claims}.c2lnbmF0dXJl")
}

/// A connection with part of a request: of its head, or of the body that it announces.
fn begun(at: &str, number: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(at)?;
    let head = format!("GET /external/slow/{number} HTTP/1.1\r\nhost: {DASHBOARD}\r\ncookie: ");
    match number % 2 {
        0 => write!(stream, "{head}{}", "y".repeat(3000))?,
        _ => write!(stream, "{head}a=1\r\ncontent-length: 1000000\r\n\r\nbody")?,
    }
    Ok(stream)
}

/// A line of what the system says of a process's memory, in KiB.
fn memory(id: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let found = status.lines().find_map(|text| {
        let size = text.strip_prefix(line)?.trim().strip_suffix("kB")?;
        size.trim().parse().ok()
    });
    found.with_context(|| format!("nothing is said of {line}"))
}
