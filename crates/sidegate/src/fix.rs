//! `sidegate fix`: the smallest change that makes the claims hold.

use std::collections::BTreeSet;
use std::process::ExitCode;

use ::verify::{Means, Proposal, Verdict};
use lint::{Finding, Severity};
use serde_json::json;

use crate::cli::{FixArgs, FixMeans, Output};
use crate::inputs::Inputs;
use crate::intents;
use crate::live;
use crate::output;

pub(crate) fn run(args: FixArgs) -> anyhow::Result<ExitCode> {
    let inputs = Inputs::new(args.paths, &args.cluster)?;
    let cluster = inputs.read_some()?;
    let version = args.cluster.istio_version.as_deref();
    let settings = live::settings(&cluster, version)?;
    let snapshot = live::compile(&cluster, &settings)?;
    output::progress(snapshot.route_count());
    let own = intents::of(&cluster, &intents::read(&args.own)?);
    if ::verify::verify_with(&snapshot, &own).overall() == Verdict::Holds {
        match args.output {
            Output::Json => output::data("[]")?,
            Output::Text => {
                let mut text = "Everything holds already.\n".to_owned();
                text.push_str(&beside(&lint::lint(&cluster, &snapshot)));
                output::data(text.trim_end())?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut proposals = ::verify::fix(&cluster, &snapshot, &own, |yaml| {
        let cluster = inputs.read_with(yaml).ok()?;
        let settings = live::settings(&cluster, version).ok()?;
        live::compile(&cluster, &settings).ok()
    });
    if let Some(wanted) = args.means {
        let wanted = match wanted {
            FixMeans::Istio => Means::Istio,
            FixMeans::Sidegate => Means::Sidegate,
        };
        proposals.retain(|p| p.means == wanted);
    }
    match args.output {
        Output::Json => {
            let all: Vec<_> = proposals
                .iter()
                .map(|p| {
                    json!({
                        "means": means(p.means),
                        "complete": p.is_complete(),
                        "yaml": p.yaml,
                        "left": left(p, |verdict| verdict == Verdict::Violated),
                        "undecided": left(p, is_open),
                        "reasons": reasons(p),
                    })
                })
                .collect();
            output::data(&serde_json::to_string_pretty(&all)?)?;
        }
        Output::Text => output::data(as_text(&proposals, args.means).trim_end())?,
    }
    // As `verify` would answer with the best of them.
    let verdicts = proposals.iter().map(|p| p.report.overall());
    Ok(ExitCode::from(match verdicts.min_by_key(worth) {
        Some(verdict) => crate::verify::code(verdict),
        None => 1,
    }))
}

/// What holds before what is not known before what is broken.
fn worth(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Holds => 0,
        Verdict::NotDecided | Verdict::Vacuous => 1,
        Verdict::Violated => 2,
    }
}

fn means(means: Means) -> &'static str {
    match means {
        Means::Istio => "istio",
        Means::Sidegate => "sidegate",
    }
}

/// Claims can hold because nobody gets in at all.
fn beside(lints: &[Finding]) -> String {
    let grave = lints.iter().filter(|f| f.severity == Severity::Critical);
    grave
        .map(|f| format!("But {} {}: {} ({})\n", f.severity, f.id, f.title, f.source))
        .collect()
}

fn is_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::NotDecided | Verdict::Vacuous)
}

/// The claims that come out so with the proposal.
fn left(proposal: &Proposal, which: fn(Verdict) -> bool) -> Vec<&str> {
    let all = proposal.report.claims.iter();
    all.filter(|c| which(proposal.report.verdict(c)))
        .map(|claim| claim.statement())
        .collect()
}

/// Why claims are not decided with the proposal, each reason once.
fn reasons(proposal: &Proposal) -> BTreeSet<&str> {
    let report = &proposal.report;
    let all = report.undecided.values().flatten();
    all.chain(report.vacuous.values())
        .map(String::as_str)
        .collect()
}

fn as_text(proposals: &[Proposal], wanted: Option<FixMeans>) -> String {
    if proposals.is_empty() {
        return "No change was found: there is no login service and no platform to tell apart.\n"
            .to_owned();
    }
    let mut out = String::new();
    if wanted.is_none() && proposals.iter().all(|p| p.means != Means::Istio) {
        out.push_str(
            "# With Istio alone: nothing to propose, since no login service is asked anywhere.\n\n",
        );
    }
    for proposal in proposals {
        let with = match proposal.means {
            Means::Istio => "With Istio alone",
            Means::Sidegate => "With Sidegate",
        };
        let broken = left(proposal, |verdict| verdict == Verdict::Violated);
        let open = left(proposal, is_open);
        let said = match (broken.is_empty(), open.is_empty()) {
            (true, true) => "every claim holds.",
            (true, false) => "nothing is broken, but not everything is proved.",
            (false, _) => "not enough.",
        };
        out.push_str(&format!("# {with}: {said}\n"));
        for (title, claims) in [
            ("These do not hold yet:", broken),
            ("These are not decided:", open),
            ("because of", reasons(proposal).into_iter().collect()),
        ] {
            if !claims.is_empty() {
                out.push_str(&format!("# {title}\n"));
            }
            for claim in claims {
                out.push_str(&format!("#   {}\n", claim.replace('\n', " ")));
            }
        }
        out.push_str(&proposal.yaml);
        out.push('\n');
    }
    out
}
