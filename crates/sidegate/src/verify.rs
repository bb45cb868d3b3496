//! `sidegate verify`: every built-in claim, proved or refuted.

use std::process::ExitCode;

use ::verify::{Claim, Finding, Report, Verdict, Witness};
use policy::{Entrance, Snapshot, Stage};
use serde_json::{Value, json};

use crate::cli::{VerifyArgs, VerifyOutput};
use crate::inputs::Inputs;
use crate::output::{self, Style};
use crate::paint::Paint;
use crate::{hygiene, live, replay, steps};

/// Where the listeners are reached.
pub(crate) struct Bases {
    pub(crate) external: String,
    pub(crate) local: String,
}

impl Bases {
    /// The base URL for a witness.
    pub(crate) fn of(&self, witness: &Witness) -> &str {
        match witness.head.entrance {
            Entrance::External => self.external.trim_end_matches('/'),
            Entrance::Local => self.local.trim_end_matches('/'),
        }
    }
}

pub(crate) fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let inputs = Inputs::new(args.paths, &args.cluster)?;
    let cluster = inputs.read_some()?;
    let settings = live::settings(&cluster, args.cluster.istio_version.as_deref())?;
    let snapshot = live::compile(&cluster, &settings)?;
    output::progress(snapshot.route_count());
    let report = ::verify::verify(&snapshot);
    let lints = lint::lint(&cluster, &snapshot);
    let bases = Bases {
        external: args.external,
        local: args.local,
    };
    let replayed = args.replay.then(|| replay::all(&report.findings, &bases));
    match args.output {
        VerifyOutput::Json => {
            let mut value = as_json(&report, &snapshot, &bases);
            if let Some(object) = value.as_object_mut() {
                object.insert("hygiene".to_owned(), hygiene::as_json(&lints));
                if let Some(replayed) = &replayed {
                    object.insert("replayed".to_owned(), json!(replayed));
                }
            }
            output::data(&serde_json::to_string_pretty(&value)?)?;
        }
        VerifyOutput::Sarif => {
            let value = hygiene::as_sarif(&snapshot, &report, &lints, &bases);
            output::data(&serde_json::to_string_pretty(&value)?)?;
        }
        VerifyOutput::Text => {
            for warning in snapshot.warnings() {
                output::note(&Style::Warning, &warning.to_string());
            }
            let text =
                as_text(&inputs.describe(), &report, &snapshot, &bases) + &hygiene::as_text(&lints);
            output::data(text.trim_end())?;
            for line in replayed.iter().flatten() {
                output::data(line)?;
            }
        }
    }
    Ok(ExitCode::from(match code(report.overall()) {
        0 if args.strict && !lints.is_empty() => 1,
        code => code,
    }))
}

/// 0 holds, 1 violated, 2 not decided.
pub(crate) fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Holds => 0,
        Verdict::Violated => 1,
        Verdict::NotDecided => 2,
    }
}

fn as_text(what: &str, report: &Report, snapshot: &Snapshot, bases: &Bases) -> String {
    let mut out = format!(
        "{what}, Istio {}, {}: all requests, in {} cells\n\n",
        snapshot.istio_version(),
        match snapshot.route_count() {
            1 => "1 route".to_owned(),
            count => format!("{count} routes"),
        },
        report.cells
    );
    for claim in Claim::ALL {
        let (sign, word) = match report.verdict(claim) {
            Verdict::Holds => ("✓", ""),
            Verdict::Violated => ("✗", ""),
            Verdict::NotDecided => ("?", " (not decided)"),
        };
        out.push_str(&format!("{sign} {}{word}\n", claim.statement()));
        for finding in report.findings.iter().filter(|f| f.claim == claim) {
            out.push_str(&finding_text(snapshot, finding, bases));
        }
        for reason in report.undecided.get(&claim).into_iter().flatten() {
            out.push_str(&format!("    not decided: {reason}\n"));
        }
    }
    let broken = Claim::ALL
        .into_iter()
        .filter(|c| report.verdict(*c) == Verdict::Violated)
        .count();
    let open = Claim::ALL
        .into_iter()
        .filter(|c| report.verdict(*c) == Verdict::NotDecided)
        .count();
    let summary = match (broken, open) {
        (0, 0) => "Everything holds, for every request.".to_owned(),
        (0, open) => format!("{open} of {} are not decided.", Claim::ALL.len()),
        (broken, 0) => format!("{broken} of {} do not hold.", Claim::ALL.len()),
        (broken, open) => {
            format!(
                "{broken} of {} do not hold, {open} are not decided.",
                Claim::ALL.len()
            )
        }
    };
    out.push_str(&format!("\n{summary}\n"));
    out
}

fn finding_text(snapshot: &Snapshot, finding: &Finding, bases: &Bases) -> String {
    let witness = &finding.witness;
    let mut out = format!(
        "    {}\n      {}, on {}\n",
        witness.curl(bases.of(witness)),
        witness.answer,
        finding.listener
    );
    out.push_str(&trace(snapshot, witness));
    if finding.count > 1 {
        out.push_str(&format!(
            "      and {} more of the kind\n",
            finding.count - 1
        ));
    }
    out
}

/// The steps that decided, with what was compared and the place where each is
/// written.
pub(crate) fn trace(snapshot: &Snapshot, witness: &Witness) -> String {
    let steps = ::verify::explained(snapshot, &witness.head).steps;
    let deciding = steps.iter().filter(|step| {
        matches!(
            step.stage,
            Stage::Policy | Stage::Check | Stage::Route | Stage::Access
        )
    });
    let text = steps::Text {
        form: steps::Form::Brief,
        indent: 8,
        paint: Paint::Plain,
        created: None,
    };
    text.steps(deciding)
}

fn as_json(report: &Report, snapshot: &Snapshot, bases: &Bases) -> Value {
    let claims: Vec<Value> = Claim::ALL
        .into_iter()
        .map(|claim| {
            let findings: Vec<Value> = report
                .findings
                .iter()
                .filter(|f| f.claim == claim)
                .map(|finding| finding_json(snapshot, finding, bases))
                .collect();
            json!({
                "id": claim.id(),
                "statement": claim.statement(),
                "verdict": word(report.verdict(claim)),
                "findings": findings,
                "undecided": report.undecided.get(&claim).cloned().unwrap_or_default(),
            })
        })
        .collect();
    json!({
        "istioVersion": snapshot.istio_version().to_string(),
        "verdict": word(report.overall()),
        "cells": report.cells,
        "claims": claims,
        "warnings": snapshot.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Violated => "violated",
        Verdict::NotDecided => "not decided",
    }
}

fn finding_json(snapshot: &Snapshot, finding: &Finding, bases: &Bases) -> Value {
    let (object, source, place) = &finding.route;
    json!({
        "curl": finding.witness.curl(bases.of(&finding.witness)),
        "request": request_json(&finding.witness),
        "answer": finding.witness.answer,
        "listener": finding.listener,
        "route": { "object": object, "source": source, "place": place },
        "steps": steps_json(snapshot, &finding.witness),
        "groups": finding.count,
    })
}

/// The request of a witness.
pub(crate) fn request_json(witness: &Witness) -> Value {
    let head = &witness.head;
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "method": head.method.as_str(),
        "authority": head.authority,
        "path": head.path_and_query(),
        "headers": headers,
        "listener": match head.entrance { Entrance::External => "external", Entrance::Local => "cluster-local" },
        "port": head.connection.listener.as_ref().map(|id| id.port),
        "tls": head.connection.tls.as_ref().map(|tls| json!({
            "sni": tls.sni,
            "certificate": tls.certificate.as_ref().map(|shown| &shown.uris),
        })),
    })
}

/// The steps of a witness.
pub(crate) fn steps_json(snapshot: &Snapshot, witness: &Witness) -> Vec<Value> {
    let steps = ::verify::explained(snapshot, &witness.head).steps;
    let deciding = steps.iter().filter(|step| step.decides);
    deciding.map(steps::brief_json).collect()
}
