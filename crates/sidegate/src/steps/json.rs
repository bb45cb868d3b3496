//! The steps of a decision for programs.

use policy::{Clause, Looked, Stage, Step};
use resources::{ObjectRef, Source};
use serde_json::{Value, json};

use super::stage;

/// A step for programs, without the routes and rules that only were looked at:
/// of a finding, of which there can be many.
pub(crate) fn brief_json(step: &Step) -> Value {
    let told: Vec<&Looked> = match step.stage {
        Stage::Route => step.looked.iter().filter(|route| route.holds).collect(),
        _ => step.deciding().collect(),
    };
    step_json(step, &told)
}

/// A step for programs.
pub(crate) fn as_json(step: &Step) -> Value {
    step_json(step, &step.looked.iter().collect::<Vec<_>>())
}

fn step_json(step: &Step, told: &[&Looked]) -> Value {
    json!({
        "hop": step.hop,
        "stage": stage(step.stage),
        "text": step.text,
        "object": step.object.as_ref().map(|(object, _)| object),
        "source": step.object.as_ref().map(|(_, source)| source),
        "decides": step.decides,
        "looked": told.iter().map(|rule| looked(rule)).collect::<Vec<_>>(),
        "order": step.order.iter().map(written).collect::<Vec<_>>(),
    })
}

fn written((object, source): &(ObjectRef, Source)) -> Value {
    json!({ "object": object, "source": source })
}

fn looked(looked: &Looked) -> Value {
    let clauses: Vec<Value> = looked.clauses.iter().map(clause).collect();
    json!({
        "place": looked.place,
        "object": looked.object.0,
        "source": looked.object.1,
        "matches": looked.holds,
        "allOf": clauses,
    })
}

fn clause(clause: &Clause) -> Value {
    let any = clause.any.iter().map(|alternative| {
        let all = alternative.all.iter().map(|comparison| {
            json!({
                "field": comparison.field,
                "negated": comparison.negated,
                "wanted": comparison.wanted,
                "got": comparison.got,
                "holds": comparison.holds,
            })
        });
        json!({ "holds": alternative.holds, "allOf": all.collect::<Vec<_>>() })
    });
    json!({ "name": clause.name, "holds": clause.holds, "anyOf": any.collect::<Vec<_>>() })
}
