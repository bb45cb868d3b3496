//! Who may see which model, as the API server says it about made-up Roles and bindings: `golden/roles.json`, which
//! `crates/policy` decides alike.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::api::{Api, collection, text};
use super::callers::{Caller, Model, question};
use super::control::{Cluster, until, version};
use super::random::{self, NAMESPACES, World};
use crate::shell;

/// The dice that made the objects.
const SEED: u64 = 1;
const WORLDS: u64 = 24;

/// Threads that ask.
const AT_ONCE: usize = 4;

/// How often roles that are made of others are looked at until they stay as they are.
const SETTLED: usize = 5;

/// Where what was said is.
fn recorded() -> PathBuf {
    shell::root().join("crates/policy/tests/golden/roles.json")
}

/// Asks about all worlds anew and writes it down. Returns the number of questions.
pub(super) fn record(cluster: &Cluster) -> Result<usize> {
    prepare(cluster)?;
    let mut worlds = Vec::new();
    let mut questions = 0;
    for number in 0..WORLDS {
        let made = random::world(SEED, number);
        let (world, answers) = ask(cluster, number, made)?;
        questions += answers.iter().map(String::len).sum::<usize>();
        worlds.push((world, answers));
    }
    let path = recorded();
    let written = written(&builtin(&cluster.api)?, &worlds)?;
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    std::fs::write(&path, written)?;
    Ok(questions)
}

/// Asks about what is written down: everything is said as it was.
pub(super) fn compare(cluster: &Cluster) -> Result<usize> {
    prepare(cluster)?;
    let text =
        std::fs::read_to_string(recorded()).context("crates/policy/tests/golden/roles.json")?;
    let golden: Value = serde_json::from_str(&text)?;
    let list = |value: &Value, name: &str| {
        let all = value.get(name).and_then(Value::as_array).cloned();
        all.with_context(|| format!("no `{name}`"))
    };
    ensure!(
        list(&golden, "builtin")? == builtin(&cluster.api)?,
        "the ClusterRoles of the start are others"
    );
    let mut questions = 0;
    for (number, world) in (0..).zip(list(&golden, "worlds")?) {
        let strings = |name| -> Result<Vec<String>> {
            let all = list(&world, name)?;
            Ok(all
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect())
        };
        let made = World {
            objects: list(&world, "objects")?,
            callers: strings("callers")?.into_iter().map(Caller).collect(),
            models: strings("models")?.into_iter().map(Model).collect(),
        };
        let (made, answers) = ask(cluster, number, made)?;
        ensure!(
            made.objects.len() == list(&world, "objects")?.len(),
            "world {number}: objects are refused"
        );
        ensure!(
            answers == strings("answers")?,
            "world {number} is answered otherwise"
        );
        questions += answers.iter().map(String::len).sum::<usize>();
    }
    Ok(questions)
}

fn prepare(cluster: &Cluster) -> Result<()> {
    NAMESPACES
        .iter()
        .chain(&["settled"])
        .try_for_each(|name| cluster.namespace(name))
}

/// Makes the objects, asks, and takes them away. What the API server refuses is no part of the world.
fn ask(cluster: &Cluster, number: u64, mut world: World) -> Result<(World, Vec<String>)> {
    let api = &cluster.api;
    let mut made = Vec::new();
    for object in std::mem::take(&mut world.objects) {
        let path = collection(&object)?;
        let answer = api.ask("POST", &path, Some(&object))?;
        match answer.status {
            201 => made.push(object),
            422 | 400 => {}
            status => bail!("{object}: {status} {}", answer.text()),
        }
    }
    world.objects = made;
    let settled = settle(api, number)?;
    let rows: Vec<Result<String>> = std::thread::scope(|scope| {
        let share = world.callers.len().div_ceil(AT_ONCE);
        let parts = world.callers.chunks(share).map(|callers| {
            let models = &world.models;
            scope.spawn(move || -> Vec<Result<String>> {
                callers
                    .iter()
                    .map(|caller| row(api, caller, models))
                    .collect()
            })
        });
        let parts: Vec<_> = parts.collect();
        let ended = parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_default());
        ended.collect()
    });
    let answers = rows.into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(answers.len() == world.callers.len(), "a thread ended early");
    for object in world.objects.iter().chain(&settled) {
        api.delete(object)?;
    }
    let mut gone = 0;
    until("roles are gone", || {
        gone = if taken_away(api, &world.objects)? {
            gone + 1
        } else {
            0
        };
        Ok(gone >= SETTLED)
    })?;
    Ok((world, answers))
}

/// Whether no ClusterRole is there. The controller makes one that it gathers for again when it is late.
fn taken_away(api: &Api, objects: &[Value]) -> Result<bool> {
    let mut gone = true;
    for object in objects
        .iter()
        .filter(|object| text(object, "/kind") == "ClusterRole")
    {
        let path = format!("{}/{}", collection(object)?, text(object, "/metadata/name"));
        if api.ask("GET", &path, None)?.status != 404 {
            api.delete(object)?;
            gone = false;
        }
    }
    Ok(gone)
}

fn row(api: &Api, caller: &Caller, models: &[Model]) -> Result<String> {
    models
        .iter()
        .map(|model| {
            Ok(if allowed(api, &question(caller, model)?)? {
                '1'
            } else {
                '0'
            })
        })
        .collect()
}

fn allowed(api: &Api, review: &Value) -> Result<bool> {
    let said = api.done(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        Some(review),
    )?;
    let status = said.pointer("/status").context("no status")?;
    let failed = status.get("evaluationError").is_some();
    ensure!(
        !failed || !text(status, "/evaluationError").contains("timeout"),
        "{said}"
    );
    status
        .get("allowed")
        .and_then(Value::as_bool)
        .context("no answer")
}

/// Waits until the controller has gathered roles, and until the authorizer has seen the last object of each kind: it sees those
/// of a kind in their order. Returns what it made for that.
fn settle(api: &Api, number: u64) -> Result<Vec<Value>> {
    let label = format!("settled-{number}");
    let mut made = vec![
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": format!("{label}-gathered")},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"settled": label}}]}}),
        role("ClusterRole", &label, ""),
    ];
    for object in &made {
        api.create(object)?;
    }
    let gathered = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{label}-gathered");
    until("a role is gathered", || {
        let role = api.done("GET", &gathered, None)?;
        Ok(role.pointer("/rules/0").is_some())
    })?;
    let (mut before, mut same) = (Value::Null, 0);
    until("roles stay as they are", || {
        let now = gathered_roles(api)?;
        same = if now == before { same + 1 } else { 0 };
        before = now;
        std::thread::sleep(std::time::Duration::from_millis(30));
        Ok(same >= SETTLED)
    })?;
    let last = format!("{label}-last");
    let more = [
        role("ClusterRole", &last, ""),
        binding("ClusterRoleBinding", "ClusterRole", &last, ""),
        role("Role", &last, "settled"),
        binding("RoleBinding", "Role", &last, "settled"),
    ];
    for object in &more {
        api.create(object)?;
    }
    made.extend(more);
    for (user, namespace) in [("ClusterRoleBinding", ""), ("RoleBinding", "settled")] {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": format!("{last}-{user}"),
            "resourceAttributes": {"namespace": namespace, "verb": "settle", "group": "settled", "resource": "settled"},
        }});
        until("the authorizer sees what was made", || {
            allowed(api, &review)
        })?;
    }
    Ok(made)
}

fn role(kind: &str, name: &str, namespace: &str) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"settled": name}},
        "rules": [{"verbs": ["settle"], "apiGroups": ["settled"], "resources": ["settled"]}]})
}

fn binding(kind: &str, of: &str, name: &str, namespace: &str) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": of, "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{name}-{kind}")}]})
}

fn cluster_roles(api: &Api) -> Result<Vec<Value>> {
    let all = api.done(
        "GET",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        None,
    )?;
    let items = all.get("items").and_then(Value::as_array).cloned();
    items.context("a list without items")
}

/// Names and rules of the roles that are made of others.
fn gathered_roles(api: &Api) -> Result<Value> {
    let all = cluster_roles(api)?;
    let gathered = all
        .iter()
        .filter(|role| role.get("aggregationRule").is_some());
    let of = |role: &Value| json!([text(role, "/metadata/name"), role.get("rules")]);
    Ok(gathered.map(of).collect())
}

/// The ClusterRoles that are there from the start and gather others or show everything, as they are.
fn builtin(api: &Api) -> Result<Vec<Value>> {
    let all = cluster_roles(api)?;
    let mut found: Vec<Value> = all.iter().filter_map(shown).collect();
    found.sort_by_key(|role| text(role, "/metadata/name").to_owned());
    Ok(found)
}

/// What of a role is of the start and matters to models.
fn shown(role: &Value) -> Option<Value> {
    let bootstrap = role.pointer("/metadata/labels/kubernetes.io~1bootstrapping")?;
    let has = |rule: &Value, list: &str, wanted: &str| {
        let all = rule.get(list).and_then(Value::as_array);
        all.is_some_and(|all| all.iter().any(|item| item == "*" || item == wanted))
    };
    let shows = |rule: &Value| {
        has(rule, "verbs", "get")
            && has(rule, "apiGroups", "serving.kserve.io")
            && (has(rule, "resources", "inferenceservices")
                || has(rule, "resources", "inferencegraphs"))
    };
    let rules = role.get("rules").and_then(Value::as_array);
    let rules: Vec<&Value> = rules
        .into_iter()
        .flatten()
        .filter(|rule| shows(rule))
        .collect();
    let aggregation = role.get("aggregationRule");
    let labels = role.pointer("/metadata/labels")?.as_object()?;
    let joins = labels.keys().any(|label| label.contains("/aggregate-to-"));
    (bootstrap == "rbac-defaults" && (!rules.is_empty() || aggregation.is_some() || joins)).then(
        || {
            json!({"metadata": {"name": text(role, "/metadata/name"), "labels": labels},
            "aggregationRule": aggregation, "rules": rules})
        },
    )
}

/// A line for each object.
fn written(builtin: &[Value], worlds: &[(World, Vec<String>)]) -> Result<String> {
    let mut out = format!("{{\"kubernetes\": {}, \"builtin\": [\n", json!(version()?));
    lines(&mut out, builtin);
    out.push_str("], \"worlds\": [\n");
    for (index, (world, answers)) in worlds.iter().enumerate() {
        let callers: Vec<&str> = world
            .callers
            .iter()
            .map(|caller| caller.0.as_str())
            .collect();
        let models: Vec<&str> = world.models.iter().map(|model| model.0.as_str()).collect();
        out.push_str("{\"objects\": [\n");
        lines(&mut out, &world.objects);
        writeln!(
            out,
            "],\n\"models\": {},\n\"callers\": {},\n\"answers\": {}}}{}",
            json!(models),
            json!(callers),
            json!(answers),
            if index + 1 < worlds.len() { "," } else { "" }
        )?;
    }
    out.push_str("]}\n");
    Ok(out)
}

fn lines(out: &mut String, all: &[Value]) {
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    out.push_str(&lines.join(",\n"));
    out.push('\n');
}
