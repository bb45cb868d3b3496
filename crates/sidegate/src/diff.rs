//! `sidegate diff`: the requests that another configuration answers otherwise.

use std::process::ExitCode;

use ::verify::{Difference, Kind};
use policy::Snapshot;
use serde_json::{Value, json};

use crate::cli::{DiffArgs, Output};
use crate::output::{self, BadInput};
use crate::side::Side;
use crate::verify::{Bases, request_json, steps_json, trace};

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
    let (old, new) = match (&*args.paths, range) {
        ([one], Some((from, to))) => (Side::read(one, Some(from))?, Side::read(one, Some(to))?),
        ([old, new], Some((from, to))) => {
            (Side::read(old, Some(from))?, Side::read(new, Some(to))?)
        }
        ([old, new], None) => {
            let version = args.istio_version.as_deref();
            (Side::read(old, version)?, Side::read(new, version)?)
        }
        _ => {
            return Err(BadInput(vec![
                "one configuration alone: expected a second one, or `--istio-version FROM..TO`"
                    .into(),
            ])
            .into());
        }
    };
    let (old, new) = (old.snapshot, new.snapshot);
    output::progress(old.route_count() + new.route_count());
    let difference = ::verify::diff(&old, &new);
    match args.output {
        Output::Json => output::data(&serde_json::to_string_pretty(&as_json(&new, &difference))?)?,
        Output::Text => output::data(as_text(&new, &difference).trim_end())?,
    }
    let unwanted = difference
        .changes
        .iter()
        .any(|c| c.kind == Kind::Opened && !allowed.contains(&c.kind));
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

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Opened => "opened: these reach something they did not reach",
        Kind::Closed => "closed: these reach nothing any more",
        Kind::Redirected => "redirected: these are asked to log in now",
        Kind::Moved => "moved: these reach something else",
        Kind::Told => "told: these reach nothing before and after, and are told otherwise",
    }
}

fn as_text(new: &Snapshot, difference: &Difference) -> String {
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
                out.push_str(&format!(
                    "      and {} more of the kind\n",
                    change.count - 1
                ));
            }
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

fn as_json(new: &Snapshot, difference: &Difference) -> Value {
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
    json!({ "changes": changes, "undecided": difference.undecided })
}
