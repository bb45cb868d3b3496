//! `sidegate fix`: the smallest change that makes the claims hold.

use std::process::ExitCode;

use ::verify::{Means, Proposal, Verdict};
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
            Output::Text => output::data("Everything holds already, for every request.")?,
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
                .map(|p| json!({ "means": means(p.means), "complete": p.is_complete(), "yaml": p.yaml, "left": left(p) }))
                .collect();
            output::data(&serde_json::to_string_pretty(&all)?)?;
        }
        Output::Text => output::data(as_text(&proposals).trim_end())?,
    }
    let complete = proposals.iter().any(Proposal::is_complete);
    Ok(ExitCode::from(u8::from(!complete)))
}

fn means(means: Means) -> &'static str {
    match means {
        Means::Istio => "istio",
        Means::Sidegate => "sidegate",
    }
}

fn left(proposal: &Proposal) -> Vec<&str> {
    let all = proposal.report.claims.iter();
    all.filter(|c| proposal.report.verdict(c) != Verdict::Holds)
        .map(|claim| claim.statement())
        .collect()
}

fn as_text(proposals: &[Proposal]) -> String {
    let mut out = String::new();
    for proposal in proposals {
        let with = match proposal.means {
            Means::Istio => "With Istio alone",
            Means::Sidegate => "With Sidegate",
        };
        let left = left(proposal);
        if left.is_empty() {
            out.push_str(&format!(
                "# {with}: every claim holds, for every request.\n"
            ));
        } else {
            out.push_str(&format!("# {with}: not enough. These do not hold yet:\n"));
            for statement in left {
                out.push_str(&format!("#   {statement}\n"));
            }
        }
        out.push_str(&proposal.yaml);
        out.push('\n');
    }
    if out.is_empty() {
        out.push_str(
            "No change was found: there is no login service and no platform to tell apart.\n",
        );
    }
    out
}
