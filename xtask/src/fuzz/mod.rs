//! `fuzz`: a seeded mutation fuzzer. The same seed makes the same inputs, so a
//! finding is named by target, seed and number, and runs again alone.

mod bytes;
mod check;
mod compat;
mod configuration;
mod cookie;
mod decide;
mod jwt;
mod ldap;
mod matchers;
mod models;
mod provider;
mod random;
mod requests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use random::Random;

/// What is thrown at what.
pub(crate) trait Target {
    /// One input. `Ok` says how it ended, for statistics.
    ///
    /// # Errors
    /// What should not be.
    fn run(&self, random: &mut Random) -> Result<&'static str, String>;

    /// The input that `run` would make, to keep it beside a finding.
    fn input(&self, random: &mut Random) -> String;
}

const TARGETS: &str = "`check`, `compat`, `configuration`, `cookie`, `decide`, `jwt`, `ldap`, `matchers`, `models`, `provider` \
     or `requests`; one reader of models, part of the provider, configuration or protocol alone as in `models/onnx`, \
     `provider/token`, `compat/alpha` or `requests/v2`";

/// How long and with what.
pub(crate) struct Options {
    minutes: u64,
    seed: u64,
    /// Only this input.
    only: Option<u64>,
}

/// An input that takes longer is a finding. Debug builds and busy machines are slow.
const SLOW: Duration = Duration::from_secs(5);

/// Runs one target.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let (name, options) = parse(args)?;
    let corpus = corpus(Path::new("."))?;
    let (target, part) = match name.split_once('/') {
        Some((target, part)) => (target, Some(part)),
        None => (name, None),
    };
    let target: Box<dyn Target> = match target {
        "models" => Box::new(models::Models::new(known(part, &models::READERS)?)?),
        "requests" => Box::new(requests::Requests::new(known(part, &requests::PROTOCOLS)?)?),
        "provider" => match known(part, &provider::PARTS)? {
            Some("configuration") => Box::new(provider::Configurations::new()?),
            part => Box::new(provider::Requests::new(part)?),
        },
        "compat" => match known(part, &compat::PARTS)? {
            Some("dex") => Box::new(provider::Configurations::new()?),
            part => Box::new(compat::Configurations::new(part)?),
        },
        _ if part.is_some() => bail!("target `{name}`: expected {TARGETS}"),
        "check" => Box::new(check::Checks::new()?),
        "cookie" => Box::new(cookie::CookieJars::new()?),
        "jwt" => Box::new(jwt::Tokens::new()?),
        "configuration" => Box::new(configuration::Configuration::new(corpus)),
        "decide" => Box::new(decide::Decide::new(&corpus)?),
        "ldap" => Box::new(ldap::Directories::new()?),
        "matchers" => Box::new(matchers::Matchers),
        other => bail!("target `{other}`: expected {TARGETS}"),
    };
    let random = |number: u64| Random::new(options.seed, number);
    if let Some(number) = options.only {
        println!("{}", target.input(&mut random(number)));
        let outcome = target.run(&mut random(number));
        println!("{outcome:?}");
        return outcome.map(|_| ()).map_err(anyhow::Error::msg);
    }
    std::panic::set_hook(Box::new(|_| {}));
    let end = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut outcomes = std::collections::BTreeMap::new();
    let mut number = 0;
    let mut slowest = (Duration::ZERO, 0);
    while Instant::now() < end {
        let run = || {
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| target.run(&mut random(number))));
            (outcome, began.elapsed())
        };
        let (mut outcome, mut took) = run();
        if took > SLOW {
            // On a busy machine a process can wait that long for its turn; not twice.
            (outcome, took) = run();
        }
        slowest = slowest.max((took, number));
        let wrong = match outcome {
            Err(panic) => Some(format!("panics: {}", words(&*panic))),
            Ok(Err(what)) => Some(what),
            Ok(Ok(_)) if took > SLOW => Some(format!("takes {took:?}")),
            Ok(Ok(how)) => {
                *outcomes.entry(how).or_insert(0_u64) += 1;
                None
            }
        };
        if let Some(what) = wrong {
            let kept = keep(name, &options, number, &target.input(&mut random(number)))?;
            bail!(
                "{what}\n  input: {}\n  again: cargo xtask fuzz {name} --seed {} --only {number}",
                kept.display(),
                options.seed
            );
        }
        number += 1;
    }
    println!(
        "{name}: seed {}, {} minutes, {number} inputs, none wrong; slowest {:?} (input {})",
        options.seed, options.minutes, slowest.0, slowest.1
    );
    for (how, count) in outcomes {
        println!("  {count:>10} {how}");
    }
    Ok(())
}

/// The part of a target that was asked for.
fn known<'a>(part: Option<&'a str>, parts: &[&str]) -> Result<Option<&'a str>> {
    match part {
        Some(part) if !parts.contains(&part) => {
            bail!("`{part}`: expected one of {}", parts.join(", "))
        }
        part => Ok(part),
    }
}

fn parse<'a>(args: &[&'a str]) -> Result<(&'a str, Options)> {
    let [name, rest @ ..] = args else {
        bail!("expected a target: {TARGETS}");
    };
    let mut options = Options {
        minutes: 1,
        seed: 1,
        only: None,
    };
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        let value = rest
            .next()
            .with_context(|| format!("`{option}`: expected a number"))?;
        let number: u64 = value
            .parse()
            .with_context(|| format!("`{option} {value}`: expected a number"))?;
        match *option {
            "--minutes" => options.minutes = number,
            "--seed" => options.seed = number,
            "--only" => options.only = Some(number),
            other => bail!("option `{other}`: expected --minutes, --seed or --only"),
        }
    }
    Ok((name, options))
}

/// The files that inputs are made of: the corpus, and the examples.
fn corpus(root: &Path) -> Result<Vec<String>> {
    let folders = ["xtask/corpus", "examples/seed", "examples/seed/blog-fix"];
    let mut files = Vec::new();
    for folder in folders {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(root.join(folder))
            .with_context(|| folder.to_owned())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
            .collect();
        paths.sort();
        for path in paths {
            files.push(std::fs::read_to_string(path)?);
        }
    }
    Ok(files)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

fn keep(name: &str, options: &Options, number: u64, input: &str) -> Result<PathBuf> {
    let folder = Path::new("target/fuzz");
    std::fs::create_dir_all(folder)?;
    let name = name.replace('/', "-");
    let path = folder.join(format!("{name}-{}-{number}.txt", options.seed));
    std::fs::write(&path, input)?;
    Ok(path)
}
