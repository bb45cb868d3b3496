//! A control plane on this machine: etcd, Kubernetes' API server and two of its controllers, all in one process
//! (`xtask/cluster`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use identity::{ClusterIssuer, ClusterIssuerConfig, ClusterKey};
use serde_json::{Value, json};

use super::api::{Api, text};
use crate::child::Running;
use crate::directory::peers;
use crate::{cache, shell};

/// `iss` of the tokens, as a distribution chooses it.
pub(super) const ISSUER: &str = "https://oidc.cluster.example/id/0A1B";

/// The administrator's token.
const ADMIN: &str = "of-the-administrator";

/// One that is not up to date for so long is not going to be.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The version of Kubernetes.
pub(super) fn version() -> Result<String> {
    let module = std::fs::read_to_string(shell::root().join("xtask/cluster/go.mod"))?;
    let line = module
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
    Ok(line.context("go.mod names no Kubernetes")?.to_owned())
}

/// A running control plane.
pub(super) struct Cluster {
    folder: PathBuf,
    running: Running,
    pub(super) address: SocketAddr,
    /// The administrator.
    pub(super) api: Api,
}

/// What is said at its start.
#[derive(Clone, Copy, Default)]
pub(super) struct Settings<'a> {
    /// Names of the keys of ServiceAccount tokens: the first signs, all count.
    pub(super) keys: &'a [&'a str],
    /// More flags of `kube-apiserver`.
    pub(super) flags: &'a [&'a str],
}

impl Cluster {
    /// Starts one on a folder, which may have been used before.
    pub(super) fn start(folder: &Path, settings: Settings<'_>) -> Result<Self> {
        Self::at(folder, 0, settings)
    }

    fn at(folder: &Path, port: u16, settings: Settings<'_>) -> Result<Self> {
        let program = cache::go_program(
            "cluster",
            &shell::root().join("xtask/cluster"),
            "Kubernetes' API server and etcd (once, 5 to 20 minutes)",
        )?;
        let tokens = folder.join("tokens.csv");
        std::fs::write(&tokens, format!("{ADMIN},admin,admin,system:masters\n"))?;
        let mut command = Command::new(program);
        command.arg(folder).arg(port.to_string());
        let mut flag = |name: &str, path: &Path| {
            command.arg(format!("--{name}={}", path.display()));
        };
        flag("token-auth-file", &tokens);
        flag("tls-cert-file", &peers().join("server.pem"));
        flag("tls-private-key-file", &peers().join("server.key"));
        for (index, name) in settings.keys.iter().enumerate() {
            let key = key(folder, name)?;
            if index == 0 {
                flag("service-account-signing-key-file", &key);
            }
            flag("service-account-key-file", &key);
        }
        command.arg(format!("--service-account-issuer={ISSUER}"));
        if !settings
            .flags
            .iter()
            .any(|flag| flag.starts_with("--authorization-"))
        {
            command.arg("--authorization-mode=RBAC");
        }
        command.args(settings.flags);
        let ready = |line: &str| line.strip_prefix("ready on ")?.parse().ok();
        let (running, address) = Running::until_it_says(&mut command, ready)?;
        Ok(Self {
            folder: folder.to_owned(),
            running,
            address,
            api: Api::new(address, ADMIN)?,
        })
    }

    /// Ends it; nobody answers at its address.
    pub(super) fn stop(&mut self) {
        self.running.end();
    }

    /// Ends it and starts it again on what it kept, at the same address.
    pub(super) fn restart(&mut self, settings: Settings<'_>) -> Result<()> {
        self.running.end();
        *self = Self::at(&self.folder, self.address.port(), settings)?;
        Ok(())
    }

    /// Makes a Namespace.
    pub(super) fn namespace(&self, name: &str) -> Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.create(&object).map(drop)
    }

    /// Makes a ServiceAccount.
    pub(super) fn account(&self, namespace: &str, name: &str) -> Result<Value> {
        self.api.create(&account(namespace, name))
    }

    /// Asks for a token of a ServiceAccount (TokenRequest).
    pub(super) fn token(&self, namespace: &str, name: &str, spec: &Value) -> Result<String> {
        let request =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let given = self.api.done("POST", &path, Some(&request))?;
        let token = text(&given, "/status/token");
        ensure!(!token.is_empty(), "no token: {given}");
        Ok(token.to_owned())
    }
}

/// A ServiceAccount.
pub(super) fn account(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace}})
}

/// The file of a key, which is made if there is none.
fn key(folder: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    issuer(&folder)?;
    Ok(folder.join("service-account-issuer.pem"))
}

fn issuer(folder: &Path) -> Result<ClusterIssuer> {
    let config = ClusterIssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec![ISSUER.to_owned()],
        key: ClusterKey::Rs256,
    };
    ClusterIssuer::open(folder, config).with_context(|| format!("a key in {}", folder.display()))
}

/// Asks until it is so.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = std::time::Instant::now();
    while !holds()? {
        ensure!(
            began.elapsed() < PATIENCE,
            "{what}: not so after {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
