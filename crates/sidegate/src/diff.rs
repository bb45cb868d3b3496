//! `sidegate diff`: the requests that another configuration answers otherwise.

use std::path::PathBuf;
use std::process::ExitCode;

use ::verify::{Claim, Difference, Kind, Report, Verdict};
use policy::Snapshot;
use resources::Cluster;
use serde_json::{Value, json};

use crate::cli::{DiffArgs, Output};
use crate::inputs::example_name;
use crate::intents;
use crate::output::{self, BadInput};
use crate::side::Side;
use crate::verify::{Bases, request_json, steps_json, trace, word};

pub(crate) fn run(args: DiffArgs) -> anyhow::Result<ExitCode> {
    let allowed = args
        .allow
        .iter()
        .map(|name| kind(name))
        .collect::<anyhow::Result<Vec<Kind>>>()?;
    let range = args
        .istio_version
        .as_deref()
        .and_then(|v| v.split_once(".."));
    let example = args
        .example
        .map(|name| format!("example:{}", example_name(name)));
    let sides: Vec<PathBuf> = example
        .map(PathBuf::from)
        .into_iter()
        .chain(args.paths)
        .collect();
    let (old, new) = match (&*sides, range) {
        ([one], Some((from, to))) => (Side::read(one, Some(from))?, Side::read(one, Some(to))?),
        ([old, new], Some((from, to))) => {
            (Side::read(old, Some(from))?, Side::read(new, Some(to))?)
        }
        ([old, new], None) => {
            let version = args.istio_version.as_deref();
            (Side::read(old, version)?, Side::read(new, version)?)
        }
        ([_, _, ..], _) => {
            let why = "three configurations: expected one beside `--example`";
            return Err(BadInput(vec![why.into()]).into());
        }
        _ => {
            return Err(BadInput(vec![
                "one configuration alone: expected a second one, or `--istio-version FROM..TO`"
                    .into(),
            ])
            .into());
        }
    };
    let (was, is) = (old.cluster, new.cluster);
    let (old, new) = (old.snapshot, new.snapshot);
    output::progress(old.route_count() + new.route_count());
    let difference = ::verify::diff(&old, &new);
    let statements = intents::read(&args.own)?;
    // The newer object says what is to hold; both are asked it.
    let own = |cluster: &Cluster| intents::asked_of(cluster, &is, &statements);
    let claims = Turned::of(
        &::verify::verify_with(&old, &own(&was)),
        &::verify::verify_with(&new, &own(&is)),
    );
    match args.output {
        Output::Json => {
            let value = as_json(&new, &difference, &claims);
            output::data(&serde_json::to_string_pretty(&value)?)?;
        }
        Output::Text => output::data(as_text(&new, &difference, &claims).trim_end())?,
    }
    let unwanted = difference
        .changes
        .iter()
        .any(|c| c.kind == Kind::Opened && !allowed.contains(&c.kind))
        || claims.iter().any(Turned::is_broken);
    Ok(ExitCode::from(if unwanted {
        1
    } else if difference.undecided.is_empty() {
        0
    } else {
        2
    }))
}

fn kind(name: &str) -> anyhow::Result<Kind> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join("`, `");
        BadInput(vec![format!("`--allow {name}`: expected `{names}`")]).into()
    })
}

/// An intent that came out otherwise than before.
struct Turned {
    claim: Claim,
    before: Verdict,
    after: Verdict,
}

impl Turned {
    fn of(before: &Report, after: &Report) -> Vec<Self> {
        let both = before.claims.iter().zip(&after.claims);
        let intents = both.filter(|(_, claim)| matches!(claim, Claim::Intent(_)));
        let turned = intents.filter_map(|(was, claim)| {
            let (before, after) = (before.verdict(was), after.verdict(claim));
            (before != after).then(|| Self {
                claim: claim.clone(),
                before,
                after,
            })
        });
        turned.collect()
    }

    fn is_broken(&self) -> bool {
        self.before == Verdict::Holds && self.after == Verdict::Violated
    }
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Opened => "opened: these reach something they did not reach",
        Kind::Closed => "closed: these reach nothing any more",
        Kind::Redirected => "redirected: these are asked to log in now",
        Kind::Moved => "moved: these reach something else",
        Kind::Told => "told: these reach nothing before and after, and are told otherwise",
    }
}

fn as_text(new: &Snapshot, difference: &Difference, claims: &[Turned]) -> String {
    let bases = Bases {
        external: "http://127.0.0.1:8080".to_owned(),
        local: "http://127.0.0.1:8081".to_owned(),
    };
    let mut out = String::new();
    for kind in Kind::ALL {
        let mut changes = difference
            .changes
            .iter()
            .filter(|c| c.kind == kind)
            .peekable();
        if changes.peek().is_none() {
            continue;
        }
        out.push_str(&format!("{}\n", heading(kind)));
        for change in changes {
            out.push_str(&format!(
                "    {}\n      before: {}\n      after:  {}\n{}",
                change.witness.curl(bases.of(&change.witness)),
                change.before,
                change.witness.answer,
                trace(new, &change.witness)
            ));
            if change.count > 1 {
                out.push_str(&format!("      and {} more like it\n", change.count - 1));
            }
        }
        out.push('\n');
    }
    if !claims.is_empty() {
        out.push_str("intents that come out otherwise\n");
        for turned in claims {
            let (before, after) = (word(turned.before), word(turned.after));
            let statement = turned.claim.statement();
            out.push_str(&format!("    {before} -> {after}: {statement}\n"));
        }
        out.push('\n');
    }
    for reason in &difference.undecided {
        out.push_str(&format!("not decided: {reason}\n"));
    }
    if out.is_empty() {
        out.push_str("Every request is answered as before.\n");
    }
    out
}

fn as_json(new: &Snapshot, difference: &Difference, claims: &[Turned]) -> Value {
    let changes: Vec<Value> = difference
        .changes
        .iter()
        .map(|change| {
            json!({
                "kind": change.kind.name(),
                "request": request_json(&change.witness),
                "before": change.before,
                "after": change.witness.answer,
                "steps": steps_json(new, &change.witness),
                "groups": change.count,
            })
        })
        .collect();
    let intents: Vec<Value> = claims
        .iter()
        .map(|turned| {
            json!({
                "id": turned.claim.id(),
                "statement": turned.claim.statement(),
                "before": word(turned.before),
                "after": word(turned.after),
            })
        })
        .collect();
    json!({ "changes": changes, "intents": intents, "undecided": difference.undecided })
}
