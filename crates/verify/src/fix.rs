//! The smallest change that makes the claims hold, as YAML to put on top.

use std::collections::BTreeSet;

use policy::{AuthorizerView, Owner, Snapshot};
use resources::mesh::ExtAuthzHttp;
use resources::{Cluster, ObjectRef};

use crate::questions::{Asked, verify_with};
use crate::report::{Report, Verdict};

/// What a proposal works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Istio's own objects.
    Istio,
    /// A Sidegate object.
    Sidegate,
}

/// A change, and what holds with it.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// What it works with.
    pub means: Means,
    /// YAML; each part says what it is for.
    pub yaml: String,
    /// The claims with the change in place.
    pub report: Report,
}

impl Proposal {
    /// Whether everything holds with it.
    pub fn is_complete(&self) -> bool {
        self.report.overall() == Verdict::Holds
    }
}

/// Looks for changes, smallest first, and keeps the first of each kind with
/// which every claim holds; of those that do not suffice, the one that leaves
/// the fewest claims broken. `apply` compiles the configuration with YAML on top.
pub fn fix(
    cluster: &Cluster,
    snapshot: &Snapshot,
    asked: &Asked,
    mut apply: impl FnMut(&str) -> Option<Snapshot>,
) -> Vec<Proposal> {
    let mut out = Vec::new();
    for means in [Means::Istio, Means::Sidegate] {
        let candidates = match means {
            Means::Istio => with_istio(cluster, snapshot),
            Means::Sidegate => with_sidegate(cluster, snapshot),
        };
        let mut best: Option<Proposal> = None;
        for yaml in candidates {
            let Some(changed) = apply(&yaml) else {
                continue;
            };
            let report = verify_with(&changed, asked);
            let left = broken(&report);
            if best
                .as_ref()
                .is_none_or(|known| left < broken(&known.report))
            {
                best = Some(Proposal {
                    means,
                    yaml,
                    report,
                });
            }
            if left == 0 {
                break;
            }
        }
        out.extend(best);
    }
    out
}

fn broken(report: &Report) -> usize {
    report.claims.len() - report.count(Verdict::Holds)
}

/// What the platform's routes are, as far as a proposal has to know.
#[derive(Default)]
struct Platform {
    ports: BTreeSet<u16>,
    gateways: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    /// Hosts on the same ports that nobody but others routes.
    foreign: BTreeSet<String>,
}

impl Platform {
    fn of(snapshot: &Snapshot) -> Self {
        let mut out = Self::default();
        for listener in snapshot.listeners() {
            let mut foreign = BTreeSet::new();
            let mut has_platform = false;
            for host in listener.hosts() {
                let mut all_foreign = true;
                for route in host.routes() {
                    let owner = route.access().owner;
                    if matches!(owner, Owner::Platform | Owner::LoginMachinery) {
                        has_platform = true;
                        out.namespaces.insert(route.object().namespace.to_string());
                    }
                    all_foreign &= owner == Owner::Foreign;
                }
                if all_foreign {
                    foreign.insert(host.name().to_owned());
                }
            }
            if has_platform {
                out.ports.insert(listener.port());
                out.foreign.extend(foreign);
                let names = listener.gateways().iter();
                out.gateways
                    .extend(names.map(|(g, _)| format!("{}/{}", g.namespace, g.name)));
            }
        }
        out
    }
}

fn with_istio(cluster: &Cluster, snapshot: &Snapshot) -> Vec<String> {
    let platform = Platform::of(snapshot);
    let mut logins: Vec<AuthorizerView<'_>> = Vec::new();
    for login in snapshot.listeners().flat_map(|l| l.authorizers()) {
        let is_known = logins.iter().any(|known| known.object() == login.object());
        if login.is_login() && !is_known {
            logins.push(login);
        }
    }
    // A policy can be kept.
    logins.sort_by_key(|login| &*login.object().0.kind != "AuthorizationPolicy");
    let Some((kept, others)) = logins.split_first() else {
        return Vec::new();
    };
    let mut candidates = Vec::new();
    for leave_foreign in [false, true] {
        if leave_foreign && platform.foreign.is_empty() {
            continue;
        }
        let policy = policy_yaml(cluster, &platform, kept, leave_foreign);
        let removals = others.iter().map(|other| removal(other.object().0));
        let without_others: String = removals.chain([policy.clone()]).collect();
        candidates.push(policy);
        if !others.is_empty() {
            candidates.push(without_others);
        }
    }
    candidates
}

/// Takes an object away that asks a login service too.
fn removal(object: &ObjectRef) -> String {
    let (api, on_a_cluster) = match &*object.kind {
        "EnvoyFilter" => ("networking.istio.io/v1alpha3", "envoyfilter"),
        _ => ("security.istio.io/v1beta1", "authorizationpolicy"),
    };
    let (kind, name, namespace) = (&object.kind, &object.name, &object.namespace);
    format!(
        "# Asks the login service about requests that are not the platform's: the policy below takes its place.\n\
         # On a cluster: kubectl delete -n {namespace} {on_a_cluster} {name}\n\
         apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\n\
         \x20 annotations:\n    sidegate.dev/delete: \"true\"\n---\n"
    )
}

/// One CUSTOM policy scoped by listener port, in place of what asks the login
/// service today.
fn policy_yaml(
    cluster: &Cluster,
    platform: &Platform,
    authorizer: &AuthorizerView<'_>,
    leave_foreign: bool,
) -> String {
    let (object, _) = authorizer.object();
    let existing = cluster
        .authorization_policies
        .iter()
        .find(|p| *p.meta.name == *object.name && *p.meta.namespace == *object.namespace)
        .filter(|_| &*object.kind == "AuthorizationPolicy");
    let mut out = String::new();
    let (name, provider) = match existing {
        Some(_) => (object.name.to_string(), authorizer.name().to_owned()),
        None => ("platform-login".to_owned(), "platform-login".to_owned()),
    };
    if existing.is_none()
        && let Some(settings) = authorizer.settings()
    {
        out.push_str(&mesh_yaml(cluster, &provider, settings));
        out.push_str("---\n");
        out.push_str(&removal(object));
    }
    let selector = match existing {
        Some(policy) => policy
            .spec
            .selector
            .as_ref()
            .map(|s| s.match_labels.clone()),
        None => cluster
            .gateways
            .iter()
            .find(|g| {
                platform
                    .gateways
                    .contains(&format!("{}/{}", g.meta.namespace, g.meta.name))
            })
            .map(|g| g.spec.selector.clone()),
    };
    out.push_str(&format!(
        "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata:\n  name: {name}\n  namespace: {}\nspec:\n",
        object.namespace
    ));
    if let Some(labels) = selector.filter(|l| !l.is_empty()) {
        out.push_str("  # The pods of the gateway, which serve the platform and the models alike.\n  selector:\n    matchLabels:\n");
        for (key, value) in labels {
            out.push_str(&format!("      {key}: {value}\n"));
        }
    }
    let quoted = |list: Vec<String>| -> String {
        let all: Vec<String> = list.iter().map(|v| format!("{v:?}")).collect();
        all.join(", ")
    };
    let ports = platform.ports.iter().map(u16::to_string).collect();
    out.push_str(&format!(
        "  action: CUSTOM\n  provider:\n    name: {provider}\n  rules:\n  - to:\n    - operation:\n\
         \x20       # The listener the platform is on (the container port, not the Service's): every path\n\
         \x20       # there needs a login, and nothing on the other listeners does. No path is listed.\n\
         \x20       ports: [{}]\n",
        quoted(ports)
    ));
    if leave_foreign {
        // Ports one by one: `host:*` would also hold for `host:1:1`, which is
        // another host to the router.
        let ports: BTreeSet<u16> = platform.ports.iter().copied().chain([80, 443]).collect();
        let hosts = platform.foreign.iter().flat_map(|host| {
            let with_ports = ports.iter().map(move |port| format!("{host}:{port}"));
            std::iter::once(host.clone()).chain(with_ports)
        });
        out.push_str(&format!(
            "        # Applications of others on the same listener, with and without a port in the Host header.\n\
             \x20       notHosts: [{}]\n",
            quoted(hosts.collect())
        ));
    }
    out
}

/// The mesh configuration with the login service as an extension provider.
fn mesh_yaml(cluster: &Cluster, provider: &str, settings: &ExtAuthzHttp) -> String {
    let root = cluster
        .mesh
        .root_namespace
        .as_deref()
        .unwrap_or("istio-system");
    let map = cluster.config_map(root, "istio");
    let mesh = map
        .and_then(|m| m.spec.data.get("mesh"))
        .cloned()
        .unwrap_or_default();
    let list = |name: &str, values: &[String]| {
        if values.is_empty() {
            return String::new();
        }
        let all: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        format!("    {name}: [{}]\n", all.join(", "))
    };
    let entry = format!(
        "- name: {provider}\n  envoyExtAuthzHttp:\n    service: {}\n    port: \"{}\"\n{}{}{}",
        settings.service,
        settings.port,
        list(
            "includeRequestHeadersInCheck",
            &settings.include_request_headers_in_check
        ),
        list(
            "headersToUpstreamOnAllow",
            &settings.headers_to_upstream_on_allow
        ),
        list(
            "headersToDownstreamOnDeny",
            &settings.headers_to_downstream_on_deny
        ),
    );
    let mut lines: Vec<String> = mesh.lines().map(str::to_owned).collect();
    match lines
        .iter()
        .position(|l| l.trim_end() == "extensionProviders:")
    {
        Some(at) => lines
            .splice(at + 1..at + 1, entry.lines().map(str::to_owned))
            .for_each(drop),
        None => {
            lines.push("extensionProviders:".to_owned());
            lines.extend(entry.lines().map(str::to_owned));
        }
    }
    let body: String = lines.iter().map(|l| format!("    {l}\n")).collect();
    let annotations: String = map
        .into_iter()
        .flat_map(|m| &m.meta.annotations)
        .map(|(key, value)| format!("    {key}: {value:?}\n"))
        .collect();
    let annotations = if annotations.is_empty() {
        String::new()
    } else {
        format!("  annotations:\n{annotations}")
    };
    format!(
        "# The login service as an extension provider, so that a policy can say where it is asked.\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: {root}\n{annotations}data:\n  mesh: |-\n{body}"
    )
}

fn with_sidegate(cluster: &Cluster, snapshot: &Snapshot) -> Vec<String> {
    let platform = Platform::of(snapshot);
    let declared = cluster.sidegate.as_ref();
    let (name, namespace) = declared
        .map_or(("sidegate".to_owned(), "istio-system".to_owned()), |s| {
            (s.meta.name.clone(), s.meta.namespace.clone())
        });
    let wanted = |given: Option<&Vec<String>>, found: &BTreeSet<String>| -> Vec<String> {
        match given {
            Some(list) if !list.is_empty() => list.clone(),
            _ => found.iter().cloned().collect(),
        }
    };
    let spec = declared.map(|s| &s.spec.platform);
    // Gateways of the platform are those its own namespaces declare.
    let own: BTreeSet<String> = platform
        .gateways
        .iter()
        .filter(|g| {
            g.split_once('/')
                .is_some_and(|(ns, _)| platform.namespaces.contains(ns))
        })
        .cloned()
        .collect();
    let gateways = wanted(spec.map(|p| &p.gateways), &own);
    let namespaces = wanted(spec.map(|p| &p.namespaces), &platform.namespaces);
    if namespaces.is_empty() {
        return Vec::new();
    }
    let list = |values: &[String]| values.join(", ");
    let rest = declared.map(|s| kept(&s.spec)).unwrap_or_default();
    vec![format!(
        "apiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n\
         \x20 # What a request needs follows from its listener and from who owns the route: people log in to\n\
         \x20 # the platform, workloads call models, machines outside bring a token, others are left alone.\n\
         \x20 mode: enforce\n  platform:\n    # Where people come in.\n    gateways: [{}]\n\
         \x20   # Whose routes are the platform's.\n    namespaces: [{}]\n{rest}",
        list(&gateways),
        list(&namespaces)
    )]
}

/// What else a Sidegate object says, as YAML below `spec`.
fn kept(spec: &resources::sidegate::Sidegate) -> String {
    let default = resources::sidegate::Sidegate::default();
    let (Ok(all), Ok(default)) = (serde_json::to_value(spec), serde_json::to_value(&default))
    else {
        return String::new();
    };
    let fields = all.as_object().into_iter().flatten();
    let changed = fields.filter(|(key, value)| {
        !matches!(key.as_str(), "mode" | "platform") && default.get(key.as_str()) != Some(*value)
    });
    // JSON is YAML.
    let lines = changed.map(|(key, value)| format!("  {key}: {}\n", without_nulls(value)));
    lines.collect()
}

fn without_nulls(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
