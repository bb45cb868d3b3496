//! Findings in the form code hosts annotate from: SARIF 2.1.0.

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A SARIF 2.1.0 log of one run.
pub fn sarif(findings: &[Finding]) -> Value {
    let mut rules: Vec<&Finding> = Vec::new();
    for finding in findings {
        if !rules.iter().any(|known| known.id == finding.id) {
            rules.push(finding);
        }
    }
    let index = |id: &str| rules.iter().position(|rule| rule.id == id);
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sidegate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| json!({
                    "id": rule.id,
                    "shortDescription": { "text": rule.title },
                    "help": { "text": rule.message },
                    "defaultConfiguration": { "level": level(rule.severity) },
                    "properties": { "security-severity": score(rule.severity), "tags": ["security"] },
                })).collect::<Vec<_>>(),
            }},
            "columnKind": "utf16CodeUnits",
            "results": findings.iter().map(|f| result(f, index(&f.id))).collect::<Vec<_>>(),
        }],
    })
}

/// A SARIF 2.1.0 log of a run that found nothing because of these errors.
pub fn sarif_of_failure(errors: &[&str]) -> Value {
    let told = errors.iter();
    let told = told.map(|error| json!({ "level": "error", "message": { "text": error } }));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "sidegate", "version": env!("CARGO_PKG_VERSION") } },
            "invocations": [{
                "executionSuccessful": false,
                "toolConfigurationNotifications": told.collect::<Vec<_>>(),
            }],
            "results": [],
        }],
    })
}

fn result(finding: &Finding, rule: Option<usize>) -> Value {
    let mut text = finding.message.clone();
    if finding.count > 1 {
        text.push_str(&format!(" (and {} more like it)", finding.count - 1));
    }
    if let Some(witness) = &finding.witness {
        text.push_str(&format!("\n{}", witness.curl));
    }
    let mut name = finding.object.to_string();
    if !finding.field.is_empty() {
        name.push_str(&format!(": {}", finding.field));
    }
    json!({
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&finding.source.file) },
                "region": { "startLine": finding.source.line.max(1) },
            },
            "logicalLocations": [{ "fullyQualifiedName": name }],
        }],
        "occurrenceCount": finding.count,
        "partialFingerprints": {
            "object/v1": format!("{}/{}/{}", finding.id, finding.object, finding.field),
        },
    })
}

/// A URI reference: what is not plain in a path is encoded.
fn uri(file: &str) -> String {
    let mut text = String::new();
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// The number that code hosts order security findings by.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.0",
        Severity::Low => "2.0",
    }
}
