//! Two replicas of the identity provider on one Redis (Debian's redis-server, unpacked into the
//! cache): what one answered the other knows, nothing is taken by both, and an outage of Redis ends
//! nothing.

mod authorizers;
mod gateways;
mod guesses;
mod outages;
mod rotation;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

pub(crate) use self::server::{PASSWORD, Server};
use crate::clients::free_port;
use crate::crash::{Provider, World, told};
use crate::directory::peers;
use crate::http::{Answer, ask, encoded};
use crate::oracle::Check;
use crate::shell;
use crate::visitor::{
    Browser, CALLBACK, CONFIG, Failed, Tokens, as_application, authorization, param, token,
};

/// How often something is raced.
const ROUNDS: usize = 60;
/// How soon replicas go on once Redis is back.
const BACK: Duration = Duration::from_secs(5);

pub(crate) fn suite() -> Vec<Check> {
    vec![
        ("replicas on Redis: one state", Box::new(one_state)),
        ("replicas on Redis: TLS and a socket", Box::new(ways)),
        ("replicas on Redis: races", Box::new(races)),
        ("replicas on Redis: signing keys", Box::new(rotation::check)),
        ("replicas on Redis: outages", Box::new(outages::check)),
        (
            "replicas on Redis: a long outage",
            Box::new(outages::cut_off),
        ),
        ("replicas on Redis: guesses", Box::new(guesses::check)),
        ("replicas on Redis: gateways", Box::new(gateways::check)),
        (
            "replicas on Redis: authorizers",
            Box::new(authorizers::check),
        ),
        (
            "replicas on Redis: kills",
            Box::new(|| kills(&shell::target().join("debug/sidegate"), 60).map(|_| ())),
        ),
        (
            "replicas on Redis: what Redis lost",
            Box::new(lost_and_found),
        ),
        ("replicas on Redis: a folder before", Box::new(taken_over)),
    ]
}

/// The arguments of the command: `[NAME | --logins N]`.
pub(crate) fn command(args: &[&str]) -> Result<()> {
    match args {
        [] | [_] => {
            let wanted = |name: &str| args.iter().all(|part| name.contains(part));
            for (name, check) in suite().into_iter().filter(|(name, _)| wanted(name)) {
                let began = Instant::now();
                check().with_context(|| name)?;
                println!("{name} ... ok ({} s)", began.elapsed().as_secs());
            }
            Ok(())
        }
        ["--logins", logins] => {
            let program = shell::target().join("debug/sidegate");
            println!("{}", kills(&program, logins.parse()?)?);
            Ok(())
        }
        _ => bail!("expected the name of a check, or --logins N"),
    }
}

/// Two replicas. Each has a data folder of its own.
struct Pair {
    a: String,
    b: String,
    program: PathBuf,
    folder: tempfile::TempDir,
    replicas: [Option<Provider>; 2],
}

impl Pair {
    fn start(server: &Server) -> Result<Self> {
        Self::of(&shell::target().join("debug/sidegate"), server)
    }

    fn of(program: &Path, server: &Server) -> Result<Self> {
        let mut pair = Self::prepare(program, server)?;
        pair.restart(0)?;
        pair.restart(1)?;
        Ok(pair)
    }

    /// Two that do not run yet.
    fn prepare(program: &Path, server: &Server) -> Result<Self> {
        let pair = Self {
            a: format!("127.0.0.1:{}", free_port()?),
            b: format!("127.0.0.1:{}", free_port()?),
            program: program.to_owned(),
            folder: tempfile::tempdir()?,
            replicas: [None, None],
        };
        let url = format!("{}/2", server.url());
        for index in 0..2 {
            pair.configure(index, &format!("url: \"{url}\""))?;
        }
        Ok(pair)
    }

    fn config(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("dex{index}.yaml"))
    }

    /// Writes the configuration of a replica, with these settings of Redis.
    fn configure(&self, index: usize, redis: &str) -> Result<()> {
        let storage =
            format!("storage: {{type: redis, config: {{{redis}, password: {PASSWORD}}}}}\n");
        let config = CONFIG.replace("127.0.0.1:0", &self.a) + &storage;
        Ok(std::fs::write(self.config(index), config)?)
    }

    fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("data{index}"))
    }

    /// Kills a replica, if it runs, and starts it.
    fn restart(&mut self, index: usize) -> Result<()> {
        let address = if index == 0 { &self.a } else { &self.b };
        let (config, data) = (self.config(index), self.data(index));
        let slot = self.replicas.get_mut(index).context("two replicas")?;
        drop(slot.take());
        *slot = Some(Provider::start(&self.program, &config, &data, address)?);
        Ok(())
    }

    /// A command on the data folder of a replica.
    fn command(&self, index: usize, args: &[&str], input: &str) -> Result<(bool, String)> {
        use std::io::Write as _;

        let mut child = Command::new(&self.program)
            .args(args)
            .arg("--data")
            .arg(self.data(index))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((output.status.success(), text))
    }
}

fn log_in(browser: &mut Browser, address: &str) -> Result<String> {
    browser.log_in(address).map_err(|failed| match failed {
        Failed::Cut => anyhow::anyhow!("a login was cut off"),
        Failed::Wrong(error) => error,
    })
}

fn redeem(address: &str, code: &str) -> Result<Answer> {
    token(
        address,
        &[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
        ],
    )
}

fn refresh(address: &str, refresh: &str) -> Result<Answer> {
    token(
        address,
        &[("grant_type", "refresh_token"), ("refresh_token", refresh)],
    )
}

fn tokens(answer: &Answer) -> Result<Tokens> {
    Tokens::of(answer).with_context(|| format!("no tokens: {answer:?}"))
}

fn userinfo(address: &str, tokens: &Tokens) -> Result<u16> {
    let bearer = format!("Bearer {}", tokens.access);
    let headers = [("authorization", bearer.as_str())];
    Ok(ask(address, "GET", "/dex/userinfo", &headers, "")?.status)
}

fn is_refused(answer: &Answer) -> bool {
    let json = answer.json();
    answer.status == 400 && json.get("error").and_then(Value::as_str) == Some("invalid_grant")
}

fn jwks(address: &str) -> Result<Value> {
    Ok(ask(address, "GET", "/dex/keys", &[], "")?.json())
}

/// What one replica answered counts at the other from the next request on.
fn one_state() -> Result<()> {
    let server = Server::start("always")?;
    let mut pair = Pair::start(&server)?;
    let (a, b) = (pair.a.clone(), pair.b.clone());
    ensure!(jwks(&a)? == jwks(&b)?, "both have the same keys");
    for round in 0..20 {
        let (here, there) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let mut browser = Browser::default();
        let code = log_in(&mut browser, here)?;
        let first = tokens(&redeem(there, &code)?)?;
        ensure!(userinfo(here, &first)? == 200, "a token of the other");
        let second = tokens(&refresh(here, &first.refresh)?)?;
        let third = tokens(&refresh(there, &second.refresh)?)?;
        ensure!(
            is_refused(&refresh(here, &first.refresh)?),
            "an old refresh token"
        );
        ensure!(
            is_refused(&refresh(there, &third.refresh)?),
            "a token of a family that was revoked at the other"
        );
        // A session that was begun here asks no password there, until it is ended.
        let answer = browser.get(there, &authorization())?;
        let code = param(&answer, "code").with_context(|| format!("no session: {answer:?}"))?;
        let tokens = tokens(&redeem(here, &code)?)?;
        ensure!(userinfo(there, &tokens)? == 200, "a token of the session");
        let logout = format!("/dex/logout?id_token_hint={}", encoded(&tokens.id));
        let answer = browser.get(here, &logout)?;
        ensure!(answer.status < 400, "a logout: {answer:?}");
        let answer = browser.get(there, &authorization())?;
        ensure!(
            param(&answer, "code").is_none(),
            "a session that was ended at the other"
        );
        let revoked = as_application(
            here,
            "/dex/token/revoke",
            &[("token", tokens.refresh.as_str())],
        )?;
        ensure!(revoked.status == 200, "{revoked:?}");
        ensure!(userinfo(there, &tokens)? == 401, "a revoked token");
    }
    commands(&mut pair)
}

/// One replica reaches Redis with TLS, the other by a socket; a server of another authority gets no
/// password.
fn ways() -> Result<()> {
    let server = Server::start("always")?;
    let mut pair = Pair::prepare(&shell::target().join("debug/sidegate"), &server)?;
    let tls = |authority: &str| {
        let authority = peers().join(authority);
        format!(
            "url: \"{}\", rootCA: {}",
            server.tls_url(),
            authority.display()
        )
    };
    pair.configure(0, &tls("ca.pem"))?;
    // What docs/provider.md says that a user needs.
    let may = "+@read +@write +@scripting +info +client +select +ping";
    let mut user = vec!["ACL", "SETUSER", "limited", "reset", "on", "~{sidegate:*"];
    let password = format!(">{PASSWORD}");
    user.push(&password);
    user.extend(may.split(' '));
    server.ask(&user)?;
    let socket = server.socket_url();
    pair.configure(1, &format!("url: \"{socket}\", username: limited"))?;
    pair.restart(0)?;
    pair.restart(1)?;
    let code = log_in(&mut Browser::default(), &pair.a)?;
    let held = tokens(&redeem(&pair.b, &code)?)?;
    tokens(&refresh(&pair.a, &held.refresh)?)?;
    pair.configure(0, &tls("other.pem"))?;
    let refused = pair.restart(0).err().map(|error| format!("{error:#}"));
    ensure!(
        refused
            .as_ref()
            .is_some_and(|text| text.contains("certificate")),
        "a server of another authority: {refused:?}"
    );
    Ok(())
}

/// What `sidegate user` does at one replica counts at the other at once.
fn commands(pair: &mut Pair) -> Result<()> {
    let (a, b) = (pair.a.clone(), pair.b.clone());
    let (user, password) = ("new@example.com", "three green doors open");
    let add = ["user", "add", user, "--password-stdin"];
    let (done, text) = pair.command(0, &add, password)?;
    ensure!(done, "{text}");
    let mut browser = Browser::default();
    let code = browser.log_in_as(&b, user, password);
    let code = code.map_err(|_| anyhow::anyhow!("a user who was added at the other"))?;
    let theirs = tokens(&redeem(&a, &code)?)?;
    let (done, text) = pair.command(1, &["user", "disable", user], "")?;
    ensure!(done, "{text}");
    ensure!(
        userinfo(&a, &theirs)? == 401,
        "a token of a disabled person"
    );
    let (done, text) = pair.command(0, &["user", "list"], "")?;
    ensure!(done && text.contains("disabled"), "{text}");
    // A backup is of what all have, in the form of a data folder.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("provider.redb");
    let path = file.display().to_string();
    let (done, text) = pair.command(1, &["backup", &path], "")?;
    ensure!(done, "{text}");
    let list = Command::new(&pair.program)
        .args(["user", "list", "--data"])
        .arg(folder.path())
        .output()?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    ensure!(list.contains(user), "{list}");
    // Without the program a command does not take the folder for the state.
    if let Some(slot) = pair.replicas.get_mut(1) {
        drop(slot.take());
    }
    let (done, text) = pair.command(1, &["user", "list"], "")?;
    ensure!(!done && text.contains("are in Redis at"), "{text}");
    Ok(())
}

/// Asks both at the same moment.
fn both<T: Send>(pair: &Pair, ask: impl Fn(&str) -> Result<T> + Sync) -> Result<(T, T)> {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let at = |address| {
            let (barrier, ask) = (&barrier, &ask);
            scope.spawn(move || {
                barrier.wait();
                ask(address)
            })
        };
        let (here, there) = (at(&pair.a), at(&pair.b));
        let ended = |_| anyhow::anyhow!("a thread ended early");
        Ok((here.join().map_err(ended)??, there.join().map_err(ended)??))
    })
}

/// Of two replicas one takes a code; both make the same of a refresh token.
fn races() -> Result<()> {
    let server = Server::start("always")?;
    let pair = Pair::start(&server)?;
    let mut won = [0, 0];
    for _ in 0..ROUNDS {
        let code = log_in(&mut Browser::default(), &pair.a)?;
        let (here, there) = both(&pair, |address| redeem(address, &code))?;
        let (winner, loser) = match (here.status, there.status) {
            (200, 400) => (here, there),
            (400, 200) => (there, here),
            _ => bail!("a code at two replicas: {here:?} {there:?}"),
        };
        ensure!(is_refused(&loser), "{loser:?}");
        // It came twice: what the first gave is revoked.
        let given = tokens(&winner)?;
        ensure!(
            is_refused(&refresh(&pair.a, &given.refresh)?),
            "a family whose code came twice"
        );

        let code = log_in(&mut Browser::default(), &pair.b)?;
        let first = tokens(&redeem(&pair.b, &code)?)?;
        let (here, there) = both(&pair, |address| refresh(address, &first.refresh))?;
        let (here, there) = (tokens(&here)?, tokens(&there)?);
        ensure!(here.refresh == there.refresh, "one token became two");
        let (here, there) = both(&pair, |address| {
            as_application(
                address,
                "/dex/token/revoke",
                &[("token", here.refresh.as_str())],
            )
        })?;
        ensure!(here.status == 200 && there.status == 200, "{here:?}");
        won[0] += 1;
        won[1] += 1;
    }
    ensure!(won == [ROUNDS, ROUNDS], "{won:?}");
    Ok(())
}

/// People log in at two replicas while these and Redis are killed: nothing that was answered is
/// lost, nothing that was used is taken again.
fn kills(program: &Path, logins: u64) -> Result<String> {
    let began = Instant::now();
    let mut server = Server::start("always")?;
    let mut pair = Pair::of(program, &server)?;
    let world = World::new(vec![pair.a.clone(), pair.b.clone()], logins);
    world.storm(1, |random| match random % 3 {
        0 => server.restart(),
        1 => pair.restart(0),
        _ => pair.restart(1),
    })?;
    Ok(told(&world, began.elapsed()))
}

/// What a provider had in its data folder goes on in Redis.
fn taken_over() -> Result<()> {
    let server = Server::start("always")?;
    let program = shell::target().join("debug/sidegate");
    let mut pair = Pair::prepare(&program, &server)?;
    let alone = pair.folder.path().join("alone.yaml");
    std::fs::write(&alone, CONFIG.replace("127.0.0.1:0", &pair.a))?;
    let provider = Provider::start(&program, &alone, &pair.data(0), &pair.a)?;
    let mut browser = Browser::default();
    let code = log_in(&mut browser, &pair.a)?;
    let held = tokens(&redeem(&pair.a, &code)?)?;
    drop(provider);
    pair.restart(0)?;
    pair.restart(1)?;
    ensure!(!pair.data(0).join("provider.redb").exists(), "a file left");
    ensure!(userinfo(&pair.b, &held)? == 200, "a token of before");
    tokens(&refresh(&pair.b, &held.refresh)?)?;
    let answer = browser.get(&pair.b, &authorization())?;
    ensure!(param(&answer, "code").is_some(), "a session of before");
    Ok(())
}

/// A Redis that lost the last of what it acknowledged gets it back; one that lost everything is not
/// taken for a new one.
fn lost_and_found() -> Result<()> {
    let server = Server::start("no")?;
    let pair = Pair::start(&server)?;
    let code = log_in(&mut Browser::default(), &pair.a)?;
    let old = tokens(&redeem(&pair.a, &code)?)?;
    let state = server.copy()?;
    let new = tokens(&refresh(&pair.a, &old.refresh)?)?;
    let newest = tokens(&refresh(&pair.a, &new.refresh)?)?;
    let server = server.roll_back(&state)?;
    let back = |address: &str| -> Result<()> {
        let began = Instant::now();
        loop {
            let answer = refresh(address, &newest.refresh)?;
            if answer.status != 503 {
                tokens(&answer)?;
                return Ok(());
            }
            ensure!(began.elapsed() < BACK, "Redis is back: {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    back(&pair.a)?;
    back(&pair.b)?;
    ensure!(
        is_refused(&refresh(&pair.b, &old.refresh)?),
        "a token that was used before Redis lost that"
    );
    // All is gone: nobody begins anew beneath replicas that know better.
    server.ask(&["FLUSHALL"])?;
    let began = Instant::now();
    loop {
        let answer = ask(&pair.a, "GET", &authorization(), &[], "")?;
        if answer.status == 503 {
            break;
        }
        ensure!(began.elapsed() < BACK, "an emptied Redis: {answer:?}");
    }
    Ok(())
}
