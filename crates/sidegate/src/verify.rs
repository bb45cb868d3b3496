//! `sidegate verify`: every claim, proved, refuted, or searched for what breaks it.

use std::process::ExitCode;

use ::verify::{Claim, Contrast, Finding, Report, Verdict, Witness};
use policy::{Entrance, Snapshot, Stage};
use resources::intents::Reading;
use serde_json::{Value, json};

use crate::cli::{VerifyArgs, VerifyOutput};
use crate::inputs::Inputs;
use crate::output::{self, Style};
use crate::paint::Paint;
use crate::{hygiene, intents, live, proof, replay, steps};

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
    let own = intents::of(&cluster, &intents::read(&args.own)?);
    if let Some(file) = &args.check {
        return proof::check(file, &snapshot, &own);
    }
    output::progress(snapshot.route_count());
    let report = ::verify::verify_with(&snapshot, &own);
    if let Some(file) = &args.certificate {
        proof::write(file, &snapshot, &report)?;
    }
    let lints = hygiene::all(&cluster, &snapshot);
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
        Verdict::NotDecided | Verdict::Vacuous => 2,
    }
}

/// So many reasons for which a claim is not decided are told.
const REASONS: usize = 12;

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
    for claim in &report.claims {
        let (sign, word) = match report.verdict(claim) {
            Verdict::Holds if claim.is_search() => ("✓", " (a search, no proof)"),
            Verdict::Holds => ("✓", ""),
            Verdict::Violated => ("✗", ""),
            Verdict::NotDecided => ("?", " (not decided)"),
            Verdict::Vacuous => ("?", " (says nothing)"),
        };
        out.push_str(&format!("{sign} {}{word}\n", claim.statement()));
        for finding in report.findings.iter().filter(|f| f.claim == *claim) {
            out.push_str(&finding_text(snapshot, finding, bases));
        }
        let reasons = report.undecided.get(claim).map_or(&[][..], Vec::as_slice);
        for reason in reasons.iter().take(REASONS) {
            out.push_str(&format!("    not decided: {reason}\n"));
        }
        if let Some(more @ 1..) = reasons.len().checked_sub(REASONS) {
            out.push_str(&format!("    and {more} more reasons: `--output json`\n"));
        }
        if let (Claim::Intent(intent), Some(why)) = (claim, report.vacuous.get(claim)) {
            let place = intent
                .source()
                .map(|s| format!("{s}: "))
                .unwrap_or_default();
            out.push_str(&format!("    {place}it speaks of no request: {why}\n"));
        }
    }
    out.push_str(&format!("\n{}\n", summary(report)));
    out
}

fn summary(report: &Report) -> String {
    let all = report.claims.len();
    let counts = [
        (report.count(Verdict::Violated), "not hold"),
        (report.count(Verdict::NotDecided), "not decided"),
        (report.count(Verdict::Vacuous), "say nothing"),
    ];
    let said = counts.iter().filter(|(count, _)| *count > 0);
    let said: Vec<String> = said
        .map(|(count, what)| match (*what, *count) {
            ("not hold", 1) => "1 does not hold".to_owned(),
            ("not hold", count) => format!("{count} do not hold"),
            ("not decided", 1) => "1 is not decided".to_owned(),
            ("not decided", count) => format!("{count} are not decided"),
            (_, 1) => "1 says nothing".to_owned(),
            (_, count) => format!("{count} say nothing"),
        })
        .collect();
    match said.is_empty() {
        true => "Every claim holds.".to_owned(),
        false => format!("Of {all} claims, {}.", said.join(", ")),
    }
}

fn finding_text(snapshot: &Snapshot, finding: &Finding, bases: &Bases) -> String {
    let witness = &finding.witness;
    let mut out = format!(
        "    {}\n      {}{}, on {}\n",
        witness.curl(bases.of(witness)),
        witness
            .caller()
            .map(|c| format!("{c}: "))
            .unwrap_or_default(),
        witness.answer,
        finding.listener
    );
    if let Some(contrast) = &finding.contrast {
        out.push_str(&contrast_text(finding, contrast));
    }
    out.push_str(&trace(snapshot, witness));
    if finding.count > 1 {
        out.push_str(&format!("      and {} more like it\n", finding.count - 1));
    }
    out
}

/// What the backend makes of the request, and which rule it escapes.
fn contrast_text(finding: &Finding, contrast: &Contrast) -> String {
    let (object, source, place) = &finding.route;
    let does = match contrast.reading {
        Reading::DecodesSlashes => "decodes %2f",
        Reading::StripsParameters => "strips ;parameters",
        Reading::MergesSlashes => "merges slashes",
        Reading::FoldsCase => "takes no account of case",
    };
    let who = match contrast.assumed {
        true => format!("a backend that {does} (nobody says that it does not)"),
        false => format!("the backend {does}, and"),
    };
    format!(
        "      {who} reads {}, which gets: {}\n      it escapes {object} {place} ({source})\n",
        contrast.path, contrast.answer
    )
}

/// The steps that decided, with what was compared and the place where each is
/// written.
pub(crate) fn trace(snapshot: &Snapshot, witness: &Witness) -> String {
    let steps = ::verify::explained(snapshot, &witness.head, &witness.asker).steps;
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
    let claims: Vec<Value> = report
        .claims
        .iter()
        .map(|claim| {
            let findings: Vec<Value> = report
                .findings
                .iter()
                .filter(|f| f.claim == *claim)
                .map(|finding| finding_json(snapshot, finding, bases))
                .collect();
            json!({
                "id": claim.id(),
                "statement": claim.statement(),
                "verdict": word(report.verdict(claim)),
                "search": claim.is_search(),
                "findings": findings,
                "undecided": report.undecided.get(claim).cloned().unwrap_or_default(),
                "speaksOfNothing": report.vacuous.get(claim),
                "source": match claim {
                    Claim::Intent(intent) => intent.source(),
                    _ => None,
                },
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
        Verdict::Vacuous => "says nothing",
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
        "reads": finding.contrast.as_ref().map(|contrast| json!({
            "reading": contrast.reading,
            "assumed": contrast.assumed,
            "path": contrast.path,
            "answer": contrast.answer,
        })),
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
        "caller": witness.caller(),
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
    let steps = ::verify::explained(snapshot, &witness.head, &witness.asker).steps;
    let deciding = steps.iter().filter(|step| step.decides);
    deciding.map(steps::brief_json).collect()
}
