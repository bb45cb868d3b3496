//! `cargo xtask crash`: the identity provider is killed again and again while people log in, applications refresh and signing
//! keys rotate, and after each start nothing that was answered may be lost, and nothing that was used up may be taken again.

mod clock;
mod keys;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use self::clock::Clock;
use self::keys::{Look, Published};
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
/// How often key sets are looked at meanwhile.
const LOOKS: Duration = Duration::from_millis(50);
/// Looks between two jumps of the clock: from to.
const JUMPS: (u64, u64) = (1, 8);
/// How far it jumps, in minutes: from to. A key signs for 40, so that none comes and goes between two looks.
const MINUTES: (u64, u64) = (5, 39);
const DEADLINE: Duration = Duration::from_secs(20);

/// A short run for `cargo xtask test`.
pub(crate) fn suite() -> Vec<Check> {
    let short: Check = (
        "the identity provider, killed again and again",
        Box::new(|| {
            let program = shell::target().join("debug/sidegate");
            let world = run(&program, 60, 1)?;
            ensure!(world.published().rotations > 0, "no signing key rotated");
            Ok(())
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
    let world = run(&program, logins, seed)?;
    println!("{}", told(&world, began.elapsed()));
    Ok(())
}

/// What was done, in words.
pub(crate) fn told(world: &World, took: Duration) -> String {
    let counts = &world.counts;
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let seen = world.published();
    let rotated = match &world.clock {
        None => String::new(),
        Some(clock) => format!(
            " {} rotations of signing keys in {} days by their clock, {} keys forgotten;",
            seen.rotations,
            (clock.now() - clock::system()) / 86_400,
            seen.forgotten
        ),
    };
    format!(
        "{} logins, {} refreshes, {} revocations, {} kills in {} s;{rotated} after kills {} refreshed and {} sessions were there, \
         {} tokens verified by the key sets of {} looks, {} used or revoked ones refused, {} answers were cut off; nothing lost, \
         nothing taken twice",
        load(&counts.logins),
        load(&counts.refreshes),
        load(&counts.revocations),
        load(&counts.kills),
        took.as_secs(),
        load(&counts.alive),
        load(&counts.sessions),
        seen.tokens,
        load(&counts.looks),
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
    looks: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
}

fn bump(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed)
}

/// A linear congruential generator: when something happens should differ, nothing else.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.next() % (to - from)
    }
}

/// What the workers share with the one that kills.
pub(crate) struct World {
    /// Where it is asked: one after the other, where there are several.
    addresses: Vec<String>,
    turn: AtomicU64,
    logins: u64,
    /// Whose time runs ahead.
    clock: Option<Clock>,
    counts: Counts,
    /// Tokens that were given since the last look.
    given: Mutex<Vec<String>>,
    /// Kills since the last look: when it had died, and when it was to begin again.
    killed: Mutex<Vec<(u64, u64)>>,
    published: Mutex<Published>,
    over: AtomicBool,
    wrong: Mutex<Option<anyhow::Error>>,
}

fn run(program: &Path, logins: u64, seed: u64) -> Result<World> {
    let folder = tempfile::tempdir()?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let config = folder.path().join("dex.yaml");
    std::fs::write(&config, rotating(&address)?)?;
    let mut world = World::new(vec![address.clone()], logins);
    let clock = world.clock.insert(Clock::new(folder.path())?);
    let data = folder.path().join("data");
    let mut command = Provider::command(program, &config, &data, &address);
    clock.put_before(&mut command);
    let mut provider = Some(Provider::run(&mut command, &address)?);
    world.storm(seed, |_| {
        drop(provider.take());
        world.note_kill();
        provider = Some(Provider::run(&mut command, &address)?);
        Ok(())
    })?;
    Ok(world)
}

/// [`CONFIG`] with keys of two algorithms that sign as briefly as can be, and refresh tokens and sessions that outlive
/// any number of jumps of the clock in one life of a login.
fn rotating(address: &str) -> Result<String> {
    let mut config = CONFIG.replace("127.0.0.1:0", address);
    for (from, to) in [
        (
            "{id: app,",
            "{id: app, accessTokenSignedResponseAlg: ES256,",
        ),
        (
            "expiry: {refreshTokens: {reuseInterval: 10m}}",
            "expiry: {signingKeys: 40m, idTokens: 2h, refreshTokens: {reuseInterval: 720h}}",
        ),
        (
            "sessions: {",
            "sessions: {absoluteLifetime: 720h, validIfNotUsedFor: 720h, ",
        ),
    ] {
        ensure!(config.contains(from), "no `{from}` in the configuration");
        config = config.replace(from, to);
    }
    Ok(config)
}

impl World {
    pub(crate) fn new(addresses: Vec<String>, logins: u64) -> Self {
        Self {
            addresses,
            turn: AtomicU64::new(0),
            logins,
            clock: None,
            counts: Counts::default(),
            given: Mutex::default(),
            killed: Mutex::default(),
            published: Mutex::default(),
            over: AtomicBool::new(false),
            wrong: Mutex::new(None),
        }
    }

    /// Lets people log in, and something die again and again meanwhile: `kill`, which brings it back
    /// and is given a random number. Keys are looked at all the time and after each kill.
    pub(crate) fn storm(&self, seed: u64, mut kill: impl FnMut(u64) -> Result<()>) -> Result<()> {
        std::thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| work(self))).collect();
            let watching = scope.spawn(move || {
                if let Err(error) = self.watch(seed) {
                    self.fail(error);
                }
            });
            let mut random = Random(seed);
            let outcome = loop {
                std::thread::sleep(Duration::from_millis(random.between(LIVES)));
                if workers
                    .iter()
                    .all(std::thread::ScopedJoinHandle::is_finished)
                {
                    break Ok(());
                }
                bump(&self.counts.kills);
                if let Err(error) = kill(random.next()).and_then(|()| self.look()) {
                    break Err(error.context("after a kill"));
                }
            };
            // Those who watch have nothing to wait for any more, nor have workers after an error.
            self.over.store(true, Ordering::Relaxed);
            drop(watching.join());
            outcome
        })?;
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.take().map_or(Ok(()), Err)
    }

    fn fail(&self, error: anyhow::Error) {
        self.over.store(true, Ordering::Relaxed);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get_or_insert(error);
    }

    /// Looks at the keys again and again, and lets time pass between looks.
    fn watch(&self, seed: u64) -> Result<()> {
        let mut random = Random(seed ^ 0x5eed);
        loop {
            for _ in 0..random.between(JUMPS) {
                self.look()?;
                if self.over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(LOOKS);
            }
            if let Some(clock) = &self.clock {
                clock.jump(60 * random.between(MINUTES))?;
            }
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the keys: all tokens that were given before have to verify by them.
    fn look(&self) -> Result<()> {
        let mut published = self.published();
        let tokens = {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *given)
        };
        let mut sent = 0;
        let answer = self.until_answered(|| {
            sent = self.now();
            ask(self.address(), "GET", "/dex/keys", &[], "")
        })?;
        bump(&self.counts.looks);
        let mut killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        for (died, born) in killed.drain(..) {
            published.killed(died, born);
        }
        drop(killed);
        published.add(Look {
            sent,
            received: self.now(),
            set: &answer.json(),
            tokens,
        })
    }

    /// It is dead, and about to begin again: nobody else answers for it meanwhile.
    fn note_kill(&self) {
        let now = self.now();
        let mut killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        killed.push((now, now));
    }

    /// Tokens that were given, to be looked at.
    fn acknowledge(&self, tokens: &Tokens) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.extend([tokens.id.clone(), tokens.access.clone()]);
    }

    /// The time by the clock of the program.
    fn now(&self) -> u64 {
        self.clock.as_ref().map_or_else(clock::system, Clock::now)
    }

    fn jumps(&self) -> u64 {
        self.clock.as_ref().map_or(0, Clock::jumps)
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
            world.fail(error);
        }
    }
    // Each worker counted once more than it worked.
    world.counts.logins.fetch_sub(1, Ordering::Relaxed);
}

/// One login, its tokens, and what has to hold of them however often the provider dies meanwhile.
fn life_of_a_login(world: &World) -> Result<()> {
    let (mut browser, code, redeemed) = loop {
        let jumps = world.jumps();
        let (browser, code) = log_in(world)?;
        match redeem(world, &code) {
            // A code lives for a minute.
            Err(_) if world.jumps() != jumps => {}
            redeemed => break (browser, code, redeemed?),
        }
    };
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
    world.acknowledge(&tokens);
    let mut former = Vec::new();
    for _ in 0..REFRESHES {
        let generation = world.counts.kills.load(Ordering::Relaxed);
        let answer = world.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &tokens.refresh),
        ])?;
        let next = Tokens::of(&answer)
            .with_context(|| format!("an acknowledged refresh token is not taken: {answer:?}"))?;
        world.acknowledge(&next);
        bump(&world.counts.refreshes);
        if world.counts.kills.load(Ordering::Relaxed) != generation {
            bump(&world.counts.alive);
        }
        former.push(std::mem::replace(&mut tokens, next));
    }
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

    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(program: &Path, config: &Path, data: &Path, address: &str) -> Result<Self> {
        Self::run(&mut Self::command(program, config, data, address), address)
    }

    fn command(program: &Path, config: &Path, data: &Path, address: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["provider", "--listen", address, "--config"])
            .arg(config)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::null());
        command
    }

    fn run(command: &mut Command, address: &str) -> Result<Self> {
        let started = Running::until_it_says(command, |line| line.contains(address).then_some(()));
        let (running, ()) = started.context("the program is built with `cargo build --release`")?;
        Ok(Self(running))
    }
}
