//! `sidegate authz manifests`: what a mesh takes to ask `sidegate authz`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum as _};
use policy::{Entrance, Owner, Snapshot, is_identity_header};
use resources::Cluster;
use serde_json::{Value, json};

use crate::authz::fast_path::FastPath;
use crate::authz::gateways::{Asking as Asked, Gateway};
use crate::authz::keys;
use crate::authz::redis::RedisArgs;
use crate::authz::workload::{Needs, workload};
use crate::cli::ClusterArgs;
use crate::inputs::Inputs;
use crate::live;
use crate::output::{self, BadInput};

#[derive(Debug, Args)]
pub(crate) struct ManifestsArgs {
    /// Files and folders of Kubernetes YAML, `-` for standard input
    #[arg(short = 'f', long = "filename", num_args = 1.., value_name = "FILE")]
    paths: Vec<std::path::PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Gateways that ask
    #[arg(long = "for", value_enum, default_value_t, value_name = "GATEWAY")]
    gateway: Gateway,
    /// Ask over HTTP in place of gRPC (Istio and Envoy, which can do both)
    #[arg(long)]
    http: bool,
    /// Host of the platform where people with a pass are let through unasked (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        requires = "pass_key",
        conflicts_with = "http"
    )]
    fast_path: Vec<String>,
    /// Keys of passes that the authorizer has; their public halves are printed
    #[arg(long, value_name = "FILE", requires = "fast_path")]
    pub(super) pass_key: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub(super) redis: RedisArgs,
    /// Namespace of the authorizer
    #[arg(long, default_value = "sidegate", value_name = "NAME")]
    pub(super) namespace: String,
    /// Image of the program, under the name that your registry has for it
    #[arg(
        long,
        default_value = concat!("sidegate:", env!("CARGO_PKG_VERSION")),
        value_name = "IMAGE"
    )]
    pub(super) image: String,
}

/// Port for checks, of the Service and of the pods.
pub(super) const PORT: u16 = 9000;
pub(super) const HEALTH: u16 = 9001;
pub(super) const NAME: &str = "sidegate-authz";
const KEYS: &str = "sidegate-keys";
/// Where Redis' password and authority are in a pod.
pub(super) const REDIS_FOLDER: &str = "/redis";

pub(crate) fn run(args: &ManifestsArgs) -> anyhow::Result<ExitCode> {
    let inputs = Inputs::new(args.paths.clone(), &args.cluster)?;
    let cluster = inputs.read_some()?;
    let settings = live::settings(&cluster, args.cluster.istio_version.as_deref())?;
    let snapshot = live::compile(&cluster, &settings)?;
    let text = match args.gateway {
        Gateway::Istio => print(args, &cluster, &snapshot)?,
        gateway => print_for(args, gateway, &cluster, &snapshot)?,
    };
    output::data(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Gateway pods, and what they listen on.
struct Deployment {
    namespace: String,
    labels: BTreeMap<String, String>,
    /// Ports where requests are read, with their side.
    ports: BTreeMap<u16, Entrance>,
    /// Ports where connections pass unread: there is nothing to check.
    unread: BTreeSet<u16>,
}

impl Deployment {
    fn sides(&self) -> Vec<Entrance> {
        let of = |side: &Entrance| self.ports.values().any(|of| of == side);
        let all = [Entrance::External, Entrance::Local].into_iter();
        all.filter(of).collect()
    }

    /// Ports of the outside.
    fn outside(&self) -> Vec<u16> {
        let outside = self
            .ports
            .iter()
            .filter(|(_, side)| **side == Entrance::External);
        outside.map(|(port, _)| *port).collect()
    }
}

fn deployments(cluster: &Cluster, snapshot: &Snapshot) -> Vec<Deployment> {
    let mut found: BTreeMap<String, Deployment> = BTreeMap::new();
    for listener in snapshot.listeners() {
        let id = listener.id();
        let namespace = id.gateway.split('/').next().unwrap_or_default();
        let deployment = found.entry(id.gateway.to_string()).or_insert_with(|| {
            let mut gateways = listener.gateways().iter();
            let selector = gateways.find_map(|(of, _)| {
                let mut all = cluster.gateways.iter();
                all.find(|gateway| gateway.reference() == *of)
                    .map(|gateway| gateway.spec.selector.clone())
            });
            Deployment {
                namespace: namespace.to_owned(),
                labels: selector.unwrap_or_default(),
                ports: BTreeMap::new(),
                unread: BTreeSet::new(),
            }
        });
        if listener.is_opaque() {
            deployment.unread.insert(id.port);
        } else {
            deployment.ports.insert(id.port, listener.side());
        }
    }
    found
        .into_values()
        .filter(|d| !d.ports.is_empty())
        .collect()
}

/// One extension provider, and the gateways that ask it.
struct Asking<'d> {
    deployment: &'d Deployment,
    /// Set where the port does not say which side it is.
    side: Option<Entrance>,
}

impl Asking<'_> {
    fn suffix(&self) -> &'static str {
        match self.side {
            None => "",
            Some(Entrance::External) => "-external",
            Some(Entrance::Local) => "-local",
        }
    }
}

fn print(args: &ManifestsArgs, cluster: &Cluster, snapshot: &Snapshot) -> anyhow::Result<String> {
    let all = deployments(cluster, snapshot);
    if all.is_empty() {
        return Err(BadInput(vec![
            "no Gateway in the files opens a port: nothing would be asked".into(),
        ])
        .into());
    }
    let mut asking = Vec::new();
    // On one workload there may be one provider, and over HTTP a provider says
    // one side: where both are on one workload each listener gets its own filter.
    let mut filters = Vec::new();
    for deployment in &all {
        match deployment.sides().as_slice() {
            [side] if args.http || all.len() > 1 => asking.push(Asking {
                deployment,
                side: Some(*side),
            }),
            _ if args.http => filters.push(deployment),
            _ => asking.push(Asking {
                deployment,
                side: None,
            }),
        }
    }
    let fast_path = match &args.pass_key {
        None => None,
        Some(key) => {
            let key_set = keys::passes(key, 1)?.key_set()?;
            Some(FastPath::new(&args.fast_path, key_set, snapshot)?)
        }
    };
    let mut out = String::new();
    out.push_str("# What gateways take to ask `sidegate authz`, by `sidegate authz manifests`.\n");
    let writers = writers(snapshot);
    for line in before(snapshot).iter().chain(&writers) {
        writeln!(out, "# {line}")?;
    }
    let service = |suffix: &str| format!("{NAME}{suffix}.{}.svc.cluster.local", args.namespace);
    let mut providers = BTreeMap::new();
    for ask in &asking {
        let host = service(ask.suffix());
        let name = format!("sidegate{}", ask.suffix());
        let provider = match (args.http, ask.side) {
            (true, Some(side)) => {
                json!({"name": name.clone(), "envoyExtAuthzHttp": http_provider(&host, side)})
            }
            _ => json!({"name": name.clone(), "envoyExtAuthzGrpc": {
                "service": host, "port": PORT, "timeout": "2s", "failOpen": false,
                "statusOnError": "403",
            }}),
        };
        providers.insert(name, provider);
    }
    let mut objects = Vec::new();
    if !providers.is_empty() {
        objects.push(mesh(cluster, providers.into_values().collect())?);
    }
    objects.push(json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": args.namespace}}));
    let mut suffixes: BTreeSet<&str> = asking.iter().map(Asking::suffix).collect();
    if !filters.is_empty() {
        suffixes.insert("");
    }
    for suffix in suffixes {
        let protocol = if args.http {
            "http-check"
        } else {
            "grpc-check"
        };
        objects.push(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("{NAME}{suffix}"), "namespace": args.namespace},
            "spec": {"selector": {"app": NAME}, "ports": [
                {"name": protocol, "port": PORT, "targetPort": PORT},
                {"name": "http-logout", "port": HEALTH, "targetPort": HEALTH}]}}));
    }
    objects.extend(beside(args, snapshot));
    let mut needs = Needs::of(args, cluster, snapshot)?;
    needs.tokens = !writers.is_empty();
    objects.extend(workload(args, needs));
    objects.push(only_gateways(args, &all));
    objects.extend(asking.iter().map(|ask| policy(ask, fast_path.is_some())));
    for deployment in filters {
        for (port, side) in &deployment.ports {
            let host = service("");
            let cluster = format!("outbound|{PORT}||{host}");
            let asks = filter_over_http(*side, &host, &cluster);
            objects.push(filter(deployment, *port, vec![asks]));
        }
    }
    for ask in &asking {
        let Some(fast_path) = &fast_path else { break };
        for port in ask.deployment.outside() {
            let filters = fast_path.filters(&service(ask.suffix()), PORT);
            objects.push(filter(ask.deployment, port, filters));
        }
    }
    for object in objects {
        out.push_str("---\n");
        out.push_str(&yaml(&object)?);
    }
    Ok(out)
}

/// What other gateways take.
fn print_for(
    args: &ManifestsArgs,
    gateway: Gateway,
    cluster: &Cluster,
    snapshot: &Snapshot,
) -> anyhow::Result<String> {
    let either = matches!(gateway, Gateway::Envoy);
    if args.http && !either || args.pass_key.is_some() {
        let option = if args.http { "--http" } else { "--fast-path" };
        let name = gateway.to_possible_value();
        let name = name.as_ref().map_or("", |name| name.get_name());
        return Err(BadInput(vec![format!("`{option}`: not with `--for {name}`")]).into());
    }
    let asking = Asked {
        snapshot,
        namespace: &args.namespace,
        http: args.http,
    };
    let mut out = String::new();
    out.push_str(
        "# What a gateway takes to ask `sidegate authz`, by `sidegate authz manifests --for`.\n",
    );
    for line in gateway.notes(&asking) {
        writeln!(out, "# {line}")?;
    }
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.namespace}}),
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": NAME, "namespace": args.namespace},
            "spec": {"selector": {"app": NAME},
                "ports": [{"name": "check", "port": PORT, "targetPort": PORT}]}}),
    ];
    objects.extend(workload(args, Needs::of(args, cluster, snapshot)?));
    objects.extend(gateway.objects(&asking));
    for object in objects {
        out.push_str("---\n");
        out.push_str(&yaml(&object)?);
    }
    Ok(out)
}

/// Nobody else may ask: whoever asks says where a request arrived and who is at the
/// other end, and gets what upstreams and the next check go by.
fn only_gateways(args: &ManifestsArgs, all: &[Deployment]) -> Value {
    let of = |deployment: &Deployment| {
        json!({"namespaceSelector":
            {"matchLabels": {"kubernetes.io/metadata.name": deployment.namespace}},
            "podSelector": {"matchLabels": deployment.labels}})
    };
    let from: Vec<Value> = all.iter().map(of).collect();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": NAME, "namespace": args.namespace},
        "spec": {"podSelector": {"matchLabels": {"app": NAME}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": from, "ports": [{"port": PORT}]}, {"ports": [{"port": HEALTH}]}]}})
}

/// The way to keys for whoever verifies, and the one of logout tokens, whose body
/// no check sees, from hosts of the platform.
fn beside(args: &ManifestsArgs, snapshot: &Snapshot) -> Vec<Value> {
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": KEYS, "namespace": args.namespace,
            // On one machine the login itself takes the tokens.
            "annotations": {"sidegate.dev/embedded": "login"}},
        "spec": {"selector": {"app": NAME}, "ports": [
            {"name": "http", "port": 80, "targetPort": HEALTH}]}});
    let (mut gateways, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    let listeners = snapshot.listeners();
    for listener in listeners.filter(|l| l.side() == Entrance::External && !l.is_opaque()) {
        for host in listener.hosts() {
            let owners = |owner| host.routes().any(|route| route.access().owner == owner);
            if owners(Owner::Platform) || owners(Owner::LoginMachinery) {
                hosts.insert(host.name().to_owned());
                let of = listener.gateways().iter();
                gateways.extend(of.map(|(g, _)| format!("{}/{}", g.namespace, g.name)));
            }
        }
    }
    if hosts.is_empty() {
        return vec![service];
    }
    let destination = json!({"host": format!("{KEYS}.{}.svc.cluster.local", args.namespace),
        "port": {"number": 80}});
    let route = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "sidegate-logout", "namespace": args.namespace},
        "spec": {"gateways": gateways, "hosts": hosts, "http": [{
            "match": [{"uri": {"exact": identity::BACKCHANNEL_LOGOUT_PATH}}],
            "route": [{"destination": destination}]}]}});
    vec![service, route]
}

/// What has to go first: on one workload there may be one provider.
fn before(snapshot: &Snapshot) -> BTreeSet<String> {
    let listeners = snapshot.listeners();
    let authorizers = listeners.flat_map(|listener| listener.authorizers());
    let others = authorizers.filter(|one| !one.name().starts_with("sidegate"));
    let line = |one: policy::AuthorizerView<'_>| {
        let (object, _) = one.object();
        format!(
            "Remove {object} first: it asks `{}` about the same requests.",
            one.name()
        )
    };
    others.map(line).collect()
}

/// Rules that take identity headers from requests behind the authorizer, and write them from tokens: it gives them the
/// person's.
fn writers(snapshot: &Snapshot) -> BTreeSet<String> {
    let outside = snapshot
        .listeners()
        .filter(|listener| listener.side() == Entrance::External);
    let rules = outside.flat_map(|listener| listener.token_rules());
    let writers = rules.filter(|rule| rule.outputs().any(is_identity_header));
    let line = |rule: policy::TokenRuleView<'_>| {
        let (object, _) = rule.object();
        format!(
            "{object} writes identity headers from tokens: the Deployment has `--identity-headers=authorization`."
        )
    };
    writers.map(line).collect()
}

/// The mesh's ConfigMap with these providers among its own.
fn mesh(cluster: &Cluster, providers: Vec<Value>) -> anyhow::Result<Value> {
    let map = cluster.config_map("istio-system", "istio");
    let text = map.and_then(|map| map.spec.data.get("mesh"));
    let mut mesh: Value = match text {
        Some(text) => serde_saphyr::from_str_with_options(text, yaml::options())
            .map_err(|error| anyhow::anyhow!("mesh of ConfigMap istio: {error}"))?,
        None => json!({}),
    };
    if !mesh.is_object() {
        mesh = json!({});
    }
    if let Some(mesh) = mesh.as_object_mut() {
        let known = mesh
            .entry("extensionProviders")
            .or_insert_with(|| json!([]));
        if let Some(known) = known.as_array_mut() {
            known.retain(|one| {
                providers
                    .iter()
                    .all(|ours| ours.get("name") != one.get("name"))
            });
            known.extend(providers);
        }
    }
    let annotations = map
        .map(|map| &map.meta.annotations)
        .filter(|a| !a.is_empty());
    let mut metadata = json!({"name": "istio", "namespace": "istio-system"});
    if let (Some(annotations), Some(metadata)) = (annotations, metadata.as_object_mut()) {
        metadata.insert("annotations".into(), json!(annotations));
    }
    Ok(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {"mesh": yaml(&mesh)?}}),
    )
}

/// Asked about everything that the pods read, on ports that come later too.
fn policy(ask: &Asking<'_>, fast_path: bool) -> Value {
    let deployment = ask.deployment;
    let mut unread: BTreeSet<u16> = deployment.unread.clone();
    if fast_path {
        // Filters of their own ask there.
        unread.extend(deployment.outside());
    }
    let unread: Vec<String> = unread.iter().map(u16::to_string).collect();
    let rule = match unread.is_empty() {
        true => json!({}),
        false => json!({"to": [{"operation": {"notPorts": unread}}]}),
    };
    json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": format!("sidegate{}", ask.suffix()), "namespace": deployment.namespace},
        "spec": {"selector": {"matchLabels": deployment.labels}, "action": "CUSTOM",
            "provider": {"name": format!("sidegate{}", ask.suffix())}, "rules": [rule]}})
}

pub(super) fn prefix(side: Entrance) -> &'static str {
    match side {
        Entrance::External => "/external",
        Entrance::Local => "/local",
    }
}

/// Headers that an allow writes on the request.
const WRITTEN: [&str; 5] = [
    "authorization",
    "cookie",
    "kubeflow-*",
    "x-auth-request-*",
    "x-sidegate-*",
];

/// Headers of a denial that the client gets.
const TOLD: [&str; 14] = [
    "access-control-*",
    "cache-control",
    "content-security-policy",
    "content-type",
    "grpc-message",
    "grpc-status",
    "location",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
];

fn http_provider(host: &str, side: Entrance) -> Value {
    json!({
        "service": host, "port": PORT, "timeout": "2s", "failOpen": false, "statusOnError": "403",
        "pathPrefix": prefix(side),
        "includeRequestHeadersInCheck": ext_authz::seen(),
        "headersToUpstreamOnAllow": WRITTEN,
        "headersToDownstreamOnAllow": ["access-control-allow-origin", "set-cookie"],
        "headersToDownstreamOnDeny": TOLD,
    })
}

/// Asks over HTTP, for one side.
pub(super) fn filter_over_http(side: Entrance, host: &str, cluster: &str) -> Value {
    let patterns = |names: &[String]| {
        let all = names.iter().map(|name| match name.strip_suffix('*') {
            Some(start) => json!({"prefix": start, "ignore_case": true}),
            None => json!({"exact": name, "ignore_case": true}),
        });
        json!({"patterns": all.collect::<Vec<_>>()})
    };
    let texts = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let config = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "status_on_error": {"code": 403},
        "allowed_headers": patterns(&ext_authz::seen()),
        "http_service": {
            "server_uri": {"uri": format!("http://{host}:{PORT}"),
                "cluster": cluster, "timeout": "2s"},
            "path_prefix": prefix(side),
            "authorization_response": {
                "allowed_upstream_headers": patterns(&texts(&WRITTEN)),
                "allowed_client_headers": patterns(&texts(&TOLD)),
                "allowed_client_headers_on_success":
                    patterns(&texts(&["access-control-allow-origin", "set-cookie"])),
            },
        },
    });
    json!({"name": "envoy.filters.http.ext_authz", "typed_config": config})
}

/// Filters of one listener before all others, in this order.
fn filter(deployment: &Deployment, port: u16, filters: Vec<Value>) -> Value {
    let patch = |value: Value| {
        json!({
            "applyTo": "HTTP_FILTER",
            "match": {"context": "GATEWAY", "listener": {"portNumber": port, "filterChain":
                {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}},
            "patch": {"operation": "INSERT_FIRST", "value": value},
        })
    };
    // Each goes before those of before.
    let patches: Vec<Value> = filters.into_iter().rev().map(patch).collect();
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": format!("sidegate-{port}"), "namespace": deployment.namespace},
        "spec": {"workloadSelector": {"labels": deployment.labels}, "configPatches": patches}})
}

pub(super) fn yaml(value: &Value) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
