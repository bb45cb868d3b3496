//! `bench authz --soak`: whether memory grows while people log in and out, keys of marks, identities and the provider
//! rotate, and files change.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::program::Program;
use super::world::{Full, Tokens, World};
use super::{Bench, Load, PREDICT};
use crate::authz::{dex_config, own_secrets, pass_key};
use crate::bench::{self, Scratch, report};
use crate::person::{HASH, Person};
use crate::relying::Provider;

/// How often what changes is changed.
const EVERY: Duration = Duration::from_secs(2);

/// How long a provider has its keys. The next one has others at the same address.
const PROVIDER: Duration = Duration::from_secs(20);

/// How soon people log in again: keys are asked for every five seconds at most.
const BACK: Duration = Duration::from_secs(15);

const ISSUER: &str = "http://dex.auth.svc.cluster.local:5556/dex";

/// By how much memory may differ between the second third and the last, for what allocators keep.
const SLACK_KIB: u64 = 2048;

#[derive(Default)]
struct Changes {
    over: AtomicBool,
    logins: AtomicU64,
    rotations: AtomicU64,
    reloads: AtomicU64,
    providers: AtomicU64,
}

/// What is written anew while the program runs.
struct Files<'a> {
    world: &'a World,
    /// Keys of marks.
    ring: &'a Path,
    /// Keys that sign who is calling.
    identities: &'a Path,
}

/// Watches it for so many minutes.
pub(crate) fn run(minutes: u64) -> Result<()> {
    ensure!(minutes > 0, "`--soak 0`: expected minutes");
    let load = super::build()?;
    let scratch = Scratch::new()?;
    let bench = Bench {
        load: &load,
        folder: scratch.path(),
        seconds: 4,
    };
    let world = World::make(&bench, &Full::no())?;
    let seed = world.files.join("cluster.yaml");
    let text = std::fs::read_to_string(&seed)?;
    std::fs::write(&seed, own_secrets(&text, HASH))?;
    let object = world.files.join("sidegate.yaml");
    let text = std::fs::read_to_string(&object)?;
    let told = text.replacen("spec:\n", "spec:\n  signedIdentity: {}\n", 1);
    ensure!(told != text, "the seed's Sidegate object has no spec");
    std::fs::write(&object, told)?;
    let address = format!("127.0.0.1:{}", crate::clients::free_port()?);
    let provider = provider(&world, &address)?;
    let ring = world.data.join("ring");
    std::fs::write(&ring, format!("{}\n", STANDARD.encode([1; 32])))?;
    let identities = world.data.join("identities.pem");
    std::fs::write(&identities, pass_key()?)?;
    let (marks, signs) = (ring.display().to_string(), identities.display().to_string());
    let arguments = [
        "--provider",
        &address,
        "--mark-keys",
        &marks,
        "--identity-keys",
        &signs,
    ];
    let program = Program::authz(&world, &arguments)?;
    let changes = Changes::default();
    let (answers, seen) = std::thread::scope(|scope| {
        let (world, program, changes, address) = (&world, &program, &changes, &address);
        let files = Files {
            world,
            ring: &ring,
            identities: &identities,
        };
        let logins = scope.spawn(move || changes.log_in_and_out(&program.checks, address));
        let files = scope.spawn(move || changes.change(&files));
        let providers = scope.spawn(move || changes.replace(provider, world, address));
        let asked = ask(&bench, world, program, minutes);
        changes.over.store(true, Ordering::Relaxed);
        for thread in [logins, files, providers] {
            let ended = thread.join();
            ended.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        asked
    })?;
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let third = seen.len() / 3;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let middle = most(seen.get(third..2 * third).unwrap_or_default());
    let last = most(seen.get(2 * third..).unwrap_or_default());
    println!(
        "{minutes} minutes, {answers:.0} checks, {} logins and logouts, {} rotations of keys for marks and identities, {} reloads, {} providers with other keys: resident {} at most in the second third, {} in the last",
        count(&changes.logins),
        count(&changes.rotations),
        count(&changes.reloads),
        count(&changes.providers),
        report::mebibytes(middle),
        report::mebibytes(last),
    );
    ensure!(last <= middle + SLACK_KIB, "memory grows: {seen:?} KiB");
    Ok(())
}

/// Asks in turn in every way; how many answers there were, and what was resident after each.
fn ask(
    bench: &Bench<'_>,
    world: &World,
    program: &Program,
    minutes: u64,
) -> Result<(f64, Vec<u64>)> {
    let began = Instant::now();
    let over_http = format!("/external{PREDICT}");
    let (mut answers, mut seen) = (0.0, Vec::new());
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        let tokens = Tokens::sign(world, 50, 500)?;
        let loads = [
            Load::session("grpc", &world.sessions),
            Load::session("http", &world.sessions),
            Load::bearer("grpc", &tokens.known, PREDICT),
            Load::bearer("http", &world.keys, &over_http),
            Load {
                once: true,
                ..Load::bearer("grpc", &tokens.fresh, PREDICT)
            },
        ];
        for load in loads {
            let seconds = if load.once { 0.0 } else { 4.0 };
            let measured = bench.ask(&load, &program.checks, program, None)?;
            answers += measured.per_second * seconds;
            seen.push(program.resident_kib()?);
        }
    }
    ensure!(seen.len() >= 6, "too short to say anything");
    Ok((answers, seen))
}

impl Changes {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn log_in_and_out(&self, authz: &str, at: &str) -> Result<()> {
        let mut began = Instant::now();
        while !self.is_over() {
            let mut person = Person::default();
            let done = person
                .log_in(authz, authz, at)
                .and_then(|()| person.log_out(authz));
            match done {
                Ok(()) => {
                    began = Instant::now();
                    self.logins.fetch_add(1, Ordering::Relaxed);
                }
                // The provider is another one since.
                Err(_) if began.elapsed() < BACK => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(EVERY / 4);
        }
        Ok(())
    }

    /// Another key for marks and another for identities, beside those of before, then another text of the same
    /// configuration.
    fn change(&self, files: &Files<'_>) -> Result<()> {
        let object = files.world.files.join("sidegate.yaml");
        let text = std::fs::read_to_string(&object)?;
        let mut signed = std::fs::read_to_string(files.identities)?;
        let mut number = 1_u8;
        while !self.is_over() {
            let before = STANDARD.encode([number; 32]);
            number = number.wrapping_add(1).max(1);
            let key = STANDARD.encode([number; 32]);
            std::fs::write(files.ring, format!("{key}\n{before}\n"))?;
            let signs = pass_key()?;
            std::fs::write(files.identities, format!("{signs}{signed}"))?;
            signed = signs;
            self.rotations.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(EVERY);
            std::fs::write(&object, format!("{text}# {number}\n"))?;
            self.reloads.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(EVERY);
        }
        Ok(())
    }

    /// A provider in the place of the other, with signing keys that nobody has seen.
    fn replace(&self, mut running: Provider, world: &World, address: &str) -> Result<()> {
        let mut began = Instant::now();
        while !self.is_over() {
            if began.elapsed() > PROVIDER {
                drop(running);
                running = provider(world, address)?;
                self.providers.fetch_add(1, Ordering::Relaxed);
                began = Instant::now();
            }
            std::thread::sleep(EVERY / 4);
        }
        drop(running);
        Ok(())
    }
}

fn provider(world: &World, address: &str) -> Result<Provider> {
    let (config, _) = dex_config(&world.files)?;
    Provider::serve_by(bench::program(), &config, &[], address, ISSUER.to_owned())
}
