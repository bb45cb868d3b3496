//! The arguments of `cargo xtask oracle`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::random::Features;

const USAGE: &str = "\
expected one of
  oracle --cases FILE
  oracle --random [--clusters N] [--from N] [--requests M] [--seed S] [--features LIST] [--find N]
  oracle --dir DIR --request 'GET http://host/path' [--port 8080] …
  oracle --fixtures DIR [--requests M]
  oracle --seed
  oracle --suite";

/// What to do.
pub(crate) enum Task {
    Cases(PathBuf),
    Random(Plan),
    Folder(Folder),
    /// A folder of clusters, and requests per cluster.
    Fixtures(PathBuf, usize),
    Seed,
    /// What a test run compares.
    Suite,
}

/// A random run.
pub(crate) struct Plan {
    pub(crate) clusters: u64,
    /// The number of the first one.
    pub(crate) from: u64,
    pub(crate) requests: usize,
    pub(crate) seeds: Vec<u64>,
    pub(crate) features: Features,
    /// Disagreements that are made small.
    pub(crate) find: usize,
}

/// Manifests and requests to them.
pub(crate) struct Folder {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) requests: Vec<String>,
    pub(crate) port: u16,
}

/// A random run with that seed, or with a `fresh` one.
pub(crate) fn plan(seed: &str) -> Result<Plan> {
    let mut plan = Plan::new();
    plan.seeds.push(seed_of(seed)?);
    Ok(plan)
}

impl Plan {
    fn new() -> Self {
        Self {
            clusters: 60,
            from: 0,
            requests: 50,
            seeds: Vec::new(),
            features: Features::all(),
            find: 8,
        }
    }
}

pub(crate) fn parse(args: &[&str]) -> Result<Task> {
    let mut plan = Plan::new();
    let mut folder = Folder {
        folders: Vec::new(),
        requests: Vec::new(),
        port: 8080,
    };
    let (mut random, mut seed_example, mut cases, mut fixtures) = (false, false, None, None);
    let mut rest = args.iter().copied().peekable();
    while let Some(arg) = rest.next() {
        if arg == "--suite" {
            return Ok(Task::Suite);
        }
        if arg == "--random" {
            random = true;
            continue;
        }
        if arg == "--seed" && rest.peek().is_none_or(|next| next.starts_with("--")) {
            seed_example = true;
            continue;
        }
        let value = rest
            .next()
            .with_context(|| format!("`{arg}` needs a value: {USAGE}"))?;
        let number = || {
            value
                .parse::<u64>()
                .with_context(|| format!("`{arg} {value}`: expected a number"))
        };
        match arg {
            "--fixtures" => fixtures = Some(PathBuf::from(value)),
            "--cases" => cases = Some(PathBuf::from(value)),
            "--clusters" => plan.clusters = number()?,
            "--from" => plan.from = number()?,
            "--requests" => plan.requests = usize::try_from(number()?)?,
            "--seed" => plan.seeds.push(seed_of(value)?),
            "--features" => plan.features = Features::parse(value)?,
            "--find" => plan.find = usize::try_from(number()?)?,
            "--dir" => folder.folders.push(PathBuf::from(value)),
            "--request" => folder.requests.push(value.to_owned()),
            "--port" => folder.port = u16::try_from(number()?)?,
            _ => bail!("`{arg}` is not understood: {USAGE}"),
        }
    }
    if plan.seeds.is_empty() {
        plan.seeds.push(1);
    }
    match cases {
        Some(file) => Ok(Task::Cases(file)),
        None if random => Ok(Task::Random(plan)),
        None if fixtures.is_some() => {
            Ok(Task::Fixtures(fixtures.unwrap_or_default(), plan.requests))
        }
        None if !folder.folders.is_empty() => Ok(Task::Folder(folder)),
        None if seed_example => Ok(Task::Seed),
        None => bail!("{USAGE}"),
    }
}

fn seed_of(text: &str) -> Result<u64> {
    if text == "fresh" {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        return Ok(now.as_secs());
    }
    text.parse()
        .with_context(|| format!("`--seed {text}`: expected a number or `fresh`"))
}
