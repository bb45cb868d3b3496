//! The seed's cluster with what `sidegate authz manifests` prints, translated by Istio and served by Envoy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::peers::Peers;
use super::program::{Authz, sidegate};
use super::told;
use crate::clients::free_port;
use crate::oracle::{Envoy, Istio, World, address, layers, programs, world};
use crate::relying::{Provider, hash};
use crate::shell;

/// Which gateway pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    /// Both Gateways select the same pods.
    Shared,
    /// The cluster-local one has pods of its own, on the same port.
    Separate,
}

/// How gateways ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Grpc,
    Http,
    /// Over gRPC, but for people with a pass.
    Fast,
}

/// Seconds that a pass counts, beside those that clocks may be apart.
pub(super) const PASS: u64 = 3;

const SECRET: &str = "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok";
const HASH: &str = "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72";

/// Everything runs until this is dropped.
pub(super) struct Mesh {
    pub(super) peers: Peers,
    pub(super) external: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) verifier: SocketAddr,
    pub(super) folder: tempfile::TempDir,
    authz: Option<Authz>,
    form: Form,
    port: u16,
    provider_at: String,
    _provider: Provider,
    _envoy: Envoy,
}

impl Mesh {
    pub(super) fn start(topology: Topology, form: Form) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let files = folder.path().join("files");
        std::fs::create_dir_all(&files)?;
        for (name, text) in cluster(topology)? {
            std::fs::write(files.join(name), text)?;
        }
        let asks = folder.path().join("manifests.yaml");
        let key = folder.path().join("pass.pem");
        std::fs::write(&key, new_key()?)?;
        let keys = folder.path().join("identity.pem");
        std::fs::write(&keys, new_key()?)?;
        let verifier = folder.path().join("verifier.yaml");
        std::fs::write(&verifier, told::verifier(&keys)?)?;
        let printed = manifests(&files, form, &key)?;
        let logout = printed
            .split("---\n")
            .find(|o| o.contains("name: sidegate-logout"));
        let logout = logout.context("the manifests have no route for logout tokens")?;
        std::fs::write(files.join("logout.yaml"), logout)?;
        std::fs::write(&asks, &printed)?;
        let all = layers(&[files.clone(), asks, verifier])?;
        let shared = world(&all)?;
        let mut worlds = vec![shared.clone()];
        if topology == Topology::Separate {
            let labels = [("istio".to_owned(), "cluster-local-gateway".to_owned())];
            worlds.push(World {
                labels: labels.into(),
                ..shared.clone()
            });
        }
        let (label, name) = told::POD;
        worlds.push(World {
            labels: [(label.to_owned(), name.to_owned())].into(),
            namespace: "kserve-test".to_owned(),
            ..shared
        });
        let verifier = worlds.len() - 1;
        let peers = Peers::start()?;
        let programs = programs()?;
        let mut istio = Istio::new(programs.istio, folder.path().join("istio.log"));
        let identities = IDENTITIES.map(str::to_owned);
        let borrowed: Vec<&World> = worlds.iter().collect();
        let translated = istio.translate(&borrowed, &identities, folder.path(), peers.port)?;
        for (cluster, rejected) in translated.clusters.iter().zip(&translated.rejected) {
            if let Err(error) = cluster {
                bail!("Istio does not translate the cluster: {error}");
            }
            if !rejected.is_empty() {
                bail!("Istio's validation refuses {rejected:?}");
            }
        }
        peers.name(translated.upstreams);
        let envoy = Envoy::start(&programs.envoy, folder.path())?;
        let at = |address: Ipv4Addr, port| SocketAddr::from((address, port));
        let (external, local) = match topology {
            Topology::Shared => (at(address(0), 8080), at(address(0), 8081)),
            Topology::Separate => (at(address(0), 8080), at(address(1), 8080)),
        };
        peers.lead(
            "knative-local-gateway.istio-system.svc.cluster.local:80",
            local,
        );
        let provider_at = format!("127.0.0.1:{}", free_port()?);
        let dex = "dex.auth.svc.cluster.local:5556";
        let provider = Provider::serve(
            &dex_config(&files, external)?,
            &[],
            &provider_at,
            format!("http://{dex}/dex"),
        )?;
        peers.lead(dex, provider_at.parse()?);
        let port = free_port()?;
        for suffix in ["", "-external", "-local"] {
            let service = format!("sidegate-authz{suffix}.sidegate.svc.cluster.local:9000");
            peers.lead(service, SocketAddr::from(([127, 0, 0, 1], port)));
        }
        let mut mesh = Self {
            peers,
            external,
            local,
            verifier: at(address(verifier), 8080),
            folder,
            authz: None,
            form,
            port,
            provider_at,
            _provider: provider,
            _envoy: envoy,
        };
        mesh.authorize()?;
        Ok(mesh)
    }

    /// Starts the authorizer, where gateways look for it.
    pub(super) fn authorize(&mut self) -> Result<()> {
        let key = self.folder.path().join("pass.pem");
        let (key, seconds) = (key.to_string_lossy(), PASS.to_string());
        let keys = self.folder.path().join("identity.pem");
        let keys = keys.to_string_lossy();
        let mut more = vec!["--provider", &*self.provider_at, "--identity-keys", &*keys];
        if self.form == Form::Fast {
            more.extend(["--pass-key", &*key, "--pass-seconds", &*seconds]);
        }
        let authz = Authz::start(&self.files(), &self.data(), self.port, &more)?;
        let keys = "sidegate-keys.sidegate.svc.cluster.local:80";
        self.peers.lead(keys, authz.health);
        self.authz = Some(authz);
        Ok(())
    }

    /// Ends it.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.authz.take().context("no authorizer runs")?.end()
    }

    pub(super) fn authz(&self) -> Result<&Authz> {
        self.authz.as_ref().context("no authorizer runs")
    }

    pub(super) fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A token of a ServiceAccount.
    pub(super) fn token(&self, namespace: &str) -> Result<String> {
        let output = Command::new(sidegate())
            .args(["token", "create", "default", "-n", namespace, "--data"])
            .arg(self.data())
            .output()?;
        if !output.status.success() {
            bail!("no token: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What the authorizer wrote into its log.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("authz.log")).unwrap_or_default()
    }
}

/// The seed's files, with secrets that nobody publishes, a model that not everybody may call, and a route of another
/// team that sends on to a model.
fn cluster(topology: Topology) -> Result<Vec<(&'static str, String)>> {
    let seed = shell::root().join("examples/seed");
    let read = |name: &str| {
        let text = std::fs::read_to_string(seed.join(name));
        text.with_context(|| format!("reading {name}"))
    };
    let mut cluster = read("cluster.yaml")?
        .replace(SECRET, "of-this-installation")
        .replace(HASH, &hash()?);
    // The login that the cluster had.
    let filter = cluster
        .split("\n---\n")
        .find(|object| object.contains("name: authn-filter"))
        .context("the seed has no `authn-filter`")?
        .to_owned();
    cluster = cluster.replace(&format!("\n---\n{filter}"), "");
    if topology == Topology::Separate {
        cluster = cluster
            .replace(
                "  - {name: http2, port: 80, targetPort: 8081}",
                "  - {name: http2, port: 80, targetPort: 8080}",
            )
            .replace("      number: 8081", "      number: 80")
            .replace(
                "    experimental.istio.io/disable-gateway-port-translation: \"true\"\nspec:\n  selector: {app: istio-ingressgateway, istio: ingressgateway}",
                "    team: knative\nspec:\n  selector: {istio: cluster-local-gateway}",
            )
            .replace(
                "  name: knative-local-gateway\n  namespace: knative-serving\nspec:\n  selector:\n    istio: ingressgateway",
                "  name: knative-local-gateway\n  namespace: knative-serving\nspec:\n  selector:\n    istio: cluster-local-gateway",
            );
        cluster.push_str(LOCAL_PODS);
    }
    cluster.push_str(MORE);
    Ok(vec![
        ("cluster.yaml", cluster),
        (
            "sidegate.yaml",
            read("sidegate.yaml")?.replace("  mode: enforce", "  mode: enforce\n  signedIdentity: {}\n  workloads: {principals: [istio-system/mutual]}"),
        ),
    ])
}

const LOCAL_PODS: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: cluster-local-gateway
  namespace: istio-system
spec:
  selector:
    matchLabels: {istio: cluster-local-gateway}
  template:
    metadata:
      labels: {istio: cluster-local-gateway}
    spec:
      serviceAccountName: cluster-local-gateway
      containers:
      - name: istio-proxy
        image: docker.io/istio/proxyv2:1.16.0
";

/// Who has a certificate of the mesh.
const IDENTITIES: [&str; 2] = [
    "spiffe://cluster.local/ns/kserve-test/sa/default",
    "spiffe://cluster.local/ns/shop/sa/default",
];

const MORE: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mutual, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https-mutual, protocol: HTTPS}
    hosts: [limited.kserve-test.svc.cluster.local]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: over-mutual
  namespace: kserve-test
  labels: {serving.knative.dev/route: limited-predictor}
  annotations: {sidegate.dev/access: token, sidegate.dev/allow-namespaces: kserve-test}
spec:
  gateways: [istio-system/mutual]
  hosts: [limited.kserve-test.svc.cluster.local]
  http:
  - route:
    - destination:
        host: limited-predictor.kserve-test.svc.cluster.local
        port: {number: 80}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: limited
  namespace: kserve-test
  annotations:
    sidegate.dev/allow-namespaces: kserve-test
spec:
  predictor:
    sklearn:
      storageUri: gs://kfserving-examples/models/sklearn/1.0/model
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: shortcut
  namespace: shop
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [shortcut.example.com]
  http:
  - rewrite:
      authority: sklearn-iris.kserve-test.svc.cluster.local
    route:
    - destination:
        host: knative-local-gateway.istio-system.svc.cluster.local
        port: {number: 80}
";

/// What `sidegate authz manifests` prints for the cluster.
fn manifests(files: &Path, form: Form, key: &Path) -> Result<String> {
    let mut command = Command::new(sidegate());
    command.args(["authz", "manifests", "-f"]).arg(files);
    match form {
        Form::Grpc => {}
        Form::Http => drop(command.arg("--http")),
        Form::Fast => {
            command.arg("--fast-path").arg(address(0).to_string());
            command.arg("--pass-key").arg(key);
        }
    }
    let output = command.output().context("cannot run sidegate")?;
    if !output.status.success() {
        bail!("no manifests: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A key for passes or identities, in PEM.
fn new_key() -> Result<String> {
    let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let der = made.and_then(|pair| pair.to_pkcs8v1());
    let der = der.map_err(|_| anyhow!("no key for passes"))?;
    let text = STANDARD.encode(der.as_ref());
    Ok(format!(
        "-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
    ))
}

/// Dex's configuration in the cluster.
fn dex_config(files: &Path, gateway: SocketAddr) -> Result<String> {
    let read = layers(&[files.to_owned()])?;
    let cluster = resources::parse_layers(&read).map_err(|errors| anyhow!("{errors}"))?;
    let map = cluster
        .config_map("auth", "dex")
        .context("no ConfigMap dex")?;
    let text = map.spec.data.get("config.yaml").context("no config.yaml")?;
    // Sessions at the provider, and where it says that one ended.
    let told = format!("http://{gateway}/oauth2/backchannel-logout");
    let client = "- id: kubeflow-oidc-authservice\n";
    let with = format!("{client}  backchannelLogoutURI: {told}\n");
    if !text.contains(client) {
        bail!("the configuration has another client");
    }
    Ok(text.replace(client, &with) + "\nsessions: {absoluteLifetime: 8h}\n")
}
