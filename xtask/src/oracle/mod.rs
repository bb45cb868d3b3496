//! `cargo xtask oracle`: `policy::decide` held against Istio's control plane
//! and Envoy.

mod arguments;
mod backend;
mod borders;
mod cases;
mod compare;
mod decided;
mod envoy;
mod fixtures;
mod folder;
mod golden;
mod grpc;
mod install;
mod installed;
mod istio;
mod known;
mod patterns;
mod peers;
pub(crate) mod random;
mod random_run;
mod run;
mod seed;
mod shrink;
mod tls;
mod tokens;
mod world;

use std::path::Path;

use anyhow::{Result, bail};

use self::arguments::Task;
pub(crate) use self::cases::{Case, read as read_cases};
pub(crate) use self::decided::Decider;
pub(crate) use self::envoy::Envoy;
pub(crate) use self::folder::{layers, world};
pub(crate) use self::golden::record;
pub(crate) use self::install::{envoy as envoy_program, programs};
pub(crate) use self::istio::{Istio, address, stand_apart};
pub(crate) use self::peers::{header, read_head};
use self::run::{Job, Oracle};
pub(crate) use self::world::World;

/// Runs the command.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    match arguments::parse(args)? {
        Task::Cases(file) => run_cases(&file),
        Task::Random(plan) => random_run::run(&plan),
        Task::Folder(folder) => folder::run(&folder),
        Task::Seed => seed::run(),
        Task::Suite => suite().into_iter().try_for_each(|(name, check)| {
            println!("{name}");
            check()
        }),
        Task::Fixtures(folder, requests) => fixtures::run(&folder, requests),
    }
}

/// A part of the comparison that every test run makes.
pub(crate) type Check = (&'static str, Box<dyn FnOnce() -> Result<()>>);

/// Clusters, and requests to each, of the random comparison of a test run.
const CLUSTERS: u64 = 60;
const REQUESTS: usize = 50;
/// What random clusters are made of here: everything but pods with a sidecar,
/// which are clusters of their own.
const FEATURES: &str = "-sidecars";
const PODS: u64 = 20;
const OF_PODS: &str =
    "sidecars,policies,odd-policies,templates,addresses,custom,tokens,certificates,normalization";

/// What a test run compares: minutes, not hours. The random part has a fixed
/// seed, and a fresh one that is printed first.
pub(crate) fn suite() -> Vec<Check> {
    let random = |word: &'static str, clusters: u64, features: &'static str| {
        move || {
            let mut plan = arguments::plan(word)?;
            plan.clusters = clusters;
            plan.requests = REQUESTS;
            plan.find = 2;
            plan.features = random::Features::parse(features)?;
            for seed in &plan.seeds {
                println!(
                    "random clusters: cargo xtask oracle --random --clusters {clusters} --requests {REQUESTS} --features {features} --seed {seed}"
                );
            }
            random_run::run(&plan)
        }
    };
    let mut checks: Vec<Check> = vec![
        (
            "the project's cases",
            Box::new(|| {
                crate::conformance::own()
                    .iter()
                    .try_for_each(|file| run_cases(file))
            }),
        ),
        ("the seed and its fix", Box::new(seed::run)),
        (
            "the recorded answers",
            Box::new(|| golden::record(true).map(|_| ())),
        ),
        (
            "the recorded fields",
            Box::new(|| crate::schemas::record(true).map(|_| ())),
        ),
        (
            "random clusters, the same every time",
            Box::new(random("1", CLUSTERS, FEATURES)),
        ),
        (
            "random clusters, others every time",
            Box::new(random("fresh", CLUSTERS, FEATURES)),
        ),
        (
            "random pods with a sidecar, others every time",
            Box::new(random("fresh", PODS, OF_PODS)),
        ),
    ];
    if let Some(folder) = std::env::var_os("SIDEGATE_FIXTURES") {
        let check = move || fixtures::run(Path::new(&folder), REQUESTS * 10);
        checks.push(("clusters as they are installed", Box::new(check)));
    }
    checks
}

/// Every case of a file, on Istio and Envoy and decided: a line per case.
fn run_cases(file: &Path) -> Result<()> {
    let cases = cases::read(file)?;
    let jobs: Vec<Job> = cases.iter().map(|case| case.job.clone()).collect();
    let mut oracle = Oracle::new(install::programs()?)?;
    let outcomes = oracle.run(&jobs)?;
    let (mut agree, mut differ, mut open) = (0, 0, 0);
    for (case, outcome) in cases.iter().zip(outcomes) {
        let mut words = Vec::new();
        let envoy = match &outcome.answers {
            Ok(answers) => answers.first(),
            // A listener that Envoy does not take answers nobody.
            Err(why) if why.starts_with("Envoy refuses") && case.expects_no_answer() => None,
            Err(why) => {
                words.push(format!("Envoy does not serve it: {why}"));
                None
            }
        };
        if let Some(what) = envoy.and_then(|observed| case.differs(observed)) {
            words.push(format!("Envoy: {what}"));
        }
        let decided = Decider::new(&case.job.world).and_then(|decider| {
            case.job
                .requests
                .iter()
                .map(|sent| decider.observe(sent))
                .next_back()
                .unwrap_or_else(|| Err("no request".into()))
        });
        match (&decided, envoy) {
            (Ok(ours), Some(theirs)) => {
                words.extend(compare::difference(theirs, ours));
            }
            (Ok(ours), None) => words.extend(case.differs(ours)),
            (Err(why), _) => {
                if words.is_empty() {
                    open += 1;
                    println!("not covered  {} ({why})", case.name);
                    continue;
                }
            }
        }
        if words.is_empty() {
            agree += 1;
            println!("agrees       {}", case.name);
        } else {
            differ += 1;
            println!("DIFFERS      {} ({})", case.name, words.join("; "));
        }
    }
    println!("{agree} agree, {differ} differ, {open} not covered");
    if differ > 0 {
        bail!("{differ} cases differ");
    }
    Ok(())
}
