//! The seed's cluster on Istio and Envoy: what the published fix lets through
//! really gets through, and the proposed one closes it there too.

use anyhow::{Context as _, Result, anyhow, bail};
use policy::{Entrance, Settings, Snapshot};
use resources::File;
use resources::mesh::Normalization;
use verify::{Claim, Finding, Means};

use super::compare;
use super::decided::Decider;
use super::fixtures::sent;
use super::folder::{layers, request, world};
use super::install;
use super::run::{Job, Oracle};
use super::world::{Observed, Sent};
use crate::shell;

/// A request, its port, and the status with the published and with the
/// proposed fix.
type Row = (&'static str, u16, u16, u16);

const KNOWN: [Row; 7] = [
    (
        "POST http://sklearn-iris.kserve-test.svc.cluster.local/v1/models/sklearn-iris:predict",
        8081,
        200,
        200,
    ),
    (
        "POST http://sklearn-iris.kserve-test.svc.cluster.local/v2/models/sklearn-iris/infer",
        8081,
        302,
        200,
    ),
    ("GET http://dashboard.example.com/", 8080, 302, 302),
    (
        "GET http://dashboard.example.com/v1anything",
        8080,
        200,
        302,
    ),
    (
        "GET http://dashboard.example.com/v1/..%2fpipeline",
        8080,
        200,
        302,
    ),
    (
        "GET http://dashboard.example.com/v1/../pipeline",
        8080,
        302,
        302,
    ),
    ("GET http://dashboard.example.com//v1/x", 8080, 302, 302),
];

pub(crate) fn run() -> Result<()> {
    let seed = shell::root().join("examples/seed");
    let published = layers(&[seed.join("blog-fix")])?;
    let snapshot = compile(&published)?;
    let holes = verify::verify(&snapshot).findings;
    if holes.is_empty() {
        bail!("verify finds nothing: expected the holes of the published fix");
    }
    let (proposed, yaml) = with_proposal(&published, &snapshot)?;

    let mut requests = Vec::new();
    for (line, port, ..) in KNOWN {
        requests.push(request(line, port)?);
    }
    for hole in &holes {
        let asked = sent(&hole.witness.head, &[8080, 8081]);
        // As a backend reads it that decodes slashes.
        let path = policy::normalise(
            &hole.witness.head.path,
            Normalization::DecodeAndMergeSlashes,
        );
        let read = Sent {
            target: path.unwrap_or_else(|_| asked.target.clone()),
            ..asked.clone()
        };
        requests.extend([asked, read]);
    }
    let jobs = [&published, &proposed]
        .into_iter()
        .map(|layers| {
            Ok(Job {
                world: world(layers)?,
                requests: requests.clone(),
            })
        })
        .collect::<Result<Vec<Job>>>()?;
    let mut answers = Vec::new();
    for outcome in Oracle::new(install::programs()?)?.run(&jobs)? {
        answers.push(
            outcome
                .answers
                .map_err(|why| anyhow!("Istio and Envoy do not serve it: {why}"))?,
        );
    }
    let [before, after] = answers.as_slice() else {
        bail!("expected the answers of two clusters");
    };

    let mut wrong = 0;
    for (job, answers) in jobs.iter().zip([before, after]) {
        wrong += differences(job, answers)?;
    }
    let pairs: Vec<(&Observed, &Observed)> = before.iter().zip(after).collect();
    for ((line, port, published, proposed), (before, after)) in KNOWN.iter().zip(&pairs) {
        let agrees = before.status == Some(*published) && after.status == Some(*proposed);
        wrong += usize::from(!agrees);
        println!(
            "{} {line} (port {port}): published fix {:?}, proposed {:?}",
            if agrees { "agrees " } else { "DIFFERS" },
            before.status,
            after.status
        );
    }
    let asked = pairs.get(KNOWN.len()..).unwrap_or_default();
    for (hole, answers) in holes.iter().zip(asked.chunks(2)) {
        let [(before, after), (before_read, after_read)] = answers else {
            bail!("expected two answers for each hole");
        };
        let broken = (
            breaks(&hole.claim, before, before_read),
            breaks(&hole.claim, after, after_read),
        );
        let word = match broken {
            (true, false) => "closed ",
            (false, _) => "NO HOLE",
            (true, true) => "OPEN   ",
        };
        wrong += usize::from(word != "closed ");
        println!(
            "{word} {}: {} (published fix {:?}, proposed {:?})",
            hole.claim.id(),
            hole.witness.curl(base(hole)),
            before.status,
            after.status
        );
    }
    if wrong > 0 {
        println!("{yaml}");
        bail!("{wrong} answers differ");
    }
    println!(
        "{} requests that verify found get through the published fix and not through the proposed one",
        holes.len()
    );
    Ok(())
}

fn compile(layers: &[Vec<File>]) -> Result<Snapshot> {
    let cluster = resources::parse_layers(layers).map_err(|errors| anyhow!("{errors}"))?;
    Snapshot::compile(&cluster, &Settings::default()).map_err(|problems| anyhow!("{problems:?}"))
}

/// What `sidegate fix --means istio` proposes, on top.
fn with_proposal(layers: &[Vec<File>], snapshot: &Snapshot) -> Result<(Vec<Vec<File>>, String)> {
    let on_top = |yaml: &str| {
        let mut layers = layers.to_vec();
        layers.push(vec![("fix.yaml".into(), yaml.to_owned())]);
        layers
    };
    let cluster = resources::parse_layers(layers).map_err(|errors| anyhow!("{errors}"))?;
    let proposals = verify::fix(&cluster, snapshot, &verify::Asked::default(), |yaml| {
        compile(&on_top(yaml)).ok()
    });
    let proposal = proposals
        .into_iter()
        .find(|proposal| proposal.means == Means::Istio)
        .context("fix proposes nothing with Istio's means")?;
    if !proposal.is_complete() {
        bail!("fix is not complete: {}", proposal.yaml);
    }
    Ok((on_top(&proposal.yaml), proposal.yaml))
}

fn base(hole: &Finding) -> &'static str {
    match hole.witness.head.entrance {
        Entrance::Local => "http://127.0.0.1:8081",
        _ => "http://127.0.0.1:8080",
    }
}

/// Whether an answer is what a claim says does not happen; `read` is the answer
/// to the path as a backend reads it.
fn breaks(claim: &Claim, answer: &Observed, read: &Observed) -> bool {
    let sent_away = matches!(answer.status, Some(302 | 303 | 307 | 401 | 403));
    match claim {
        Claim::PlatformNeedsLogin | Claim::NoForgedIdentity | Claim::ModelsClosedOutside => {
            answer.upstream.is_some()
        }
        Claim::ModelsAnswerWorkloads | Claim::ForeignUntouched | Claim::LoginReachable => sent_away,
        Claim::ProbesAnswered => matches!(answer.status, Some(404 | 503)),
        Claim::OneReading => answer.upstream.is_some() && read.upstream.is_none(),
        // The seed is asked the built-in claims alone.
        Claim::Intent(_) => false,
    }
}

/// How many answers are decided otherwise.
fn differences(job: &Job, answers: &[Observed]) -> Result<usize> {
    let decider = Decider::new(&job.world).map_err(|why| anyhow!("{why}"))?;
    let mut count = 0;
    for (sent, envoy) in job.requests.iter().zip(answers) {
        let ours = decider.observe(sent).map_err(|why| anyhow!("{why}"))?;
        if let Some(what) = compare::difference(envoy, &ours) {
            println!("DIFFERS {} {} ({what})", sent.method, sent.target);
            count += 1;
        }
    }
    Ok(count)
}
