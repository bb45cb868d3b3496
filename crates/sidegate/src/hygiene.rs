//! What lints find, beside the claims of `sidegate verify`.

use ::verify::{Finding as Broken, Report, Unused, Why};
use lint::{Finding, Severity, Witness};
use policy::Snapshot;
use resources::Cluster;
use serde_json::{Value, json};

use crate::output::{self, Style};
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

/// What lints and the sets of requests find. `None` for the latter where the
/// configuration is too large.
pub(crate) fn all(cluster: &Cluster, snapshot: &Snapshot) -> Vec<Finding> {
    let mut found = lint::lint(cluster, snapshot);
    match ::verify::unused(snapshot) {
        Some(unused) => {
            for finding in unused.iter().filter_map(without_effect) {
                // What is plain from the text alone is said once.
                let known = found.iter().any(|lint| {
                    lint.object == finding.object
                        && lint.field.starts_with(&finding.field)
                        && matches!(&*lint.id, "R1" | "R2" | "S2" | "S5" | "M5")
                });
                if !known {
                    found.push(finding);
                }
            }
        }
        None => output::note(
            &Style::Warning,
            "routes and rules without effect are not looked for: there are too many of them",
        ),
    }
    found.sort_by_key(|f| f.severity);
    found
}

fn without_effect(unused: &Unused) -> Option<Finding> {
    // Nobody can change what a controller writes.
    if unused.source.generated_from.is_some() {
        return None;
    }
    let place = unused.place.split(' ').next().unwrap_or_default();
    let (id, severity, title, message) = match &unused.why {
        Why::RouteNeverMatches => (
            "E1",
            Severity::Medium,
            "route that no request gets to",
            "its match holds for no request on the gateways it is bound to".to_owned(),
        ),
        Why::RouteCovered(by) => (
            "E1",
            Severity::Medium,
            "route that no request gets to",
            format!("whatever it matches is taken before: by {}", by.join(", ")),
        ),
        Why::RuleNeverMatches => (
            "E2",
            Severity::Medium,
            "rule that matches nothing",
            "no request that a route serves matches it: correct it, or remove it".to_owned(),
        ),
        Why::RuleCovered(by) => (
            "E3",
            Severity::Low,
            "rule that others cover",
            format!(
                "whatever it matches, others of its action match too: {}; it changes nothing",
                by.join(", ")
            ),
        ),
    };
    Some(Finding {
        id: id.into(),
        severity,
        title: title.into(),
        message,
        object: unused.object.clone(),
        source: unused.source.clone(),
        field: match place.starts_with("spec.") {
            true => place.to_owned(),
            false => format!("spec.{place}"),
        },
        fix: None,
        witness: None,
        count: 1,
    })
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
        id: broken.claim.id().to_owned().into(),
        severity: Severity::Critical,
        title: broken.claim.statement().to_owned().into(),
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
