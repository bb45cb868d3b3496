//! What `up` prints when everything answers.

use std::fmt::Write as _;
use std::path::Path;

use policy::{AccessLevel, Entrance, RouteAccess};
use serde_json::{Value, json};
use serving::{ModelState, ModelStatus};

use crate::folder;
use crate::inputs::Inputs;
use crate::live::World;
use crate::output::{self, Style};

/// The user of the examples; Kubeflow's documented one.
pub(crate) const EXAMPLE_USER: &str = "user@example.com, password 12341234";

/// What there is to say.
pub(crate) struct Summary<'a> {
    pub(crate) world: &'a World,
    pub(crate) inputs: &'a Inputs,
    pub(crate) external: &'a str,
    pub(crate) local: &'a str,
    pub(crate) data: &'a Path,
}

/// The content of the ready file.
pub(crate) fn ready(summary: &Summary<'_>) -> Value {
    json!({ "external": summary.external, "local": summary.local, "data": summary.data, "pid": std::process::id() })
}

/// The summary for programs.
pub(crate) fn as_json(summary: &Summary<'_>) -> Value {
    let live = summary.world.live();
    let models: Vec<Value> = summary
        .world
        .models()
        .list()
        .iter()
        .map(|status| {
            let (state, reason) = state(status);
            json!({
                "namespace": status.desired.namespace,
                "name": status.desired.name,
                "state": state,
                "reason": reason,
                "url": local_url(status),
            })
        })
        .collect();
    json!({
        "external": summary.external,
        "local": summary.local,
        "data": summary.data,
        "mode": mode(live.snapshot.enforces()),
        "istioVersion": live.snapshot.istio_version().to_string(),
        "routes": live.snapshot.route_count(),
        "models": models,
        "warnings": warnings(summary),
    })
}

/// The summary for people, on standard error.
pub(crate) fn print(summary: &Summary<'_>) {
    for line in text(summary).lines() {
        output::note(&Style::Plain, line);
    }
    for warning in warnings(summary) {
        output::note(&Style::Warning, &warning);
    }
}

fn warnings(summary: &Summary<'_>) -> Vec<String> {
    let live = summary.world.live();
    let said = live
        .snapshot
        .warnings()
        .iter()
        .chain(live.snapshot.unserved());
    let mut all: Vec<String> = said.map(ToString::to_string).collect();
    all.extend(live.login.warnings());
    for (entrance, name) in [
        (Entrance::External, "external"),
        (Entrance::Local, "cluster-local"),
    ] {
        if !live.snapshot.has(entrance) {
            all.push(format!(
                "no Gateway opens the {name} listener: it answers 404 to everything"
            ));
        }
    }
    if !live.cluster.unknown_kinds.is_empty() {
        let kinds: Vec<String> = live
            .cluster
            .unknown_kinds
            .iter()
            .map(|(kind, n)| format!("{kind} ({n})"))
            .collect();
        all.push(format!("kinds that are not read: {}", kinds.join(", ")));
    }
    all
}

fn mode(enforces: bool) -> &'static str {
    if enforces { "enforce" } else { "as-written" }
}

fn state(status: &ModelStatus) -> (&'static str, Option<String>) {
    match &status.state {
        ModelState::Ready(_) => ("Ready", None),
        ModelState::Loading => ("Loading", None),
        ModelState::Failed(reason) => ("Failed", Some(reason.to_string())),
    }
}

/// The in-cluster predict URL, V1.
pub(crate) fn local_url(status: &ModelStatus) -> String {
    let (name, namespace) = (&status.desired.name, &status.desired.namespace);
    format!("http://{name}.{namespace}.svc.cluster.local/v1/models/{name}:predict")
}

fn text(summary: &Summary<'_>) -> String {
    let live = summary.world.live();
    let enforces = live.snapshot.enforces();
    let mut out = String::new();
    let mut line = |text: String| {
        let written = writeln!(out, "{text}");
        debug_assert!(written.is_ok());
    };
    line(format!(
        "sidegate serves {}, Istio {} semantics\n",
        summary.inputs.describe(),
        live.snapshot.istio_version()
    ));
    line(format!(
        "  external       {}   platform, login, models from outside",
        summary.external
    ));
    line(format!(
        "  cluster-local  {}   models, for workloads",
        summary.local
    ));
    if summary.inputs.example().is_some() {
        line(format!("  log in as      {EXAMPLE_USER}"));
    }
    line(String::new());
    let models = summary.world.models().list();
    for status in &models {
        let (state, reason) = state(status);
        line(format!(
            "  model {}/{}: {state}{}",
            status.desired.namespace,
            status.desired.name,
            reason.map(|r| format!(": {r}")).unwrap_or_default()
        ));
        line(format!("    {}", local_url(status)));
        let access = live
            .snapshot
            .model_access(&status.desired.namespace, &status.desired.name);
        if let Some(access) = access.filter(|_| enforces) {
            line(format!("    who may call: {}", callers(&access)));
        }
    }
    if !enforces {
        line("  who may call: whatever the cluster's own policies say (mode as-written)".into());
    }
    let program = std::env::args().next().unwrap_or_else(|| "sidegate".into());
    let data = match folder::default_path() {
        Ok(default) if default == summary.data => String::new(),
        _ => format!(" --data {}", summary.data.display()),
    };
    if let Some(status) = models.first() {
        line(String::new());
        line("  try, in a second terminal:".into());
        if let Some(pod) = crate::live::pods(&live.cluster).next() {
            line(format!(
                "    {program} exec {} -n {}{data} -- curl {} -d '{}'",
                pod.pod,
                pod.service_account.namespace,
                local_url(status),
                example_input(status)
            ));
        } else {
            line(format!(
                "    http_proxy={} curl {} -d '{}'",
                summary.local,
                local_url(status),
                example_input(status)
            ));
        }
        line(format!(
            "    {program} token create default -n {}{data}",
            status.desired.namespace
        ));
    }
    out
}

/// Who gets through to a model, in words.
fn callers(access: &RouteAccess) -> String {
    let words = |level| match level {
        AccessLevel::Login => "people who are logged in",
        AccessLevel::Token => "holders of a token",
        AccessLevel::Cluster => "any workload",
        AccessLevel::Public => "everyone",
        AccessLevel::AsWritten => "whoever the cluster's own policies let through",
    };
    let limited = match (access.limits.is_empty(), &access.bindings) {
        (true, None) => "",
        (false, None) => ", limited by annotations",
        (true, Some(_)) => ", with a role that lets them see it",
        (false, Some(_)) => ", limited by annotations, with a role that lets them see it",
    };
    format!(
        "in the cluster {}, from outside {}{limited}",
        words(access.local),
        words(access.external)
    )
}

/// A V1 body that the model accepts.
pub(crate) fn example_input(status: &ModelStatus) -> String {
    match &status.state {
        ModelState::Ready(model) => inference::example_input(model),
        ModelState::Loading | ModelState::Failed(_) => r#"{"instances": []}"#.to_owned(),
    }
}
