//! A cluster with what asks about requests in it, translated by Istio and served by Envoy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{ClusterIssuer, ClusterIssuerConfig};

use super::others::{Around, Other, Started};
use super::peers::Peers;
use super::program::{Authz, sidegate};
use super::rows::Gate;
use super::told;
use crate::clients::free_port;
use crate::http;
use crate::oracle::{Envoy, Istio, World, address, layers, programs, world};
use crate::relying::Provider;

/// How gateways ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Grpc,
    Http,
    /// Over gRPC, but for people with a pass.
    Fast,
    /// Without Istio, by another gateway's configuration.
    Other(Other),
}

/// A cluster, and who is asked about its requests.
pub(super) struct Plan {
    /// Manifests by the names of files. `DEX_KEYS` and `CLUSTER_KEYS` in them are keys of issuers.
    pub(super) files: Vec<(&'static str, String)>,
    /// Labels `istio` of gateway deployments; the first is that of the outside.
    pub(super) deployments: &'static [&'static str],
    /// Where workloads ask: the place of a deployment, and its port.
    pub(super) local: (usize, u16),
    /// The Service that leads there.
    pub(super) back: &'static str,
    /// Whether a pod verifies what models are told, and workloads have certificates of the mesh.
    pub(super) verified: bool,
    /// Namespace and label `app` of a pod with a sidecar that is called without a gateway.
    pub(super) pod: Option<(&'static str, &'static str)>,
    pub(super) asked: Asked,
}

/// Who is asked.
pub(super) enum Asked {
    /// `sidegate authz`, by what its manifests say.
    Sidegate {
        form: Form,
        /// More arguments.
        more: &'static [&'static str],
    },
    /// The same in another program's place, with its configuration.
    Place {
        whose: &'static str,
        /// The Service that the cluster asks.
        service: &'static str,
        config: String,
        environment: &'static [(&'static str, &'static str)],
    },
    /// Nobody: what Envoy does by itself.
    Nobody,
}

/// Everything runs until this is dropped.
pub(super) struct Mesh {
    pub(super) peers: Peers,
    pub(super) external: SocketAddr,
    pub(super) local: SocketAddr,
    /// The pod that verifies, where there is one.
    pub(super) verifier: Option<SocketAddr>,
    /// The pod that is called without a gateway, where there is one.
    pub(super) pod: Option<Ipv4Addr>,
    pub(super) folder: tempfile::TempDir,
    authz: Option<Authz>,
    asked: Asked,
    /// Arguments of the program that its Deployment has.
    deployed: Vec<&'static str>,
    port: u16,
    provider_at: String,
    _provider: Provider,
    gateway: Gateway,
}

/// The gateway that runs.
enum Gateway {
    /// With what Istio made.
    Istio { _envoy: Envoy },
    /// Another one; where it takes HTTP/2 in the clear, if that is elsewhere.
    Other(Started),
}

/// Who has a certificate of the mesh, where somebody has.
const IDENTITIES: [&str; 2] = [
    "spiffe://cluster.local/ns/kserve-test/sa/default",
    "spiffe://cluster.local/ns/shop/sa/default",
];

/// Dex in the cluster.
const DEX: &str = "dex.auth.svc.cluster.local:5556";

impl Mesh {
    pub(super) fn start(plan: Plan) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let files = folder.path().join("files");
        std::fs::create_dir_all(&files)?;
        let write = |keys: &dyn Fn(&str) -> String| -> Result<()> {
            for (name, text) in &plan.files {
                std::fs::write(files.join(name), keys(text))?;
            }
            Ok(())
        };
        write(&str::to_owned)?;
        let provider_at = format!("127.0.0.1:{}", free_port()?);
        let (mut config, environment) = dex_config(&files)?;
        let external = SocketAddr::from((address(0), 8080));
        if plan.verified {
            config = with_logouts(&config, external)?;
        }
        let environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let issuer = format!("http://{DEX}/dex");
        let provider = Provider::serve(&config, &environment, &provider_at, issuer)?;
        let keys = http::ask(&provider_at, "GET", "/dex/keys", &[], "")?.text();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data)?;
        let cluster = ClusterIssuer::open(&data, ClusterIssuerConfig::default())?;
        let quoted = |json: &str| format!("'{}'", json.trim());
        write(&|text| {
            text.replace("DEX_KEYS", &quoted(&keys))
                .replace("CLUSTER_KEYS", &quoted(cluster.jwks()))
        })?;
        let mut given = vec![files.clone()];
        let mut deployed = Vec::new();
        let key = folder.path().join("pass.pem");
        std::fs::write(&key, pass_key()?)?;
        if let Asked::Sidegate { form, .. } = &plan.asked {
            let asks = folder.path().join("manifests.yaml");
            let printed = manifests(&files, *form, &key)?;
            let known = ["--identity-headers=authorization"];
            deployed.extend(known.into_iter().filter(|known| printed.contains(known)));
            let logout = printed
                .split("---\n")
                .find(|object| object.contains("name: sidegate-logout"));
            if let Some(logout) = logout {
                std::fs::write(files.join("logout.yaml"), logout)?;
            }
            std::fs::write(&asks, printed)?;
            given.push(asks);
        }
        if plan.verified {
            let keys = folder.path().join("identity.pem");
            std::fs::write(&keys, pass_key()?)?;
            let verifier = folder.path().join("verifier.yaml");
            std::fs::write(&verifier, told::verifier(&keys)?)?;
            given.push(verifier);
        }
        let all = layers(&given)?;
        let shared = world(&all)?;
        let others = plan.deployments.iter().skip(1).map(|name| World {
            labels: [("istio", name), ("app", name)]
                .map(|(label, name)| (label.to_owned(), (*name).to_owned()))
                .into(),
            ..shared.clone()
        });
        let mut worlds: Vec<World> = std::iter::once(shared.clone()).chain(others).collect();
        let (mut verifier, mut identities) = (None, Vec::new());
        if plan.verified {
            verifier = Some(SocketAddr::from((address(worlds.len()), 8080)));
            let (label, name) = told::POD;
            worlds.push(World {
                labels: [(label.to_owned(), name.to_owned())].into(),
                namespace: "kserve-test".to_owned(),
                ..shared.clone()
            });
            identities.extend(IDENTITIES.map(str::to_owned));
        }
        let pod = plan.pod.map(|(namespace, app)| {
            let address = address(worlds.len());
            worlds.push(World {
                labels: [("app".to_owned(), app.to_owned())].into(),
                namespace: namespace.to_owned(),
                sidecar: true,
                ..shared
            });
            address
        });
        let peers = Peers::start()?;
        let programs = programs()?;
        let mut istio = Istio::new(programs.istio, folder.path().join("istio.log"));
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
        let (deployment, port) = plan.local;
        let local = at(address(deployment), port);
        peers.lead(plan.back, local);
        peers.lead(DEX, provider_at.parse()?);
        peers.watch(DEX);
        let port = free_port()?;
        let asked_at = SocketAddr::from(([127, 0, 0, 1], port));
        match &plan.asked {
            Asked::Place { service, .. } => peers.lead(*service, asked_at),
            Asked::Sidegate { .. } => {
                for suffix in ["", "-external", "-local"] {
                    let service = format!("sidegate-authz{suffix}.sidegate.svc.cluster.local:9000");
                    peers.lead(service, asked_at);
                }
            }
            Asked::Nobody => {}
        }
        let mut mesh = Self {
            peers,
            external,
            local,
            verifier,
            pod,
            folder,
            authz: None,
            asked: plan.asked,
            deployed,
            port,
            provider_at,
            _provider: provider,
            gateway: Gateway::Istio { _envoy: envoy },
        };
        mesh.authorize()?;
        Ok(mesh)
    }

    /// One gateway with the configuration that is printed for it. Whatever passes it has arrived.
    pub(super) fn behind(other: Other, files: &[(&'static str, String)]) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let written = folder.path().join("files");
        std::fs::create_dir_all(&written)?;
        for (name, text) in files {
            std::fs::write(written.join(name), text)?;
        }
        let peers = Peers::start()?;
        let provider_at = format!("127.0.0.1:{}", free_port()?);
        let issuer = format!("http://{DEX}/dex");
        let (config, _) = dex_config(&written)?;
        let provider = Provider::serve(&config, &[], &provider_at, issuer)?;
        std::fs::create_dir_all(folder.path().join("data"))?;
        let port = free_port()?;
        let around = Around {
            folder: folder.path(),
            files: &written,
            authorizer: SocketAddr::from(([127, 0, 0, 1], port)),
            provider: provider_at.parse()?,
            upstream: SocketAddr::from(([127, 0, 0, 1], peers.port)),
        };
        let started = other.start(&around)?;
        let mut mesh = Self {
            peers,
            external: started.external,
            local: started.local,
            verifier: None,
            pod: None,
            folder,
            authz: None,
            asked: Asked::Sidegate {
                form: Form::Other(other),
                more: &[],
            },
            deployed: Vec::new(),
            port,
            provider_at,
            _provider: provider,
            gateway: Gateway::Other(started),
        };
        mesh.authorize()?;
        Ok(mesh)
    }

    /// The gateway that is no mesh's, if it is one.
    pub(super) fn other(&self) -> Option<Other> {
        match &self.asked {
            Asked::Sidegate {
                form: Form::Other(other),
                ..
            } => Some(*other),
            Asked::Sidegate { .. } | Asked::Place { .. } | Asked::Nobody => None,
        }
    }

    /// Where HTTP/2 is taken in the clear.
    pub(super) fn http2(&self, side: Gate) -> SocketAddr {
        let (external, local) = match &self.gateway {
            Gateway::Other(started) => started.http2,
            Gateway::Istio { .. } => (self.external, self.local),
        };
        match side {
            Gate::Local => local,
            Gate::External | Gate::Verifier => external,
        }
    }

    /// Starts the authorizer, where gateways look for it.
    pub(super) fn authorize(&mut self) -> Result<()> {
        let mut command = Command::new(sidegate());
        command.arg("authz");
        match &self.asked {
            Asked::Sidegate { form, more } => {
                command.arg("-f").arg(self.files());
                command.args(*more).args(&self.deployed);
                if self.verifier.is_some() {
                    let keys = self.folder.path().join("identity.pem");
                    command.arg("--identity-keys").arg(keys);
                }
                if *form == Form::Fast {
                    let key = self.folder.path().join("pass.pem");
                    command.arg("--pass-key").arg(key);
                }
            }
            Asked::Place {
                whose,
                config,
                environment,
                ..
            } => {
                let file = self.folder.path().join("in-place");
                std::fs::write(&file, config)?;
                command.args(["--compat", *whose, "--config"]).arg(file);
                command.envs(environment.iter().copied());
            }
            Asked::Nobody => return Ok(()),
        }
        command.args(["--provider", &self.provider_at]);
        let authz = Authz::start(command, &self.data(), self.port)?;
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

    /// Whether gateways ask over HTTP.
    pub(super) fn asks_over_http(&self) -> bool {
        match &self.asked {
            Asked::Sidegate { form, .. } => *form == Form::Http,
            Asked::Place { .. } => true,
            Asked::Nobody => false,
        }
    }

    /// Whether a part of the platform is open to everybody.
    pub(super) fn has_open_assets(&self) -> bool {
        match &self.asked {
            Asked::Sidegate { form, .. } => *form != Form::Fast,
            Asked::Place { .. } | Asked::Nobody => false,
        }
    }

    /// Where gateways look for the authorizer.
    pub(super) fn authorizer(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The configuration as the program compiles it.
    pub(super) fn snapshot(&self, settings: &policy::Settings) -> Result<policy::Snapshot> {
        let read = layers(&[self.files()])?;
        let cluster = resources::parse_layers(&read).map_err(|errors| anyhow!("{errors}"))?;
        policy::Snapshot::compile(&cluster, settings).map_err(|problems| anyhow!("{problems:?}"))
    }

    pub(super) fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A token of a ServiceAccount.
    pub(super) fn token(&self, namespace: &str) -> Result<String> {
        self.token_with(namespace, &[])
    }

    /// The same, made with more arguments.
    pub(super) fn token_with(&self, namespace: &str, more: &[&str]) -> Result<String> {
        let output = Command::new(sidegate())
            .args(["token", "create", "default", "-n", namespace])
            .args(more)
            .arg("--data")
            .arg(self.data())
            .output()?;
        if !output.status.success() {
            bail!("no token: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// An API key of a program.
    pub(super) fn key(&self, service: &str) -> Result<String> {
        let output = Command::new(sidegate())
            .args(["token", "create", "--service", service, "--data"])
            .arg(self.data())
            .output()?;
        if !output.status.success() {
            bail!("no key: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What the authorizer wrote into its log.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.data().with_extension("log")).unwrap_or_default()
    }
}

/// What `sidegate authz manifests` prints for the cluster.
pub(super) fn manifests(files: &Path, form: Form, key: &Path) -> Result<String> {
    let mut command = Command::new(sidegate());
    command.args(["authz", "manifests", "-f"]).arg(files);
    match form {
        Form::Grpc | Form::Other(_) => {}
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
pub(crate) fn pass_key() -> Result<String> {
    let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let der = made.and_then(|pair| pair.to_pkcs8v1());
    let der = der.map_err(|_| anyhow!("no key for passes"))?;
    let text = STANDARD.encode(der.as_ref());
    Ok(format!(
        "-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
    ))
}

/// The same with sessions at the provider, which says at the gateway that one ended.
fn with_logouts(config: &str, gateway: SocketAddr) -> Result<String> {
    let told = format!("http://{gateway}/oauth2/backchannel-logout");
    let client = "- id: kubeflow-oidc-authservice\n";
    let with = format!("{client}  backchannelLogoutURI: {told}\n");
    if !config.contains(client) {
        bail!("the configuration has another client");
    }
    Ok(config.replace(client, &with) + "\nsessions: {absoluteLifetime: 8h}\n")
}

/// Dex's configuration in the cluster, and the variables that it names.
pub(crate) fn dex_config(files: &Path) -> Result<(String, Vec<(String, String)>)> {
    let read = layers(&[files.to_owned()])?;
    let cluster = resources::parse_layers(&read).map_err(|errors| anyhow!("{errors}"))?;
    let map = cluster
        .config_map("auth", "dex")
        .context("no ConfigMap dex")?;
    let text = map.spec.data.get("config.yaml").context("no config.yaml")?;
    let secrets = cluster.secrets.iter();
    let secrets = secrets.filter(|secret| secret.meta.namespace == "auth");
    let variables = secrets
        .flat_map(|secret| &secret.spec.data)
        .filter_map(|(name, value)| Some((name.clone(), String::from_utf8(value.clone()).ok()?)));
    Ok((text.clone(), variables.collect()))
}
