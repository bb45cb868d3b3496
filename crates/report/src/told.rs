//! Findings, changes and the steps that decided them.

use std::collections::BTreeMap;

use lint::Severity;
use policy::{Alternative, Clause, Comparison, Entrance, Looked, Snapshot, Stage, Step};
use verify::{Claim, Finding, Kind, Report, Verdict, Witness};

use crate::Input;
use crate::rich::Rich;

/// Findings of one claim, and changes of one kind, that are written out.
const MOST: usize = 60;
/// Reasons for which one claim is not decided.
pub(crate) const REASONS: usize = 12;
/// Rules of a step, and values of a field.
const SHOWN: usize = 6;

pub(crate) struct ClaimView {
    pub(crate) id: String,
    pub(crate) statement: String,
    /// Nothing is proved where nothing was found.
    pub(crate) is_search: bool,
    pub(crate) verdict: &'static str,
    pub(crate) class: &'static str,
    pub(crate) sign: &'static str,
    /// What it is in the configuration that is compared with.
    pub(crate) after: Option<(&'static str, &'static str, &'static str)>,
    pub(crate) findings: Vec<FindingView>,
    pub(crate) more: usize,
    pub(crate) undecided: Vec<Rich>,
    pub(crate) more_undecided: usize,
    pub(crate) count: usize,
}

pub(crate) struct FindingView {
    pub(crate) answer: Rich,
    pub(crate) listener: String,
    pub(crate) before: Option<Rich>,
    pub(crate) curl: String,
    pub(crate) explain: String,
    pub(crate) steps: Vec<StepView>,
    pub(crate) alike: usize,
}

pub(crate) struct StepView {
    pub(crate) stage: &'static str,
    pub(crate) crossing: Option<u8>,
    pub(crate) text: Rich,
    pub(crate) written: Option<(String, String)>,
    pub(crate) rules: Vec<RuleView>,
    pub(crate) more: usize,
}

pub(crate) struct RuleView {
    pub(crate) place: String,
    pub(crate) sign: &'static str,
    pub(crate) lines: Vec<LineView>,
}

pub(crate) struct LineView {
    pub(crate) joint: &'static str,
    pub(crate) sign: &'static str,
    pub(crate) field: String,
    pub(crate) wanted: Vec<String>,
    pub(crate) more: usize,
    pub(crate) got: Vec<String>,
}

pub(crate) struct ChangeView {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) class: &'static str,
    pub(crate) changes: Vec<FindingView>,
    pub(crate) more: usize,
    pub(crate) count: usize,
}

/// What one lint finds.
pub(crate) struct LintGroup {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) severity: String,
    pub(crate) class: &'static str,
    pub(crate) open: bool,
    pub(crate) lints: Vec<LintView>,
    pub(crate) more: usize,
}

pub(crate) struct LintView {
    pub(crate) message: Rich,
    pub(crate) object: String,
    pub(crate) source: String,
    pub(crate) field: String,
    pub(crate) fix: Option<String>,
    pub(crate) curl: Option<String>,
    pub(crate) alike: usize,
}

pub(crate) fn sign(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Holds => ("✓", "holds", "good"),
        Verdict::Violated => ("✗", "violated", "bad"),
        Verdict::NotDecided => ("?", "not decided", "warn"),
        Verdict::Vacuous => ("?", "says nothing", "warn"),
    }
}

pub(crate) fn claims(input: &Input<'_>) -> Vec<ClaimView> {
    let all = input.report.claims.iter().map(|claim| {
        let (mark, verdict, class) = sign(input.report.verdict(claim));
        let findings: Vec<&Finding> = input
            .report
            .findings
            .iter()
            .map(|finding| &**finding)
            .filter(|finding| finding.claim == *claim)
            .collect();
        let undecided = input.report.undecided.get(claim);
        let vacuous = input.report.vacuous.get(claim);
        let vacuous = vacuous.map(|why| Rich::of(&format!("it speaks of no request: {why}")));
        ClaimView {
            id: claim.id().to_owned(),
            statement: claim.statement().to_owned(),
            is_search: claim.is_search(),
            verdict,
            class,
            sign: mark,
            after: input
                .compared
                .and_then(|after| after_of(after.report, claim)),
            more: findings.len().saturating_sub(MOST),
            count: findings.len(),
            findings: findings
                .into_iter()
                .take(MOST)
                .map(|finding| FindingView::of(input, finding))
                .collect(),
            more_undecided: undecided.map_or(0, |all| all.len().saturating_sub(REASONS)),
            undecided: undecided
                .into_iter()
                .flatten()
                .take(REASONS)
                .map(|reason| Rich::of(reason))
                .chain(vacuous)
                .collect(),
        }
    });
    all.collect()
}

/// The same claim in another configuration: intents are resolved anew there.
fn after_of(report: &Report, claim: &Claim) -> Option<(&'static str, &'static str, &'static str)> {
    let mut claims = report.claims.iter();
    let same = claims.find(|c| c.id() == claim.id())?;
    Some(sign(report.verdict(same)))
}

pub(crate) fn changes(input: &Input<'_>) -> Vec<ChangeView> {
    let Some(after) = input.compared else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for kind in Kind::ALL {
        let all: Vec<&verify::Change> = after
            .difference
            .changes
            .iter()
            .filter(|change| change.kind == kind)
            .collect();
        if all.is_empty() {
            continue;
        }
        let (meaning, class) = match kind {
            Kind::Opened => ("reach something they did not reach", "bad"),
            Kind::Closed => ("reach nothing any more", "good"),
            Kind::Redirected => ("are asked to log in now", "good"),
            Kind::Moved => ("reach something else", "warn"),
            Kind::Told => (
                "reach nothing before and after, and are told otherwise",
                "warn",
            ),
        };
        out.push(ChangeView {
            name: kind.name(),
            meaning,
            class,
            count: all.len(),
            more: all.len().saturating_sub(MOST),
            changes: all
                .into_iter()
                .take(MOST)
                .map(|change| FindingView {
                    before: Some(Rich::of(&change.before)),
                    ..FindingView::new(input, after.snapshot, &change.witness, change.count)
                })
                .collect(),
        });
    }
    out
}

pub(crate) fn lints(input: &Input<'_>) -> Vec<LintGroup> {
    let mut groups: BTreeMap<(Severity, &str), Vec<&lint::Finding>> = BTreeMap::new();
    for lint in input.lints {
        groups
            .entry((lint.severity, &*lint.id))
            .or_default()
            .push(lint);
    }
    let few = groups.len() <= 3;
    let each = groups.into_iter().map(|((severity, id), lints)| LintGroup {
        id: id.to_owned(),
        title: lints
            .first()
            .map_or(String::new(), |lint| lint.title.to_string()),
        severity: severity.to_string(),
        class: match severity {
            Severity::Critical | Severity::High => "bad",
            Severity::Medium => "warn",
            Severity::Low => "quiet",
        },
        open: few,
        more: lints.len().saturating_sub(MOST),
        lints: lints
            .into_iter()
            .take(MOST)
            .map(|lint| LintView {
                message: Rich::of(&lint.message),
                object: lint.object.to_string(),
                source: lint.source.to_string(),
                field: lint.field.clone(),
                fix: lint.fix.clone(),
                curl: lint.witness.as_ref().map(|witness| witness.curl.clone()),
                alike: lint.count.saturating_sub(1),
            })
            .collect(),
    });
    each.collect()
}

impl FindingView {
    fn of(input: &Input<'_>, finding: &Finding) -> Self {
        Self {
            listener: finding.listener.clone(),
            ..Self::new(input, input.snapshot, &finding.witness, finding.count)
        }
    }

    fn new(input: &Input<'_>, snapshot: &Snapshot, witness: &Witness, count: usize) -> Self {
        let base = match witness.head.entrance {
            Entrance::External => input.external,
            Entrance::Local => input.local,
        };
        let steps = verify::explained(snapshot, &witness.head, &witness.asker).steps;
        Self {
            answer: Rich::of(&witness.answer),
            listener: crate::routes::entrance(witness.head.entrance).to_owned(),
            before: None,
            curl: witness.curl(base.trim_end_matches('/')),
            explain: explain(witness),
            steps: step_views(&steps),
            alike: count.saturating_sub(1),
        }
    }
}

/// Method and URL, as people read them.
fn explain(witness: &Witness) -> String {
    let head = &witness.head;
    format!(
        "{} {}{}",
        head.method,
        head.authority,
        head.path_and_query()
    )
}

fn step_views(steps: &[Step]) -> Vec<StepView> {
    let mut hop = None;
    let crossings = steps.iter().any(|step| step.hop > 0);
    let told = steps.iter().filter(|step| {
        step.decides
            && !matches!(step.stage, Stage::Filter | Stage::Answer)
            && !(step.stage == Stage::VirtualHost && step.order.len() < 2)
    });
    told.map(|step| {
        let new = crossings && hop != Some(step.hop);
        hop = Some(step.hop);
        let rules: Vec<&Looked> = match step.stage {
            Stage::Route => Vec::new(),
            _ => step.deciding().collect(),
        };
        StepView {
            stage: stage(step.stage),
            crossing: new.then(|| step.hop + 1),
            text: Rich::of(&step.text),
            written: step
                .object
                .as_ref()
                .map(|(object, source)| (object.to_string(), source.to_string())),
            more: rules.len().saturating_sub(SHOWN),
            rules: rules.into_iter().take(SHOWN).map(RuleView::of).collect(),
        }
    })
    .collect()
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Listener => "listener",
        Stage::VirtualHost => "host",
        Stage::Filter => "filter",
        Stage::Policy => "policy",
        Stage::Check => "check",
        Stage::Route => "route",
        Stage::Access => "access",
        Stage::Forward => "forward",
        Stage::Token => "token",
        Stage::Answer => "answer",
    }
}

fn mark(holds: bool) -> &'static str {
    if holds { "✓" } else { "✗" }
}

impl RuleView {
    fn of(rule: &Looked) -> Self {
        Self {
            place: rule.place.clone(),
            sign: mark(rule.holds),
            lines: rule.deciding().flat_map(lines).collect(),
        }
    }
}

fn lines(clause: &Clause) -> Vec<LineView> {
    let alternatives: Vec<&Alternative> = clause.deciding().take(SHOWN).collect();
    let each = alternatives.iter().enumerate().flat_map(|(number, one)| {
        let first = if number == 0 { clause.name } else { "or" };
        let all = one.all.iter().enumerate();
        all.map(move |(position, comparison)| {
            LineView::of(if position == 0 { first } else { "and" }, comparison)
        })
    });
    each.collect()
}

impl LineView {
    fn of(joint: &'static str, comparison: &Comparison) -> Self {
        Self {
            joint,
            sign: mark(comparison.holds),
            field: comparison.field.to_string(),
            wanted: comparison.wanted.iter().take(SHOWN).cloned().collect(),
            more: comparison.wanted.len().saturating_sub(SHOWN),
            got: comparison.got.clone(),
        }
    }
}
