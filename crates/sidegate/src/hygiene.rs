//! What lints find, beside the claims of `sidegate verify`.

use ::verify::{Finding as Broken, Report};
use lint::{Finding, Severity, Witness};
use policy::Snapshot;
use serde_json::{Value, json};

use crate::verify::{Bases, request_json, trace};

/// A section of the text; empty if nothing was found.
pub(crate) fn as_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut out = "\nHygiene:\n".to_owned();
    for finding in findings {
        out.push_str(&format!(
            "\n{} {}: {}\n    {} ({})",
            finding.severity, finding.id, finding.title, finding.object, finding.source
        ));
        if !finding.field.is_empty() {
            out.push_str(&format!(", {}", finding.field));
        }
        out.push_str(&format!("\n    {}\n", finding.message));
    }
    out
}

/// The same for programs.
pub(crate) fn as_json(findings: &[Finding]) -> Value {
    json!(findings)
}

/// Claims that do not hold and what lints find, as one SARIF log.
pub(crate) fn as_sarif(
    snapshot: &Snapshot,
    report: &Report,
    findings: &[Finding],
    bases: &Bases,
) -> Value {
    let mut all: Vec<Finding> = report
        .findings
        .iter()
        .map(|broken| claim(snapshot, broken, bases))
        .collect();
    all.extend(findings.iter().cloned());
    lint::sarif(&all)
}

fn claim(snapshot: &Snapshot, broken: &Broken, bases: &Bases) -> Finding {
    let (object, source, place) = &broken.route;
    let witness = &broken.witness;
    let curl = witness.curl(bases.of(witness));
    Finding {
        id: broken.claim.id(),
        severity: Severity::Critical,
        title: broken.claim.statement(),
        message: format!(
            "it does not hold that {}: on {}, {curl} gets: {}",
            broken.claim.statement(),
            broken.listener,
            witness.answer
        ),
        object: object.clone(),
        source: source.clone(),
        field: place.clone(),
        fix: None,
        witness: Some(Witness {
            curl,
            request: vec![request_json(witness).to_string()],
            trace: trace(snapshot, witness)
                .lines()
                .map(|line| line.trim().to_owned())
                .collect(),
        }),
        count: broken.count,
    }
}
