//! `sidegate authz manifests`: what a mesh takes to ask `sidegate authz`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use policy::{Entrance, IDENTITY_HEADERS, Owner, Snapshot};
use resources::Cluster;
use serde_json::{Value, json};

use crate::authz::fast_path::FastPath;
use crate::authz::keys;
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
    /// Ask over HTTP in place of gRPC
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
    /// Key that the authorizer signs passes with; its public half is printed
    #[arg(long, value_name = "FILE", requires = "fast_path")]
    pass_key: Option<std::path::PathBuf>,
    /// Namespace of the authorizer
    #[arg(long, default_value = "sidegate", value_name = "NAME")]
    namespace: String,
    /// Image of the program, under the name that your registry has for it
    #[arg(
        long,
        default_value = concat!("sidegate:", env!("CARGO_PKG_VERSION")),
        value_name = "IMAGE"
    )]
    image: String,
}

/// Port for checks, of the Service and of the pods.
const PORT: u16 = 9000;
const HEALTH: u16 = 9001;
const NAME: &str = "sidegate-authz";
const KEYS: &str = "sidegate-keys";

pub(crate) fn run(args: &ManifestsArgs) -> anyhow::Result<ExitCode> {
    let inputs = Inputs::new(args.paths.clone(), &args.cluster)?;
    let cluster = inputs.read_some()?;
    let settings = live::settings(&cluster, args.cluster.istio_version.as_deref())?;
    let snapshot = live::compile(&cluster, &settings)?;
    output::data(print(args, &cluster, &snapshot)?.trim_end())?;
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
    for line in before(snapshot) {
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
                {"name": protocol, "port": PORT, "targetPort": PORT}]}}));
    }
    objects.extend(beside(args, snapshot));
    objects.extend(workload(args, snapshot.is_reviewed()));
    if snapshot.is_reviewed() {
        objects.extend(may_ask(args));
    }
    objects.push(only_gateways(args, &all));
    objects.extend(asking.iter().map(|ask| policy(ask, fast_path.is_some())));
    for deployment in filters {
        for (port, side) in &deployment.ports {
            let asks = http_filter(*side, &service(""));
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

fn prefix(side: Entrance) -> &'static str {
    match side {
        Entrance::External => "/external",
        Entrance::Local => "/local",
    }
}

/// Headers of a request that a check over HTTP has to see.
const SEEN: [&str; 17] = [
    "accept",
    "access-control-request-method",
    "authorization",
    "content-type",
    "cookie",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "referer",
    "upgrade",
    "x-api-key",
    "x_api_key",
    "x-forwarded-proto",
    "x-requested-with",
    "x-sidegate-*",
    "x_sidegate_*",
];

/// And those that claim an identity, in every spelling of their first part.
fn seen() -> Vec<String> {
    let mut all: BTreeSet<String> = SEEN.map(str::to_owned).into();
    for name in IDENTITY_HEADERS.iter().chain(&["x-auth-request-"]) {
        let parts: Vec<&str> = name.split('-').collect();
        let [first, second, ..] = parts.as_slice() else {
            continue;
        };
        let known = if *first == "x" {
            format!("-{second}")
        } else {
            String::new()
        };
        all.insert(format!("{first}{known}*"));
        if *first == "x" {
            all.insert(format!("{first}_{second}*"));
        }
    }
    // One prefix for all of a family.
    all.into_iter().collect()
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
        "includeRequestHeadersInCheck": seen(),
        "headersToUpstreamOnAllow": WRITTEN,
        "headersToDownstreamOnAllow": ["access-control-allow-origin", "set-cookie"],
        "headersToDownstreamOnDeny": TOLD,
    })
}

/// Asks over HTTP, for one side.
fn http_filter(side: Entrance, host: &str) -> Value {
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
        "allowed_headers": patterns(&seen()),
        "http_service": {
            "server_uri": {"uri": format!("http://{host}:{PORT}"),
                "cluster": format!("outbound|{PORT}||{host}"), "timeout": "2s"},
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

/// Leave to ask the API server whose tokens are and who may call models, by a role
/// that each cluster has.
fn may_ask(args: &ManifestsArgs) -> [Value; 2] {
    let account = json!({"name": NAME, "namespace": args.namespace});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
        "name": "system:auth-delegator"});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME}, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": args.namespace}]}),
    ]
}

/// The program itself. It talks to the API server only where that is to say who may
/// call models.
fn workload(args: &ManifestsArgs, asks: bool) -> Vec<Value> {
    let labels = json!({"app": NAME});
    let mut arguments = vec![
        "authz".to_owned(),
        "-f".to_owned(),
        "/config".to_owned(),
        format!("--listen=0.0.0.0:{PORT}"),
        format!("--health=0.0.0.0:{HEALTH}"),
        "--data=/data/authz".to_owned(),
    ];
    let mut mounts = vec![
        json!({"name": "config", "mountPath": "/config", "readOnly": true}),
        json!({"name": "data", "mountPath": "/data"}),
    ];
    let mut volumes = vec![
        json!({"name": "config", "configMap": {"name": "sidegate-config"}}),
        json!({"name": "data", "persistentVolumeClaim": {"claimName": "sidegate-data"}}),
    ];
    if args.pass_key.is_some() {
        arguments.push("--pass-key=/pass/pass.pem".to_owned());
        mounts.push(json!({"name": "pass", "mountPath": "/pass", "readOnly": true}));
        volumes.push(json!({"name": "pass", "secret": {"secretName": "sidegate-pass"}}));
    }
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": HEALTH}, "periodSeconds": 2});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "sidegate-data", "namespace": args.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let container = json!({
        "name": "authz", "image": args.image,
        "args": arguments,
        "ports": [{"name": "check", "containerPort": PORT},
            {"name": "health", "containerPort": HEALTH}],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        // Gateways learn that the pod goes before it does.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}},
        "volumeMounts": mounts,
    });
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": NAME, "namespace": args.namespace, "labels": labels},
    "spec": {
        // Sessions are in one file, which one program holds.
        "replicas": 1, "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {
            "automountServiceAccountToken": asks,
            "serviceAccountName": if asks { NAME } else { "default" },
            "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
            "containers": [container],
            "volumes": volumes,
        }},
    }});
    vec![claim, deployment]
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
