//! Folders of manifests as they are once installed: what kustomize would merge
//! is merged, what the folder lacks to be a cluster is added.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::folder::seen_by_istio;
use super::world::World;

/// A folder, and without which of its files.
struct Variant {
    /// How the folder's name begins.
    folder: &'static str,
    /// Parts of paths that are left out.
    without: &'static [&'static str],
}

/// Choices that exclude each other, as the folders' own examples make them.
const ALTERNATIVES: [&str; 10] = [
    ".github/",
    "/dex/overlays/github",
    "/dex/overlays/ldap",
    "add-anonymous-user-filter",
    "ibm-storage-config",
    ".cloudflare.",
    "/ambient-oauth2-proxy/",
    "/docs/samples/",
    "/params.yaml",
    "/upstream/crds.yaml",
];

const VARIANTS: [Variant; 9] = [
    Variant {
        folder: "kubeflow-manifests-v1.3.0",
        without: &["/knative-serving-install/base/gateway.yaml"],
    },
    Variant {
        folder: "kubeflow-manifests-v1.7.0",
        without: &[],
    },
    Variant {
        folder: "kubeflow-manifests-v1.8.0",
        without: &["/istio-1-16/", "/oidc-client/oauth2-proxy/"],
    },
    Variant {
        folder: "kubeflow-manifests-v1.10.2",
        without: &[],
    },
    Variant {
        folder: "kubeflow-community-distribution",
        without: &[],
    },
    Variant {
        folder: "kserve-",
        without: &[],
    },
    Variant {
        folder: "net-istio-bdbf4dac",
        without: &[],
    },
    Variant {
        folder: "net-istio-history",
        without: &["v0.17.0", "v0.18.0", "v0.2", "v1.0.0", "v1.8.0"],
    },
    Variant {
        folder: "derived",
        without: &["odh-sar"],
    },
];

/// What kustomize would put in the place of names.
const NAMES: [(&str, &str); 16] = [
    ("$(AUTHSERVICE_SERVICE)", "authservice"),
    ("$(AUTHSERVICE_NAMESPACE)", "istio-system"),
    ("$(DEX_SERVICE)", "dex"),
    ("$(DEX_NAMESPACE)", "auth"),
    ("$(kfp-namespace)", "kubeflow"),
    ("$(VWA_NAMESPACE)", "kubeflow"),
    ("$(VWA_CLUSTER_DOMAIN)", "cluster.local"),
    ("$(TWA_NAMESPACE)", "kubeflow"),
    ("$(TWA_CLUSTER_DOMAIN)", "cluster.local"),
    ("$(JWA_NAMESPACE)", "kubeflow"),
    ("$(JWA_CLUSTER_DOMAIN)", "cluster.local"),
    (
        "OAUTH2_PROXY_SERVICE.OAUTH2_PROXY_NAMESPACE",
        "oauth2-proxy.oauth2-proxy",
    ),
    ("DEX_SERVICE.DEX_NAMESPACE", "dex.auth"),
    ("PATCH_ME", "https://kubernetes.default.svc.cluster.local"),
    ("<namespace>", "kserve-test"),
    // Not a number.
    ("K-Network-Hash: 00", "K-Network-Hash: h00"),
];

/// One cluster, looked at from one gateway deployment.
pub(super) struct Installed {
    pub(super) name: String,
    pub(super) world: World,
}

/// Every cluster of a folder of folders, a world per gateway deployment.
pub(super) fn all(folder: &Path) -> Result<Vec<Installed>> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    let mut found = Vec::new();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let variant = VARIANTS.iter().find(|v| name.starts_with(v.folder));
        let mut set = Manifests::default();
        set.read(&path, variant.map_or(&[], |v| v.without))?;
        set.lay(model());
        for (labels, namespace) in set.gateways() {
            let world = set.world(&labels, &namespace)?;
            let pod = labels.values().next().cloned().unwrap_or_default();
            found.push(Installed {
                name: format!("{name} ({pod})"),
                world,
            });
        }
    }
    Ok(found)
}

/// A model, so that there is something to call.
fn model() -> Value {
    json!({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": "sklearn-iris", "namespace": "kserve-test"},
        "spec": {"predictor": {"sklearn": {"storageUri": "gs://models/sklearn/1.0/model"}}}})
}

#[derive(Default)]
struct Manifests {
    objects: Vec<Value>,
}

type Labels = BTreeMap<String, String>;

impl Manifests {
    /// Bases first, then what is laid over them.
    fn read(&mut self, folder: &Path, without: &[&str]) -> Result<()> {
        let mut files = Vec::new();
        yaml(folder, &mut files)?;
        files.sort_by_key(|path| {
            let text = path.to_string_lossy();
            let over = text.contains("/overlays/") || text.contains("/patches/");
            (over, text.contains("-patch"), path.clone())
        });
        for path in files {
            let text = path.to_string_lossy();
            let left_out = ALTERNATIVES
                .iter()
                .chain(without)
                .any(|part| text.contains(part));
            if !left_out && !text.ends_with("kustomization.yaml") {
                self.file(&path, namespace(&path, folder))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, namespace: Option<String>) -> Result<()> {
        let mut text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for (name, value) in NAMES {
            text = text.replace(name, value);
        }
        let Ok(documents) = super::folder::documents(&path.to_string_lossy(), &text) else {
            // A template, which is no manifest yet.
            return Ok(());
        };
        for mut document in documents {
            if document.get("kind").is_none() {
                continue;
            }
            let missing = document.pointer("/metadata/namespace").is_none();
            if let Some(namespace) = namespace.as_ref().filter(|_| missing)
                && let Some(meta) = document.get_mut("metadata").and_then(Value::as_object_mut)
            {
                meta.insert("namespace".into(), json!(namespace));
            }
            self.lay(document);
        }
        Ok(())
    }

    /// On top of the object of that name, if there is one.
    fn lay(&mut self, document: Value) {
        let known = self
            .objects
            .iter()
            .position(|known| identity(known) == identity(&document));
        let removes = document.get("$patch") == Some(&json!("delete"));
        match known {
            Some(at) if removes => {
                self.objects.remove(at);
            }
            Some(at) => {
                if let Some(known) = self.objects.get_mut(at) {
                    super::cases::merge(known, &document);
                }
            }
            None if removes => {}
            None => self.objects.push(document),
        }
    }

    /// Labels of the pods that Gateways select, with their namespace.
    fn gateways(&self) -> Vec<(Labels, String)> {
        let mut found: Vec<(Labels, String)> = Vec::new();
        for gateway in self.of("Gateway") {
            let selector = labels(gateway.pointer("/spec/selector"));
            if selector.is_empty() {
                continue;
            }
            let mut pod = (selector.clone(), "istio-system".to_owned());
            for service in self.of("Service") {
                let selected = labels(service.pointer("/spec/selector"));
                if selector
                    .iter()
                    .all(|pair| selected.iter().any(|other| other == pair))
                {
                    pod.0.extend(selected);
                    if let Some(namespace) = field(service, "/metadata/namespace") {
                        pod.1 = namespace.to_owned();
                    }
                }
            }
            // The usual second label of the usual pod.
            if pod.0.get("istio").map(String::as_str) == Some("ingressgateway") {
                pod.0
                    .entry("app".into())
                    .or_insert_with(|| "istio-ingressgateway".into());
            }
            if !found.contains(&pod) {
                found.push(pod);
            }
        }
        found
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        let all = self.objects.iter();
        all.filter(move |object| {
            field(object, "/kind") == Some(kind)
                && (kind != "Gateway"
                    || field(object, "/apiVersion").is_some_and(|v| v.contains("istio.io")))
        })
    }

    fn world(&self, pod: &Labels, namespace: &str) -> Result<World> {
        let mut objects: Vec<Value> = self
            .objects
            .iter()
            .filter(|object| {
                seen_by_istio(object) || field(object, "/kind") == Some("InferenceService")
            })
            .filter(|object| {
                // The other gateway deployments are other machines.
                field(object, "/kind") != Some("Gateway")
                    || labels(object.pointer("/spec/selector"))
                        .iter()
                        .all(|(name, value)| pod.get(name) == Some(value))
            })
            .cloned()
            .collect();
        let in_front = |service: &Value| {
            let selector = labels(service.pointer("/spec/selector"));
            !selector.is_empty()
                && selector
                    .iter()
                    .all(|(name, value)| pod.get(name) == Some(value))
        };
        let mut services = objects
            .iter()
            .filter(|o| field(o, "/kind") == Some("Service"));
        if !services.any(in_front) {
            objects.push(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "istio-ingressgateway", "namespace": namespace},
                "spec": {"selector": pod, "ports": [
                    {"name": "http2", "port": 80, "targetPort": 8080},
                    {"name": "https", "port": 443, "targetPort": 8443}]}}));
        }
        let mesh = self
            .of("ConfigMap")
            .find(|object| field(object, "/metadata/name") == Some("istio"))
            .and_then(|object| field(object, "/data/mesh"))
            .unwrap_or("{}");
        let mesh: Value = serde_saphyr::from_str(mesh).map_err(|error| anyhow!("mesh: {error}"))?;
        self.destinations(&mesh, &mut objects);
        for object in &mut objects {
            keys(object);
        }
        let mut world = World {
            objects,
            mesh,
            labels: pod.clone(),
            namespace: namespace.to_owned(),
            env: BTreeMap::new(),
            proxy: String::new(),
            sidecar: false,
            backend: None,
        };
        super::folder::generated(&world.cluster()?, &mut world.objects)?;
        Ok(world)
    }

    /// Services that routes and authorizers lead to, where the folder has none.
    fn destinations(&self, mesh: &Value, objects: &mut Vec<Value>) {
        let mut wanted: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
        for service in self.of("VirtualService").chain([mesh]) {
            destinations(service, &mut wanted);
        }
        // An EnvoyFilter names its authorizer's Envoy cluster.
        for filter in self.of("EnvoyFilter") {
            let text = filter.to_string();
            for part in text.split("outbound|").skip(1) {
                let mut words = part.split(['|', '"']);
                let port = words.next().and_then(|port| port.parse().ok());
                let host = words.nth(1).and_then(name_of);
                if let (Some(port), Some(name)) = (port, host) {
                    wanted.entry(name).or_default().insert(port);
                }
            }
        }
        for ((name, namespace), ports) in wanted {
            let known = objects.iter_mut().find(|object| {
                field(object, "/kind") == Some("Service")
                    && field(object, "/metadata/name") == Some(&name)
                    && field(object, "/metadata/namespace") == Some(&namespace)
            });
            if known.is_some() {
                continue;
            }
            let ports: Vec<Value> = ports
                .iter()
                .map(|port| json!({"name": format!("http-{port}"), "port": port}))
                .collect();
            objects.push(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": name}, "ports": ports}}));
        }
    }
}

/// Hosts and ports of destinations and providers, wherever they are written.
fn destinations(value: &Value, wanted: &mut BTreeMap<(String, String), BTreeSet<u64>>) {
    match value {
        Value::Object(map) => {
            let host = map.get("host").or_else(|| map.get("service"));
            let name = host.and_then(Value::as_str).and_then(name_of);
            let port = map
                .get("port")
                .map(|port| port.get("number").unwrap_or(port));
            let port = port.and_then(|port| {
                port.as_u64()
                    .or_else(|| port.as_str().and_then(|text| text.parse().ok()))
            });
            if let Some(name) = name {
                wanted.entry(name).or_default().insert(port.unwrap_or(80));
            }
            map.values().for_each(|value| destinations(value, wanted));
        }
        Value::Array(all) => all.iter().for_each(|value| destinations(value, wanted)),
        _ => {}
    }
}

fn name_of(host: &str) -> Option<(String, String)> {
    let (name, rest) = host.strip_suffix(".svc.cluster.local")?.split_once('.')?;
    (!rest.contains('.')).then(|| (name.to_owned(), rest.to_owned()))
}

/// Keys that would be fetched are made instead.
fn keys(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let rule = map.contains_key("issuer") && !map.contains_key("jwks");
            if rule {
                map.remove("jwksUri");
                map.insert("jwks".into(), json!("JWKS:k1"));
            }
            map.values_mut().for_each(keys);
        }
        Value::Array(all) => all.iter_mut().for_each(keys),
        _ => {}
    }
}

fn labels(value: Option<&Value>) -> Labels {
    let map = value.and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn field<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// API group, kind, namespace, name.
fn identity(object: &Value) -> [Option<&str>; 4] {
    let group = field(object, "/apiVersion").and_then(|version| version.split('/').next());
    [
        group,
        field(object, "/kind"),
        field(object, "/metadata/namespace"),
        field(object, "/metadata/name"),
    ]
}

fn yaml(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            yaml(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    Ok(())
}

/// The namespace that the nearest kustomization sets; else the one of the
/// platform.
fn namespace(path: &Path, folder: &Path) -> Option<String> {
    for above in path.ancestors().skip(1) {
        let text = std::fs::read_to_string(above.join("kustomization.yaml")).unwrap_or_default();
        let set = text
            .lines()
            .find_map(|line| line.strip_prefix("namespace:"));
        if let Some(set) = set {
            return Some(set.trim().to_owned());
        }
        if above == folder {
            break;
        }
    }
    let text = path.to_string_lossy();
    let istio = text.contains("/istio-install/") || text.contains("/cluster-local-gateway/");
    Some(if istio { "istio-system" } else { "kubeflow" }.to_owned())
}
