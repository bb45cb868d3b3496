//! From a disagreement to its smallest form.

use anyhow::Result;
use serde_json::Value;

use super::compare;
use super::decided::Decider;
use super::run::{Job, Oracle};
use super::world::{Observed, Reply};

/// Candidates of one round.
const ROUND: usize = 300;
const ROUNDS: usize = 40;

/// The first difference of a one-request job, with what Envoy did.
pub(crate) struct Disagreement {
    pub(crate) job: Job,
    pub(crate) envoy: Observed,
    pub(crate) what: String,
}

/// One simplification.
#[derive(Clone, Debug)]
enum Edit {
    /// Leaves out an object.
    Object(usize),
    /// Leaves out what a pointer names, in an object.
    Part(usize, String),
    Mesh(String),
    Header(usize),
    Target(String),
    Method,
    Authority(String),
    Checker(Reply),
}

/// Leaves out whatever does not matter.
pub(crate) fn shrink(oracle: &mut Oracle, mut found: Disagreement) -> Result<Disagreement> {
    let mut next: Option<Vec<Edit>> = None;
    for _ in 0..ROUNDS {
        let edits = match next.take() {
            // Everything that could be left out alone, together.
            Some(edits) if edits.len() > 1 => {
                let mut halves = vec![edits.clone()];
                halves.extend(edits.chunks(edits.len().div_ceil(2)).map(<[Edit]>::to_vec));
                halves.extend(edits.into_iter().map(|edit| vec![edit]));
                halves
            }
            Some(edits) => vec![edits],
            None => edits(&found.job)
                .into_iter()
                .map(|edit| vec![edit])
                .collect(),
        };
        let first_pass = edits.iter().all(|list| list.len() == 1) && edits.len() > 1;
        let candidates: Vec<Job> = edits
            .iter()
            .take(ROUND)
            .map(|edits| apply(&found.job, edits))
            .collect();
        let still = disagreements(oracle, &candidates, &found.what)?;
        let works: Vec<usize> = (0..still.len())
            .filter(|index| still.get(*index).is_some_and(Option::is_some))
            .collect();
        if works.is_empty() {
            break;
        }
        if first_pass && works.len() > 1 {
            next = Some(
                works
                    .iter()
                    .filter_map(|index| edits.get(*index)?.first().cloned())
                    .collect(),
            );
            continue;
        }
        let best = still.into_iter().flatten().next();
        if let Some(best) = best {
            found = best;
        }
    }
    Ok(found)
}

fn disagreements(
    oracle: &mut Oracle,
    jobs: &[Job],
    like: &str,
) -> Result<Vec<Option<Disagreement>>> {
    let kind = |what: &str| what.split(':').next().unwrap_or_default().to_owned();
    let outcomes = oracle.run(jobs)?;
    Ok(jobs
        .iter()
        .zip(outcomes)
        .map(|(job, outcome)| {
            let envoy = outcome.answers.ok()?.into_iter().next()?;
            let decider = Decider::new(&job.world).ok()?;
            let ours = decider.observe(job.requests.first()?).ok()?;
            let what = compare::difference(&envoy, &ours)?;
            (kind(&what) == kind(like)).then(|| Disagreement {
                job: job.clone(),
                envoy,
                what,
            })
        })
        .collect())
}

fn edits(job: &Job) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, object) in job.world.objects.iter().enumerate() {
        edits.push(Edit::Object(index));
        for field in ["spec", "metadata"] {
            if let Some(part) = object.get(field) {
                let mut pointers = Vec::new();
                parts(part, &format!("/{field}"), &mut pointers);
                let needed = |p: &String| p != "/metadata/name" && p != "/metadata/namespace";
                edits.extend(
                    pointers
                        .into_iter()
                        .filter(needed)
                        .map(|pointer| Edit::Part(index, pointer)),
                );
            }
        }
    }
    let mut pointers = Vec::new();
    parts(&job.world.mesh, "", &mut pointers);
    edits.extend(pointers.into_iter().map(Edit::Mesh));
    let Some(sent) = job.requests.first() else {
        return edits;
    };
    edits.extend((0..sent.headers.len()).map(Edit::Header));
    if sent.method != "GET" {
        edits.push(Edit::Method);
    }
    let shorter = ["/", "/a", "/a/b"].map(str::to_owned);
    let cut = [
        sent.target.split('?').next().unwrap_or_default().to_owned(),
        sent.target
            .rsplit_once('/')
            .map_or("/", |(start, _)| start)
            .to_owned(),
        sent.target.replacen("//", "/", 1),
    ];
    for target in shorter.into_iter().chain(cut) {
        if target.len() < sent.target.len() && target.starts_with('/') {
            edits.push(Edit::Target(target));
        }
    }
    for authority in ["a.example.com", "example.com"] {
        if authority != sent.authority && sent.authority.len() >= authority.len() {
            edits.push(Edit::Authority(authority.into()));
        }
    }
    if sent.checker != Reply::default() {
        edits.push(Edit::Checker(Reply::default()));
        edits.push(Edit::Checker(Reply {
            headers: Vec::new(),
            ..sent.checker.clone()
        }));
    }
    edits
}

/// Pointers to everything that can be left out, outermost first.
fn parts(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let mut children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                (format!("{at}/{key}"), value)
            })
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| (format!("{at}/{index}"), value))
            .collect(),
        _ => return,
    };
    children.reverse();
    pointers.extend(children.iter().map(|(pointer, _)| pointer.clone()));
    for (pointer, value) in children {
        parts(value, &pointer, pointers);
    }
}

/// Applies edits, those of later positions first so that earlier ones stay.
fn apply(job: &Job, edits: &[Edit]) -> Job {
    let mut job = job.clone();
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    ordered.sort_by_key(|edit| std::cmp::Reverse(rank(edit)));
    for edit in ordered {
        let world = &mut job.world;
        match edit {
            Edit::Object(index) => {
                if *index < world.objects.len() {
                    world.objects.remove(*index);
                }
            }
            Edit::Part(index, pointer) => {
                if let Some(object) = world.objects.get_mut(*index) {
                    remove(object, pointer);
                }
            }
            Edit::Mesh(pointer) => remove(&mut world.mesh, pointer),
            request => {
                if let Some(sent) = job.requests.first_mut() {
                    match request {
                        Edit::Header(index) if *index < sent.headers.len() => {
                            sent.headers.remove(*index);
                        }
                        Edit::Target(target) => sent.target.clone_from(target),
                        Edit::Method => sent.method = "GET".into(),
                        Edit::Authority(authority) => sent.authority.clone_from(authority),
                        Edit::Checker(reply) => sent.checker = reply.clone(),
                        _ => {}
                    }
                }
            }
        }
    }
    job
}

/// Parts before whole objects, later positions before earlier ones.
fn rank(edit: &Edit) -> (u8, usize, Vec<(usize, String)>) {
    let segments = |pointer: &str| -> Vec<(usize, String)> {
        pointer
            .split('/')
            .map(|word| (word.parse().unwrap_or(0), word.to_owned()))
            .collect()
    };
    match edit {
        Edit::Part(index, pointer) => (2, *index, segments(pointer)),
        Edit::Mesh(pointer) => (2, usize::MAX, segments(pointer)),
        Edit::Object(index) => (1, *index, Vec::new()),
        Edit::Header(index) => (0, *index, Vec::new()),
        _ => (0, 0, Vec::new()),
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(list)) => {
            if let Ok(index) = key.parse::<usize>()
                && index < list.len()
            {
                list.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_part_can_be_left_out() {
        let value = json!({"a": [1, {"b/c": 2}]});
        let mut pointers = Vec::new();
        parts(&value, "", &mut pointers);
        assert_eq!(pointers, ["/a", "/a/1", "/a/0", "/a/1/b~1c"]);
        for pointer in pointers {
            let mut less = value.clone();
            remove(&mut less, &pointer);
            assert_ne!(less, value, "{pointer}");
        }
    }
}
