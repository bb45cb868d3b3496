//! `bench provider`: the identity provider alone.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::load::{self, Connection, Load, Request};
use super::server::Server;
use super::{CONNECTIONS, Length, Scratch, program, report};
use crate::http::{Answer, ask, ask_from, decoded, encoded};
use crate::person::{HASH, PASSWORD};
use crate::shell;

const CONFIG: &str = include_str!("../../peers/bench-provider.yaml");
const CALLBACK: &str = "https://app.example/cb";
/// People who log in at the same moment, each from an address of their own, as limits on guesses count by it.
const PEOPLE: u8 = 200;
/// How a login ends that has waited too long for its hash.
const TRY_AGAIN: &str = "a login ended with 503 ";
/// Connections that ask about tokens meanwhile.
const CHECKS: usize = 2;

/// How tokens are signed, as clients of the configuration are called: the third has access tokens by ES256.
const CLIENTS: [&str; 4] = ["RS256", "ES256", "RS256-ES256", "EdDSA"];

/// What was measured of one provider.
struct Figures {
    name: &'static str,
    first_start: Duration,
    first_keys: Duration,
    start: Duration,
    resident_kib: u64,
    loaded_kib: u64,
    keys: Load,
    discovery: Load,
    /// By the algorithm that signs.
    refreshes: Vec<(&'static str, Load)>,
    login: Load,
    logins: Load,
    checks: Load,
    checks_in_storm: Load,
    /// Logins of that storm that were told to try again.
    later: usize,
}

/// Measures, prints the table and, in full length, writes it down.
pub(crate) fn run(length: Length) -> Result<()> {
    shell::run(shell::cargo().args(["build", "--release", "--package", "sidegate"]))?;
    let scratch = Scratch::new()?;
    let ours = measure("Sidegate", &CLIENTS, length, &scratch, |config, data| {
        let mut command = program();
        command
            .arg("provider")
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(data);
        command
    })?;
    let table = table(&[ours])?;
    println!("{table}");
    match length {
        Length::Full => {
            let page = shell::root().join("docs/benchmarks.md");
            report::write_section(&page, "provider", &table)
        }
        Length::Quick => Ok(()),
    }
}

fn measure(
    name: &'static str,
    algorithms: &[&'static str],
    length: Length,
    scratch: &Scratch,
    command: impl Fn(&Path, &Path) -> Command,
) -> Result<Figures> {
    eprintln!("measuring: {name}");
    let seconds = Duration::from_secs(if length == Length::Full { 10 } else { 2 });
    let folder = scratch.path().join(name);
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let config = folder.join("config.yaml");
    let with_port = |port: u16| -> Result<Command> {
        let text = CONFIG.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        let text = text.replace("DATA", &data.display().to_string());
        std::fs::write(&config, text.replace("- PEOPLE\n", &people()))?;
        Ok(command(&config, &data))
    };
    let request = |path| Request {
        host: "localhost",
        path,
        headers: "",
        body: b"",
        ending: b"}",
    };
    let keys = request("/dex/keys");
    let discovery = request("/dex/.well-known/openid-configuration");
    let first_start = Server::start(&with_port, &discovery)?.first_answer;
    std::fs::remove_dir_all(&data)?;
    std::fs::create_dir_all(&data)?;
    let first_keys = Server::start(&with_port, &keys)?.first_answer;
    let (server, start) = super::started(&with_port, &keys)?;
    let resident_kib = server.resident_kib()?;
    let address = format!("127.0.0.1:{}", server.port);
    let load = |request: &Request<'_>| load::run(server.port, request, CONNECTIONS, seconds);
    let keys = load(&keys)?;
    let discovery = load(&discovery)?;
    let mut refreshes = Vec::new();
    for algorithm in algorithms {
        refreshes.push((
            *algorithm,
            refresh(&address, server.port, algorithm, seconds)?,
        ));
    }
    let login = logins(&address, 1, Instant::now() + seconds)?;
    let logins_at_once = logins(&address, PEOPLE, Instant::now() + seconds)?;
    let token = tokens(&address, "RS256")?.access;
    let check = format!("authorization: Bearer {token}\r\n");
    let check = Request {
        headers: &check,
        ..request("/dex/userinfo")
    };
    let checks = load::run(server.port, &check, CHECKS, seconds)?;
    let (checks_in_storm, later) =
        in_a_storm(&address, || load::run(server.port, &check, CHECKS, seconds))?;
    Ok(Figures {
        name,
        first_start,
        first_keys,
        start,
        resident_kib,
        loaded_kib: server.resident_kib()?,
        keys,
        discovery,
        refreshes,
        login,
        logins: logins_at_once,
        checks,
        checks_in_storm,
        later,
    })
}

/// Each connection refreshes its own login's tokens, one after the other.
fn refresh(address: &str, port: u16, client: &str, time: Duration) -> Result<Load> {
    let first: Vec<Tokens> = (0..CONNECTIONS)
        .map(|_| tokens(address, client))
        .collect::<Result<_>>()?;
    let end = Instant::now() + time;
    let workers = first
        .into_iter()
        .map(|tokens| move || refresh_until(port, client, tokens.refresh, end));
    load::together(workers.collect())
}

fn refresh_until(
    port: u16,
    client: &str,
    mut token: String,
    end: Instant,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(port)?;
    let head = format!(
        "authorization: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n",
        basic(client)
    );
    let mut latencies = Vec::new();
    while latencies.is_empty() || Instant::now() < end {
        let body = format!("grant_type=refresh_token&refresh_token={}", encoded(&token));
        let request = Request {
            host: "localhost",
            path: "/dex/token",
            headers: &head,
            body: body.as_bytes(),
            ending: b"",
        };
        let begin = Instant::now();
        let answer = connection.ask(&request.wire())?;
        latencies.push(begin.elapsed());
        let answer: Value = serde_json::from_slice(&answer)?;
        let next = answer.get("refresh_token").and_then(Value::as_str);
        next.with_context(|| format!("no refresh token in {answer}"))?
            .clone_into(&mut token);
    }
    Ok(latencies)
}

/// Those who log in, for the configuration.
fn people() -> String {
    (0..PEOPLE).fold(String::new(), |mut out, n| {
        let _ = writeln!(
            out,
            "- {{email: person{n}@example.com, hash: \"{HASH}\", username: person{n}, userID: person{n}}}"
        );
        out
    })
}

/// Somebody with an address of their own.
#[derive(Clone, Copy)]
struct Somebody(u8);

impl Somebody {
    fn email(self) -> String {
        format!("person{}@example.com", self.0)
    }

    fn source(self) -> IpAddr {
        Ipv4Addr::new(127, 1, self.0, 1).into()
    }
}

/// So many people log in again and again.
fn logins(address: &str, people: u8, end: Instant) -> Result<Load> {
    let log_in_again = |who: Somebody| {
        move || -> Result<Vec<Duration>> {
            let mut latencies = Vec::new();
            while latencies.is_empty() || Instant::now() < end {
                let begin = Instant::now();
                code(address, "RS256", who)?;
                latencies.push(begin.elapsed());
            }
            Ok(latencies)
        }
    };
    load::together((0..people).map(Somebody).map(log_in_again).collect())
}

/// Measures something while all people log in at the same time, and again, and counts those who are told to try again. A
/// login that fails otherwise ends it.
fn in_a_storm<R>(address: &str, measure: impl FnOnce() -> Result<R>) -> Result<(R, usize)> {
    let over = AtomicBool::new(false);
    let later = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let storm: Vec<_> = (0..PEOPLE)
            .map(Somebody)
            .map(|who| {
                let (over, later) = (&over, &later);
                scope.spawn(move || -> Result<()> {
                    while !over.load(Ordering::Relaxed) {
                        match code(address, "RS256", who) {
                            Err(error) if error.to_string() == TRY_AGAIN => {
                                later.fetch_add(1, Ordering::Relaxed);
                            }
                            outcome => drop(outcome?),
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        for person in storm {
            let ended = person.join();
            ended.map_err(|_| anyhow::anyhow!("a login panicked"))??;
        }
        Ok((measured?, later.load(Ordering::Relaxed)))
    })
}

struct Tokens {
    access: String,
    refresh: String,
}

fn tokens(address: &str, client: &str) -> Result<Tokens> {
    let code = code(address, client, Somebody(0))?;
    let body = format!(
        "grant_type=authorization_code&code={}&redirect_uri={}",
        encoded(&code),
        encoded(CALLBACK)
    );
    let answer = ask(
        address,
        "POST",
        "/dex/token",
        &[("authorization", &basic(client))],
        &body,
    )?;
    let json = answer.json();
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Tokens {
        access: text("access_token").with_context(|| format!("no tokens: {answer:?}"))?,
        refresh: text("refresh_token").with_context(|| format!("no tokens: {answer:?}"))?,
    })
}

fn basic(client: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{client}:a secret of the application"))
    )
}

/// A whole login with the password.
fn code(address: &str, client: &str, who: Somebody) -> Result<String> {
    let ask = |method: &str, target: &str, cookie: &str, body: &str| {
        let headers = [("cookie", cookie)];
        ask_from(who.source(), address, method, target, &headers, body)
    };
    let mut target = format!(
        "/dex/auth?client_id={client}&redirect_uri={}&response_type=code&scope=openid+email+offline_access&state=a",
        encoded(CALLBACK)
    );
    let mut cookie = String::new();
    let mut answer = ask("GET", &target, "", "")?;
    while let (302 | 303, Some(next)) = (answer.status, answer.header("location")) {
        next.clone_into(&mut target);
        keep_cookie(&answer, &mut cookie);
        answer = ask("GET", &target, &cookie, "")?;
    }
    keep_cookie(&answer, &mut cookie);
    // The form of both posts to where it stands.
    let fields = format!(
        "login={}&password={}",
        encoded(&who.email()),
        encoded(PASSWORD)
    );
    let answer = ask("POST", &target, &cookie, &fields)?;
    let location = answer.header("location").unwrap_or_default();
    let code = location
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("code="));
    ensure!(
        code.is_some(),
        "a login ended with {} {location}",
        answer.status
    );
    Ok(decoded(code.unwrap_or_default()))
}

fn keep_cookie(answer: &Answer, cookie: &mut String) {
    if let Some(set) = answer
        .header("set-cookie")
        .and_then(|set| set.split(';').next())
    {
        set.clone_into(cookie);
    }
}

fn table(all: &[Figures]) -> Result<String> {
    let mut out = String::new();
    let cell = |load: &Load| format!("{:.0}/s, p99 {}", load.per_second, report::time(load.p99));
    let mut row = |what: &str, wanted: &str, value: &dyn Fn(&Figures) -> String| {
        let cells: Vec<String> = all.iter().map(value).collect();
        let _ = writeln!(out, "| {what} | {wanted} | {} |", cells.join(" | "));
    };
    row("first start to the first answer", "< 50 ms", &|f| {
        report::time(f.first_start)
    });
    row("first start to the key set, keys made", "", &|f| {
        report::time(f.first_keys)
    });
    row("later start to the first answer", "< 50 ms", &|f| {
        report::time(f.start)
    });
    row("resident then", "< 15 MB", &|f| {
        report::mebibytes(f.resident_kib)
    });
    row("resident after all of this", "", &|f| {
        report::mebibytes(f.loaded_kib)
    });
    row("key set", "≥ 60,000/s", &|f| cell(&f.keys));
    row("discovery", "≥ 60,000/s", &|f| cell(&f.discovery));
    for algorithm in CLIENTS {
        let name = match algorithm {
            "RS256-ES256" => "RS256, access tokens by ES256",
            name => name,
        };
        row(&format!("refresh, {name}"), "≥ 5,000/s", &|f| {
            let found = f.refreshes.iter().find(|(name, _)| *name == algorithm);
            found.map_or_else(String::new, |(_, load)| cell(load))
        });
    }
    row("one login after the other", "", &|f| {
        format!(
            "{:.1}/s, p50 {}",
            f.login.per_second,
            report::time(f.login.p50)
        )
    });
    row(
        &format!("logins, {PEOPLE} at a time"),
        "the hash alone",
        &|f| {
            format!(
                "{:.1}/s, p50 {}",
                f.logins.per_second,
                report::time(f.logins.p50)
            )
        },
    );
    row(
        &format!("token checks (userinfo, {CHECKS} connections)"),
        "",
        &|f| cell(&f.checks),
    );
    row(
        &format!("the same while {PEOPLE} people log in all the time"),
        "p99 + 2 ms",
        &|f| cell(&f.checks_in_storm),
    );
    row(
        "logins of that time that were told to try again",
        "",
        &|f| f.later.to_string(),
    );
    let names: Vec<&str> = all.iter().map(|f| f.name).collect();
    let head = format!(
        "`sidegate provider` with one process; the load shares the machine, {CONNECTIONS} connections that each wait for their answer. \
         bcrypt at cost 10, refresh tokens rotate and are on the disk before the answer.\n\n\
         | | wanted | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    let machine = report::Machine::this(&PathBuf::from("python3"), "pip");
    Ok(format!(
        "{head}{out}\nMachine: {}, {} cores, {}. Versions: {}.",
        machine.cpu, machine.cores, machine.kernel, machine.versions
    ))
}
