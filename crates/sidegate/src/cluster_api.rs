//! The API server of a real cluster: the one that this runs in, or one that is named.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use clap::Args;
use futures_util::future::BoxFuture;
use identity::{ClusterApi, ClusterApiConfig, HttpClient, HttpError, INGRESS_AUDIENCE, Review};
use provider::{Outgoing as _, Roots};

use crate::outgoing::Network;
use crate::output::BadInput;

/// Where a pod finds its token and the cluster's authority.
const IN_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[derive(Debug, Args, Clone, Default)]
pub(crate) struct KubernetesArgs {
    /// Take ServiceAccount tokens of the cluster with this API server: https://HOST:PORT
    /// [default: in a pod, that of its cluster]
    #[arg(long, value_name = "URL", requires_all = ["kubernetes_ca", "kubernetes_token"])]
    kubernetes_api: Option<String>,
    /// Certificate of the API server's authority, PEM
    #[arg(long, value_name = "FILE", requires = "kubernetes_api")]
    kubernetes_ca: Option<PathBuf>,
    /// Own token at the API server; read again when it is renewed
    #[arg(long, value_name = "FILE", requires = "kubernetes_api")]
    kubernetes_token: Option<PathBuf>,
    /// Audience that these tokens have to have (repeatable)
    /// [default: istio-ingressgateway.istio-system.svc.cluster.local]
    #[arg(long = "kubernetes-audience", value_name = "AUDIENCE")]
    kubernetes_audiences: Vec<String>,
    /// Ask the API server about each of these tokens, at most once a minute, instead of
    /// verifying them with its keys alone: sees that a pod or ServiceAccount is gone
    #[arg(long)]
    kubernetes_review: bool,
}

impl KubernetesArgs {
    /// The API server, if one is named or this is a pod.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Arc<ClusterApi>>> {
        let named = (
            &self.kubernetes_api,
            &self.kubernetes_ca,
            &self.kubernetes_token,
        );
        let (server, authority, token_file) = match named {
            (Some(server), Some(authority), Some(token)) => {
                (server.clone(), authority.clone(), token.clone())
            }
            _ => match in_pod() {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let is_server = |text: &str| {
            let rest = text.strip_prefix("https://").unwrap_or_default();
            !rest.is_empty()
                && !rest
                    .trim_end_matches('/')
                    .contains(['/', '?', '#', '@', ' '])
        };
        if !is_server(&server) {
            let why = format!("`--kubernetes-api {server}`: expected https://HOST:PORT");
            return Err(BadInput(vec![why]).into());
        }
        let roots = certificates(&authority).map_err(|why| BadInput(vec![why]))?;
        let audiences = match self.kubernetes_audiences.is_empty() {
            true => vec![INGRESS_AUDIENCE.to_owned()],
            false => self.kubernetes_audiences.clone(),
        };
        let config = ClusterApiConfig {
            server,
            token_file,
            audiences,
            review: match self.kubernetes_review {
                true => Review::Always,
                false => Review::WithoutKeys,
            },
        };
        let http = Server {
            authority,
            trusted: Mutex::new(Trusted::of(roots)),
        };
        let api = ClusterApi::new(config, Arc::new(http), identity::system_clock());
        Ok(Some(Arc::new(api)))
    }
}

/// Server, authority and token, as each pod of Kubernetes has them.
fn in_pod() -> Option<(String, PathBuf, PathBuf)> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
    let (authority, token) = (
        Path::new(IN_POD).join("ca.crt"),
        Path::new(IN_POD).join("token"),
    );
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    (authority.exists() && token.exists())
        .then(|| (format!("https://{host}:{port}"), authority, token))
}

/// The certificates of a file.
fn certificates(file: &Path) -> Result<Vec<u8>, String> {
    let unusable = |why: &str| format!("`{}`: {why}", file.display());
    let roots = std::fs::read(file).map_err(|error| unusable(&error.to_string()))?;
    // Without any, the authorities of the system would count.
    match roots.windows(11).any(|part| part == b"-----BEGIN ") {
        true => Ok(roots),
        false => Err(unusable("expected certificates in PEM")),
    }
}

/// Sends to an API server, whose certificate the cluster's authority alone may sign: the one that is in the file now.
struct Server {
    authority: PathBuf,
    trusted: Mutex<Trusted>,
}

/// An authority, and what connects with it.
#[derive(Clone)]
struct Trusted {
    roots: Roots,
    network: Arc<Network>,
}

impl Trusted {
    fn of(roots: Vec<u8>) -> Self {
        Self {
            roots: Roots(Arc::new(roots)),
            network: Arc::default(),
        }
    }
}

impl Server {
    /// Connections that another authority let happen are not used any more.
    fn trusting(&self, read: Result<Vec<u8>, String>) -> Trusted {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(roots) if roots != **trusted.roots.0 => *trusted = Trusted::of(roots),
            Ok(_) => {}
            Err(why) => tracing::warn!("{why}: the authority of before goes on to count"),
        }
        trusted.clone()
    }
}

impl HttpClient for Server {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, HttpError>> {
        Box::pin(async move {
            let file = self.authority.clone();
            let read = tokio::task::spawn_blocking(move || certificates(&file)).await;
            let read = read.map_err(|_| HttpError("the program is ending".to_owned()))?;
            let Trusted { roots, network } = self.trusting(read);
            network.send(request, roots).await.map_err(HttpError)
        })
    }
}
