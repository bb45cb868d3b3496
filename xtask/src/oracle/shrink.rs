//! From a disagreement to its smallest form.

use anyhow::Result;
use serde_json::Value;

use super::compare;
use super::decided::Decider;
use super::run::{Job, Oracle};
use super::world::{Observed, Reply};

/// Candidates of one round.
const ROUND: usize = 150;
const ROUNDS: usize = 8;

/// The first difference of a one-request job, with what Envoy did.
pub(crate) struct Disagreement {
    pub(crate) job: Job,
    pub(crate) envoy: Observed,
    pub(crate) what: String,
    /// How many objects Istio's validation refuses.
    pub(crate) rejected: usize,
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
    Token(usize),
    Claim(usize, String),
    Proxy,
    Env,
    Certificate,
    Authority(String),
    Checker(Reply),
}

/// Leaves out whatever does not matter: whole objects first, then ever smaller parts.
pub(crate) fn shrink(oracle: &mut Oracle, mut found: Disagreement) -> Result<Disagreement> {
    for depth in [0, 3, 5, usize::MAX] {
        for _ in 0..ROUNDS {
            let alone: Vec<Vec<Edit>> = edits(&found.job, depth)
                .into_iter()
                .take(ROUND)
                .map(|edit| vec![edit])
                .collect();
            let works = remaining(oracle, &found, &alone)?;
            let edits: Vec<Edit> = works.iter().flat_map(|(edits, _)| edits.clone()).collect();
            let Some((_, first)) = works.into_iter().next() else {
                break;
            };
            // What can be left out alone often can be left out together.
            let third = edits.len().div_ceil(3).max(1);
            let mut together = vec![edits.clone()];
            together.extend(edits.chunks(third.max(2)).map(<[Edit]>::to_vec));
            together.retain(|edits| edits.len() > 1);
            let best = remaining(oracle, &found, &together)?.into_iter().next();
            found = best.map_or(first, |(_, best)| best);
        }
    }
    Ok(found)
}

/// Those edits after which the disagreement is still there.
fn remaining(
    oracle: &mut Oracle,
    found: &Disagreement,
    edits: &[Vec<Edit>],
) -> Result<Vec<(Vec<Edit>, Disagreement)>> {
    let jobs: Vec<Job> = edits.iter().map(|edits| apply(&found.job, edits)).collect();
    let still = disagreements(oracle, &jobs, found)?;
    let pairs = edits.iter().zip(still);
    Ok(pairs
        .filter_map(|(edits, still)| Some((edits.clone(), still?)))
        .collect())
}

fn disagreements(
    oracle: &mut Oracle,
    jobs: &[Job],
    like: &Disagreement,
) -> Result<Vec<Option<Disagreement>>> {
    let outcomes = oracle.run(jobs)?;
    Ok(jobs
        .iter()
        .zip(outcomes)
        .map(|(job, outcome)| {
            // An object that Istio would not take explains nothing.
            if outcome.rejected.len() > like.rejected {
                return None;
            }
            let envoy = outcome.answers.ok()?.into_iter().next()?;
            let decider = Decider::new(&job.world).ok()?;
            let ours = decider.observe(job.requests.first()?).ok()?;
            let what = compare::difference(&envoy, &ours)?;
            (compare::kind(&what) == compare::kind(&like.what)).then(|| Disagreement {
                job: job.clone(),
                envoy,
                what,
                rejected: outcome.rejected.len(),
            })
        })
        .collect())
}

/// Edits of parts down to a depth; the request comes with the smaller ones.
fn edits(job: &Job, depth: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, object) in job.world.objects.iter().enumerate() {
        edits.push(Edit::Object(index));
        for field in ["spec", "metadata"] {
            if let Some(part) = object.get(field) {
                let mut pointers = Vec::new();
                parts(part, &format!("/{field}"), &mut pointers);
                let needed = |p: &String| {
                    p.matches('/').count() <= depth
                        && p != "/metadata/name"
                        && p != "/metadata/namespace"
                };
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
    let near = pointers
        .into_iter()
        .filter(|p| p.matches('/').count() <= depth);
    edits.extend(near.map(Edit::Mesh));
    let Some(sent) = job.requests.first().filter(|_| depth > 0) else {
        return edits;
    };
    edits.extend((0..sent.headers.len()).map(Edit::Header));
    if sent.method != "GET" {
        edits.push(Edit::Method);
    }
    for (index, token) in sent.tokens.iter().enumerate() {
        edits.push(Edit::Token(index));
        let names = token.claims.as_object().into_iter().flat_map(|c| c.keys());
        edits.extend(names.map(|name| Edit::Claim(index, name.clone())));
    }
    if !job.world.proxy.is_empty() {
        edits.push(Edit::Proxy);
    }
    if !job.world.env.is_empty() {
        edits.push(Edit::Env);
    }
    if sent.tls.as_ref().is_some_and(|tls| tls.identity.is_some()) {
        edits.push(Edit::Certificate);
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
            Edit::Proxy => world.proxy.clear(),
            Edit::Env => world.env.clear(),
            request => {
                if let Some(sent) = job.requests.first_mut() {
                    match request {
                        Edit::Header(index) if *index < sent.headers.len() => {
                            sent.headers.remove(*index);
                        }
                        Edit::Target(target) => sent.target.clone_from(target),
                        Edit::Token(index) if *index < sent.tokens.len() => {
                            sent.tokens.remove(*index);
                        }
                        Edit::Claim(index, name) => {
                            let token = sent.tokens.get_mut(*index);
                            if let Some(claims) = token.and_then(|t| t.claims.as_object_mut()) {
                                claims.remove(name);
                            }
                        }
                        Edit::Certificate => {
                            if let Some(tls) = &mut sent.tls {
                                tls.identity = None;
                            }
                        }
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
        Edit::Header(index) | Edit::Token(index) => (0, *index, Vec::new()),
        Edit::Claim(index, _) => (1, *index, Vec::new()),
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
