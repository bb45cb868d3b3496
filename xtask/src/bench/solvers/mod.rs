//! `cargo xtask bench solvers`: one question put to `verify`, z3 and cvc5, from
//! the same policy views: is there a request that reaches a Service without a
//! login or a denial? Another answer than ours is an error.

mod ask;
mod smt;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policy::{
    Answers, Destination, Entrance, ListenerView, NoTrace, RequestHead, Scheme, Settings, Snapshot,
};
use resources::{Cluster, ServiceName};
use testkit::Synthetic;
use verify::{Asked, Claim, Intent, Verdict};

use super::{Length, Scratch, report};
use crate::shell;
use ask::{Answer, Solver};

/// How much is asked, of clusters of which sizes.
#[derive(Clone, Debug)]
struct Plan {
    /// Policies, and as many routes.
    sizes: [usize; 3],
    seeds: RangeInclusive<u64>,
    /// Questions of a cluster with a witness, and as many without one.
    of_a_kind: usize,
    /// What a solver has for one question.
    limit: Duration,
    /// What a solver has for all questions of a size: after that it is not
    /// asked.
    of_a_size: Duration,
}

const FULL: Plan = Plan {
    sizes: [10, 30, 100],
    seeds: 1..=3,
    of_a_kind: 2,
    limit: Duration::from_secs(10),
    of_a_size: Duration::from_secs(30),
};

/// What a test run asks.
const SMALL: Plan = Plan {
    sizes: FULL.sizes,
    seeds: 2..=2,
    of_a_kind: 1,
    limit: Duration::from_secs(5),
    of_a_size: Duration::from_secs(5),
};

/// Who is outside: requests of nobody, on the listener of the Gateway `outside`.
const ENTRANCES: &str = "
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec: {mode: as-written, entrances: {external: istio-system/outside, local: istio-system/inside}}
";

/// What is in a cluster.
#[derive(Clone, Copy, Debug)]
enum Mix {
    /// A fifth as many hosts as routes, some by their ends, and rules for all
    /// hosts: nearly every Service has a witness.
    Open,
    /// Half as many hosts, each written out, and rules for one host each: many a
    /// Service has no ALLOW rule that speaks of it.
    Closed,
}

impl Mix {
    const ALL: [Self; 2] = [Self::Closed, Self::Open];

    fn of(self, size: usize) -> Synthetic {
        let all = Synthetic::default();
        match self {
            Self::Open => Synthetic {
                hosts: size / 5,
                percent_wildcard: 20,
                ..all
            },
            Self::Closed => Synthetic {
                hosts: size / 2,
                percent_without_host: 0,
                percent_wildcard: 0,
                ..all
            },
        }
    }
}

/// A cluster that questions are about.
struct World {
    cluster: Cluster,
    snapshot: Snapshot,
}

/// How long each needed.
#[derive(Debug)]
struct Times {
    witness: bool,
    ours: Duration,
    theirs: Vec<Reply>,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    After(Duration),
    NotInTime,
    NotAsked,
}

/// The questions of a size, answered.
type Row = (usize, Vec<Times>);

/// Asks everything, prints the table and, in full length, writes it down. A few
/// questions, as a test run asks them, have to be answered: with and without a
/// witness at each size, and some by each solver.
pub(crate) fn run(length: Length) -> Result<()> {
    let plan = match length {
        Length::Full => FULL,
        Length::Quick => SMALL,
    };
    let solvers = ask::solvers()?;
    let rows = plan.ask(&solvers)?;
    let table = table(&plan, &rows, &solvers);
    println!("{table}");
    match length {
        Length::Full => {
            report::write_section(&shell::root().join("docs/benchmarks.md"), "solvers", &table)
        }
        Length::Quick => tells(&rows, &solvers.map(|solver| solver.name)),
    }
}

/// Whether a comparison says anything: at each size a question of each kind was
/// answered by a solver, and each solver answered one.
fn tells(rows: &[Row], solvers: &[&str]) -> Result<()> {
    let is_answer = |reply: &Reply| matches!(reply, Reply::After(_));
    for (size, row) in rows {
        for witness in [true, false] {
            let mut of_kind = row.iter().filter(|times| times.witness == witness);
            if !of_kind.any(|times| times.theirs.iter().any(is_answer)) {
                let kind = if witness { "with" } else { "without" };
                bail!("{size} policies: no solver answered a question {kind} a witness");
            }
        }
    }
    for (number, name) in solvers.iter().enumerate() {
        let mut all = rows.iter().flat_map(|(_, row)| row);
        if !all.any(|times| times.theirs.get(number).is_some_and(is_answer)) {
            bail!("{name} answered nothing in its time");
        }
    }
    Ok(())
}

impl Plan {
    /// What each size has clusters of.
    fn clusters(&self) -> impl Iterator<Item = (Mix, u64)> {
        let mixes = Mix::ALL.into_iter();
        mixes.flat_map(|mix| self.seeds.clone().map(move |seed| (mix, seed)))
    }

    fn ask(&self, solvers: &[Solver]) -> Result<Vec<Row>> {
        let scratch = Scratch::new()?;
        let file = scratch.path().join("question.smt2");
        let mut rows = Vec::new();
        for size in self.sizes {
            let mut spent = vec![Duration::ZERO; solvers.len()];
            let mut row = Vec::new();
            for (mix, seed) in self.clusters() {
                let world = World::new(size, mix, seed)?;
                for (service, witness) in world.services(self.of_a_kind)? {
                    let solvers = solvers.iter().zip(&mut spent);
                    let times = world
                        .compare(self, &service, witness, solvers, &file)
                        .with_context(|| {
                            format!("{size} policies, {mix:?}, seed {seed}, Service {service}")
                        })?;
                    eprintln!("{size} policies, {mix:?}, seed {seed}, {service}: {times:?}");
                    row.push(times);
                }
            }
            rows.push((size, row));
        }
        Ok(rows)
    }
}

impl World {
    fn new(size: usize, mix: Mix, seed: u64) -> Result<Self> {
        let synthetic = Synthetic {
            routes: size,
            policies: size,
            seed,
            ..mix.of(size)
        };
        Self::of(&format!("{}{ENTRANCES}", synthetic.yaml()))
    }

    fn of(yaml: &str) -> Result<Self> {
        let files = [vec![("synthetic.yaml".into(), yaml.to_owned())]];
        let cluster = resources::parse_layers(&files).map_err(|errors| anyhow!("{errors}"))?;
        let snapshot = Snapshot::compile(&cluster, &Settings::default())
            .map_err(|problems| anyhow!("{problems:?}"))?;
        Ok(Self { cluster, snapshot })
    }

    /// Services to ask about, with our answer: of each answer as many.
    fn services(&self, many: usize) -> Result<Vec<(ServiceName, bool)>> {
        let mut found = BTreeMap::from([(true, Vec::new()), (false, Vec::new())]);
        for route in self.cluster.virtual_services.iter() {
            let service = ServiceName {
                namespace: route.meta.namespace.as_str().into(),
                name: route.meta.name.as_str().into(),
            };
            let witness = self.ours(&service)?;
            let of_a_kind = found.entry(witness).or_default();
            if of_a_kind.len() < many {
                of_a_kind.push((service, witness));
            }
            if found.values().all(|of_a_kind| of_a_kind.len() == many) {
                break;
            }
        }
        Ok(found.into_values().flatten().collect())
    }

    /// Whether `verify` finds a request that gets through.
    fn ours(&self, service: &ServiceName) -> Result<bool> {
        let text = format!("- {{from: outside, to: {{service: {service}}}, expect: deny}}");
        let statements = resources::parse_statements(&"intents.yaml".into(), &text)
            .map_err(|errors| anyhow!("{errors}"))?;
        let asked = Asked {
            intents: Intent::resolve(&self.cluster, &statements.intents),
            ..Asked::default()
        };
        let report = verify::verify_with(&self.snapshot, &asked);
        let intent = report.claims.iter().find(|c| matches!(c, Claim::Intent(_)));
        match report.verdict(intent.context("the intent is not among the claims")?) {
            Verdict::Holds => Ok(false),
            Verdict::Violated => Ok(true),
            other => bail!("{other:?}: {:?} {:?}", report.undecided, report.vacuous),
        }
    }

    fn listener(&self) -> Result<ListenerView<'_>> {
        let mut all = self.snapshot.listeners();
        all.find(|listener| listener.entrance() == Some(Entrance::External))
            .context("there is no listener of the external entrance")
    }

    /// Puts the question to everybody who has time left; another answer than ours
    /// is an error.
    fn compare<'s>(
        &self,
        plan: &Plan,
        service: &ServiceName,
        witness: bool,
        solvers: impl Iterator<Item = (&'s Solver, &'s mut Duration)>,
        file: &Path,
    ) -> Result<Times> {
        let start = Instant::now();
        if self.ours(service)? != witness {
            bail!("verify answers the same question in two ways");
        }
        let ours = start.elapsed();
        let destination = Destination::Service {
            service: service.clone(),
            port: 80,
        };
        let question = smt::question(self.listener()?, &destination)?;
        std::fs::write(file, &question.text)?;
        let mut theirs = Vec::new();
        for (solver, spent) in solvers {
            if *spent > plan.of_a_size {
                theirs.push(Reply::NotAsked);
                continue;
            }
            let (answer, took) = solver.ask(file, plan.limit)?;
            *spent += took;
            theirs.push(match answer {
                Answer::Unknown => Reply::NotInTime,
                _ => Reply::After(took),
            });
            self.agrees(&answer, witness, &destination, &question.headers)
                .with_context(|| format!("{}, asked:\n{}", solver.name, question.text))?;
        }
        Ok(Times {
            witness,
            ours,
            theirs,
        })
    }

    /// A solver's answer is ours, and its model gets through.
    fn agrees(
        &self,
        answer: &Answer,
        witness: bool,
        to: &Destination,
        headers: &[String],
    ) -> Result<()> {
        match answer {
            Answer::Unknown => Ok(()),
            Answer::Unsat if witness => bail!("no request gets through; verify shows one"),
            Answer::Unsat => Ok(()),
            Answer::Sat(model) => {
                let head = request(model, headers)?;
                let verdict = policy::decide(&self.snapshot, &head, &Answers::new(), &mut NoTrace);
                let reaches = matches!(&verdict, policy::Verdict::Permit(permit)
                    if permit.destination() == to);
                if !reaches {
                    bail!("its request does not get through: {model:?}: {verdict:?}");
                }
                if !witness {
                    bail!("its request gets through, which verify rules out: {model:?}");
                }
                Ok(())
            }
        }
    }
}

/// The request that a model describes.
fn request(model: &BTreeMap<String, String>, headers: &[String]) -> Result<RequestHead> {
    let of = |name: &str| {
        let value = model.get(name).map(String::as_str);
        value.with_context(|| format!("the model has no `{name}`: {model:?}"))
    };
    let mut map = HeaderMap::new();
    for name in headers {
        if of(&format!("has {name}"))? == "true" {
            let value = of(&format!("value {name}"))?;
            map.insert(
                HeaderName::from_bytes(name.as_bytes())?,
                HeaderValue::from_str(value)?,
            );
        }
    }
    Ok(RequestHead {
        entrance: Entrance::External,
        method: Method::from_bytes(of("method")?.as_bytes())?,
        scheme: Scheme::Http,
        authority: format!("{}{}", of("host")?, of("port")?),
        path: of("path")?.to_owned(),
        query: None,
        headers: map,
        peer: SocketAddr::from(([203, 0, 113, 7], 50_000)),
        connection: policy::Connection::default(),
        workload: None,
    })
}

fn table(plan: &Plan, rows: &[Row], solvers: &[Solver]) -> String {
    let names: Vec<String> = solvers
        .iter()
        .map(|s| format!("{} {}", s.name, s.version))
        .collect();
    let mut out = format!(
        "Is there a request from outside that reaches this Service without a login or a denial? Synthetic \
         gateways of two kinds (a fifth as many hosts as routes, some named by their ends, and rules for all hosts; half as many hosts, \
         and each rule for one), {} seeds of each, at most {} Services of each answer a cluster. \
         Milliseconds of wall time, median and longest. Ours is `verify` in a development build with that one intent, which answers all \
         built-in claims too and shows a request; theirs is a process from start to end, with a limit of {} s, not begun when it had {} s for a size. \
         No answer differs from ours, and every request of theirs gets through in `decide`.\n\n\
         | policies × routes | questions with, without a witness | verify | {} |\n|---|---:|---:|---:|---:|\n",
        plan.seeds.clone().count(),
        plan.of_a_kind,
        plan.limit.as_secs(),
        plan.of_a_size.as_secs(),
        names.join(" | "),
    );
    for (size, row) in rows {
        let with = row.iter().filter(|times| times.witness).count();
        let mut cells = vec![
            format!("{size} × {size}"),
            format!("{with}, {}", row.len() - with),
            cell(row.iter().map(|times| Reply::After(times.ours))),
        ];
        for solver in 0..solvers.len() {
            let theirs = row.iter().filter_map(|times| times.theirs.get(solver));
            cells.push(cell(theirs.copied()));
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.trim_end().to_owned()
}

/// Median and longest, and how many are without an answer.
fn cell(replies: impl Iterator<Item = Reply>) -> String {
    let (mut known, mut late, mut not_asked) = (Vec::new(), 0, 0);
    for reply in replies {
        match reply {
            Reply::After(took) => known.push(took),
            Reply::NotInTime => late += 1,
            Reply::NotAsked => not_asked += 1,
        }
    }
    known.sort_unstable();
    let show = |time: Option<&Duration>| {
        time.map_or("–".to_owned(), |t| {
            format!("{:.1}", t.as_secs_f64() * 1e3)
        })
    };
    let mut out = format!(
        "{}, {}",
        show(known.get(known.len() / 2)),
        show(known.last())
    );
    if late > 0 {
        let _ = write!(out, " ({late} not in time)");
    }
    if not_asked > 0 {
        let _ = write!(out, " ({not_asked} not asked)");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(method: &str, host: &str) -> Answer {
        let values = [
            ("host", host),
            ("port", ""),
            ("path", "/hub/q0"),
            ("method", method),
            ("has x-tenant", "false"),
            ("value x-tenant", "a"),
        ];
        Answer::Sat(values.map(|(n, v)| (n.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn another_answer_than_ours_is_an_error() {
        let world = World::new(10, Mix::Open, 1).unwrap();
        let service = ServiceName {
            namespace: "team0".into(),
            name: "app0".into(),
        };
        assert!(world.ours(&service).unwrap());
        let to = Destination::Service { service, port: 80 };
        let headers = ["x-tenant".to_owned()];
        let agrees = |answer, witness| world.agrees(&answer, witness, &to, &headers);
        let through = || model("A", "app0.example.com");
        agrees(through(), true).unwrap();
        agrees(Answer::Unsat, false).unwrap();
        agrees(Answer::Unknown, true).unwrap();
        for (answer, witness, expected) in [
            (Answer::Unsat, true, "verify shows one"),
            (through(), false, "verify rules out"),
            (model("A", "app1.example.com"), true, "does not get through"),
        ] {
            let error = agrees(answer, witness).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_test_run_asks_questions_of_both_kinds_at_each_size() {
        for size in SMALL.sizes {
            let mut asked = Vec::new();
            for (mix, seed) in SMALL.clusters() {
                let world = World::new(size, mix, seed).unwrap();
                let found = world.services(SMALL.of_a_kind).unwrap();
                asked.extend(found.into_iter().map(|(_, witness)| witness));
            }
            assert!(asked.contains(&true), "{size}: {asked:?}");
            assert!(asked.contains(&false), "{size}: {asked:?}");
        }
    }

    #[test]
    fn a_comparison_that_says_nothing_is_an_error() {
        let row = |kinds: &[(bool, [bool; 2])]| -> Vec<Times> {
            let reply = |answered: bool| match answered {
                true => Reply::After(Duration::ZERO),
                false => Reply::NotInTime,
            };
            let times = |&(witness, theirs): &(bool, [bool; 2])| Times {
                witness,
                ours: Duration::ZERO,
                theirs: theirs.map(reply).to_vec(),
            };
            kinds.iter().map(times).collect()
        };
        let tells = |kinds: &[(bool, [bool; 2])]| tells(&[(10, row(kinds))], &["one", "two"]);
        tells(&[(true, [true, false]), (false, [false, true])]).unwrap();
        for (kinds, expected) in [
            (vec![(true, [true, true])], "without a witness"),
            (
                vec![(true, [false, false]), (false, [true, true])],
                "with a witness",
            ),
            (
                vec![(true, [true, false]), (false, [true, false])],
                "two answered nothing",
            ),
        ] {
            let error = tells(&kinds).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_question_is_asked_in_strings() {
        let world = World::new(10, Mix::Open, 1).unwrap();
        let service = ServiceName {
            namespace: "team0".into(),
            name: "app0".into(),
        };
        let to = Destination::Service { service, port: 80 };
        let question = smt::question(world.listener().unwrap(), &to).unwrap();
        assert_eq!(question.headers, ["x-tenant"]);
        assert!(question.text.contains("(set-logic QF_SLIA)"));
        let last = question
            .text
            .lines()
            .rfind(|line| line.starts_with("(assert"));
        assert!(
            last.unwrap()
                .starts_with("(assert (and (= host \"app0.example.com\")")
        );
    }

    #[test]
    fn what_was_not_answered_is_counted() {
        let after = Reply::After(Duration::from_millis(3));
        let of = |replies: &[Reply]| cell(replies.iter().copied());
        assert_eq!(of(&[after, Reply::NotInTime]), "3.0, 3.0 (1 not in time)");
        assert_eq!(of(&[Reply::NotAsked]), "–, – (1 not asked)");
    }
}
