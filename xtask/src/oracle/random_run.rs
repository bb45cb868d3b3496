//! Random clusters × random requests, and what was found.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};

use super::arguments::Plan;
use super::compare;
use super::decided::Decider;
use super::install;
use super::random;
use super::run::{BATCH, Job, Oracle, Outcome};
use super::shrink::{Disagreement, shrink};
use super::{cases, world::Observed};

#[derive(Default)]
struct Tally {
    clusters: u64,
    requests: u64,
    agreed: u64,
    differed: u64,
    /// Not compared, by reason.
    open: BTreeMap<String, u64>,
    /// Objects that Istio's validation refuses and that were loaded all the same.
    rejected: u64,
    /// What the requests met, so that a run that only sees 404s is noticed.
    met: BTreeMap<&'static str, u64>,
    checked: u64,
    /// How many disagreements of every kind, and the first with its cluster.
    found: BTreeMap<String, (u64, u64, Disagreement)>,
}

pub(crate) fn run(plan: &Plan) -> Result<()> {
    let mut oracle = Oracle::new(install::programs()?)?;
    let mut failed = 0;
    for seed in &plan.seeds {
        let start = Instant::now();
        let tally = one_seed(&mut oracle, plan, *seed)?;
        report(&tally, *seed, start.elapsed().as_secs());
        failed += tally.differed;
        for (count, cluster, first) in tally.found.values() {
            println!("{count} × {} (first in cluster {cluster})", first.what);
        }
        let found = tally.found.into_values();
        for (count, _, disagreement) in found.take(plan.find) {
            println!("\n# {count} like this: {}", disagreement.what);
            let small = shrink(&mut oracle, disagreement)?;
            println!("# {}", small.what);
            println!("{}", cases::write("found", &small.job, &small.envoy));
        }
    }
    if failed > 0 {
        bail!("{failed} requests are decided otherwise than by Istio and Envoy");
    }
    Ok(())
}

fn one_seed(oracle: &mut Oracle, plan: &Plan, seed: u64) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut number = plan.from;
    let end = plan.from + plan.clusters;
    while number < end {
        let until = end.min(number + u64::try_from(BATCH)?);
        let jobs: Vec<Job> = (number..until)
            .map(|number| random::job(seed, number, plan.requests, &plan.features))
            .collect();
        let mut outcomes = oracle.run(&jobs)?;
        confirm(oracle, &jobs, &mut outcomes)?;
        for ((job, outcome), number) in jobs.iter().zip(outcomes).zip(number..) {
            tally.add(number, job, outcome);
        }
        number = until;
        eprintln!(
            "seed {seed}: {} of {} clusters, {} requests agree, {} differ",
            number - plan.from,
            plan.clusters,
            tally.agreed,
            tally.differed
        );
    }
    Ok(tally)
}

/// Asks Envoy again where it seems to differ: a machine under load may have
/// closed a connection.
fn confirm(oracle: &mut Oracle, jobs: &[Job], outcomes: &mut [Outcome]) -> Result<()> {
    let pairs = jobs.iter().zip(outcomes);
    let (again, doubtful): (Vec<Job>, Vec<&mut Outcome>) = pairs
        .filter(|(job, outcome)| differs(job, outcome))
        .map(|(job, outcome)| (job.clone(), outcome))
        .unzip();
    for (outcome, anew) in doubtful.into_iter().zip(oracle.run(&again)?) {
        *outcome = anew;
    }
    Ok(())
}

fn differs(job: &Job, outcome: &Outcome) -> bool {
    let (Ok(answers), Ok(decider)) = (&outcome.answers, Decider::new(&job.world)) else {
        return false;
    };
    job.requests.iter().zip(answers).any(|(sent, envoy)| {
        let ours = decider.observe(sent);
        ours.is_ok_and(|ours| compare::difference(envoy, &ours).is_some())
    })
}

impl Tally {
    fn add(&mut self, number: u64, job: &Job, outcome: Outcome) {
        self.clusters += 1;
        let rejected = outcome.rejected.len();
        self.rejected += u64::try_from(rejected).unwrap_or(0);
        let answers = match outcome.answers {
            Ok(answers) => answers,
            Err(why) => {
                let why = format!("cluster {number} is not served: {why}");
                return self.open(why, job.requests.len());
            }
        };
        let decider = match Decider::new(&job.world) {
            Ok(decider) => decider,
            Err(why) => return self.open(format!("cluster {number}: {why}"), job.requests.len()),
        };
        for (sent, envoy) in job.requests.iter().zip(answers) {
            self.requests += 1;
            let ours = match decider.observe(sent) {
                Ok(ours) => ours,
                Err(why) => {
                    self.open(why, 1);
                    continue;
                }
            };
            *self.met.entry(met(&envoy)).or_default() += 1;
            self.checked += u64::from(!envoy.checks.is_empty());
            match compare::difference(&envoy, &ours) {
                None => self.agreed += 1,
                Some(what) => {
                    self.differed += 1;
                    let job = Job {
                        world: job.world.clone(),
                        requests: vec![sent.clone()],
                    };
                    let kind = compare::kind(&what);
                    let first = Disagreement {
                        job,
                        envoy,
                        what,
                        rejected,
                    };
                    self.found.entry(kind).or_insert((0, number, first)).0 += 1;
                }
            }
        }
    }

    fn open(&mut self, why: String, requests: usize) {
        let why = why.chars().take(300).collect();
        *self.open.entry(why).or_default() += u64::try_from(requests).unwrap_or(0);
    }
}

fn met(envoy: &Observed) -> &'static str {
    match envoy.status {
        None => "closed",
        Some(200) if envoy.upstream.is_some() => "reached",
        Some(400) => "400",
        Some(403) => "403",
        Some(404) => "404",
        Some(300..400) => "3xx",
        Some(_) => "other",
    }
}

fn report(tally: &Tally, seed: u64, seconds: u64) {
    let met: Vec<String> = tally
        .met
        .iter()
        .map(|(what, n)| format!("{what} {n}"))
        .collect();
    println!(
        "seed {seed}: {} clusters, {} requests in {seconds} s: {} agree, {} differ; met: {}; with a check {}; objects that validation refuses {}",
        tally.clusters,
        tally.requests,
        tally.agreed,
        tally.differed,
        met.join(", "),
        tally.checked,
        tally.rejected,
    );
    for (why, count) in &tally.open {
        println!("  not compared {count}: {why}");
    }
    let open: u64 = tally.open.values().sum();
    println!(
        "| {seed} | {} | {} | {} | {} | {open} |",
        tally.clusters, tally.requests, tally.agreed, tally.differed
    );
}
