//! `cargo xtask crash`: the identity provider is killed again and again while people log in and applications refresh, and after
//! each start nothing that was answered may be lost, and nothing that was used up may be taken again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::child::Running;
use crate::clients::free_port;
use crate::http::{Answer, ask};
use crate::oracle::Check;
use crate::shell;
use crate::visitor::{self, Browser, CALLBACK, CONFIG, Failed, Tokens, authorization, param};

/// Connections that log in and refresh at the same time.
const WORKERS: usize = 4;
/// Refreshes after each login.
const REFRESHES: usize = 2;
/// How long the provider runs between two kills, in milliseconds: from to.
const LIVES: (u64, u64) = (100, 1_500);
const DEADLINE: Duration = Duration::from_secs(20);

/// A short run for `cargo xtask test`.
pub(crate) fn suite() -> Vec<Check> {
    let short: Check = (
        "the identity provider, killed again and again",
        Box::new(|| {
            let program = shell::target().join("debug/sidegate");
            run(&program, 60, 1).map(|_| ())
        }),
    );
    vec![short]
}

/// The arguments of the command: `[--logins N] [--seed S] [--program FILE]`.
pub(crate) fn command(args: &[&str]) -> Result<()> {
    let (mut logins, mut seed) = (10_000, 1);
    let mut program = shell::target().join("release/sidegate");
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        let value = rest
            .next()
            .with_context(|| format!("`{option}`: expected a value"))?;
        match *option {
            "--logins" => logins = value.parse()?,
            "--seed" => seed = value.parse()?,
            "--program" => program = PathBuf::from(value),
            other => bail!("option `{other}`: expected --logins, --seed or --program"),
        }
    }
    let began = Instant::now();
    let counts = run(&program, logins, seed)?;
    println!("{}", told(&counts, began.elapsed()));
    Ok(())
}

/// What was done, in words.
pub(crate) fn told(counts: &Counts, took: Duration) -> String {
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    format!(
        "{} logins, {} refreshes, {} revocations, {} kills in {} s; after kills {} tokens, {} sessions and {} keys were there, \
         {} used or revoked ones refused, {} answers were cut off; nothing lost, nothing taken twice",
        load(&counts.logins),
        load(&counts.refreshes),
        load(&counts.revocations),
        load(&counts.kills),
        took.as_secs(),
        load(&counts.alive),
        load(&counts.sessions),
        load(&counts.keys),
        load(&counts.refused),
        load(&counts.cut),
    )
}

/// What was done and seen.
#[derive(Default)]
pub(crate) struct Counts {
    logins: AtomicU64,
    refreshes: AtomicU64,
    revocations: AtomicU64,
    kills: AtomicU64,
    alive: AtomicU64,
    sessions: AtomicU64,
    keys: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
}

fn bump(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed)
}

/// What the workers share with the one that kills.
pub(crate) struct World {
    /// Where it is asked: one after the other, where there are several.
    addresses: Vec<String>,
    turn: AtomicU64,
    logins: u64,
    pub(crate) counts: Counts,
    over: AtomicBool,
    wrong: Mutex<Option<anyhow::Error>>,
}

fn run(program: &Path, logins: u64, seed: u64) -> Result<Counts> {
    let folder = tempfile::tempdir()?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let config = folder.path().join("dex.yaml");
    std::fs::write(&config, CONFIG.replace("127.0.0.1:0", &address))?;
    let start = || Provider::start(program, &config, &folder.path().join("data"), &address);
    let world = World::new(vec![address.clone()], logins);
    let mut provider = Some(start()?);
    world.storm(seed, |_| {
        drop(provider.take());
        provider = Some(start()?);
        Ok(())
    })?;
    Ok(world.counts)
}

impl World {
    pub(crate) fn new(addresses: Vec<String>, logins: u64) -> Self {
        Self {
            addresses,
            turn: AtomicU64::new(0),
            logins,
            counts: Counts::default(),
            over: AtomicBool::new(false),
            wrong: Mutex::new(None),
        }
    }

    /// Lets people log in, and something die again and again meanwhile: `kill`, which brings it back
    /// and is given a random number.
    pub(crate) fn storm(&self, seed: u64, mut kill: impl FnMut(u64) -> Result<()>) -> Result<()> {
        std::thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| work(self))).collect();
            let mut random = seed;
            let outcome = loop {
                // A linear congruential generator: when it is killed should differ, nothing else.
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let life = LIVES.0 + (random >> 33) % (LIVES.1 - LIVES.0);
                std::thread::sleep(Duration::from_millis(life));
                if workers
                    .iter()
                    .all(std::thread::ScopedJoinHandle::is_finished)
                {
                    break Ok(());
                }
                bump(&self.counts.kills);
                if let Err(error) = kill(random >> 40) {
                    break Err(error.context("after a kill"));
                }
            };
            if outcome.is_err() {
                self.over.store(true, Ordering::Relaxed);
            }
            outcome
        })?;
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.take().map_or(Ok(()), Err)
    }

    /// Who is asked next.
    fn address(&self) -> &str {
        let turn = usize::try_from(bump(&self.turn)).unwrap_or(0);
        let address = self.addresses.get(turn % self.addresses.len());
        address.map_or("", String::as_str)
    }
}

/// Logs in and refreshes until all logins are done or something is wrong.
fn work(world: &World) {
    while !world.over.load(Ordering::Relaxed) && bump(&world.counts.logins) < world.logins {
        if let Err(error) = life_of_a_login(world) {
            world.over.store(true, Ordering::Relaxed);
            let mut wrong = world.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.get_or_insert(error);
        }
    }
    // Each worker counted once more than it worked.
    world.counts.logins.fetch_sub(1, Ordering::Relaxed);
}

/// One login, its tokens, and what has to hold of them however often the provider dies meanwhile.
fn life_of_a_login(world: &World) -> Result<()> {
    let (mut browser, code) = log_in(world)?;
    let redeemed = redeem(world, &code)?;
    let again = || {
        world.token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
        ])
    };
    let Some(mut tokens) = redeemed else {
        // Its answer was lost, and the code is used up: nobody has the tokens.
        return Ok(());
    };
    let mut former = Vec::new();
    for _ in 0..REFRESHES {
        let generation = world.counts.kills.load(Ordering::Relaxed);
        let answer = world.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &tokens.refresh),
        ])?;
        let next = Tokens::of(&answer)
            .with_context(|| format!("an acknowledged refresh token is not taken: {answer:?}"))?;
        bump(&world.counts.refreshes);
        if world.counts.kills.load(Ordering::Relaxed) != generation {
            bump(&world.counts.alive);
        }
        former.push(std::mem::replace(&mut tokens, next));
    }
    // The key that signed is still published.
    let answer = world.until_answered(|| ask(world.address(), "GET", "/dex/keys", &[], ""))?;
    ensure!(
        answer.text().contains(&tokens.key()?),
        "the key of a token is not published any more"
    );
    bump(&world.counts.keys);
    // The session that was begun is there: no password is asked.
    let answer = world.until_answered(|| browser.get(world.address(), &authorization()))?;
    ensure!(
        param(&answer, "code").is_some(),
        "an acknowledged session is gone: {} {:?}",
        answer.status,
        answer.header("location")
    );
    bump(&world.counts.sessions);
    // A code that was used is refused, and ends what it gave.
    let answer = again()?;
    refused(&answer, "a code was taken twice")?;
    let answer = world.token(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", &tokens.refresh),
    ])?;
    refused(&answer, "a revoked refresh token is taken")?;
    for old in &former {
        let answer = world.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &old.refresh),
        ])?;
        refused(&answer, "a used refresh token is taken")?;
        bump(&world.counts.refused);
    }
    bump(&world.counts.revocations);
    world.counts.refused.fetch_add(2, Ordering::Relaxed);
    Ok(())
}

fn refused(answer: &Answer, what: &str) -> Result<()> {
    let error = answer
        .json()
        .get("error")
        .and_then(Value::as_str)
        .map(str::to_owned);
    ensure!(
        answer.status == 400 && error.as_deref() == Some("invalid_grant"),
        "{what}: {answer:?}"
    );
    Ok(())
}

/// Logs in with the password, from the beginning as often as the provider dies.
fn log_in(world: &World) -> Result<(Browser, String)> {
    let began = Instant::now();
    loop {
        let mut browser = Browser::default();
        match browser.log_in(world.address()) {
            Ok(code) => return Ok((browser, code)),
            Err(Failed::Wrong(error)) => return Err(error),
            Err(Failed::Cut) => {
                bump(&world.counts.cut);
                ensure!(began.elapsed() < DEADLINE, "no login within {DEADLINE:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The tokens of a code; nothing if an answer was lost and the code is used up.
fn redeem(world: &World, code: &str) -> Result<Option<Tokens>> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
    ];
    let (answer, cut) = world.token_or_cut(&fields)?;
    match Tokens::of(&answer) {
        Some(tokens) => Ok(Some(tokens)),
        None if cut => {
            refused(&answer, "a code whose answer was cut off")?;
            Ok(None)
        }
        None => bail!("an acknowledged code is not taken: {answer:?}"),
    }
}

impl World {
    fn until_answered(&self, mut ask: impl FnMut() -> Result<Answer>) -> Result<Answer> {
        Ok(self.answered_or_cut(&mut ask)?.0)
    }

    /// The first answer, and whether an attempt before it was cut off.
    fn answered_or_cut(&self, ask: &mut dyn FnMut() -> Result<Answer>) -> Result<(Answer, bool)> {
        let began = Instant::now();
        let mut cut = false;
        loop {
            match ask() {
                Ok(answer) if answer.status < 500 => return Ok((answer, cut)),
                // Without what replicas share, they say so.
                Ok(answer) if answer.status == 503 && self.addresses.len() > 1 => {
                    ensure!(began.elapsed() < DEADLINE, "no answer any more: {answer:?}");
                    cut = true;
                    bump(&self.counts.cut);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(answer) => bail!("{answer:?}"),
                Err(error) if began.elapsed() > DEADLINE => {
                    return Err(error.context("no answer any more"));
                }
                Err(_) => {
                    cut = true;
                    bump(&self.counts.cut);
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    fn token(&self, fields: &[(&str, &str)]) -> Result<Answer> {
        Ok(self.token_or_cut(fields)?.0)
    }

    fn token_or_cut(&self, fields: &[(&str, &str)]) -> Result<(Answer, bool)> {
        self.answered_or_cut(&mut || visitor::token(self.address(), fields))
    }
}

/// A running provider. Dropping it kills it, with signal 9.
pub(crate) struct Provider(Running);

impl Provider {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it says where it listens.
    pub(crate) fn start(program: &Path, config: &Path, data: &Path, address: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["provider", "--listen", address, "--config"])
            .arg(config)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::null());
        let started =
            Running::until_it_says(&mut command, |line| line.contains(address).then_some(()));
        let (running, ()) = started.context("the program is built with `cargo build --release`")?;
        Ok(Self(running))
    }
}
